"""The guard of the simulated cell: wide enough for every action within the bounds, not for nonsense."""

from __future__ import annotations

from spatialbot_ros.logic.arm_models import SIM_PANDA
from spatialbot_ros.logic.guard_limits import GuardLimits
from spatialbot_ros.logic.safety import Guard, guard_for

SIM_LIMITS = GuardLimits(
    # the table is at z = 0; the fingers may be pressed on it, and a step may end below it
    box_min_m=(0.0, -0.7, -0.08),
    box_max_m=(0.95, 0.7, 1.0),
    # a step is at most 5 cm and 0.1 rad along each axis, ten times a second
    max_step_m=0.09,
    max_step_rad=0.2,
    max_speed_m_s=1.0,
    max_speed_rad_s=2.5,
    max_acceleration_m_s2=30.0,
    max_acceleration_rad_s2=60.0,
    joint_margin_rad=0.0,
    joint_velocity_scale=1.0,
    # ManiSkill solves the inverse kinematics itself and goes as far as it gets
    max_ik_residual_m=0.1,
    max_ik_residual_rad=0.5,
    max_action_age_ms=300.0,
    # the arm lags behind, and stands still when it is pressed against something
    max_tracking_error_m=0.3,
    max_tracking_error_rad=1.5,
    from_measured=True,
)
"""The values of config/robot/sim_panda.yaml, the arm node's in simulation: a test compares the two."""


def sim_guard() -> Guard:
    """The guard that the arm node has in simulation."""
    return guard_for(SIM_PANDA.name, SIM_LIMITS)
