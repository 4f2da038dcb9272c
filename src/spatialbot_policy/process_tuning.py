"""What a process with deadlines changes in its Python and its C library, measured to matter."""

from __future__ import annotations

import ctypes
import sys

_SWITCH_S = 0.001
# mallopt(3) of glibc: names and values.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 128 * 1024 * 1024
_LARGEST_BLOCK = 32 * 1024 * 1024  # the most that glibc takes


def take_turns() -> None:
    """Let threads take turns quickly: they wait for each other's messages.

    Python lets a busy thread run for 5 ms before another gets its turn, as long as the whole way from a frame
    to its command should take. A page of a server takes two turns: while a policy computes in Python, health
    is answered within 9 ms at the median, with turns of 1 ms within 2 ms.
    """
    sys.setswitchinterval(_SWITCH_S)


def tune_process() -> None:
    """`take_turns`, and keep the memory of messages for the next ones.

    glibc gives a block of a megabyte back to the system as soon as it is free, and every page of the next one
    is a fault. Keeping up to 128 MB halves the work of a server's thread on an observation of 640 x 480.
    """
    take_turns()
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, _LARGEST_BLOCK)
            mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
