"""`spatialbot episodes list`: the episodes of a data set as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from spatialbot_cli.episodes.printing import DatasetPath, print_damaged, print_partials, ranges, tell
from spatialbot_policy.episode import Dataset
from spatialbot_policy.episodes.dataset_index import Entry, Listing, list_episodes
from spatialbot_policy.episodes.dataset_stats import seconds_of
from spatialbot_policy.episodes.labels import marks, outcome_word
from spatialbot_policy.episodes.relation import relation_of
from spatialbot_policy.errors import EpisodeError

_KEYS: dict[str, Callable[[Entry], Any]] = {
    "index": lambda entry: entry.index,
    "date": lambda entry: entry.info.start_ns or 0,
    "steps": lambda entry: entry.info.steps,
    "seconds": seconds_of,
    "size": lambda entry: entry.info.mcap_bytes,
    "family": lambda entry: entry.info.family,
    "relation": lambda entry: relation_of(entry.info),
    "outcome": lambda entry: outcome_word(entry.info),
    "instruction": lambda entry: entry.info.instruction,
}


@dataclass(frozen=True)
class List:
    """List the episodes of a data set, without decoding any of them.

    Example: spatialbot episodes list data/pick --relation left --outcome failure --sort date
    """

    dataset: DatasetPath
    """Folder of the data set (it holds dataset.yaml)."""

    family: str | None = None
    """Only this task family."""

    relation: str | None = None
    """Only this spatial relation."""

    outcome: str | None = None
    """Only this outcome: success, failure (of any kind), one kind of failure, recovered or unknown."""

    text: str | None = None
    """Only episodes whose instruction or note holds this text."""

    mark: str | None = None
    """Only episodes with this mark, e.g. "no depth", "recovered" or "damaged"."""

    since: str | None = None
    """Only episodes that began on this day (UTC) or later, e.g. 2026-03-31."""

    until: str | None = None
    """Only episodes that began on this day or earlier."""

    sort: Literal[
        "index", "date", "steps", "seconds", "size", "family", "relation", "outcome", "instruction"
    ] = "index"
    """Order of the rows."""

    reverse: bool = False
    """Last ones first."""

    limit: int = 50
    """Print at most this many rows; 0 prints all. The totals always count every episode chosen."""

    def run(self, console: Console) -> int:
        """Print the table and the totals; damaged episodes are named, and make the status 1."""
        if self.limit < 0:
            raise EpisodeError(f"--limit {self.limit} prints no rows; give 0 for all of them, or a number")
        dataset = Dataset(self.dataset)
        listing = list_episodes(dataset)
        chosen = sorted(self._chosen(listing.entries), key=_KEYS[self.sort], reverse=self.reverse)
        console.print(_table(str(self.dataset), chosen[: self.limit or None]))
        if self.limit and len(chosen) > self.limit:
            console.print(f"... and {len(chosen) - self.limit} more (--limit 0 shows all)")
        _print_totals(console, dataset, chosen, listing)
        print_damaged(console, list(listing.damaged.values()))
        return 1 if listing.damaged else 0

    def _chosen(self, entries: Sequence[Entry]) -> list[Entry]:
        since, until = _day(self.since, "--since"), _day(self.until, "--until")
        return [
            entry
            for entry in entries
            if self.family in (None, entry.info.family)
            and self.relation in (None, relation_of(entry.info))
            and (self.outcome is None or self.outcome in _outcomes(entry))
            and (self.text is None or self.text.casefold() in _words(entry).casefold())
            and (self.mark is None or self.mark in all_marks(entry))
            and (since is None or _date(entry) >= since)
            and (until is None or _date(entry) <= until)
        ]


def all_marks(entry: Entry) -> list[str]:
    """What sets an episode apart, with what `validate` found in it."""
    return [*marks(entry.info), *(["damaged"] if entry.problem else [])]


def _outcomes(entry: Entry) -> set[str]:
    outcome = entry.info.outcome
    failed = outcome is not None and outcome.success is False
    return {outcome_word(entry.info), *(["failure"] if failed else [])}


def _words(entry: Entry) -> str:
    return f"{entry.info.instruction}\n{entry.info.extra.get('note', '')}"


def _date(entry: Entry) -> str:
    return f"{datetime.fromtimestamp((entry.info.start_ns or 0) / 1e9, timezone.utc):%Y-%m-%d}"


def _day(text: str | None, option: str) -> str | None:
    if text is None:
        return None
    try:
        return f"{datetime.strptime(text, '%Y-%m-%d'):%Y-%m-%d}"
    except ValueError as error:
        raise EpisodeError(f"{option} '{text}' is no day; write it as 2026-03-31") from error


def _table(title: str, entries: Sequence[Entry]) -> Table:
    """One row for each; a column that would be the same or empty in all of them is left out."""
    columns: dict[str, list[str]] = {
        "index": [str(entry.index) for entry in entries],
        "kind": [entry.info.kind for entry in entries],
        "family": [entry.info.family for entry in entries],
        "relation": [relation_of(entry.info) for entry in entries],
        "steps": [str(entry.info.steps) for entry in entries],
        "s": [f"{seconds_of(entry):.1f}" if entry.info.kind == "demo" else "" for entry in entries],
        "seed": ["" if entry.info.seed is None else str(entry.info.seed) for entry in entries],
        "outcome": [outcome_word(entry.info) for entry in entries],
        "instruction": [entry.info.instruction for entry in entries],
        "marks": [", ".join(all_marks(entry)) for entry in entries],
    }
    shown = {
        name: values
        for name, values in columns.items()
        if any(values) and (name not in ("kind", "family") or len(set(values)) > 1)
    }
    table = Table(title=title)
    for name in shown:
        table.add_column(name, no_wrap=name not in ("instruction", "marks"), overflow="fold")
    for row in zip(*shown.values(), strict=True):
        table.add_row(*map(escape, row))
    return table


def _print_totals(console: Console, dataset: Dataset, entries: Sequence[Entry], listing: Listing) -> None:
    outcomes = Counter(outcome_word(entry.info) for entry in entries)
    megabytes = sum(entry.info.mcap_bytes for entry in entries) / 1e6
    counts = ", ".join(f"{count} {name}" for name, count in outcomes.most_common()) or "none"
    steps = sum(entry.info.steps for entry in entries)
    tell(console, f"{len(entries)} episodes ({counts}), {steps} steps, {megabytes:.1f} MB")
    if missing := listing.missing():
        tell(console, f"numbers without an episode: {ranges(missing)}")
    if listing.foreign:
        tell(console, f"no episodes, left alone: {', '.join(listing.foreign)}", "yellow")
    print_partials(console, dataset)
