"""What a scene holds, drawn from its seed alone: objects, boards, target, instruction. No simulator in here.

World frame: origin on the table top in front of the robot, x away from it, y to its left, z up.
The camera stands opposite the robot, so its left is the robot's right.

Data sets were collected with these draws; with more, fewer or in another order a seed means another scene.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from spatialbot_policy.errors import TaskError
from spatialbot_sim.task.instructions import DEGREES, Phrasing, write_instruction

BOARD_HALF_M = (0.075, 0.075, 0.006)
OBJECT_REGION_M = ((-0.11, 0.10), (-0.125, 0.125))
MIN_SPACING_M = (0.085, 0.14)
"""Neighbours differ by this much in x or y: the hand is 20 cm wide along y, its palm 4.5 cm over the tips."""
COLORS: dict[str, tuple[float, float, float]] = {
    "red": (0.80, 0.08, 0.07),
    "green": (0.08, 0.55, 0.14),
    "blue": (0.08, 0.18, 0.75),
    "yellow": (0.90, 0.75, 0.06),
    "orange": (0.92, 0.38, 0.04),
    "purple": (0.42, 0.10, 0.55),
}
_BOARD_COLORS = ((0.50, 0.30, 0.13), (0.72, 0.55, 0.35), (0.85, 0.85, 0.83), (0.15, 0.15, 0.17))


class Family(str, Enum):
    """The five families of SpatialPickPlace, after SpatialQA-E (SpatialBot, ICRA 2025)."""

    PICK = "pick"
    POSITION = "position"
    SIZE = "size"
    OBSTACLE = "obstacle"
    ILLUSION = "illusion"


class Shape(str, Enum):
    """Procedural object shapes."""

    CUP = "cup"
    BALL = "ball"
    BOX = "box"


class Role(str, Enum):
    """What an object is in its scene."""

    TARGET = "target"
    DISTRACTOR = "distractor"
    OBSTACLE = "obstacle"
    PICTURE = "picture"


@dataclass(frozen=True)
class ObjectSpec:
    """One object standing on the table; `radius_m` is half the width of a box."""

    name: str
    shape: Shape
    role: Role
    color: str
    radius_m: float
    height_m: float
    xy_m: tuple[float, float]
    yaw_rad: float

    @property
    def rest_height_m(self) -> float:
        """Height of the object's centre above the surface it stands on."""
        return self.radius_m if self.shape is Shape.BALL else self.height_m / 2

    @property
    def grasp_height_m(self) -> float:
        """Height of the tool centre point above the object's foot when the fingers close."""
        return self.radius_m if self.shape is Shape.BALL else max(0.5 * self.height_m, self.height_m - 0.025)


@dataclass(frozen=True)
class BoardSpec:
    """A cutting board; `side` is the side the robot sees it on."""

    side: str
    rgb: tuple[float, float, float]
    xy_m: tuple[float, float]


@dataclass(frozen=True)
class SceneSpec:
    """A whole scene: `objects` holds exactly one target, `goal` is the index of its board."""

    family: Family
    seed: int
    instruction: str
    objects: tuple[ObjectSpec, ...]
    boards: tuple[BoardSpec, BoardSpec]
    goal: int
    table_rgb: tuple[float, float, float]

    @property
    def target(self) -> ObjectSpec:
        """The object the instruction asks for."""
        return next(item for item in self.objects if item.role is Role.TARGET)

    @property
    def obstacle(self) -> ObjectSpec | None:
        """The thing in the way, in the `obstacle` family."""
        return next((item for item in self.objects if item.role is Role.OBSTACLE), None)


def parse_family(name: str) -> Family:
    """Turn a name into a Family.

    Raises:
        TaskError: no family has that name.
    """
    try:
        return Family(name)
    except ValueError as error:
        known = ", ".join(family.value for family in Family)
        raise TaskError(f"unknown family '{name}'; the families are: {known}") from error


