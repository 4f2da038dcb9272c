"""What each family puts on the table and may ask for, drawn from a generator. No simulator in here.

Data sets were collected with these draws; with more, fewer or in another order a seed means another scene.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from spatialbot_sim.task.instructions import DEGREES
from spatialbot_sim.task.palette import COLORS, Palette
from spatialbot_sim.task.specs import OBJECT_REGION_M, BoardSpec, Family, ObjectSpec, Role, Shape

MIN_SPACING_M = (0.085, 0.14)
"""Neighbours differ by this much in x or y: the hand is 20 cm wide along y, its palm 4.5 cm over the tips."""


@dataclass(frozen=True)
class Request:
    """What is asked for: the index of an object, the words for it, and the viewer the words depend on."""

    target: int
    words: str
    viewer: str | None = None


Objects = tuple[ObjectSpec, ...]
Sample = tuple[Objects, Request]
"""What a family's sampler gives; the objects' roles follow from the request."""


def _sample_object(rng: np.random.Generator, palette: Palette, shape: Shape | None = None) -> ObjectSpec:
    shape = list(Shape)[rng.integers(len(Shape))] if shape is None else shape
    radius = palette.radius_m(rng.random())
    height = {
        Shape.CUP: float(rng.uniform(0.06, 0.085)),
        Shape.BALL: 2 * radius,
        Shape.BOX: float(rng.uniform(0.045, 0.075)),
    }[shape]
    yaw = float(rng.uniform(-0.5, 0.5)) if shape is Shape.BOX else 0.0
    color = int(rng.integers(len(COLORS)))
    xy = _sample_xy(rng)
    return ObjectSpec(
        "object", shape, Role.TARGET, palette.names[color], radius, height, xy, yaw, palette.rgb[color]
    )


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


def _sample_pick(rng: np.random.Generator, palette: Palette) -> Sample:
    """One object alone."""
    objects = (_sample_object(rng, palette),)
    return objects, _request_only(rng, objects)


def _request_only(rng: np.random.Generator, objects: Objects) -> Request:
    return Request(0, _noun(objects[0]))


def _noun(item: ObjectSpec) -> str:
    return f"{item.color} {item.shape.value}"


RELATIONS = ("left", "right", "middle", "closest", "farthest")
VIEWERS = ("robot", "camera")
_RANKS = {"left": -1, "right": 0, "middle": 1, "closest": 0, "farthest": -1}
_VISIBLE_GAP_M = 0.04


def _axis(relation: str) -> int:
    """The coordinate that decides a relation: x or y."""
    return 0 if relation in ("closest", "farthest") else 1


def _can_tell(xy: np.ndarray, relation: str) -> bool:
    """Whether neighbours along the axis that decides differ by what can be seen, and there is a middle."""
    gaps = np.diff(np.sort(xy[:, _axis(relation)]))
    return bool(gaps.min() > _VISIBLE_GAP_M) and (relation != "middle" or len(xy) == 3)


def _request_position(objects: Objects, relation: str, viewer: str) -> Request:
    order = np.argsort([item.xy_m[_axis(relation)] for item in objects])
    along = order if viewer == "robot" else order[::-1]  # x: robot to camera; y: the robot's right to left
    target = int(along[_RANKS[relation]])
    return Request(target, f"{relation} {_noun(objects[0])}", viewer)


def _sample_position(rng: np.random.Generator, palette: Palette) -> Sample:
    """Alike objects told apart by where they stand, seen from the robot or from the camera."""
    relation = RELATIONS[rng.integers(len(RELATIONS))]
    count = 3 if relation == "middle" else int(rng.integers(2, 4))
    viewer = VIEWERS[rng.integers(2)]
    xy = _spread(rng, count, lambda points: _can_tell(points, relation))
    objects = _copies(_sample_object(rng, palette), xy)
    return objects, _request_position(objects, relation, viewer)


def _ask_position(rng: np.random.Generator, objects: Objects) -> Request:
    xy = np.array([item.xy_m for item in objects])
    possible = [relation for relation in RELATIONS if _can_tell(xy, relation)]
    return _request_position(objects, possible[rng.integers(len(possible))], VIEWERS[rng.integers(2)])


def _copies(model: ObjectSpec, xy: np.ndarray) -> Objects:
    """Alike objects at the (N, 2) positions."""
    return tuple(
        replace(model, name=f"object_{index}", xy_m=(float(point[0]), float(point[1])))
        for index, point in enumerate(xy)
    )


def _sample_size(rng: np.random.Generator, palette: Palette) -> Sample:
    """Objects of one shape and colour that differ in size; the word's degree follows their number."""
    word = list(DEGREES)[rng.integers(len(DEGREES))]
    degree = int(rng.integers(3))
    count = 3 if degree == 2 else 2
    # a ball has no height of its own, so tall, short and wide are asked of cups and boxes
    shapes = (Shape.CUP, Shape.BOX) if word in ("tall", "short", "wide") else tuple(Shape)
    model = _sample_object(rng, palette, shape=shapes[rng.integers(len(shapes))])
    xy = _spread(rng, count, lambda points: True)
    steps = np.linspace(0.0, 1.0, count)
    radii, heights = np.full(count, 0.026), np.full(count, 0.062)
    if word in ("big", "small"):
        radii, heights = 0.0195 + 0.0125 * steps, 0.045 + 0.04 * steps
    elif word in ("tall", "short"):
        heights = 0.042 + 0.046 * steps
    else:
        radii = 0.0195 + 0.0125 * steps
    radii, heights = radii * palette.width, heights * palette.height
    objects = tuple(
        replace(
            item,
            radius_m=float(radius),
            height_m=float(2 * radius if model.shape is Shape.BALL else height),
        )
        for item, radius, height in zip(_copies(model, xy), radii, heights, strict=True)
    )
    return objects, _request_size(objects, word, degree)


