"""The limits of the guard: each field is the ROS parameter `guard.<name>`, with its range and unit."""

from __future__ import annotations

from dataclasses import dataclass

from spatialbot_policy.errors import ConfigError
from spatialbot_ros.logic.parameter import parameter


@dataclass(frozen=True)
class GuardLimits:
    """What a command may never exceed; the defaults suit a Franka beside people who watch it.

    Raises:
        ConfigError: the box is empty, or a list does not have three values.
    """

    box_min_m: tuple[float, ...] = parameter(
        (0.25, -0.45, 0.01),
        "lowest x, y, z of the tool in the robot base frame, m",
        low=-1.2,
        high=1.2,
        length=3,
        live=True,
    )
    box_max_m: tuple[float, ...] = parameter(
        (0.75, 0.45, 0.65),
        "highest x, y, z of the tool in the robot base frame, m",
        low=-1.2,
        high=1.3,
        length=3,
        live=True,
    )
    max_step_m: float = parameter(0.06, "longest translation of one action, m", low=1e-4, high=0.5, live=True)
    max_step_rad: float = parameter(0.2, "largest turn of one action, rad", low=1e-4, high=1.5, live=True)
    max_speed_m_s: float = parameter(0.25, "speed of the tool, m/s", low=1e-3, high=1.7, live=True)
    max_speed_rad_s: float = parameter(1.0, "angular speed of the tool, rad/s", low=1e-3, high=2.5, live=True)
    max_acceleration_m_s2: float = parameter(
        2.0, "acceleration of the tool, m/s^2", low=1e-2, high=30.0, live=True
    )
    max_acceleration_rad_s2: float = parameter(
        8.0, "angular acceleration of the tool, rad/s^2", low=1e-2, high=60.0, live=True
    )
    joint_margin_rad: float = parameter(
        0.05, "distance kept from each joint's position limit, rad", low=0.0, high=0.5
    )
    joint_velocity_scale: float = parameter(
        0.5, "share of each joint's velocity limit that may be used", low=0.01, high=1.0
    )
    max_ik_residual_m: float = parameter(
        0.002,
        "distance that the joints may leave to the commanded pose, m",
        low=1e-6,
        high=0.1,
    )
    max_ik_residual_rad: float = parameter(
        0.01,
        "turn that the joints may leave to the commanded pose, rad",
        low=1e-6,
        high=0.5,
    )
    max_action_age_ms: float = parameter(
        300.0, "age of an action's observation at its arrival, ms", low=1.0, high=10_000.0, live=True
    )
    max_tracking_error_m: float = parameter(
        0.06, "distance between the last command and the measured pose, m", low=1e-3, high=1.0, live=True
    )
    max_tracking_error_rad: float = parameter(
        0.35, "turn between the last command and the measured pose, rad", low=1e-3, high=3.2, live=True
    )
    from_measured: bool = parameter(
        False, "start every command at the measured pose: one command for each action, as in simulation"
    )

    def __post_init__(self) -> None:
        for name in ("box_min_m", "box_max_m"):
            values = tuple(float(value) for value in getattr(self, name))
            if len(values) != 3:
                raise ConfigError(
                    f"parameter 'guard.{name}' needs 3 values: x, y, z in m, got {list(values)}"
                )
            object.__setattr__(self, name, values)
        if not all(low < high for low, high in zip(self.box_min_m, self.box_max_m, strict=True)):
            raise ConfigError(
                f"parameter 'guard.box_min_m' {list(self.box_min_m)} must lie below 'guard.box_max_m' "
                f"{list(self.box_max_m)} in x, y and z"
            )
