"""The action space: metres and radians <-> bins <-> tokens <-> text, and the gripper's direction.

The gripper value is closure: 1 = closed, 0 = open. Every other convention is converted at its edge.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spatialbot_policy.errors import ActionError, ConfigError
from spatialbot_policy.types import ActionStep, FloatArray

ActionKind = Literal["delta_pose", "delta_pose_terminate"]
ACTION_NAMES = ("dx", "dy", "dz", "droll", "dpitch", "dyaw", "gripper")


@dataclass(frozen=True)
class ActionSpace:
    """Bounds and bins of one delta-pose action; it is also its own configuration.

    A motion dimension maps -bound..bound linearly to bins 0..bins-1, so that standing still is exactly the
    middle bin; gripper closure and the terminate flag map 0..1. The flag comes last, as in the action vector
    (dX, dY, dZ, dR, dP, dYa, C, T) of the first version of the paper.

    Attributes:
        kind: "delta_pose" with 7 dimensions, or the RT-X "delta_pose_terminate" with 8.
        translation_bound_m: largest step along each axis, in metres.
        rotation_bound_rad: largest turn about each axis, in radians.
        bins: values of each dimension, odd.

    Raises:
        ConfigError: an unknown kind, a bound that is not positive, or a number of bins outside 3, 5 .. 999.
    """

    kind: ActionKind = "delta_pose"
    translation_bound_m: float = 0.05
    rotation_bound_rad: float = 0.1
    bins: int = 101

    def __post_init__(self) -> None:
        if self.kind not in ("delta_pose", "delta_pose_terminate"):
            raise ConfigError(f"unknown action kind '{self.kind}'; use delta_pose or delta_pose_terminate")
        if not (0 < self.translation_bound_m < np.inf and 0 < self.rotation_bound_rad < np.inf):
            raise ConfigError(
                f"action bounds must be positive, got translation_bound_m={self.translation_bound_m} and "
                f"rotation_bound_rad={self.rotation_bound_rad}"
            )
        if self.bins % 2 == 0 or not 3 <= self.bins <= 999:
            raise ConfigError(f"bins must be odd (a middle bin stands still) and in 3..999, got {self.bins}")

    @property
    def terminates(self) -> bool:
        """Whether the last dimension is the terminate flag."""
        return self.kind == "delta_pose_terminate"

    @property
    def dimensions(self) -> int:
        """Tokens of one action: 7, or 8 with the terminate flag."""
        return len(ACTION_NAMES) + self.terminates

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each dimension, in order."""
        return ACTION_NAMES + ("terminate",) * self.terminates

    @cached_property
    def _low(self) -> FloatArray:
        return np.array([-self.translation_bound_m] * 3 + [-self.rotation_bound_rad] * 3 + [0.0])

    @cached_property
    def _high(self) -> FloatArray:
        return np.array([self.translation_bound_m] * 3 + [self.rotation_bound_rad] * 3 + [1.0])

    def encode_vectors(self, vectors: ArrayLike, terminate: ArrayLike | None = None) -> NDArray[np.int64]:
        """Turn actions into bins, clipping to the bounds.

        Args:
            vectors: (T, 7) as `ActionStep.as_vector` gives them.
            terminate: (T,) flags, None for False; they only matter where the space has the flag.

        Returns:
            (T, dimensions) bins.

        Raises:
            ActionError: another shape, or a value that is not finite.
        """
        values = np.asarray(vectors, dtype=np.float64)
        if values.ndim != 2 or values.shape[1] != len(ACTION_NAMES):
            raise ActionError(f"actions must be (T, 7): {', '.join(ACTION_NAMES)}; got shape {values.shape}")
        if not np.all(np.isfinite(values)):
            row = int(np.argmax(~np.isfinite(values).all(axis=1)))
            raise ActionError(f"action {row} is not finite: {values[row]}; drop it or mend its source")
        fraction = (np.clip(values, self._low, self._high) - self._low) / (self._high - self._low)
        bins = np.rint(fraction * (self.bins - 1)).astype(np.int64)
        if not self.terminates:
            return bins
        flags = np.zeros(len(bins), dtype=bool) if terminate is None else np.asarray(terminate, dtype=bool)
        if flags.shape != (len(bins),):
            raise ActionError(f"{len(bins)} actions need as many terminate flags, got shape {flags.shape}")
        return np.column_stack([bins, flags * (self.bins - 1)])

    def decode_vectors(self, bins: ArrayLike) -> FloatArray:
        """Turn (T, dimensions) bins into (T, 7) actions; the terminate flag is left out.

        Raises:
            ActionError: another shape or type, or a bin outside 0..bins-1.
        """
        values = np.asarray(bins)
        if values.ndim != 2 or values.shape[1] != self.dimensions or values.dtype.kind not in "iu":
            raise ActionError(
                f"bins must be (T, {self.dimensions}) integers: {', '.join(self.names)}; "
                f"got {values.shape} {values.dtype}"
            )
        if values.size and not (values.min() >= 0 and values.max() < self.bins):
            raise ActionError(f"bins must lie in 0..{self.bins - 1}, got {values.min()}..{values.max()}")
        # Measured from the middle, so that the middle bin is exactly zero motion.
        middle = (self.bins - 1) / 2
        centered = (values[:, : len(ACTION_NAMES)] - middle) / middle
        actions = centered * self._high
        actions[:, -1] = values[:, len(ACTION_NAMES) - 1] / (self.bins - 1)
        return np.asarray(actions)

    def to_bins(self, step: ActionStep) -> NDArray[np.int64]:
        """Turn one action into its (dimensions,) bins, clipping to the bounds."""
        bins: NDArray[np.int64] = self.encode_vectors(step.as_vector()[None], [step.terminate])[0]
        return bins

    def from_bins(self, bins: ArrayLike) -> ActionStep:
        """Turn (dimensions,) bins into an action: the inverse of `to_bins` on the grid.

        Raises:
            ActionError: another width, or a bin outside 0..bins-1.
        """
        values = np.asarray(bins)
        vector = self.decode_vectors(values[None])[0]
        terminate = self.terminates and bool(2 * values[-1] >= self.bins)
        return ActionStep(vector[:3], vector[3:6], float(vector[6]), terminate)

    @cached_property
    def token_strings(self) -> tuple[str, ...]:
        """The vocabulary's action tokens, one for each bin and shared by the dimensions."""
        return tuple(f"<action_{index:03d}>" for index in range(self.bins))

    def to_tokens(self, bins: ArrayLike) -> tuple[str, ...]:
        """Name the tokens of (dimensions,) bins."""
        self.decode_vectors(np.asarray(bins)[None])
        return tuple(self.token_strings[int(value)] for value in np.asarray(bins))

    def from_tokens(self, tokens: Sequence[str]) -> NDArray[np.int64]:
        """Read (dimensions,) bins from token strings.

        Raises:
            ActionError: a string that is no action token, or another number of them.
        """
        index = {token: value for value, token in enumerate(self.token_strings)}
        unknown = [token for token in tokens if token not in index]
        if unknown or len(tokens) != self.dimensions:
            raise ActionError(
                f"an action is {self.dimensions} tokens {self.token_strings[0]}..{self.token_strings[-1]}, "
                f"got {' '.join(tokens)!r}"
            )
        return np.array([index[token] for token in tokens], dtype=np.int64)

    @property
    def _decimals(self) -> int:
        return max(2, len(str(self.bins - 2)))

    def _value_text(self, value: int) -> str:
        text = f"{value / (self.bins - 1):.{self._decimals}f}"
        return text.rstrip("0").rstrip(".")

    def to_text(self, bins: ArrayLike) -> str:
        """Write (dimensions,) bins as the paper does: `<0.17, 0.51, 0.44, 0.62, 0.83, 0.07, 1>`."""
        self.decode_vectors(np.asarray(bins)[None])
        return f"<{', '.join(self._value_text(int(value)) for value in np.asarray(bins))}>"

    def from_text(self, text: str) -> NDArray[np.int64]:
        """Read (dimensions,) bins from the text form, strictly: nothing around it, only values of the grid.

        Raises:
            ActionError: another form, another number of values, or a value between two bins.
        """
        match = re.fullmatch(r"<([^<>]*)>", text.strip())
        parts = [part.strip(" ") for part in match.group(1).split(",")] if match else []
        if len(parts) != self.dimensions:
            example = self.to_text([self.bins // 2] * self.dimensions)
            raise ActionError(f"an action's text has {self.dimensions} values, e.g. {example}; got {text!r}")
        return np.array([self._read_value(part, text) for part in parts], dtype=np.int64)

    def _read_value(self, part: str, text: str) -> int:
        if re.fullmatch(rf"[01](\.[0-9]{{1,{self._decimals}}})?", part):
            value = round(float(part) * (self.bins - 1))
            on_grid = value < self.bins and self._value_text(value) == _shortest(part)
            if on_grid:
                return value
        raise ActionError(
            f"'{part}' in {text!r} is none of the {self.bins} values {self._value_text(0)}, "
            f"{self._value_text(1)} .. {self._value_text(self.bins - 1)}"
        )


def _shortest(part: str) -> str:
    """`0.50` and `0.5` are the same value."""
    return part.rstrip("0").rstrip(".") if "." in part else part
