"""From a seed to a robot in a scene.

`seeds` (training or evaluation), `scene` and `instructions` (what stands where, and the words for it),
`workplace` (cameras, bounds and rates that never change), `objects` and `lowpoly_panda` (meshes), `panda` and
`spatial_pick_place` (the ManiSkill environment), `failures` (what went wrong in it), `ground_truth` (poses),
`robot` (observations and actions), `contract` (what a checkpoint or data set must agree on).
"""
