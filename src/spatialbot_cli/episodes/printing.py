"""What several verbs of `spatialbot episodes` take and print."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.progress import Progress as Bar

from spatialbot_policy.episode import Dataset
from spatialbot_policy.episodes.dataset_index import Progress

DatasetPath = Annotated[Path, tyro.conf.Positional]
EpisodeNumber = Annotated[int, tyro.conf.Positional]
_BLOCKS = " \N{LOWER ONE EIGHTH BLOCK}\N{LOWER ONE QUARTER BLOCK}\N{LOWER THREE EIGHTHS BLOCK}" + (
    "\N{LOWER HALF BLOCK}\N{LOWER FIVE EIGHTHS BLOCK}\N{LOWER THREE QUARTERS BLOCK}"
    "\N{LOWER SEVEN EIGHTHS BLOCK}\N{FULL BLOCK}"
)


def print_partials(console: Console, dataset: Dataset) -> None:
    """Name what is being recorded or was left by a crash."""
    if partials := dataset.partials():
        command = f"spatialbot episodes recover {dataset.directory}"
        tell(console, f"not committed: {partials}; if nothing records at the moment: {command}", "yellow")


def print_damaged(console: Console, reasons: Sequence[str]) -> None:
    """Name episodes that cannot be used, in red."""
    for reason in reasons:
        tell(console, f"damaged: {reason}", "red")


def tell(console: Console, text: str, style: str | None = None) -> None:
    """Print a line as it is: no markup, no colours of its own, not broken."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress(console: Console, what: str) -> Iterator[Progress]:
    """A bar that goes away when it is done; yields what reports (done, total) to it."""
    with Bar(console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def default_jobs() -> int:
    """Processes to use where nobody says: those the machine lets this program have."""
    return max(1, min(len(os.sched_getaffinity(0)), 8))


def sparkline(values: Sequence[float], low: float, high: float) -> str:
    """Values as a line of blocks, between an empty one for `low` and a full one for `high`."""
    span = (high - low) or 1.0
    levels = [min(max((value - low) / span, 0.0), 1.0) for value in values]
    return "".join(_BLOCKS[round(level * (len(_BLOCKS) - 1))] for level in levels)


def ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers as text: "2-4, 7"."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in parts)
