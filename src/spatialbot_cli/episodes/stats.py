"""`spatialbot episodes stats`: what a data set holds, in numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from spatialbot_cli.episodes.printing import (
    DatasetPath,
    default_jobs,
    print_damaged,
    progress,
    sparkline,
    tell,
)
from spatialbot_policy.episode import Dataset
from spatialbot_policy.episodes.dataset_index import list_episodes
from spatialbot_policy.episodes.dataset_stats import DatasetStatistics, summarise
from spatialbot_policy.episodes.stats import INNER_BINS, bounds_of

_SHOWN = 15  # rows of a counter; JSON has all


@dataclass(frozen=True)
class Stats:
    """Count lengths, relations, outcomes, actions and what streams lack; the first time reads every message.

    Example: spatialbot episodes stats data/pick --json
    """

    dataset: DatasetPath
    """Folder of the data set."""

    json: bool = False
    """Print JSON instead of tables."""

    jobs: int | None = None
    """Processes for a first reading; by default as many as there are processor cores, at most 8."""

    def run(self, console: Console) -> int:
        """Print them; damaged episodes are named, and make the status 1."""
        dataset = Dataset(self.dataset)
        with progress(Console(stderr=True), "reading messages") as report:
            listing = list_episodes(dataset, True, self.jobs or default_jobs(), report)
        found = summarise(listing.entries, bounds_of(dataset.info.action_space))
        if self.json:
            print(json.dumps({**found.to_dict(), "damaged": list(listing.damaged.values())}))
        else:
            _print(console, found)
            print_damaged(console, list(listing.damaged.values()))
        return 1 if listing.damaged else 0


def _print(console: Console, found: DatasetStatistics) -> None:
    shortest, longest = found.seconds_range
    tell(
        console,
        f"{found.episodes} episodes, {found.steps} steps, {found.seconds / 3600:.2f} h, "
        f"{found.megabytes:.1f} MB; lengths {shortest:.1f} to {longest:.1f} s, "
        f"median {found.seconds_median:.1f} s",
    )
    for title, counts in (
        ("outcome", found.outcomes),
        ("relation", found.relations),
        ("family", found.families),
        ("instruction", found.instructions),
    ):
        console.print(_counter(title, counts))
    console.print(_actions(found))
    console.print(_streams(found))


def _counter(title: str, counts: Mapping[str, int]) -> Table:
    table = Table(title, "episodes", "share")
    total = max(sum(counts.values()), 1)
    for name, count in list(counts.items())[:_SHOWN]:
        table.add_row(escape(name), str(count), f"{count / total:.0%}")
    if len(counts) > _SHOWN:
        rest = sum(list(counts.values())[_SHOWN:])
        table.add_row(f"{len(counts) - _SHOWN} more", str(rest), f"{rest / total:.0%}")
    return table


def _actions(found: DatasetStatistics) -> Table:
    table = Table("action", "within", "distribution", "mean", "deviation", "at a bound")
    table.columns[2].min_width = INNER_BINS
    table.columns[2].no_wrap = True
    for item in found.dimensions:
        peak = float(max(item.histogram, default=0))
        table.add_row(
            item.name,
            f"\N{PLUS-MINUS SIGN}{item.high:g}"
            if item.low == -item.high
            else f"{item.low:g} to {item.high:g}",
            sparkline([count**0.5 for count in item.histogram], 0.0, peak**0.5),  # so that tails show
            f"{item.mean:.4f}",
            f"{item.deviation:.4f}",
            f"{item.saturated:.1%}",
        )
    return table


def _streams(found: DatasetStatistics) -> Table:
    table = Table("topic", "episodes", "messages", "Hz", "longest gap", "missing")
    table.columns[0].overflow = "fold"
    for item in found.streams:
        rate = "" if item.slowest_hz is None else f"{item.slowest_hz:.1f} to {item.fastest_hz:.1f}"
        gap = "" if item.gap_episode is None else f"{item.longest_gap_ms:.0f} ms in {item.gap_episode}"
        row = (item.topic, str(item.episodes), str(item.messages), rate, gap, str(item.missing))
        table.add_row(*map(escape, row))
    return table
