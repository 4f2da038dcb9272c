"""Where things are, as an auxiliary question: a linear head on the vision tower answers it in training only.

Imitation alone confuses object and gripper, which are in one place in most frames. Being asked for both, and for
the boards, on stills with random arm poses, the tower learns to tell them apart. The head does not ship.
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
        transforms: name to (T, 7) poses; those of SpatialPickPlace, or none for other recordings.

    Returns:
        (T, len(NAMES)) float32 in units of 0.1 m around the table's centre; NaN where there is no answer.
    """
    steps = len(tool_pose)
    answers = np.full((steps, len(NAMES)), np.nan, dtype=np.float32)
    answers[:, 0:3] = (tool_pose[:, :3] - _CENTRE_M) / _SCALE_M
    answers[:, 3] = closure
    for column, side in ((4, "left"), (6, "right")):
        if f"board_{side}" in transforms:
            place = (transforms[f"board_{side}"][:, :3] - _CENTRE_M) / _SCALE_M
            answers[:, column : column + 2] = place[:, :2]
    objects = [poses[:, :3] for name, poses in transforms.items() if name not in _NOT_OBJECTS]
    if not objects:
        return answers
    places = (np.stack(objects, axis=1) - _CENTRE_M) / _SCALE_M
    order = np.argsort(-places[:, :, 1], axis=1)  # y points to the robot's left
    places = np.take_along_axis(places, order[:, :, None], axis=1)
    answers[:, 8:11], answers[:, 14:17] = places[:, 0], places[:, -1]
    if len(objects) % 2 == 1:
        answers[:, 11:14] = places[:, len(objects) // 2]
    if len(objects) == 1:
        answers[:, 17:20] = places[:, 0]
    return answers


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
