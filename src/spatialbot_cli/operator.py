"""`spatialbot operator`: the recorder's panel and keys, for the graph that runs, ROS 2 or embedded."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tyro

from spatialbot_policy.errors import ConfigError, SpatialBotError
from spatialbot_ros import embedded
from spatialbot_ros.embedded.socket_lines import ask
from spatialbot_ros.logic.operator_keys import Order
from spatialbot_ros.logic.teleop_mapping import ARM_COMMANDS

STATUS_TOPIC = "/spatialbot/recorder/status"
COMMAND_TOPIC = "/spatialbot/recorder/command"
_SHOWN = 100  # more than a status has values


@dataclass(frozen=True)
class OperatorArguments:
    """Show the recorder's state, instruction, counters and warnings, and take its keys.

    On a terminal a panel and keys; into a pipe or a file, a line for each change.
    """

    keys: bool = True
    """Take keys; off, it only shows."""


def main(argv: list[str]) -> int:
    """Run the verb; returns the exit code."""
    arguments = tyro.cli(OperatorArguments, args=argv, prog="spatialbot operator")
    takes_keys = arguments.keys and sys.stdin.isatty()
    if embedded.ros_is_here():
        from spatialbot_ros.nodes.operator_node import OperatorNode
        from spatialbot_ros.nodes.running import run

        run(lambda: OperatorNode(terminal=sys.stdin.fileno() if takes_keys else None), ["operator_node"])
        return 0
    return _SocketOperator(takes_keys).run()


class _SocketOperator:
    """The terminal beside an embedded graph of another process; events meet in one queue."""

    def __init__(self, takes_keys: bool) -> None:
        from spatialbot_ros.nodes.keyboard import Keyboard
        from spatialbot_ros.nodes.operator_terminal import OperatorTerminal

        next(ask(do="list"))  # refuses with what to start when no graph runs
        self._events: queue.Queue[Mapping[str, Any]] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        self._keyboard = Keyboard(lambda: self._events.put({"keys": True})) if takes_keys else None
        self._terminal = OperatorTerminal(self._send)

    def run(self) -> int:
        """Handle events until the graph ends or Ctrl-C comes; returns the exit code."""
        try:
            while True:
                event = self._events.get()
                if "message" in event:
                    values = {item["key"]: item["value"] for item in event["message"]["values"]}
                    self._terminal.show(values)
                elif "told" in event:
                    self._terminal.tell(event["told"])
                elif "end" in event:
                    self._terminal.tell(event["end"])
                    return 0
                elif self._keyboard is not None:
                    self._terminal.press(self._keyboard.keys())
        except KeyboardInterrupt:
            return 0
        finally:
            if self._keyboard is not None:
                self._keyboard.close()
            self._terminal.close()

    def _listen(self) -> None:
        end = "the graph has ended"
        try:
            for answer in ask(do="echo", topic=STATUS_TOPIC, shown=_SHOWN):
                if answer:
                    self._events.put(answer)
        except ConfigError as error:
            end = f"{error}; start launch/record.launch.yaml"
        self._events.put({"end": end})

    def _send(self, order: Order) -> None:
        threading.Thread(target=self._carry_out, args=(order,), daemon=True).start()

    def _carry_out(self, order: Order) -> None:
        try:
            if order.words:
                message = {"data": f"{order.verb} {order.words}"}
                next(ask(do="publish", topic=COMMAND_TOPIC, message=message))
                return
            space = "arm" if order.verb in ARM_COMMANDS else "recorder"
            answer = next(ask(do="call", service=f"/spatialbot/{space}/{order.verb}"))
            if space == "arm":  # the recorder's own answers come with its status
                self._events.put({"told": f"{order.verb}: {answer['response']['message']}"})
        except (SpatialBotError, StopIteration) as error:
            self._events.put({"told": f"{order.verb}: {error}"})
