"""Names what went wrong in an episode."""

from __future__ import annotations


def failure_kind(flags: dict[str, bool]) -> str:
    """Name what went wrong from the task's last signs: the most telling one first."""
    for flag, kind in (
        ("wrong_object", "wrong_object"),
        ("obstacle_touched", "obstacle_touched"),
        ("displaced", "displaced"),
        ("wrong_board", "wrong_board"),
        ("dropped", "dropped"),
    ):
        if flags.get(flag):
            return kind
    return "timeout"
