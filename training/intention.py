"""What the words mean, as an auxiliary question: a linear head on the language model answers it in training.

Which object is to be taken, and to which board, is asked for at the positions from which the action's tokens
are predicted: there the instruction and all images have been read. The head does not ship.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from spatialbot_training.localisation import SCALE_M, from_tool, localisation_loss

MEANT: tuple[str, ...] = ("target_x", "target_y", "target_z", "goal_x", "goal_y")
"""One number each: positions minus the tool's in the robot base frame, in units of 0.1 m."""
_RIGHT_M = 0.03


def meant_places(tool_pose: np.ndarray, transforms: Mapping[str, np.ndarray]) -> np.ndarray:
    """Where the object and the board that are meant lie, as seen from the tool.

    Args:
        tool_pose: (T, 7) position and quaternion.
        transforms: name to (T, 7) poses; `target` is the object asked for, `goal` its board.

    Returns:
        (T, len(MEANT)) float32 in units of 0.1 m; NaN where a recording does not say.
    """
    meant = np.full((len(tool_pose), len(MEANT)), np.nan, dtype=np.float32)
    if "target" in transforms:
        meant[:, :3] = from_tool(tool_pose, transforms["target"])
    if "goal" in transforms:
        meant[:, 3:] = from_tool(tool_pose, transforms["goal"])[:, :2]
    return meant


class IntentionHead(nn.Module):
    """Linear read-out of the places that are meant from the language model's hidden states."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden_size, len(MEANT))

    def forward(self, states: Tensor) -> Tensor:
        """(P, hidden) -> (P, len(MEANT)) float32."""
        with torch.autocast(states.device.type, enabled=False):
            answers: Tensor = self.linear(states.float())
        return answers


def intention_loss(answers: Tensor, meant: Tensor) -> Tensor:
    """Mean smooth L1 over the known places; beyond 1 cm it grows linearly."""
    return localisation_loss(answers, meant)


def intention_figures(answers: np.ndarray, meant: np.ndarray) -> dict[str, float]:
    """How far off the answers are.

    Args:
        answers: (R, len(MEANT)).
        meant: (R, len(MEANT)), NaN where unknown.

    Returns:
        median distance in millimetres of target and goal, and the share of targets whose answer is nearer
        than 3 cm horizontally; only what is known.
    """
    figures: dict[str, float] = {}
    for name, columns in (("target", slice(0, 3)), ("goal", slice(3, 5))):
        away_m = np.linalg.norm(answers[:, columns] - meant[:, columns], axis=1) * SCALE_M
        if np.isfinite(away_m).any():
            figures[f"{name}_mm"] = float(np.nanmedian(away_m)) * 1000
    sideways_m = np.linalg.norm(answers[:, :2] - meant[:, :2], axis=1) * SCALE_M
    known = np.isfinite(sideways_m)
    if known.any():
        figures["target_right"] = float(np.mean(sideways_m[known] < _RIGHT_M))
    return figures
