"""The language that robot, recordings, training and simulation share.

The data path in order: `types` (frames, observations, actions), `depth` and `images` (pixels),
`history` (four frames by stamp), `prompt`, `pipeline` (all of these as one list of steps),
`model` (images and prompt to action tokens), `action_space` (tokens to motion), `episode` (on disk).
"""
