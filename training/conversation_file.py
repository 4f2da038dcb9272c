"""A JSON list of conversations, kept as text: a million entries cost their bytes, not their objects."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np

from spatialbot_policy.errors import ConversationError

_BETWEEN = re.compile(r"[\s,]*")


class ConversationFile:
    """The entries of the authors' JSON file, each parsed when it is asked for.

    Args:
        path: a JSON list.

    Raises:
        ConversationError: no such file, or another form; the message says where.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConversationError(
                f"cannot read the conversations {path}: {error}; check the path"
            ) from error
        self._bytes, self._ends = _split(text, path)

    def __len__(self) -> int:
        """Number of entries."""
        return len(self._ends)

    def entry(self, index: int) -> object:
        """One entry, parsed."""
        start = int(self._ends[index - 1]) if index else 0
        return json.loads(self._bytes[start : int(self._ends[index])])


def _split(text: str, path: Path) -> tuple[bytes, np.ndarray]:
    """The entries' own bytes in a row, and where each of them ends."""
    decoder, kept = json.JSONDecoder(), bytearray()
    ends: list[int] = []
    place = len(text) - len(text.lstrip())
    if text[place : place + 1] != "[":
        raise ConversationError(f"{path} is no JSON list; conversations are [{{'conversations': [..]}}, ..]")
    place = _skip(text, place + 1, path, first=True)
    while text[place : place + 1] != "]":
        try:
            _, end = decoder.raw_decode(text, place)
        except json.JSONDecodeError as error:
            raise ConversationError(
                f"{path} is damaged after {len(ends)} entries: {error}; bring back a whole copy"
            ) from error
        kept += text[place:end].encode("utf-8", "surrogatepass")
        ends.append(len(kept))
        place = _skip(text, end, path)
    return bytes(kept), np.array(ends, dtype=np.int64)


def _skip(text: str, place: int, path: Path, first: bool = False) -> int:
    """Pass over white space, and between two entries over exactly one comma."""
    found = _BETWEEN.match(text, place)
    end = found.end() if found else place
    commas = text.count(",", place, end)
    closes = text[end : end + 1] == "]"
    if commas != (0 if first or closes else 1):
        line = text.count("\n", 0, end) + 1
        raise ConversationError(f"{path} is damaged in line {line}: a comma is missing or too many; mend it")
    return end
