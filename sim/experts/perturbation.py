"""Disturbs an expert on its way, so that its recordings hold recoveries; the label stays the expert's own."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from spatialbot_policy.types import ActionStep


@dataclass
class Perturbation:
    """Noise on the executed action: a level drawn for each episode, and now and then a push.

    Args:
        rng: generator of the episode.
        levels_m: standard deviations a level is drawn from.
        push_rate: share of steps at which a push begins.
        push_m: length of each of the three steps of a push.
    """

    rng: np.random.Generator
    levels_m: tuple[float, ...] = (0.0, 0.004, 0.008, 0.014)
    push_rate: float = 0.04
    push_m: float = 0.03

    def __post_init__(self) -> None:
        self._level_m = float(self.rng.choice(self.levels_m))
        self._push = np.zeros(3)
        self._left = 0

    def __call__(self, action: ActionStep) -> ActionStep:
        """Return what is carried out instead of the expert's action; a closed gripper is left in peace."""
        if self._left == 0 and self._level_m > 0 and self.rng.random() < self.push_rate:
            direction = self.rng.normal(size=3)
            self._push = self.push_m * direction / np.linalg.norm(direction)
            self._left = 3
        noise = self.rng.normal(0.0, self._level_m, 3) if self._level_m > 0 else np.zeros(3)
        if self._left > 0:
            self._left -= 1
            noise = noise + self._push
        if action.gripper_closure > 0.5:
            noise = 0.3 * noise
        turn = self.rng.normal(0.0, self._level_m, 3) * 2.0
        return replace(
            action,
            translation_m=action.translation_m + noise,
            rotation_rad=action.rotation_rad + turn,
        )
