"""Where things are, as an auxiliary question: a linear head on the vision tower answers it in training only.

Imitation alone confuses object and gripper, which are in one place in most frames. Being asked for both, and
for the boards, on stills with random arm poses, the tower learns to tell them apart. Everything but the tool
is asked for as seen from the tool: a moved camera blurs places, not differences. And it is asked which of the
objects is nearest, tallest and so on, so that the answers to an instruction's words can be read from the
features. The head does not ship.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spatialbot_training.object_facts import ObjectFacts

_CENTRE_M = np.array([0.6, 0.0, 0.1])
SCALE_M = 0.1
_SIZE_SCALE_M, _USUAL_HEIGHT_M, _USUAL_RADIUS_M = 0.01, 0.06, 0.026
_VISIBLE_M = 0.003  # a smaller difference in size makes no object the tallest
PLACES = ("leftmost", "middle", "rightmost")
RELATIONS = ("nearest", "farthest", "tallest", "shortest", "widest", "narrowest", "real")
NAMES: tuple[str, ...] = (
    *(f"tool_{axis}" for axis in "xyz"),
    "closure",
    *(f"board_{side}_{axis}" for side in ("left", "right") for axis in "xy"),
    *(f"object_{place}_{axis}" for place in PLACES for axis in "xyz"),
    *(f"only_object_{axis}" for axis in "xyz"),
    *(f"{fact}_{place}" for place in PLACES for fact in ("height", "radius", "is_real")),
    *(f"{relation}_{axis}" for relation in RELATIONS for axis in "xyz"),
    *(f"obstacle_{axis}" for axis in "xyz"),
    "height_obstacle",
)
"""One number each. Positions are relative to the tool in the robot base frame, the tool's own to a point
above the table; objects are ordered as the robot sees them, pictures included."""
_NOT_OBJECTS = {"target", "goal", "board_left", "board_right", "obstacle"}
_PLACE = {name: column for column, name in enumerate(NAMES)}
_GROUPS = {
    "tool": slice(0, 3),
    "closure": slice(3, 4),
    "boards": slice(4, 8),
    "objects": slice(8, 17),
    "relations": slice(_PLACE["nearest_x"], _PLACE["obstacle_x"]),
    "obstacle": slice(_PLACE["obstacle_x"], len(NAMES)),
}
# Millimetres of a unit; of closure, percent.
_UNIT_MM = np.array(
    [1000 * (_SIZE_SCALE_M if name.startswith(("height_", "radius_")) else SCALE_M) for name in NAMES]
)


def localisation_targets(
    tool_pose: np.ndarray,
    closure: np.ndarray,
    transforms: Mapping[str, np.ndarray],
    facts: Mapping[str, ObjectFacts] | None = None,
) -> np.ndarray:
    """Answers for every step of an episode.

    Args:
        tool_pose: (T, 7) position and quaternion.
        closure: (T,) of the gripper.
        transforms: name to (T, 7) poses; those of SpatialPickPlace, or none for other recordings. Rows of
            NaN where a step lacks the object.
        facts: role and size of objects, by the names of their transforms; what needs those of an object
            without any has no answer.

    Returns:
        (T, len(NAMES)) float32, NaN where there is no answer: the tool in units of 0.1 m around a point above
        the table, other positions minus the tool's in units of 0.1 m, heights and radii in units of 0.01 m
        around 0.06 and 0.026 m, 1 or 0 for what is real or a picture. A picture has no height and no radius.
    """
    known = {} if facts is None else facts
    answers = np.full((len(tool_pose), len(NAMES)), np.nan, dtype=np.float32)
    answers[:, 0:3] = (tool_pose[:, :3] - _CENTRE_M) / SCALE_M
    answers[:, 3] = closure
    for column, side in ((4, "left"), (6, "right")):
        if f"board_{side}" in transforms:
            answers[:, column : column + 2] = from_tool(tool_pose, transforms[f"board_{side}"])[:, :2]
    names = [name for name in transforms if name not in _NOT_OBJECTS and not _in_the_way(name, known)]
    if names:
        places = np.stack([from_tool(tool_pose, transforms[name]) for name in names], axis=1)
        sizes = np.array([_sizes(known.get(name)) for name in names])
        _answer_objects(answers, places, np.broadcast_to(sizes, (len(places), *sizes.shape)))
    for name in transforms:
        if _in_the_way(name, known):
            column = _PLACE["obstacle_x"]
            answers[:, column : column + 3] = from_tool(tool_pose, transforms[name])
            height = np.where(np.isfinite(answers[:, column]), _sizes(known.get(name))[0], np.nan)
            answers[:, column + 3] = _height(height)
    return answers


def from_tool(tool_pose: np.ndarray, poses: np.ndarray) -> np.ndarray:
    """(T, 7) poses -> (T, 3) their positions minus the tool's, in units of 0.1 m."""
    return np.asarray((poses[:, :3] - tool_pose[:, :3]) / SCALE_M)


