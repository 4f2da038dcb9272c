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
    video: int = 2
    """How many episodes of each family to film."""
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
    from spatialbot_sim.task.robot import SPATIAL_TASK

    values = dict(vars(arguments))
    families = values.pop("families") or (("pick",) if arguments.task == SPATIAL_TASK else ("",))
    if len(set(families)) < len(families):
        raise TaskError(f"name each family once, not {list(families)}")
    values["episodes"] = dict.fromkeys(families, arguments.episodes)
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
    """Print the tables and where the files are."""
    from spatialbot_sim.evaluation.summary import HEADER

    rows = [summary.row() for summary in evaluation.summaries]
    shared = len({row[0] for row in rows}) == 1  # one policy needs no column
    first = 1 if shared else 0
    table = Table(title=rows[0][0] if shared else None)
    for name in HEADER[first:]:
        table.add_column(name, overflow="fold", no_wrap=name in ("success", "rate", "95 % interval"))
    for row in rows:
        table.add_row(*row[first:])
    console.print(table)
    for family, count in (evaluation.compared or {}).get("families", {}).items():
        console.print(
            f"{family}: {100 * count['difference']:+.0f} points; only first {count['only_first']}, "
            f"only second {count['only_second']}, McNemar p = {count['mcnemar_p']:.3g}"
        )
    for entry in evaluation.entries:
        if entry.result is None:
            last = entry.error.strip().splitlines()[-1]
            tell(console)(f"error in {entry.family or 'the task'}, seed {entry.seed}: {last}")
    for path in evaluation.files:
        tell(console)(str(path))