def _request_size(objects: Objects, word: str, degree: int) -> Request:
    """Objects are in the order of their sizes."""
    target = 0 if word in ("small", "short") else len(objects) - 1
    return Request(target, f"{DEGREES[word][degree]} {_noun(objects[0])}")


def _ask_size(rng: np.random.Generator, objects: Objects) -> Request:
    first, last = objects[0], objects[-1]
    wider, taller = last.radius_m > first.radius_m, last.height_m > first.height_m
    words = ("big", "small") if wider and taller else ("tall", "short") if taller else ("wide",)
    degree = 2 if len(objects) == 3 else int(rng.integers(2))
    return _request_size(objects, words[rng.integers(len(words))], degree)


def obstacle_between(
    rng: np.random.Generator, item: ObjectSpec, board: BoardSpec, palette: Palette
) -> tuple[ObjectSpec, ObjectSpec]:
    """The object on the side away from its board, and a slim post on the straight way there.

    The post leaves room for the hand, which is 20 cm wide along y, over the object and over the board.
    """
    item, point = _on_the_way(rng, item, board)
    others = [index for index, name in enumerate(palette.names) if name != item.color]
    color = others[rng.integers(len(others))]
    post = ObjectSpec(
        "obstacle",
        Shape.BOX,
        Role.OBSTACLE,
        palette.names[color],
        float(rng.uniform(0.013, 0.016)),
        float(rng.uniform(0.10, 0.13)),
        point,
        0.0,
        palette.rgb[color],
    )
    return item, post


def _on_the_way(
    rng: np.random.Generator, item: ObjectSpec, board: BoardSpec
) -> tuple[ObjectSpec, tuple[float, float]]:
    """The object on the side away from a board, and a point between the two."""
    side = float(np.sign(board.xy_m[1]))
    item = replace(item, xy_m=(item.xy_m[0], -side * float(rng.uniform(0.01, 0.11))))
    start, end = np.array(item.xy_m), np.array(board.xy_m)
    length = abs(end[1] - start[1])
    point = start + (end - start) * rng.uniform(0.118 / length, 1.0 - 0.118 / length)
    return item, (float(point[0]), float(point[1]))


def _sample_illusion(rng: np.random.Generator, palette: Palette) -> Sample:
    """One real object and a flat printed picture of it."""
    item = _sample_object(rng, palette, shape=(Shape.CUP, Shape.BOX)[rng.integers(2)])
    xy = _spread(rng, 2, lambda points: True)
    picture = replace(item, name="picture", role=Role.PICTURE, xy_m=(float(xy[1][0]), float(xy[1][1])))
    real = replace(item, xy_m=(float(xy[0][0]), float(xy[0][1])))
    return (real, picture), _ask_real(rng, (real, picture))


def _ask_real(rng: np.random.Generator, objects: Objects) -> Request:
    return Request(0, f"real {_noun(objects[0])}")


def _move_pick(rng: np.random.Generator, objects: Objects, board: BoardSpec) -> Objects:
    return (replace(objects[0], xy_m=_sample_xy(rng)),)


def _move_position(rng: np.random.Generator, objects: Objects, board: BoardSpec) -> Objects:
    relations = [relation for relation in RELATIONS if relation != "middle" or len(objects) == 3]
    relation = relations[rng.integers(len(relations))]
    return _moved(objects, _spread(rng, len(objects), lambda points: _can_tell(points, relation)))


def _move_size(rng: np.random.Generator, objects: Objects, board: BoardSpec) -> Objects:
    return _moved(objects, _spread(rng, len(objects), lambda points: True))


def _move_obstacle(rng: np.random.Generator, objects: Objects, board: BoardSpec) -> Objects:
    item, point = _on_the_way(rng, replace(objects[0], xy_m=_sample_xy(rng)), board)
    return item, replace(objects[1], xy_m=point)


def _move_real(rng: np.random.Generator, objects: Objects, board: BoardSpec) -> Objects:
    """The picture stays: it was printed for its place."""
    real, picture = objects
    while True:
        xy = _sample_xy(rng)
        if (np.abs(np.subtract(xy, picture.xy_m)) >= MIN_SPACING_M).any():
            return replace(real, xy_m=xy), picture


def _moved(objects: Objects, xy: np.ndarray) -> Objects:
    return tuple(
        replace(item, xy_m=(float(point[0]), float(point[1])))
        for item, point in zip(objects, xy, strict=True)
    )


SAMPLERS: dict[Family, Callable[[np.random.Generator, Palette], Sample]] = {
    Family.PICK: _sample_pick,
    Family.POSITION: _sample_position,
    Family.SIZE: _sample_size,
    Family.OBSTACLE: _sample_pick,  # what stands in the way depends on the board: obstacle_between
    Family.ILLUSION: _sample_illusion,
}
REQUESTS: dict[Family, Callable[[np.random.Generator, Objects], Request]] = {
    Family.PICK: _request_only,
    Family.POSITION: _ask_position,
    Family.SIZE: _ask_size,
    Family.OBSTACLE: _request_only,
    Family.ILLUSION: _ask_real,
}
MOVES: dict[Family, Callable[[np.random.Generator, Objects, BoardSpec], Objects]] = {
    Family.PICK: _move_pick,
    Family.POSITION: _move_position,
    Family.SIZE: _move_size,
    Family.OBSTACLE: _move_obstacle,
    Family.ILLUSION: _move_real,
}
"""The same objects in other places, for the board that is asked for."""
