"""`spatialbot collect`: record episodes in simulation, in parallel; goes on after an interruption."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from spatialbot_policy.errors import ConfigError

if TYPE_CHECKING:
    from spatialbot_sim.collection.collect import CollectReport
    from spatialbot_sim.collection.recipe import CollectRecipe


@dataclass(frozen=True)
class CollectArguments:
    """Record episodes in simulation; started again with the same arguments, it goes on."""

    out: Path
    """Directory of the data set."""
    recipe: Path | None = None
    """YAML file that says what to collect, e.g. config/collect/tiny.yaml, in place of the options below."""
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
    workers: int | None = None
    """Processes; one for each core is best. 2 when left out, or the recipe's."""
    perturb: bool = True
    """Disturb the expert and start from random arm poses."""
    image_size: int = 128
    """Width and height of the images in pixels."""
    wrist_camera: bool = False
    """Record the wrist camera too."""
    vary: bool = False
    """Draw camera, light, tones and depth noise anew in each episode of SpatialPickPlace."""
    policy: Path | None = None
    """Checkpoint that drives, to record the states that its own mistakes lead to (DAgger)."""
    relabel: Literal["expert"] = "expert"
    """Whose answer to each state is recorded as the right one, with --policy."""
    policy_share: float = 0.8
    """Share of the stretches of about ten steps that the policy drives; the expert drives the others."""
    balance: bool = False
    """Count at the end what all instructions of the data set ask for; stills are read for it."""


_WITH_RECIPE = ("out", "recipe", "workers", "balance")
_NOT_IN_PLAN = ("recipe", "relabel", "balance")


def main(argv: list[str]) -> int:
    """Run the verb; returns the exit code."""
    arguments = tyro.cli(CollectArguments, args=argv, prog="spatialbot collect")
    recipe = None if arguments.recipe is None else _load_recipe(arguments, arguments.recipe)
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not sys.stdout.isatty()) as progress:
        reports = _collect(arguments, recipe, progress)
    _print_reports(console, arguments.out, reports)
    if arguments.balance:
        _print_balance(console, arguments.out)
    return 1 if any(report.errors for report in reports) else 0


def _load_recipe(arguments: CollectArguments, path: Path) -> CollectRecipe:
    from spatialbot_policy.config import load_yaml
    from spatialbot_sim.collection.recipe import CollectRecipe

    for item in fields(arguments):
        if item.name in _WITH_RECIPE or item.default is MISSING:
            continue
        if getattr(arguments, item.name) != item.default:
            option = "--" + item.name.replace("_", "-")
            raise ConfigError(f"the recipe says what to collect; leave {option} out, or change {path}")
    return load_yaml(CollectRecipe, path)


def _collect(
    arguments: CollectArguments, recipe: CollectRecipe | None, progress: Progress
) -> list[CollectReport]:
    from spatialbot_sim.collection.collect import CollectPlan, collect
    from spatialbot_sim.collection.recipe import collect_recipe
    from spatialbot_sim.task.workplace import SPATIAL_TASK

    bars: dict[int, Any] = {}

    def show(part: int, done: int, total: int) -> None:
        if part not in bars:
            bars[part] = progress.add_task("episodes" if recipe is None else f"part {part}", total=None)
        progress.update(bars[part], completed=done, total=total)

    def say(text: str) -> None:
        progress.console.print(text, markup=False, highlight=False)

    if recipe is not None:
        return collect_recipe(recipe, arguments.out, arguments.workers, show, say)
    families = arguments.families or (("pick",) if arguments.task == SPATIAL_TASK else ("",))
    given = {name: value for name, value in vars(arguments).items() if name not in _NOT_IN_PLAN}
    plan = CollectPlan(
        **(given | {"families": families, "workers": 2 if arguments.workers is None else arguments.workers})
    )
    return [collect(plan, lambda done, total: show(1, done, total), say)]


def _print_reports(console: Console, out: Path, reports: Sequence[CollectReport]) -> None:
    """One table for each part, then what all runs into this data set have cost."""
    from spatialbot_sim.collection.cost import read_runs, total_cost

    for number, report in enumerate(reports, start=1):
        part = "" if len(reports) == 1 else f", part {number}"
        table = Table("episodes", "count", title=f"{out}{part}")
        for row in report.rows():
            table.add_row(*row)
        console.print(table)
    cost = total_cost(read_runs(out))
    console.print(
        f"all runs into {out}: {cost.episodes} episodes, {cost.frames} frames, {cost.seconds / 3600:.2f} h, "
        f"{cost.core_seconds / 3600:.2f} core-hours",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _print_balance(console: Console, out: Path) -> None:
    from spatialbot_policy.episode import Dataset
    from spatialbot_sim.collection.balance import balance

    for aspect, counts in balance(Dataset(out)).items():
        table = Table(aspect, "instructions", "share")
        total = max(sum(counts.values()), 1)
        for word, count in counts.most_common():
            table.add_row(word, str(count), f"{count / total:.0%}")
        console.print(table)
