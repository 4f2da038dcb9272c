"""Colours and sizes that things are drawn with: those of training, and others that training never shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Rgb = tuple[float, float, float]

COLORS: dict[str, Rgb] = {
    "red": (0.80, 0.08, 0.07),
    "green": (0.08, 0.55, 0.14),
    "blue": (0.08, 0.18, 0.75),
    "yellow": (0.90, 0.75, 0.06),
    "orange": (0.92, 0.38, 0.04),
    "purple": (0.42, 0.10, 0.55),
}
UNSEEN_COLORS: dict[str, Rgb] = {
    "pink": (0.95, 0.48, 0.66),
    "cyan": (0.10, 0.72, 0.78),
    "brown": (0.33, 0.17, 0.07),
    "white": (0.93, 0.93, 0.93),
    "black": (0.05, 0.05, 0.05),
    "olive": (0.40, 0.42, 0.08),
}
"""For evaluation: neither these colours nor their names are in training."""

_RADII_M = (0.023, 0.031)
_THIN_M, _THICK_M = (0.0195, 0.0215), (0.0325, 0.0345)


@dataclass(frozen=True)
class Palette:
    """What a scene's draws are turned into.

    Attributes:
        names: of as many colours as COLORS has, in order.
        rgb: what they look like.
        unseen_sizes: radii outside the range of training, and the `size` family's objects 6 % wider and 12 %
            taller.
    """

    names: tuple[str, ...]
    rgb: tuple[Rgb, ...]
    unseen_sizes: bool = False

    def radius_m(self, share: float) -> float:
        """Radius of an object, for a number drawn evenly from [0, 1)."""
        if not self.unseen_sizes:
            return _between(_RADII_M, share)
        return _between(_THIN_M, 2 * share) if share < 0.5 else _between(_THICK_M, 2 * share - 1)

    @property
    def width(self) -> float:
        """Factor on the widths of the `size` family."""
        return 1.06 if self.unseen_sizes else 1.0

    @property
    def height(self) -> float:
        """Factor on the heights of the `size` family."""
        return 1.12 if self.unseen_sizes else 1.0


NOMINAL = Palette(tuple(COLORS), tuple(COLORS.values()))


def jittered(rng: np.random.Generator, spread: float) -> Palette:
    """The colours of training, each channel off by up to `spread`."""
    noise = rng.uniform(-spread, spread, (len(COLORS), 3))
    rgb = np.clip(np.array(list(COLORS.values())) + noise, 0.02, 0.98)
    return Palette(tuple(COLORS), tuple((float(r), float(g), float(b)) for r, g, b in rgb))


def _between(limits: tuple[float, float], share: float) -> float:
    return float(limits[0] + share * (limits[1] - limits[0]))
