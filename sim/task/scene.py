"""The scene of a seed: boards, objects, and what is asked. No simulator in here.

Data sets were collected with these draws; with more, fewer or in another order a seed means another scene.
"""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np

from spatialbot_sim.task.families import MOVES, REQUESTS, SAMPLERS, Request, obstacle_between
from spatialbot_sim.task.instructions import Phrasing, write_instruction
from spatialbot_sim.task.palette import NOMINAL, Palette, Rgb
from spatialbot_sim.task.specs import BoardSpec, Family, Role, SceneSpec

_BOARD_COLORS = ((0.50, 0.30, 0.13), (0.72, 0.55, 0.35), (0.85, 0.85, 0.83), (0.15, 0.15, 0.17))


def sample_scene(
    family: Family, seed: int, phrasing: Phrasing = Phrasing.TRAIN, palette: Palette = NOMINAL
) -> SceneSpec:
    """Draw the scene of a seed: the same arguments always give the same scene.

    Neither the phrasing nor the palette moves anything: scenes that differ in them alone can be compared.
    """
    rng = np.random.default_rng([zlib.crc32(family.value.encode()), seed])
    boards = _sample_boards(rng)
    goal = int(rng.integers(2))
    objects, request = SAMPLERS[family](rng, palette)
    if family is Family.OBSTACLE:
        objects = obstacle_between(rng, objects[0], boards[goal], palette)
    shade = rng.uniform(0.35, 0.75)
    table = np.clip(shade * np.array([1.0, 0.95, 0.88]) + rng.normal(0, 0.03, 3), 0.1, 0.95)
    words = np.random.default_rng([zlib.crc32(family.value.encode()), seed, 1])
    scene = SceneSpec(family, seed, "", objects, boards, goal, _rgb(table))
    return _ask(scene, request, goal, words, phrasing)


def rearrange(scene: SceneSpec, rng: np.random.Generator, phrasing: Phrasing = Phrasing.TRAIN) -> SceneSpec:
    """The same things in other places on the same table, and another instruction.

    Boards, the picture of an illusion and all looks stay; which object and board are asked for, by whose view
    and in which words, is drawn anew.
    """
    goal = int(rng.integers(2))
    objects = MOVES[scene.family](rng, scene.objects, scene.boards[goal])
    return _ask(replace(scene, objects=objects), REQUESTS[scene.family](rng, objects), goal, rng, phrasing)


def _ask(
    scene: SceneSpec, request: Request, goal: int, rng: np.random.Generator, phrasing: Phrasing
) -> SceneSpec:
    board = scene.boards[goal] if request.viewer != "camera" else scene.boards[1 - goal]
    instruction = write_instruction(rng, phrasing, request.words, f"{board.side} board", request.viewer)
    objects = tuple(
        replace(item, role=Role.TARGET if index == request.target else Role.DISTRACTOR)
        if item.role in (Role.TARGET, Role.DISTRACTOR)
        else item
        for index, item in enumerate(scene.objects)
    )
    return replace(scene, instruction=instruction, objects=objects, goal=goal)


def _sample_boards(rng: np.random.Generator) -> tuple[BoardSpec, BoardSpec]:
    """Left board first, as the robot sees it."""
    boards = []
    for side, sign in (("left", 1.0), ("right", -1.0)):
        xy = (float(rng.uniform(-0.06, 0.06)), float(sign * rng.uniform(0.235, 0.265)))
        color = np.array(_BOARD_COLORS[rng.integers(len(_BOARD_COLORS))]) * rng.uniform(0.85, 1.1)
        boards.append(BoardSpec(side, _rgb(np.clip(color, 0, 1)), xy))
    return boards[0], boards[1]


def _rgb(values: np.ndarray) -> Rgb:
    return (float(values[0]), float(values[1]), float(values[2]))
