"""Closed-loop evaluation on unseen scenes.

`plan` (what is played), `unseen` (not what was trained on), `rollout` and `player` (one episode),
`together` (several that ask the policy at once),
`log` (results as they come), `statistics`, `summary`, `comparison` and `failures` (figures), `tables`,
`film`, `outcome`, `report` and `files` (for people), `evaluate` (all of it).
"""
