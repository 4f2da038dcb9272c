"""The parameters of the arm node, each with its unit, range and default."""

from __future__ import annotations

from dataclasses import dataclass, field

from spatialbot_policy.episodes.topics import (
    ACTION_TOPIC,
    BASE_FRAME,
    EXECUTED_TOPIC,
    JOINTS_TOPIC,
    POSE_TOPIC,
)
from spatialbot_policy.errors import ConfigError
from spatialbot_ros.arms.cartesian_pose import CartesianSettings
from spatialbot_ros.arms.choose import BACKENDS, CARTESIAN_POSE, BackendSettings
from spatialbot_ros.arms.franka_state import FrankaStateSettings
from spatialbot_ros.arms.gripper import GripperSettings
from spatialbot_ros.arms.joint_trajectory import TrajectorySettings
from spatialbot_ros.arms.libfranka import LibfrankaSettings
from spatialbot_ros.arms.moveit_servo import ServoSettings
from spatialbot_ros.logic.arm_models import ARM_MODELS
from spatialbot_ros.logic.arm_supervisor import Silences
from spatialbot_ros.logic.guard_limits import GuardLimits
from spatialbot_ros.logic.parameter import parameter


@dataclass(frozen=True)
class ArmParameters:
    """What a user may set; nested groups are `guard.*`, `gripper.*`, `robot.*` and one for each backend.

    Raises:
        ConfigError: two parameters do not fit together.
    """

    backend: str = parameter(CARTESIAN_POSE, "how the robot is moved", choices=BACKENDS)
    arm: str = parameter("fr3", "which arm: its kinematics and limits", choices=tuple(ARM_MODELS))
    joint_prefix: str = parameter(
        "", 'prefix of the joints\' names on the joints topic: PREFIX1 .. PREFIX7; "" for ARM_joint'
    )
    base_frame: str = parameter(BASE_FRAME, "frame_id of the tool poses: the robot's base")
    control_rate_hz: float = parameter(10.0, "rate of the policy's actions, Hz", low=0.1, high=200.0)
    command_rate_hz: float = parameter(
        100.0,
        "rate of the commands between actions, Hz; 0 sends one command for each action, as in simulation",
        low=0.0,
        high=1000.0,
    )
    watch_rate_hz: float = parameter(
        200.0, "how often silence and faults are looked for, Hz", low=10.0, high=1000.0
    )
    autostart: bool = parameter(False, "let the policy in without a first call of the resume service")
    action_timeout_periods: float = parameter(
        1.8, "longest silence of the policy or of a person in motion, in control periods", low=1.1, high=20.0
    )
    pose_timeout_ms: float = parameter(50.0, "longest silence of the pose topic, ms", low=2.0, high=2000.0)
    joints_timeout_ms: float = parameter(
        50.0, "longest silence of the joints topic, ms", low=2.0, high=2000.0
    )
    recovery_timeout_s: float = parameter(
        5.0, "time that clearing the robot's errors may take, s", low=0.1, high=60.0
    )
    state_reliability: str = parameter(
        "best_effort",
        "quality asked of the pose and joints topics; best_effort takes publishers of both kinds",
        choices=("best_effort", "reliable"),
    )
    action_topic: str = parameter(ACTION_TOPIC, "actions of the policy (sensor_msgs/JointState)")
    teleop_topic: str = parameter("/spatialbot/teleop_action", "actions of a person (sensor_msgs/JointState)")
    executed_topic: str = parameter(EXECUTED_TOPIC, "what was sent for each action (sensor_msgs/JointState)")
    latency_topic: str = parameter("/spatialbot/latency", "durations of each action (sensor_msgs/JointState)")
    policy_status_topic: str = parameter(
        "/spatialbot/policy/status", "whether the policy is active (diagnostic_msgs/DiagnosticStatus)"
    )
    joints_topic: str = parameter(JOINTS_TOPIC, "measured joints (sensor_msgs/JointState)")
    pose_topic: str = parameter(POSE_TOPIC, "measured tool pose (geometry_msgs/PoseStamped)")
    guard: GuardLimits = field(default_factory=GuardLimits)
    gripper: GripperSettings = field(default_factory=GripperSettings)
    robot: FrankaStateSettings = field(default_factory=FrankaStateSettings)
    cartesian: CartesianSettings = field(default_factory=CartesianSettings)
    trajectory: TrajectorySettings = field(default_factory=TrajectorySettings)
    servo: ServoSettings = field(default_factory=ServoSettings)
    libfranka: LibfrankaSettings = field(default_factory=LibfrankaSettings)

    def __post_init__(self) -> None:
        if 0.0 < self.command_rate_hz < self.control_rate_hz:
            raise ConfigError(
                f"parameter 'command_rate_hz' is {self.command_rate_hz:g}, allowed is 0 or at least "
                f"'control_rate_hz' ({self.control_rate_hz:g})"
            )
        if self.gripper.open_below > self.gripper.close_above:
            raise ConfigError(
                f"parameter 'gripper.open_below' is {self.gripper.open_below:g}, allowed is at most "
                f"'gripper.close_above' ({self.gripper.close_above:g})"
            )

    @property
    def one_command_per_action(self) -> bool:
        """Whether commands leave with the actions, not on a timer."""
        return self.command_rate_hz == 0.0

    @property
    def command_period_s(self) -> float:
        """Time between two commands."""
        return 1.0 / (self.control_rate_hz if self.one_command_per_action else self.command_rate_hz)

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Names of the seven joints."""
        prefix = self.joint_prefix or f"{self.arm}_joint"
        return tuple(f"{prefix}{number}" for number in range(1, 8))

    @property
    def silences(self) -> Silences:
        """How long each input may be silent."""
        action_ns = round(self.action_timeout_periods / self.control_rate_hz * 1e9)
        return Silences(
            policy_ns=action_ns,
            teleop_ns=action_ns,
            pose_ns=round(self.pose_timeout_ms * 1e6),
            joints_ns=round(self.joints_timeout_ms * 1e6),
        )

    @property
    def backend_settings(self) -> BackendSettings:
        """What the backend gets to know."""
        return BackendSettings(
            name=self.backend,
            period_s=self.command_period_s,
            base_frame=self.base_frame,
            joint_names=self.joint_names,
            joints_topic=self.joints_topic,
            pose_topic=self.pose_topic,
            limits=self.guard,
            cartesian=self.cartesian,
            trajectory=self.trajectory,
            servo=self.servo,
            libfranka=self.libfranka,
            robot=self.robot,
        )
