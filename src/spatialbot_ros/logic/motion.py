"""One step towards a target under limits of speed, acceleration and a box; for positions and for turns.

Velocities are displacements of one command divided by its duration. The arithmetic is that of discrete steps
of equal duration: a step of velocity v can be followed by v - a dt, v - 2 a dt .. 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from spatialbot_policy.types import FloatArray
from spatialbot_ros.logic.pose import length

_ROUNDING_M = 1e-12
_BISECTIONS = 16


@dataclass(frozen=True)
class MotionLimits:
    """Limits of one kind of motion, in metres or radians, and seconds."""

    step: float
    speed: float
    acceleration: float


@dataclass(frozen=True)
class Box:
    """Corners of the workspace, (3,) metres each."""

    low: FloatArray
    high: FloatArray

    def clip(self, position: FloatArray) -> FloatArray:
        """Nearest position inside; one that is inside comes back bit by bit."""
        return np.minimum(np.maximum(position, self.low), self.high)

    def holds(self, position: FloatArray, tolerance_m: float = _ROUNDING_M) -> bool:
        """Whether a position is inside, up to a tolerance."""
        low, high = self.low - tolerance_m, self.high + tolerance_m
        return bool((position >= low).all() and (position <= high).all())


def arrival_speed(distance: float, acceleration: float, duration_s: float) -> float:
    """Highest speed from which steps that slow down by `acceleration` end exactly at `distance`."""
    reach = distance / (acceleration * duration_s**2)
    slower_steps = math.floor((math.sqrt(1.0 + 8.0 * reach) - 1.0) / 2.0)
    return acceleration * duration_s * (0.5 * slower_steps + reach / (slower_steps + 1.0))


def stopping_distance(speed: float, acceleration: float, duration_s: float) -> float:
    """Way still to go after a step of `speed` when every further step slows down by `acceleration`."""
    slower = acceleration * duration_s
    steps = math.floor(speed / slower)
    return duration_s * (steps * speed - 0.5 * slower * steps * (steps + 1))


def wanted_velocity(
    offset: FloatArray, limits: MotionLimits, duration_s: float
) -> tuple[FloatArray, tuple[str, ...]]:
    """Velocity towards a target that could be had from a running start, and still stop there.

    Args:
        offset: (3,) way from here to the target.
        limits: what may not be exceeded.
        duration_s: of each step.

    Returns:
        (3,) velocity and the names of the limits that shortened it; none: the step ends on the target.
    """
    distance = length(offset)
    cap = min(limits.speed, limits.step / duration_s)
    speed = min(cap, arrival_speed(distance, limits.acceleration, duration_s))
    # the tolerance keeps a step that just fits from being called shortened
    if distance / duration_s <= speed * (1.0 + 1e-12):
        return offset / duration_s, ()
    slowed = offset * (speed / distance)
    if speed < cap:
        return slowed, ("acceleration",)
    return slowed, ("speed" if limits.speed <= limits.step / duration_s else "step",)


def reachable_velocity(
    wanted: FloatArray, velocity: FloatArray, limits: MotionLimits, duration_s: float
) -> tuple[FloatArray, tuple[str, ...]]:
    """Velocity nearest to a wanted one that the acceleration allows after `velocity`."""
    change = wanted - velocity
    growth, allowed = length(change), limits.acceleration * duration_s
    if growth <= allowed:
        return wanted, ()
    reachable = velocity + change * (allowed / growth)
    # too fast only where the duration changed since the step before: speed comes first
    speed, cap = length(reachable), min(limits.speed, limits.step / duration_s)
    return (reachable * (cap / speed) if speed > cap else reachable), ("acceleration",)


def keep_inside(
    position: FloatArray,
    wanted: FloatArray,
    velocity: FloatArray,
    box: Box,
    acceleration: float,
    duration_s: float,
) -> FloatArray:
    """Velocity nearest to `wanted` after which the arm can still stop inside the box.

    The answer lies between `wanted` and slowing down as hard as allowed, which keeps inside whatever was
    inside before. `velocity` is that of the step before.
    """
    if _can_stop(position, wanted, box, acceleration, duration_s):
        return wanted
    speed = length(velocity)
    braking = velocity * max(0.0, 1.0 - acceleration * duration_s / speed) if speed > 0.0 else velocity
    good, bad = 0.0, 1.0
    for _ in range(_BISECTIONS):
        share = 0.5 * (good + bad)
        if _can_stop(position, braking + share * (wanted - braking), box, acceleration, duration_s):
            good = share
        else:
            bad = share
    return braking + good * (wanted - braking)


def _can_stop(
    position: FloatArray, velocity: FloatArray, box: Box, acceleration: float, duration_s: float
) -> bool:
    after = position + velocity * duration_s
    speed = length(velocity)
    if speed == 0.0:
        return box.holds(after)
    stop = after + velocity * (stopping_distance(speed, acceleration, duration_s) / speed)
    return box.holds(after) and box.holds(stop)
