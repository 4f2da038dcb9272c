"""`spatialbot episodes show`: the facts, pictures and commands of one episode."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from spatialbot_cli.contact_sheet import contact_sheet, write_action_plot, write_contact_sheet
from spatialbot_cli.episodes.printing import DatasetPath, EpisodeNumber, sparkline, tell
from spatialbot_cli.terminal_picture import terminal_picture
from spatialbot_policy.action_space import ACTION_NAMES
from spatialbot_policy.episode import Dataset, EpisodeReader
from spatialbot_policy.episodes.info import LABEL_HISTORY
from spatialbot_policy.episodes.labels import history, marks, outcome_word
from spatialbot_policy.episodes.relation import relation_of
from spatialbot_policy.episodes.stats import Bounds, bounds_of, dimension_bounds, read_commands

_TERMINAL_COLUMNS = 4  # pictures side by side: more would be too small to see anything


@dataclass(frozen=True)
class Show:
    """Show one episode: its facts, a contact sheet of colour and depth, and plots of its commands.

    Example: spatialbot episodes show data/pick 42 --out episode42.png
    """

    dataset: DatasetPath
    """Folder of the data set."""

    index: EpisodeNumber
    """Number of the episode."""

    out: Path | None = None
    """Where the contact sheet goes; by default episode_<index>.png in the current folder. The plots go beside
    it, to ..._actions.png."""

    columns: int = 8
    """Pictures on the sheet, spread evenly over the episode."""

    terminal: Literal["auto", "yes", "no"] = "auto"
    """Draw pictures and commands in the terminal too; auto: where the output is one."""

    def run(self, console: Console) -> int:
        """Print the facts and write sheet and plots."""
        dataset = Dataset(self.dataset)
        reader = dataset.episode(self.index)
        bounds = bounds_of(dataset.info.action_space)
        console.print(_facts(reader))
        if self.terminal == "yes" or (self.terminal == "auto" and console.is_terminal):
            console.print(terminal_picture(contact_sheet(reader, _TERMINAL_COLUMNS), console.width))
            _print_commands(console, reader, bounds)
        out = self.out or Path(f"episode_{self.index:06d}.png")
        width, height = write_contact_sheet(reader, out, self.columns)
        tell(console, f"contact sheet: {out} ({width} x {height})")
        plot = out.with_name(f"{out.stem}_actions.png")
        if count := write_action_plot(reader, bounds, plot):
            tell(console, f"plots of {count} commands: {plot}")
        return 0


def _print_commands(console: Console, reader: EpisodeReader, bounds: Bounds) -> None:
    _, vectors = read_commands(reader.path, reader.info)
    stride = max(1, -(-len(vectors) // max(console.width - 12, 1)))
    for name, values, (low, high) in zip(ACTION_NAMES, vectors.T, dimension_bounds(bounds), strict=True):
        tell(console, f"{name:<9}{sparkline(values[::stride].tolist(), low, high)}")


def _facts(reader: EpisodeReader) -> Table:
    info = reader.info
    seconds = ((info.end_ns or 0) - (info.start_ns or 0)) / 1e9
    table = Table(show_header=False, title=str(reader.path))
    table.add_column(overflow="fold")  # names of topics must be readable whole
    table.add_column(overflow="fold")
    table.add_row("instruction", escape(info.instruction))
    task = f"{info.task}, family {info.family}, seed {info.seed}, robot {info.robot}"
    table.add_row("task", escape(task))
    table.add_row("relation", escape(relation_of(info)))
    table.add_row("kind", info.kind)
    table.add_row("outcome", escape(outcome_word(info)))
    table.add_row("length", f"{info.steps} steps over {seconds:.1f} s, {info.mcap_bytes / 1e6:.2f} MB")
    if found := marks(info):
        table.add_row("marks", escape(", ".join(found)))
    for camera, view in info.intrinsics.items():
        size = f"{view.width} x {view.height}, fx {view.fx:.1f}, fy {view.fy:.1f}"
        table.add_row(f"camera {escape(camera)}", size)
    for topic, count in info.counts.items():
        table.add_row(topic, str(count))
    table.add_row("written by", f"spatialbot {info.software_version}, commit {info.git_commit or 'unknown'}")
    for change in history(info):
        was = {name: value for name, value in change.items() if name != "when"}
        table.add_row(f"until {escape(str(change.get('when')))}", escape(json.dumps(was)))
    extra = {name: value for name, value in info.extra.items() if name != LABEL_HISTORY}
    if extra:
        table.add_row("extra", escape(json.dumps(extra)))
    return table
