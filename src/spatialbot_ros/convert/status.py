"""DiagnosticStatus messages with a reason, and what another node's status says."""

from __future__ import annotations

from collections.abc import Mapping

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

REASON_KEY = "reason"


def make_status(
    level: bytes, name: str, reason: str, message: str, values: Mapping[str, object] | None = None
) -> DiagnosticStatus:
    """Status of a node.

    Args:
        level: `DiagnosticStatus.OK`, `WARN`, `ERROR` or `STALE`.
        name: of the part that reports, e.g. "spatialbot/arm".
        reason: name of a `logic.reasons.Reason`, "" where nothing keeps it from its work.
        message: one line for people.
        values: more to show, as text.
    """
    entries = {REASON_KEY: reason, **(values or {})}
    return DiagnosticStatus(
        level=level,
        name=name,
        message=message,
        values=[KeyValue(key=key, value=str(value)) for key, value in entries.items()],
    )


def is_ok(message: DiagnosticStatus) -> bool:
    """Whether the node that sent this status does its work."""
    return bool(message.level == DiagnosticStatus.OK)


def reason_of(message: DiagnosticStatus) -> str:
    """Name of the reason in a status, "" where it has none."""
    return next((str(entry.value) for entry in message.values if entry.key == REASON_KEY), "")
