"""Smooth joint motion towards the newest target: bounded velocity, acceleration and jerk, tick by tick."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spatialbot_policy.types import FloatArray


@dataclass(frozen=True)
class JointLimits:
    """Limits of every joint, each (7,): rad/s, rad/s^2 and rad/s^3."""

    velocity: FloatArray
    acceleration: FloatArray
    jerk: FloatArray


class JointMotion:
    """Positions of seven joints that follow targets without a jump in acceleration.

    The velocity aims at what can still be braked, and falls in proportion to the way that is left; velocity
    and acceleration follow as two faster loops, so that the three together come to rest without swinging.

    Args:
        start_rad: (7,) where the joints stand still.
        limits: what may not be exceeded.
        gain_hz: share of the remaining way that is made each second near the target.
    """

    def __init__(self, start_rad: FloatArray, limits: JointLimits, gain_hz: float = 10.0) -> None:
        self.position = np.array(start_rad, dtype=np.float64)
        self.velocity = np.zeros_like(self.position)
        self.acceleration = np.zeros_like(self.position)
        self._limits = limits
        self._gain_hz = gain_hz
        # of the acceleration a part stays free for what the jerk limit delays
        self._braking = 0.6 * limits.acceleration
        self._lag = self._braking / limits.jerk

    def towards(self, target_rad: FloatArray, duration_s: float) -> FloatArray:
        """Move on for one tick; returns the (7,) new positions."""
        way = target_rad - self.position
        # from v^2 / (2 b) + v * lag = way: the distance that braking takes, the jerk's delay included
        delayed = self._braking * self._lag
        brakable = np.sqrt(delayed**2 + 2.0 * self._braking * np.abs(way)) - delayed
        speed = np.minimum(np.minimum(brakable, self._gain_hz * np.abs(way)), self._limits.velocity)
        return self._aim(np.copysign(speed, way), duration_s)

    def to_rest(self, duration_s: float) -> FloatArray:
        """Slow down for one tick; returns the (7,) new positions."""
        return self._aim(np.zeros_like(self.velocity), duration_s)

    @property
    def at_rest(self) -> bool:
        """Whether the joints stand still, to what a robot can measure."""
        return bool(np.abs(self.velocity).max() < 1e-4 and np.abs(self.acceleration).max() < 1e-2)

    def _aim(self, velocity: FloatArray, duration_s: float) -> FloatArray:
        limits = self._limits
        wanted = 4.0 * self._gain_hz * (velocity - self.velocity)
        wanted = np.clip(wanted, -limits.acceleration, limits.acceleration)
        change = limits.jerk * duration_s
        self.acceleration = self.acceleration + np.clip(wanted - self.acceleration, -change, change)
        self.velocity = np.clip(
            self.velocity + self.acceleration * duration_s, -limits.velocity, limits.velocity
        )
        self.position = self.position + self.velocity * duration_s
        return self.position
