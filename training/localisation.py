"""Where things are, as an auxiliary question: a linear head on the vision tower answers it in training only.

Imitation alone confuses object and gripper, which are in one place in most frames. Being asked for both, and
for the boards, on stills with random arm poses, the tower learns to tell them apart. The head does not ship.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

_CENTRE_M = np.array([0.6, 0.0, 0.1])
_SCALE_M = 0.1
NAMES: tuple[str, ...] = (
    *(f"tool_{axis}" for axis in "xyz"),
    "closure",
    *(f"board_{side}_{axis}" for side in ("left", "right") for axis in "xy"),
    *(f"object_{place}_{axis}" for place in ("leftmost", "middle", "rightmost") for axis in "xyz"),
    *(f"only_object_{axis}" for axis in "xyz"),
)
"""One number each, in the robot base frame; objects are ordered as the robot sees them, pictures included."""
_NOT_OBJECTS = {"target", "goal", "board_left", "board_right", "obstacle"}


def localisation_targets(
    tool_pose: np.ndarray, closure: np.ndarray, transforms: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Answers for every step of an episode.

    Args:
        tool_pose: (T, 7) position and quaternion.
        closure: (T,) of the gripper.
        transforms: name to (T, 7) poses; those of SpatialPickPlace, or none for other recordings. Rows of
            NaN where a step lacks the object.

    Returns:
        (T, len(NAMES)) float32 in units of 0.1 m around the table's centre; NaN where there is no answer.
    """
    steps = len(tool_pose)
    answers = np.full((steps, len(NAMES)), np.nan, dtype=np.float32)
    answers[:, 0:3] = _scaled(tool_pose)
    answers[:, 3] = closure
    for column, side in ((4, "left"), (6, "right")):
        if f"board_{side}" in transforms:
            answers[:, column : column + 2] = _scaled(transforms[f"board_{side}"])[:, :2]
    objects = [_scaled(poses) for name, poses in transforms.items() if name not in _NOT_OBJECTS]
    if objects:
        _answer_objects(answers, np.stack(objects, axis=1))
    return answers


def _answer_objects(answers: np.ndarray, places: np.ndarray) -> None:
    """Fill in the objects' answers from (T, objects, 3); a step that lacks an object has NaN there."""
    order = np.argsort(-places[:, :, 1], axis=1)  # y points to the robot's left; NaN goes last
    places = np.take_along_axis(places, order[:, :, None], axis=1)
    count = np.isfinite(places[:, :, 1]).sum(axis=1)
    steps = np.arange(len(places))
    odd, single = count % 2 == 1, count == 1
    answers[:, 8:11] = places[:, 0]
    answers[odd, 11:14] = places[steps, count // 2][odd]
    answers[:, 14:17] = places[steps, np.maximum(count, 1) - 1]
    answers[single, 17:20] = places[single, 0]


def _scaled(poses: np.ndarray) -> np.ndarray:
    """(T, 7) poses -> (T, 3) positions in the answers' units."""
    return np.asarray((poses[:, :3] - _CENTRE_M) / _SCALE_M)


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
    groups = {"tool": slice(0, 3), "closure": slice(3, 4), "boards": slice(4, 8), "objects": slice(8, 17)}
    return {
        name: float(np.nanmedian(gap[:, columns])) * 1000 * _SCALE_M
        for name, columns in groups.items()
        if np.isfinite(gap[:, columns]).any()
    }
