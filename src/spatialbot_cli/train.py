"""`spatialbot train`: train from a recipe, on one process or many, and go on after an interruption."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from spatialbot_policy.errors import ConfigError

if TYPE_CHECKING:
    from spatialbot_training.recipe import Recipe


@dataclass(frozen=True)
class TrainArguments:
    """Train from a recipe; started again with the same recipe and directory, it goes on."""

    recipe: Path
    """YAML file, e.g. config/train/tiny.yaml."""
    out: Path
    """Directory of the run: state, logs, TensorBoard events, plots, and `checkpoint/` or `adapter/`."""
    cache: Path = Path("datasets/.cache")
    """Where decoded episodes are kept between runs; may be removed at any time."""
    steps: int | None = None
    """Replace the recipe's number of steps."""
    rgb_only: bool = False
    """Train without depth: the same recipe with `depth_variant: null`, to compare."""
    threads: int = 0
    """CPU threads; 0 takes all cores."""
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY=VALUE")] = ()
    """Replace further values of the recipe, e.g. `--set schedule.seed=1 model.bin_smoothing=0`."""
    skip_bad: bool = False
    """Leave out conversations that cannot be used, and list them, instead of an error."""
    shard: bool = False
    """Spread the weights over all processes (FSDP); start them with torchrun or `accelerate launch`."""


def main(argv: list[str]) -> int:
    """Run the verb; returns the exit code."""
    arguments = tyro.cli(TrainArguments, args=argv, prog="spatialbot train")
    import torch

    from spatialbot_training.distributed import join_processes
    from spatialbot_training.trainer import Trainer

    if arguments.threads < 0:
        raise ConfigError(f"--threads must be 0 (all cores) or more, got {arguments.threads}")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    recipe = _recipe(arguments)
    processes = join_processes(arguments.shard)
    console = Console(quiet=not processes.main)
    level = logging.INFO if processes.main else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s", handlers=[_log_handler(console)])
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not sys.stdout.isatty()) as progress:
        trainer = Trainer(recipe, arguments.out, arguments.cache, _Bars(progress), processes)
        if trainer.step:
            console.print(f"going on from step {trainer.step}")
        result = trainer.run()
    processes.leave()
    console.print(f"{result.name}: {result}")
    return 0


def _log_handler(console: Console) -> logging.Handler:
    """Colours and the progress bar's terms on a terminal; in a file or pipe one line for each record."""
    if console.is_terminal:
        return RichHandler(console=console, show_path=False)
    return logging.StreamHandler(sys.stdout)


def _recipe(arguments: TrainArguments) -> Recipe:
    """The file's recipe with what the command line replaces."""
    from spatialbot_policy.config import load_yaml
    from spatialbot_training.recipe import Recipe

    recipe = load_yaml(Recipe, arguments.recipe, arguments.set)
    if arguments.steps is not None:
        recipe = replace(recipe, schedule=replace(recipe.schedule, steps=arguments.steps))
    if arguments.rgb_only and recipe.policy is not None:
        recipe = replace(recipe, policy=replace(recipe.policy, depth_variant=None))
    if arguments.skip_bad:
        recipe = replace(recipe, data=replace(recipe.data, skip_bad=True))
    return recipe


class _Bars:
    """A bar for each thing that is told about, made when it is first told."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show that `done` of `total` are done."""
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(what, total=total)
        self._progress.update(self._tasks[what], total=total, completed=done)