def sample_scene(family: Family, seed: int, phrasing: Phrasing = Phrasing.TRAIN) -> SceneSpec:
    """Draw the scene of a seed: the same arguments always give the same scene."""
    rng = np.random.default_rng([zlib.crc32(family.value.encode()), seed])
    boards = _sample_boards(rng)
    goal = int(rng.integers(2))
    objects, words, viewer = _SAMPLERS[family](rng)
    side = boards[goal].side if viewer != "camera" else boards[1 - goal].side
    if family is Family.OBSTACLE:
        objects = _obstacle_between(rng, objects[0], boards[goal])
    instruction = write_instruction(rng, phrasing, words, f"{side} board", viewer)
    shade = rng.uniform(0.35, 0.75)
    table = np.clip(shade * np.array([1.0, 0.95, 0.88]) + rng.normal(0, 0.03, 3), 0.1, 0.95)
    return SceneSpec(family, seed, instruction, objects, boards, goal, _rgb(table))


Sample = tuple[tuple[ObjectSpec, ...], str, str | None]
"""What a family's sampler gives: objects, the words for its target, and the viewer the words depend on."""


def _rgb(values: np.ndarray) -> tuple[float, float, float]:
    return (float(values[0]), float(values[1]), float(values[2]))


def _sample_boards(rng: np.random.Generator) -> tuple[BoardSpec, BoardSpec]:
    """Left board first, as the robot sees it."""
    boards = []
    for side, sign in (("left", 1.0), ("right", -1.0)):
        xy = (float(rng.uniform(-0.06, 0.06)), float(sign * rng.uniform(0.235, 0.265)))
        color = np.array(_BOARD_COLORS[rng.integers(len(_BOARD_COLORS))]) * rng.uniform(0.85, 1.1)
        boards.append(BoardSpec(side, _rgb(np.clip(color, 0, 1)), xy))
    return boards[0], boards[1]


def _sample_object(rng: np.random.Generator, shape: Shape | None = None) -> ObjectSpec:
    shape = list(Shape)[rng.integers(len(Shape))] if shape is None else shape
    radius = float(rng.uniform(0.023, 0.031))
    height = {
        Shape.CUP: float(rng.uniform(0.06, 0.085)),
        Shape.BALL: 2 * radius,
        Shape.BOX: float(rng.uniform(0.045, 0.075)),
    }[shape]
    yaw = float(rng.uniform(-0.5, 0.5)) if shape is Shape.BOX else 0.0
    color = list(COLORS)[rng.integers(len(COLORS))]
    return ObjectSpec("object", shape, Role.TARGET, color, radius, height, _sample_xy(rng), yaw)


def _sample_xy(rng: np.random.Generator) -> tuple[float, float]:
    (x0, x1), (y0, y1) = OBJECT_REGION_M
    return float(rng.uniform(x0, x1)), float(rng.uniform(y0, y1))


def _spread(rng: np.random.Generator, count: int, valid: Callable[[np.ndarray], bool]) -> np.ndarray:
    """Draw (count, 2) positions, each pair MIN_SPACING_M apart in x or y, that `valid` accepts."""
    while True:
        xy = np.array([_sample_xy(rng) for _ in range(count)])
        apart = np.abs(xy[:, None] - xy[None])[np.triu_indices(count, 1)] >= MIN_SPACING_M
        if apart.any(axis=1).all() and valid(xy):
            return xy


def _sample_pick(rng: np.random.Generator) -> Sample:
    """One object alone."""
    item = _sample_object(rng)
    return (item,), f"{item.color} {item.shape.value}", None


def _sample_position(rng: np.random.Generator) -> Sample:
    """Alike objects told apart by where they stand, seen from the robot or from the camera."""
    relation = ("left", "right", "middle", "closest", "farthest")[rng.integers(5)]
    count = 3 if relation == "middle" else int(rng.integers(2, 4))
    viewer = ("robot", "camera")[rng.integers(2)]
    # a difference that can be seen: 4 cm between neighbours along the axis that decides
    axis = 0 if relation in ("closest", "farthest") else 1
    xy = _spread(rng, count, lambda points: bool(np.diff(np.sort(points[:, axis])).min() > 0.04))
    order = np.argsort(xy[:, axis])  # x: robot to camera; y: the robot's right to its left
    along = order if viewer == "robot" else order[::-1]
    rank = {"left": -1, "right": 0, "middle": 1, "closest": 0, "farthest": -1}[relation]
    target = int(along[rank])
    model = _sample_object(rng)
    return _copies(model, xy, target), f"{relation} {model.color} {model.shape.value}", viewer


