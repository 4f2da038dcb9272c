"""Closed-loop evaluation on unseen scenes.

`plan` (what is played), `contract` (what a checkpoint must agree with), `rollout` and `player` (one episode),
`log` (results as they come), `statistics` and `summary` (figures), `film`, `files` and `report` (for people),
`provenance` (what was measured on what), `evaluate` (all of it).
"""
