"""Work on many episodes in several processes, the answers in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from spatialbot_policy.errors import EpisodeError

Work = TypeVar("Work")
Answer = TypeVar("Answer")
_WORTH_A_PROCESS = 8  # pieces that are done before a second process has started


def each(function: Callable[[Work], Answer], work: Sequence[Work], jobs: int) -> Iterator[Answer]:
    """Call a function of some module with each piece of work; little of it is done in this process.

    Args:
        function: can be imported by its name in another process.
        work: can be pickled.
        jobs: processes.

    Yields:
        the answers, in the order of the work.

    Raises:
        EpisodeError: the system ended one of the processes.
    """
    if jobs <= 1 or len(work) < _WORTH_A_PROCESS:
        yield from map(function, work)
        return
    try:
        with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
            yield from pool.map(function, work, chunksize=1 if len(work) < 64 else 4)
    except BrokenProcessPool as error:
        raise EpisodeError(
            "a process that read episodes was ended from outside, perhaps for want of memory; pass --jobs 1"
        ) from error
