"""The topic /rosout: what a node logs, as messages."""

from __future__ import annotations

from typing import Any

from spatialbot_ros.embedded import loggers
from spatialbot_ros.embedded.qos import QoSProfile
from spatialbot_ros.embedded.wire import message_class


class Rosout:
    """Publishes the lines of a node's logger."""

    def __init__(self, node: Any, qos: QoSProfile) -> None:
        self._node = node
        self._log = message_class("rcl_interfaces/msg/Log")
        self._publisher = node.create_publisher(self._log, "/rosout", qos)
        loggers.add_sink(node.get_logger().name, self._publish)

    def _publish(self, severity: int, name: str, text: str, frame: Any) -> None:
        if not self._node.context.usable:
            return
        message = self._log(level=severity, name=name, msg=text, stamp=self._node.get_clock().now().to_msg())
        if frame is not None:
            message.file, message.function = frame.f_code.co_filename, frame.f_code.co_name
            message.line = frame.f_lineno
        self._publisher.publish(message)

    def close(self) -> None:
        """Publish no more."""
        loggers.remove_sink(self._node.get_logger().name, self._publish)