def _copies(model: ObjectSpec, xy: np.ndarray, target: int) -> tuple[ObjectSpec, ...]:
    """Alike objects at the (N, 2) positions; the one at index `target` is asked for."""
    return tuple(
        replace(
            model,
            name=f"object_{index}",
            xy_m=(float(point[0]), float(point[1])),
            role=Role.TARGET if index == target else Role.DISTRACTOR,
        )
        for index, point in enumerate(xy)
    )


def _sample_size(rng: np.random.Generator) -> Sample:
    """Objects of one shape and colour that differ in size; the word's degree follows their number."""
    word = list(DEGREES)[rng.integers(len(DEGREES))]
    degree = int(rng.integers(3))
    count = 3 if degree == 2 else 2
    # a ball has no height of its own, so tall, short and wide are asked of cups and boxes
    shapes = (Shape.CUP, Shape.BOX) if word in ("tall", "short", "wide") else tuple(Shape)
    model = _sample_object(rng, shape=shapes[rng.integers(len(shapes))])
    xy = _spread(rng, count, lambda points: True)
    steps = np.linspace(0.0, 1.0, count)
    radii, heights = np.full(count, 0.026), np.full(count, 0.062)
    if word in ("big", "small"):
        radii, heights = 0.0195 + 0.0125 * steps, 0.045 + 0.04 * steps
    elif word in ("tall", "short"):
        heights = 0.042 + 0.046 * steps
    else:
        radii = 0.0195 + 0.0125 * steps
    target = 0 if word in ("small", "short") else count - 1
    objects = tuple(
        replace(
            item,
            radius_m=float(radius),
            height_m=float(2 * radius if model.shape is Shape.BALL else height),
        )
        for item, radius, height in zip(_copies(model, xy, target), radii, heights, strict=True)
    )
    return objects, f"{DEGREES[word][degree]} {model.color} {model.shape.value}", None


def _obstacle_between(
    rng: np.random.Generator, item: ObjectSpec, board: BoardSpec
) -> tuple[ObjectSpec, ObjectSpec]:
    """The object on the side away from its board, and a slim post on the straight way there.

    The post leaves room for the hand, which is 20 cm wide along y, over the object and over the board.
    """
    side = float(np.sign(board.xy_m[1]))
    item = replace(item, xy_m=(item.xy_m[0], -side * float(rng.uniform(0.01, 0.11))))
    start, end = np.array(item.xy_m), np.array(board.xy_m)
    length = abs(end[1] - start[1])
    point = start + (end - start) * rng.uniform(0.118 / length, 1.0 - 0.118 / length)
    colors = [color for color in COLORS if color != item.color]
    post = ObjectSpec(
        "obstacle",
        Shape.BOX,
        Role.OBSTACLE,
        colors[rng.integers(len(colors))],
        float(rng.uniform(0.013, 0.016)),
        float(rng.uniform(0.10, 0.13)),
        (float(point[0]), float(point[1])),
        0.0,
    )
    return item, post


def _sample_illusion(rng: np.random.Generator) -> Sample:
    """One real object and a flat printed picture of it."""
    item = _sample_object(rng, shape=(Shape.CUP, Shape.BOX)[rng.integers(2)])
    xy = _spread(rng, 2, lambda points: True)
    picture = replace(item, name="picture", role=Role.PICTURE, xy_m=(float(xy[1][0]), float(xy[1][1])))
    real = replace(item, xy_m=(float(xy[0][0]), float(xy[0][1])))
    return (real, picture), f"real {item.color} {item.shape.value}", None


_SAMPLERS = {
    Family.PICK: _sample_pick,
    Family.POSITION: _sample_position,
    Family.SIZE: _sample_size,
    Family.OBSTACLE: _sample_pick,  # what stands in the way depends on the board: _obstacle_between
    Family.ILLUSION: _sample_illusion,
}
