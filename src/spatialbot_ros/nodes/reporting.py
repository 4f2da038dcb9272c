"""How a node says what it does: one log line a change, a latched status topic, and /diagnostics."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from spatialbot_ros.convert import status
from spatialbot_ros.logic.reasons import Refusal

STATUS_QOS = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
"""Who comes late gets the present status."""
REASON_KEY = status.REASON_KEY


class Reporter:
    """Publishes one node's state.

    `/spatialbot/NAME/status` (diagnostic_msgs/DiagnosticStatus, latched) changes with the state: OK for
    active, WARN for waiting, ERROR for a fault; `/diagnostics` repeats it once a second with the latest
    values.

    Args:
        node: that reports.
        name: of the node's part, e.g. "policy".
        shown: keys of values that the status topic carries too; they are shown as soon as they change.
    """

    def __init__(self, node: Node, name: str, shown: Collection[str] = ()) -> None:
        self._node = node
        self._shown = frozenset(shown)
        self._name = f"spatialbot/{name}"
        self._values: dict[str, str] = {}
        self._state: tuple[bytes, str, str] | None = None
        self._status = node.create_publisher(DiagnosticStatus, f"/spatialbot/{name}/status", STATUS_QOS)
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._timer = node.create_timer(1.0, self.publish_diagnostics)

    @property
    def active(self) -> bool:
        """Whether the state is OK."""
        return self._state is not None and self._state[0] == DiagnosticStatus.OK

    @property
    def reason(self) -> str:
        """Name of the reason why the node is not active, "" while it is."""
        return "" if self._state is None else self._state[1]

    def ok(self, message: str) -> None:
        """The node does its work."""
        self._change(DiagnosticStatus.OK, "", message)

    def holding(self, refusal: Refusal) -> None:
        """The node waits for somebody: nothing is wrong."""
        self._change(DiagnosticStatus.WARN, str(refusal.reason), str(refusal))

    def stopped(self, refusal: Refusal) -> None:
        """The node stopped because of a fault."""
        self._change(DiagnosticStatus.ERROR, str(refusal.reason), str(refusal))

    def value(self, key: str, text: object) -> None:
        """Set one value that /diagnostics shows from now on."""
        self._values[key] = str(text)

    def values(self, entries: Mapping[str, object]) -> None:
        """Set several values; publishes the status if one of the shown ones changed."""
        texts = {key: str(text) for key, text in entries.items()}
        changed = any(self._values.get(key) != texts[key] for key in self._shown & texts.keys())
        self._values.update(texts)
        if changed and self._state is not None:
            self._publish_status()

    def publish_diagnostics(self) -> None:
        """Publish the state with its values on /diagnostics."""
        if self._state is None:
            return
        message = DiagnosticArray(status=[self._message(self._values)])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    def _change(self, level: bytes, reason: str, message: str) -> None:
        before, self._state = self._state, (level, reason, message)
        if before == self._state:
            return
        log = self._node.get_logger()
        # one call a line: rclpy remembers the severity of each place that logs
        if level == DiagnosticStatus.OK:
            log.info(message)
        elif level == DiagnosticStatus.WARN:
            log.warning(message)
        else:
            log.error(message)
        self._publish_status()
        self.publish_diagnostics()

    def _publish_status(self) -> None:
        shown = {key: text for key, text in self._values.items() if key in self._shown}
        self._status.publish(self._message(shown))

    def _message(self, values: Mapping[str, str]) -> DiagnosticStatus:
        level, reason, message = self._state or (DiagnosticStatus.STALE, "", "")
        return status.make_status(level, self._name, reason, message, values)