def _in_the_way(name: str, facts: Mapping[str, ObjectFacts]) -> bool:
    return name == "obstacle" or (name in facts and facts[name].role == "obstacle")


def _sizes(facts: ObjectFacts | None) -> tuple[float, float, float]:
    """Height and radius in metres, and whether it is real; NaN where unknown."""
    if facts is None:
        return np.nan, np.nan, np.nan
    return (facts.height_m, facts.radius_m, 1.0) if facts.real else (np.nan, np.nan, 0.0)


def _height(height_m: np.ndarray) -> np.ndarray:
    return np.asarray((height_m - _USUAL_HEIGHT_M) / _SIZE_SCALE_M)


def _answer_objects(answers: np.ndarray, places: np.ndarray, sizes: np.ndarray) -> None:
    """Fill in the objects' answers; a step that lacks an object has NaN in its place.

    Args:
        answers: (T, len(NAMES)).
        places: (T, objects, 3) from the tool.
        sizes: (T, objects, 3) height, radius and whether it is real.
    """
    order = np.argsort(-places[:, :, 1], axis=1)[:, :, None]  # y points to the robot's left; NaN goes last
    places, sizes = np.take_along_axis(places, order, axis=1), np.take_along_axis(sizes, order, axis=1)
    present = np.isfinite(places[:, :, 1])
    sizes = np.where(present[:, :, None], sizes, np.nan)
    count = present.sum(axis=1)
    steps = np.arange(len(places))
    radii = (sizes[:, :, 1] - _USUAL_RADIUS_M) / _SIZE_SCALE_M
    shown = np.stack([_height(sizes[:, :, 0]), radii, sizes[:, :, 2]], axis=2)
    first, last = np.zeros_like(count), np.maximum(count, 1) - 1
    wanted = ((first, count > 0), (count // 2, count % 2 == 1), (last, count > 0))  # as in PLACES
    for number, (chosen, asked) in enumerate(wanted):
        at, fact = 8 + 3 * number, _PLACE["height_leftmost"] + 3 * number
        answers[asked, at : at + 3] = places[steps, chosen][asked]
        answers[asked, fact : fact + 3] = shown[steps, chosen][asked]
    answers[count == 1, 17:20] = places[count == 1, 0]
    _answer_relations(answers, places, sizes, present)


def _answer_relations(
    answers: np.ndarray, places: np.ndarray, sizes: np.ndarray, present: np.ndarray
) -> None:
    """Fill in which object is nearest, tallest and so on; the arguments are those of `_answer_objects`."""
    real = sizes[:, :, 2]
    facts = ~(present & np.isnan(real)).any(axis=1)
    single = (real == 1).sum(axis=1) == 1
    always = np.ones(len(places), dtype=bool)
    asked = {
        "nearest": (-places[:, :, 0], -1.0, always),
        "farthest": (places[:, :, 0], -1.0, always),
        "tallest": (sizes[:, :, 0], _VISIBLE_M, facts),
        "shortest": (-sizes[:, :, 0], _VISIBLE_M, facts),
        "widest": (sizes[:, :, 1], _VISIBLE_M, facts),
        "narrowest": (-sizes[:, :, 1], _VISIBLE_M, facts),
        "real": (real, 0.5, facts & single),
    }
    for relation, (values, gap, answerable) in asked.items():
        best, lead = _extreme(values)
        chosen = answerable & (lead > gap)
        column = _PLACE[f"{relation}_x"]
        answers[chosen, column : column + 3] = places[np.arange(len(places)), best][chosen]


def _extreme(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest of each row of (T, objects), and how far it is ahead of the next; NaN without a next."""
    if values.shape[1] < 2:
        return np.zeros(len(values), dtype=int), np.full(len(values), np.nan)
    order = np.argsort(-values, axis=1)
    first, second = (np.take_along_axis(values, order[:, [place]], axis=1)[:, 0] for place in (0, 1))
    return order[:, 0], first - second


class LocalisationHead(nn.Module):
    """Linear read-out of the answers from the tower's frame features."""

    def __init__(self, feature_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(feature_size, len(NAMES))

    def forward(self, features: Tensor) -> Tensor:
        """(N, F) float32 -> (N, len(NAMES))."""
        with torch.autocast(features.device.type, enabled=False):
            answers: Tensor = self.linear(features.float())
        return answers


def localisation_loss(answers: Tensor, targets: Tensor) -> Tensor:
    """Mean smooth L1 over the known targets; beyond 1 cm it grows linearly."""
    known = ~torch.isnan(targets)
    if not bool(known.any()):
        return answers.sum() * 0.0
    return F.smooth_l1_loss(answers[known], targets[known], beta=0.1)


def localisation_errors_mm(answers: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Median absolute error of each group of answers in millimetres (closure in percent)."""
    gap = np.abs(answers - targets)
    return {
        name: float(np.nanmedian(gap[:, columns] * _UNIT_MM[columns]))
        for name, columns in _GROUPS.items()
        if np.isfinite(gap[:, columns]).any()
    }
