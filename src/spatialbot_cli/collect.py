"""`spatialbot collect`: record expert episodes in simulation, in parallel; goes on after an interruption."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table


@dataclass(frozen=True)
class CollectArguments:
    """Record expert episodes in simulation; started again with the same arguments, it goes on."""

    out: Path
    """Directory of the data set."""
    task: str = "SpatialPickPlace-v1"
    """SpatialPickPlace-v1, or ManiSkill's PickCube-v1, StackCube-v1, PushCube-v1 or PlaceSphere-v1."""
    families: Annotated[tuple[str, ...], tyro.conf.arg(aliases=["-f"])] = ()
    """Families of SpatialPickPlace: pick, position, size, obstacle, illusion; pick when left out."""
    demos: int = 100
    """Demonstrations per family."""
    stills: int = 0
    """Scenes of stills per family (16 images each), to teach localisation."""
    first_seed: int = 0
    """The seeds of each family count up from here."""
    workers: int = 2
    """Processes; one for each core is best."""
    perturb: bool = True
    """Disturb the expert and start from random arm poses."""
    image_size: int = 128
    """Width and height of the images in pixels."""
    wrist_camera: bool = False
    """Record the wrist camera too."""


def main(argv: list[str]) -> int:
    """Run the verb; returns the exit code."""
    arguments = tyro.cli(CollectArguments, args=argv, prog="spatialbot collect")
    from spatialbot_sim.collection.collect import CollectPlan, collect
    from spatialbot_sim.task.workplace import SPATIAL_TASK

    families = arguments.families or (("pick",) if arguments.task == SPATIAL_TASK else ("",))
    plan = CollectPlan(**(dict(vars(arguments)) | {"families": families}))
    console = Console()
    columns = (TextColumn("episodes"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not sys.stdout.isatty()) as progress:
        bar = progress.add_task("episodes", total=None)
        report = collect(
            plan,
            on_progress=lambda done, total: progress.update(bar, completed=done, total=total),
            report=lambda text: progress.console.print(text, markup=False, highlight=False),
        )
    table = Table("episodes", "count", title=str(arguments.out))
    for row in report.rows():
        table.add_row(*row)
    console.print(table)
    return 1 if report.errors else 0
