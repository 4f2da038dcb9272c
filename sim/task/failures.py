"""Names what went wrong in an episode."""

from __future__ import annotations


def failure_kind(flags: dict[str, bool]) -> str:
    """Name what went wrong from the task's last signs: the most telling one first.

    What no sign of harm explains is named after the step of the task that was not done: the object asked for
    was `never_lifted`, it is `not_placed` on its board, or `not_released` there. `timeout` is left for an
    object that still moves on its board, and for tasks without these signs.
    """
    for flag, kind in (
        ("wrong_object", "wrong_object"),
        ("obstacle_touched", "obstacle_touched"),
        ("displaced", "displaced"),
        ("wrong_board", "wrong_board"),
        ("dropped", "dropped"),
    ):
        if flags.get(flag):
            return kind
    for flag, kind in (("lifted", "never_lifted"), ("placed", "not_placed"), ("released", "not_released")):
        if not flags.get(flag, True):
            return kind
    return "timeout"
