"""`spatialbot evaluate`: play unseen scenes with a policy in closed loop and measure its success."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from spatialbot_policy.errors import TaskError

if TYPE_CHECKING:
    from spatialbot_sim.evaluation.files import Evaluation
    from spatialbot_sim.evaluation.log import Entry
    from spatialbot_sim.evaluation.tables import Table as EvaluationTable


@dataclass(frozen=True)
class EvaluateArguments:
    """Measure a policy's success on unseen scenes; started again with the same arguments, it goes on."""

    out: Path
    """Directory of the results: evaluation.json, report.md, report.html, films."""
    checkpoint: str = "checkpoints/tiny"
    """Checkpoint directory, a policy server's address ws://HOST:PORT, or a baseline: expert, do-nothing."""
    against: str | None = None
    """A second checkpoint or baseline, compared on the same scenes."""
    task: str = "SpatialPickPlace-v1"
    """ManiSkill environment id; any task with a Panda, such as PickCube-v1."""
    families: Annotated[tuple[str, ...], tyro.conf.arg(aliases=["-f"])] = ()
    """Families of SpatialPickPlace: pick, position, size, obstacle, illusion; pick when left out."""
    episodes: int = 100
    """Episodes per family."""
    first_seed: int = 10_000_000
    """The seeds of each family count up from here; evaluation has those from 10000000 on."""
    phrasing: Literal["held_out", "train"] = "held_out"
    """Instructions as training never words them, or as it does."""
    max_steps: int = 100
    """Control steps until an episode counts as a failure."""
    shifts: Annotated[tuple[str, ...], tyro.conf.arg(aliases=["--shift"])] = ("none",)
    """How the scenes differ from those of training: none, colors, sizes, camera, light, depth, all. Several
    are compared on the same seeds."""
    shift_episodes: int | None = None
    """Episodes per family in every shift but none; as many as there when left out."""
    baselines: bool = False
    """Play the scenes with the scripted expert and with doing nothing, too."""
    video: int = 2
    """How many episodes of each family to film."""
    film_failures: int | None = None
    """How many failures of each kind to film; one when left out, and none with --video 0."""
    workers: int = 2
    """Processes; one for each core is best."""
    device: str = "cpu"
    """Where the policy runs: cpu, cuda."""
    batch: int = 1
    """Scenes that one process plays at a time, asking the network once for all of them: for GPUs."""


def main(argv: list[str]) -> int:
    """Run the verb; returns the exit code."""
    arguments = tyro.cli(EvaluateArguments, args=argv, prog="spatialbot evaluate")
    from spatialbot_sim.evaluation.evaluate import evaluate
    from spatialbot_sim.evaluation.plan import EvaluationPlan
    from spatialbot_sim.evaluation.rollout import BASELINES
    from spatialbot_sim.task.robot import SPATIAL_TASK

    values = dict(vars(arguments))
    families = values.pop("families") or (("pick",) if arguments.task == SPATIAL_TASK else ("",))
    if len(set(families)) < len(families):
        raise TaskError(f"name each family once, not {list(families)}")
    values["episodes"] = dict.fromkeys(families, arguments.episodes)
    values["baselines"] = BASELINES if arguments.baselines else ()
    plan = EvaluationPlan(**values)
    console = Console()
    with episode_progress(console) as progress:
        evaluation = evaluate(plan, follow(progress), tell(console))
    print_evaluation(console, evaluation)
    return 1 if evaluation.errors else 0


def episode_progress(console: Console) -> Progress:
    """A progress bar over episodes; silent where the output is no terminal."""
    columns = (
        TextColumn("episodes"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    return Progress(*columns, console=console, disable=not sys.stdout.isatty())


def follow(progress: Progress) -> Callable[[Entry | None, int, int], None]:
    """A listener that moves the bar and keeps the score beside it."""
    bar = progress.add_task("starting the simulator", total=None)
    successes = ended = 0

    def on_episode(entry: Entry | None, done: int, total: int) -> None:
        nonlocal successes, ended
        if entry is not None and entry.result is not None:
            successes, ended = successes + entry.result.success, ended + 1
        score = f"{successes} of {ended} successful" if ended else "starting the simulator"
        progress.update(bar, completed=done, total=total, description=score)

    return on_episode


def tell(console: Console) -> Callable[[str], None]:
    """A printer of plain text, whose brackets are no markup; it leaves a running progress bar in order."""
    return lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True)


def print_evaluation(console: Console, evaluation: Evaluation) -> None:
    """Print the tables, and where the files are."""
    from spatialbot_sim.evaluation.tables import FAILURES, SHIFTS

    several = any(found.title == SHIFTS for found in evaluation.tables)  # then the first table is too long
    for found in evaluation.tables[1 if several else 0 :]:
        if several or found.title != FAILURES:  # they stand in the first table
            print_table(console, found)
    for entry in evaluation.entries:
        if entry.result is None:
            last = entry.error.strip().splitlines()[-1]
            where = ", ".join(part for part in (entry.family or "the task", entry.shift) if part != "none")
            tell(console)(f"error in {where}, seed {entry.seed}: {last}")
    for path in evaluation.files:
        tell(console)(str(path))


def print_table(console: Console, found: EvaluationTable) -> None:
    """Print a table; one policy that is the same in each row stands above instead."""
    policies = {row[0] for row in found.rows} if found.header[0] == "policy" else set()
    first = 1 if len(policies) == 1 else 0
    title = ": ".join(part for part in (*(policies if first else ()), found.title) if part)
    table = Table(title=title or None)
    for name in found.header[first:]:
        table.add_column(name, overflow="fold", no_wrap=name in ("success", "rate", "95 % interval"))
    for row in found.rows:
        table.add_row(*row[first:])
    console.print(table)
