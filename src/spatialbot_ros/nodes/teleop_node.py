"""teleop_node: a gamepad, a SpaceMouse or the keyboard drives the arm while its dead-man button is held."""

from __future__ import annotations

from typing import Any

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import JointState, Joy
from std_srvs.srv import Trigger

from spatialbot_policy.errors import ActionError
from spatialbot_policy.types import ActionStep
from spatialbot_ros.convert.actions import from_action, to_action
from spatialbot_ros.logic.pose import Pose
from spatialbot_ros.logic.reasons import Reason, Refusal
from spatialbot_ros.logic.teleop_keyboard import KEYBOARD_HELP, KeyboardTeleop
from spatialbot_ros.logic.teleop_mapping import ARM_COMMANDS, COMMANDS, JoyTeleop
from spatialbot_ros.nodes.keyboard import Keyboard
from spatialbot_ros.nodes.parameters import Parameters
from spatialbot_ros.nodes.reporting import Reporter
from spatialbot_ros.nodes.running import run
from spatialbot_ros.nodes.teleop_parameters import KEYBOARD, TeleopParameters


class TeleopNode(Node):
    """Publishes a person's actions, and nothing while the dead-man button is released.

    With the keyboard a held key is its own dead-man button. Buttons and keys also call the services of the
    arm and of the recorder.

    Args:
        terminal: file descriptor of the keyboard's terminal; None for standard input.
        kwargs: for the node.
    """

    def __init__(self, terminal: int | None = None, **kwargs: Any) -> None:
        super().__init__("teleop_node", **kwargs)
        parameters: Parameters[TeleopParameters] = Parameters(self, TeleopParameters)
        self._values = values = parameters.value
        parameters.on_change(self._on_parameters)
        self._camera = Pose(np.zeros(3), np.array(values.camera_quaternion_xyzw)).quaternion_xyzw
        self._joystick = JoyTeleop(values.joy)
        self._keys = KeyboardTeleop(values.keyboard)
        self._joy: tuple[Joy, int] | None = None
        self._driving = False
        self._actions = self.create_publisher(JointState, values.action_topic, 10)
        self.create_subscription(JointState, values.executed_topic, self._on_executed, 10)
        names = {name: values.arm if name in ARM_COMMANDS else values.recorder for name in COMMANDS}
        self._calls = {name: self.create_client(Trigger, f"{space}/{name}") for name, space in names.items()}
        self._keyboard: Keyboard | None = None
        if values.source == KEYBOARD:
            pressed = self.create_guard_condition(self._on_keys)
            self._keyboard = Keyboard(pressed.trigger, terminal)
            self.get_logger().info(f"keys:\n{KEYBOARD_HELP}")
        else:
            self.create_subscription(Joy, values.joy_topic, self._on_joy, 10)
        self._report = Reporter(self, "teleop")
        self._report.holding(Refusal(Reason.NOT_STARTED, "hold the dead-man button to drive"))
        self.create_timer(1.0 / values.control_rate_hz, self._on_timer)

    # -- what the person does

    def _on_joy(self, message: Joy) -> None:
        self._joy = (message, self._now_ns())
        for command in self._joystick.commands(message.buttons):
            self._call(command)

    def _on_keys(self) -> None:
        for key in self._keyboard.keys() if self._keyboard is not None else ():
            command = self._keys.press(key, self._now_ns())
            if command is not None:
                self._call(command)

    def _on_executed(self, message: JointState) -> None:
        """What the policy did with the gripper holds on when a person takes over."""
        if self._driving:
            return
        try:
            closure = float(to_action(message)[0][6])
        except ActionError as error:
            self.get_logger().warning(f"{self._values.executed_topic}: {error}", throttle_duration_sec=5.0)
            return
        self._joystick.closure = self._keys.closure = closure

    def _on_parameters(self, values: TeleopParameters) -> None:
        self._values = values
        self._joystick.mapping, self._keys.mapping = values.joy, values.keyboard

    # -- what goes out

    def _on_timer(self) -> None:
        now_ns = self._now_ns()
        try:
            action = self._action(now_ns)
        except ActionError as error:
            self._driving = False
            self._report.stopped(Refusal(Reason.ACTION_INVALID, str(error)))
            return
        if action is not None:
            self._actions.publish(from_action(now_ns, action))
            self._report.ok("driving")
        elif self._driving:
            self._report.holding(Refusal(Reason.TELEOP_RELEASED, "hold the dead-man button to drive"))
        self._driving = action is not None

    def _action(self, now_ns: int) -> ActionStep | None:
        """The person's motion for this control period; None while nothing is held."""
        dt_s = 1.0 / self._values.control_rate_hz
        if self._keyboard is not None:
            return self._keys.action(now_ns, dt_s)
        if self._joy is None:
            return None
        message, received_ns = self._joy
        if now_ns - received_ns > self._values.joy_timeout_ms * 1e6:
            return None  # unplugged, or its node ended, with the button held
        return self._joystick.action(message.axes, message.buttons, dt_s, self._camera)

    def _call(self, command: str) -> None:
        client = self._calls[command]
        if not client.service_is_ready():
            self.get_logger().warning(f"{command}: {client.srv_name} is not there")
            return
        client.call_async(Trigger.Request()).add_done_callback(
            lambda future: self._answered(command, future.result())
        )

    def _answered(self, command: str, response: Trigger.Response) -> None:
        text = f"{command}: {response.message}"
        if response.success:
            self.get_logger().info(text)
        else:
            self.get_logger().warning(text)

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def close(self) -> None:
        """Put the terminal back."""
        if self._keyboard is not None:
            self._keyboard.close()


def main(args: list[str] | None = None) -> None:
    """Run the node until it is told to stop."""
    run(TeleopNode, args)


if __name__ == "__main__":
    main()
