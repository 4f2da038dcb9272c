"""`spatialbot episodes {list,show,validate,recover}`: looks at episodes, mends what a crash left."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from spatialbot_cli.contact_sheet import write_contact_sheet
from spatialbot_policy.episode import Dataset, EpisodeInfo, EpisodeReader, recover
from spatialbot_policy.errors import EpisodeError

DatasetPath = Annotated[Path, tyro.conf.Positional]


@dataclass(frozen=True)
class List:
    """List the episodes of a data set, without decoding any of them.

    Example: spatialbot episodes list data/pick
    """

    dataset: DatasetPath
    """Folder of the data set (it holds dataset.yaml)."""

    family: str | None = None
    """Only this task family."""

    limit: int = 50
    """Print at most this many rows; 0 prints all. The totals always count every episode."""

    def run(self, console: Console) -> int:
        """Print the table and the totals; damaged episodes are named, and make the status 1."""
        if self.limit < 0:
            raise EpisodeError(f"--limit {self.limit} prints no rows; give 0 for all of them, or a number")
        dataset = Dataset(self.dataset)
        infos, damaged = _load_infos(dataset)
        chosen = [info for info in infos if self.family in (None, info.family)]
        table = Table(
            "index", "kind", "family", "steps", "seed", "outcome", "instruction", title=str(self.dataset)
        )
        for info in chosen[: self.limit or None]:
            table.add_row(
                str(info.index),
                info.kind,
                escape(info.family),
                str(info.steps),
                str(info.seed),
                escape(outcome_text(info)),
                escape(info.instruction),
            )
        console.print(table)
        if len(table.rows) < len(chosen):
            console.print(f"... and {len(chosen) - len(table.rows)} more (--limit 0 shows all)")
        _print_totals(console, dataset, chosen)
        for message in damaged:
            console.print(f"damaged: {message}", style="red", markup=False, soft_wrap=True)
        return 1 if damaged else 0


@dataclass(frozen=True)
class Show:
    """Show one episode: its facts, and a contact sheet of colour and depth images.

    Example: spatialbot episodes show data/pick 42 --out episode42.png
    """

    dataset: DatasetPath
    """Folder of the data set."""

    index: Annotated[int, tyro.conf.Positional]
    """Number of the episode."""

    out: Path | None = None
    """Where the contact sheet goes; by default episode_<index>.png in the current folder."""

    columns: int = 8
    """Steps on the sheet, spread evenly over the episode."""

    def run(self, console: Console) -> int:
        """Print the facts and write the sheet."""
        reader = Dataset(self.dataset).episode(self.index)
        console.print(_facts(reader))
        out = self.out or Path(f"episode_{self.index:06d}.png")
        width, height = write_contact_sheet(reader, out, self.columns)
        console.print(
            f"contact sheet: {out} ({width} x {height})", soft_wrap=True, markup=False, highlight=False
        )
        return 0


@dataclass(frozen=True)
class Validate:
    """Check checksums, counts, stamps and that every step is complete; the status is 1 if an episode is not.

    Example: spatialbot episodes validate data/pick
    """

    dataset: DatasetPath
    """Folder of the data set."""

    index: tuple[int, ...] = ()
    """Only these episodes."""

    def run(self, console: Console) -> int:
        """Verify the episodes one by one and print what is wrong with each damaged one."""
        dataset = Dataset(self.dataset)
        indices = list(self.index) or dataset.indices()
        bad: list[str] = []
        for index in track(indices, "validating", console=console, transient=True):
            try:
                dataset.episode(index).verify()
            except EpisodeError as error:
                bad.append(f"{index:06d}: {error}")
        for message in bad:
            console.print(message, style="red", markup=False, soft_wrap=True)
        console.print(f"{len(indices) - len(bad)} of {len(indices)} episodes are good")
        _print_partials(console, dataset)
        return 1 if bad else 0


@dataclass(frozen=True)
class Recover:
    """Turn what a crash left (.partial folders) into episodes up to their last full step.

    Example: spatialbot episodes recover data/pick
    """

    dataset: DatasetPath
    """Folder of the data set."""

    def run(self, console: Console) -> int:
        """Recover and report each one; the status is 1 if something could not be recovered."""
        results = recover(self.dataset)
        for result in results:
            style = "green" if result.recovered else "yellow"
            text = f"{result.index:06d}: {result.message}"
            console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
        saved = sum(result.recovered for result in results)
        console.print(f"{saved} of {len(results)} recovered" if results else "nothing to recover")
        return 0 if saved == len(results) else 1


Verb = (
    Annotated[List, tyro.conf.subcommand("list")]
    | Annotated[Show, tyro.conf.subcommand("show")]
    | Annotated[Validate, tyro.conf.subcommand("validate")]
    | Annotated[Recover, tyro.conf.subcommand("recover")]
)


def main(argv: list[str]) -> int:
    """Run `spatialbot episodes` with its arguments and return the exit status.

    Raises:
        SpatialBotError: the data set or episode cannot be read; the caller prints it.
    """
    try:
        verb: List | Show | Validate | Recover = tyro.cli(
            Verb,  # type: ignore[arg-type]
            prog="spatialbot episodes",
            description=__doc__,
            args=argv,
        )
    except SystemExit as stop:  # tyro has printed its help or the error of usage
        return stop.code if isinstance(stop.code, int) else 0
    return verb.run(Console())


def outcome_text(info: EpisodeInfo) -> str:
    """The outcome in a word: success, the kind of failure, or why it is unknown."""
    outcome = info.outcome
    if outcome is None or outcome.success is None:
        return "recovered" if outcome is not None and outcome.recovered else "unknown"
    return "success" if outcome.success else outcome.failure or "failure"


def _load_infos(dataset: Dataset) -> tuple[list[EpisodeInfo], list[str]]:
    infos: list[EpisodeInfo] = []
    damaged: list[str] = []
    for index in dataset.indices():
        try:
            infos.append(dataset.episode(index).info)
        except EpisodeError as error:
            damaged.append(str(error))
    return infos, damaged


def _print_totals(console: Console, dataset: Dataset, infos: list[EpisodeInfo]) -> None:
    outcomes = Counter(outcome_text(info) for info in infos)
    megabytes = sum(info.mcap_bytes for info in infos) / 1e6
    counts = ", ".join(f"{count} {name}" for name, count in outcomes.most_common()) or "none"
    steps = sum(info.steps for info in infos)
    console.print(f"{len(infos)} episodes ({counts}), {steps} steps, {megabytes:.1f} MB", highlight=False)
    _print_partials(console, dataset)


def _print_partials(console: Console, dataset: Dataset) -> None:
    if partials := dataset.partials():
        command = f"spatialbot episodes recover {dataset.directory}"
        text = f"not committed: {partials}; if nothing records at the moment: {command}"
        console.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)


def _facts(reader: EpisodeReader) -> Table:
    info = reader.info
    seconds = ((info.end_ns or 0) - (info.start_ns or 0)) / 1e9
    table = Table(show_header=False, title=str(reader.path))
    table.add_column(overflow="fold")  # names of topics must be readable whole
    table.add_column(overflow="fold")
    table.add_row("instruction", escape(info.instruction))
    task = f"{info.task}, family {info.family}, seed {info.seed}, robot {info.robot}"
    table.add_row("task", escape(task))
    table.add_row("kind", info.kind)
    table.add_row("outcome", escape(outcome_text(info)))
    table.add_row("length", f"{info.steps} steps over {seconds:.1f} s, {info.mcap_bytes / 1e6:.2f} MB")
    for camera, view in info.intrinsics.items():
        table.add_row(f"camera {camera}", f"{view.width} x {view.height}, fx {view.fx:.1f}, fy {view.fy:.1f}")
    for topic, count in info.counts.items():
        table.add_row(topic, str(count))
    table.add_row("written by", f"spatialbot {info.software_version}, commit {info.git_commit or 'unknown'}")
    if info.extra:
        table.add_row("extra", escape(json.dumps(info.extra)))
    return table
