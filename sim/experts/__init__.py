"""Scripted experts in the policy's own action space.

`pick_place` (SpatialPickPlace), `tabletop` (ManiSkill's own tasks), `choose` (which one a task has),
`perturbation` (pushes that make an expert show recoveries).
"""
