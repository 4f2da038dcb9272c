"""Parameters of the teleop node."""

from __future__ import annotations

from dataclasses import dataclass, field

from spatialbot_ros.logic.parameter import parameter
from spatialbot_ros.logic.teleop_keyboard import KeyboardMapping
from spatialbot_ros.logic.teleop_mapping import JoyMapping

JOY = "joy"
KEYBOARD = "keyboard"


@dataclass(frozen=True)
class TeleopParameters:
    """Where a person's motions come from, and where they go; nested groups are `joy.*` and `keyboard.*`."""

    source: str = parameter(JOY, "gamepad or SpaceMouse by sensor_msgs/Joy, or keys", choices=(JOY, KEYBOARD))
    control_rate_hz: float = parameter(10.0, "rate of the actions, Hz", low=1.0, high=200.0)
    joy_timeout_ms: float = parameter(
        250.0,
        "a Joy older than this counts as released (joy_node: autorepeat_rate), ms",
        low=10.0,
        high=5000.0,
    )
    joy_topic: str = parameter("/joy", "sensor_msgs/Joy")
    action_topic: str = parameter(
        "/spatialbot/teleop_action", "actions of the person, sensor_msgs/JointState"
    )
    executed_topic: str = parameter(
        "/spatialbot/executed_action", "tells what the gripper holds before the person takes over"
    )
    arm: str = parameter("/spatialbot/arm", "namespace of hold, resume and recover")
    recorder: str = parameter("/spatialbot/recorder", "namespace of the recorder's services")
    camera_quaternion_xyzw: tuple[float, ...] = parameter(
        (0.0, 0.0, 0.0, 1.0),
        "for joy.frame camera: the camera's body (x forward, y left, z up) in the robot base frame",
        low=-1.0,
        high=1.0,
        length=4,
    )
    joy: JoyMapping = field(default_factory=JoyMapping)
    keyboard: KeyboardMapping = field(default_factory=KeyboardMapping)
