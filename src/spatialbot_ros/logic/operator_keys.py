"""Keys of the operator's terminal: verbs by one key, and words typed behind a verb."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spatialbot_ros.logic.teleop_keyboard import COMMAND_KEYS

WORD_KEYS: Mapping[str, str] = {"i": "instruction", "t": "task", "m": "note", "f": "failure"}
"""Keys behind which words are typed, ended by Enter or dropped by Escape."""
OPERATOR_HELP = (
    "1 start  2 save  3 discard  4 re-record  5 undo last   y success  n failure  f kind  m note\n"
    ". next  , previous  t name of a task   i instruction   h hold  g resume  x recover the arm   ctrl-c end"
)
_ENTER, _ESCAPE, _DELETE = ("\r", "\n"), "\x1b", ("\x7f", "\b")


@dataclass(frozen=True)
class Order:
    """What the operator wants: a verb, and words where it takes some."""

    verb: str
    words: str = ""


class OperatorKeys:
    """Turns keys into orders.

    Attributes:
        verb: whose words are being typed, "" for none.
        words: typed so far.
    """

    def __init__(self) -> None:
        self.verb = ""
        self.words = ""

    @property
    def prompt(self) -> str:
        """What to show while words are typed, "" otherwise."""
        return f"{self.verb}: {self.words}_" if self.verb else ""

    def press(self, key: str) -> Order | None:
        """Take a key; returns the order it completes, None for none."""
        if not self.verb:
            self.verb = WORD_KEYS.get(key, "")
            return Order(COMMAND_KEYS[key]) if key in COMMAND_KEYS else None
        if key in _ENTER:
            order = Order(self.verb, self.words.strip())
            self._end()
            return order if order.words else None
        if key == _ESCAPE:
            self._end()
        elif key in _DELETE:
            self.words = self.words[:-1]
        elif key.isprintable():
            self.words += key
        return None

    def _end(self) -> None:
        self.verb = self.words = ""
