"""Simulation in ManiSkill: tasks, scripted experts, collection of episodes and closed-loop evaluation.

In order: `task` (a seed becomes a scene, the scene a ManiSkill environment, and that a robot with cameras),
`experts` (the right action in any state), `collection` (experts played and posed into episodes),
`evaluation` (policies played on unseen scenes, counted and filmed); `workers` spreads both over processes.
"""
