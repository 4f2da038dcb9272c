"""The newest of a stream of records in memory that two processes share: one writes, one reads, none waits."""

from __future__ import annotations

import mmap
from dataclasses import dataclass

import numpy as np

from spatialbot_policy.types import FloatArray

TEXT_BYTES = 512
_COUNTER_BYTES = 8
_ATTEMPTS = 1000


@dataclass(frozen=True, eq=False)
class Record:
    """Numbers, and a text of at most TEXT_BYTES in UTF-8."""

    numbers: FloatArray
    text: str


class NewestRecord:
    """A place for one record.

    A counter is odd while a record is being written; a reader that saw it change reads again. So a reader
    never waits for a writer that was stopped, and never sees half a record.

    Args:
        memory: shared by both processes.
        offset: where the place begins, a multiple of eight bytes.
        width: how many numbers a record has.
    """

    def __init__(self, memory: mmap.mmap, offset: int, width: int) -> None:
        self._counter = np.frombuffer(memory, np.uint64, 1, offset)
        begin = offset + _COUNTER_BYTES
        self._numbers = np.frombuffer(memory, np.float64, width, begin)
        self._text = np.frombuffer(memory, np.uint8, TEXT_BYTES, begin + 8 * width)

    @staticmethod
    def size(width: int) -> int:
        """Bytes that a place needs."""
        return _COUNTER_BYTES + 8 * width + TEXT_BYTES

    def write(self, numbers: FloatArray, text: str = "") -> None:
        """Replace the record."""
        encoded = text.encode()[:TEXT_BYTES]
        self._counter[0] += 1
        self._numbers[:] = numbers
        self._text[: len(encoded)] = np.frombuffer(encoded, np.uint8)
        self._text[len(encoded) :] = 0
        self._counter[0] += 1

    def read(self) -> Record | None:
        """Copy the record; None before the first, or while its writer is stopped in the middle of one."""
        for _ in range(_ATTEMPTS):
            before = int(self._counter[0])
            if before == 0:
                return None
            if before % 2:
                continue
            numbers, text = self._numbers.copy(), self._text.tobytes()
            if int(self._counter[0]) == before:
                return Record(numbers, text.rstrip(b"\0").decode(errors="replace"))
        return None
