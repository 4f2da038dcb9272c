"""What a client is told when its observation was not answered: a name and a sentence, never a traceback."""

from __future__ import annotations

from dataclasses import dataclass

from spatialbot_policy.errors import (
    ActionError,
    BusyError,
    FrameError,
    HistoryError,
    InferenceTimeoutError,
    PromptError,
    ReplacedError,
    RequestError,
    WireError,
)
from spatialbot_policy.serving.metrics import Outcome

REFUSALS: dict[type[BaseException], Outcome] = {
    RequestError: Outcome.REFUSED,
    WireError: Outcome.REFUSED,
    FrameError: Outcome.REFUSED,
    HistoryError: Outcome.REFUSED,
    PromptError: Outcome.REFUSED,
    ActionError: Outcome.REFUSED,
    ReplacedError: Outcome.REPLACED,
    BusyError: Outcome.BUSY,
    InferenceTimeoutError: Outcome.TIMEOUT,
}
"""Errors that a client may see, and may go on after; their messages are about its own observation."""
_LONGEST = 2000


@dataclass(frozen=True)
class Refusal:
    """One text frame.

    Attributes:
        text: `ErrorName: message`.
        outcome: what is counted.
    """

    text: str
    outcome: Outcome


def refusal_of(error: BaseException) -> Refusal:
    """What a client is told of an error; of one that it cannot have caused, only that there was one."""
    for kind, outcome in REFUSALS.items():
        if isinstance(error, kind):
            text = f"{kind.__name__}: {error}"[:_LONGEST]
            # It may repeat what a stranger sent, and goes to the log too.
            return Refusal("".join(c if c.isprintable() else " " for c in text), outcome)
    return Refusal("InternalError: the policy failed; see the server's log", Outcome.FAILED)
