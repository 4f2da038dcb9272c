"""How an episode may differ from the nominal scene: camera, light, colours, sizes, depth.

Evaluation changes one of them, or all at once. Training varies camera, light, tones and depth too, but never
shows the colours and sizes that evaluation asks for. No simulator in here.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from spatialbot_policy.errors import TaskError
from spatialbot_sim.task.palette import NOMINAL, UNSEEN_COLORS, Palette, Rgb, jittered

MAX_CAMERA_M = 0.03
MAX_CAMERA_RAD = np.deg2rad(3.0)
_STREAM = 7  # of the seed: apart from those of the scene and of collecting


class Shift(str, Enum):
    """What differs from the nominal scene."""

    NONE = "none"
    COLORS = "colors"
    """Colours that training never shows, and their names in the instruction."""
    SIZES = "sizes"
    """Objects thinner or thicker than any in training."""
    CAMERA = "camera"
    """Camera moved by up to 3 cm and turned by up to 3 degrees, unknown to the policy."""
    LIGHT = "light"
    """Another brightness, direction and tint."""
    DEPTH = "depth"
    """Depth as a RealSense D435 gives it: noise, steps, shadows and holes."""
    ALL = "all"
    """All of them at once."""
    TRAINING = "training"
    """What training draws: nothing, or some of camera, light, depth and slightly other tones."""


@dataclass(frozen=True)
class Light:
    """Illumination: ambient grey, and one light's direction and colour."""

    ambient: float = 0.35
    direction: tuple[float, float, float] = (0.3, 0.2, -1.0)
    rgb: Rgb = (1.6, 1.6, 1.6)


@dataclass(frozen=True)
class Conditions:
    """The conditions of one episode.

    Attributes:
        palette: colours and sizes.
        camera_offset_m: (3,) the fixed camera's displacement in the world frame.
        camera_turn_rad: (3,) rotation vector of the camera about itself, in its own frame.
        light: illumination.
        depth_noise: whether depth is that of a D435.
    """

    palette: Palette = NOMINAL
    camera_offset_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    camera_turn_rad: tuple[float, float, float] = (0.0, 0.0, 0.0)
    light: Light = Light()
    depth_noise: bool = False


def parse_shift(name: str) -> Shift:
    """Turn a name into a Shift.

    Raises:
        TaskError: no shift has that name.
    """
    try:
        return Shift(name)
    except ValueError as error:
        known = ", ".join(shift.value for shift in Shift)
        raise TaskError(f"unknown shift '{name}'; there are: {known}") from error


def sample_conditions(shift: Shift, family: str, seed: int) -> Conditions:
    """Draw the conditions of a scene; a part that several shifts change is the same in all of them."""
    rng = np.random.default_rng([_STREAM, zlib.crc32(family.encode()), seed])
    offset, turn = _within(rng, MAX_CAMERA_M), _within(rng, float(MAX_CAMERA_RAD))
    light = _sample_light(rng)
    if shift is Shift.TRAINING:
        return _sample_training(rng, offset, turn, light)
    everything = shift is Shift.ALL
    found = Conditions(depth_noise=everything or shift is Shift.DEPTH)
    palette = NOMINAL
    if everything or shift is Shift.COLORS:
        palette = Palette(tuple(UNSEEN_COLORS), tuple(UNSEEN_COLORS.values()))
    if everything or shift is Shift.SIZES:
        palette = replace(palette, unseen_sizes=True)
    found = replace(found, palette=palette)
    if everything or shift is Shift.CAMERA:
        found = replace(found, camera_offset_m=offset, camera_turn_rad=turn)
    if everything or shift is Shift.LIGHT:
        found = replace(found, light=light)
    return found


def _sample_training(
    rng: np.random.Generator,
    offset: tuple[float, float, float],
    turn: tuple[float, float, float],
    light: Light,
) -> Conditions:
    """Camera and light in two episodes of three, a D435's depth in every second."""
    nominal = Conditions()
    moved, lit, noisy = rng.random(3) < (0.67, 0.67, 0.5)
    return Conditions(
        palette=jittered(rng, 0.06),
        camera_offset_m=offset if moved else nominal.camera_offset_m,
        camera_turn_rad=turn if moved else nominal.camera_turn_rad,
        light=light if lit else nominal.light,
        depth_noise=bool(noisy),
    )


def _within(rng: np.random.Generator, longest: float) -> tuple[float, float, float]:
    """A vector of random direction, of any length up to the longest alike."""
    direction = rng.normal(size=3)
    x, y, z = direction / np.linalg.norm(direction) * rng.uniform(0.0, longest)
    return (float(x), float(y), float(z))


def _sample_light(rng: np.random.Generator) -> Light:
    x, y = rng.uniform(-0.7, 0.7, 2)
    red, green, blue = rng.uniform(0.9, 2.3) * rng.uniform(0.88, 1.0, 3)
    return Light(
        float(rng.uniform(0.2, 0.5)), (float(x), float(y), -1.0), (float(red), float(green), float(blue))
    )
