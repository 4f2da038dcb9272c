"""operator_node: the recorder's state on the terminal, and the terminal's keys as its services."""

from __future__ import annotations

import sys
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node
from rich.console import Console
from std_msgs.msg import String
from std_srvs.srv import Trigger

from spatialbot_ros.logic.operator_keys import Order
from spatialbot_ros.logic.recording_flow import VERBS
from spatialbot_ros.logic.teleop_mapping import ARM_COMMANDS
from spatialbot_ros.nodes.keyboard import Keyboard
from spatialbot_ros.nodes.operator_terminal import OperatorTerminal
from spatialbot_ros.nodes.recorder_node import COMMAND_TOPIC
from spatialbot_ros.nodes.reporting import STATUS_QOS
from spatialbot_ros.nodes.running import run

STATUS_TOPIC = "/spatialbot/recorder/status"


class OperatorNode(Node):
    """Shows what `recorder_node` says; on a terminal it also takes keys.

    Args:
        console: where to show; None for standard output.
        terminal: file descriptor of the keys' terminal; None takes none.
        kwargs: for the node.
    """

    def __init__(self, console: Console | None = None, terminal: int | None = None, **kwargs: Any) -> None:
        super().__init__("operator_node", **kwargs)
        self._terminal = OperatorTerminal(self._send, console)
        self._commands = self.create_publisher(String, COMMAND_TOPIC, 10)
        spaces = {**dict.fromkeys(VERBS, "recorder"), **dict.fromkeys(ARM_COMMANDS, "arm")}
        self._calls = {
            verb: self.create_client(Trigger, f"/spatialbot/{space}/{verb}") for verb, space in spaces.items()
        }
        self.create_subscription(DiagnosticStatus, STATUS_TOPIC, self._on_status, STATUS_QOS)
        self._keyboard: Keyboard | None = None
        if terminal is not None:
            pressed = self.create_guard_condition(self._on_keys)
            self._keyboard = Keyboard(pressed.trigger, terminal)
        self.create_timer(1.0, self._look_for_recorder)

    def _on_status(self, message: DiagnosticStatus) -> None:
        self._terminal.show({item.key: item.value for item in message.values})

    def _on_keys(self) -> None:
        self._terminal.press(self._keyboard.keys() if self._keyboard is not None else ())

    def _look_for_recorder(self) -> None:
        if self.count_publishers(STATUS_TOPIC) == 0:
            self._terminal.tell("there is no recorder: start launch/record.launch.yaml")

    def _send(self, order: Order) -> None:
        if order.words:
            self._commands.publish(String(data=f"{order.verb} {order.words}"))
            return
        client = self._calls[order.verb]
        if not client.service_is_ready():
            self._terminal.tell(f"{order.verb}: {client.srv_name} is not there; start its node")
            return
        future = client.call_async(Trigger.Request())
        if order.verb in ARM_COMMANDS:  # the recorder's own answers come with its status
            future.add_done_callback(
                lambda done: self._terminal.tell(f"{order.verb}: {done.result().message}")
            )

    def close(self) -> None:
        """Put the terminal back."""
        if self._keyboard is not None:
            self._keyboard.close()
        self._terminal.close()


def on_this_terminal() -> OperatorNode:
    """The node with standard output and, where standard input is a terminal, its keys."""
    return OperatorNode(terminal=sys.stdin.fileno() if sys.stdin.isatty() else None)


def main(args: list[str] | None = None) -> None:
    """Run the node until it is told to stop."""
    run(on_this_terminal, args)


if __name__ == "__main__":
    main()
