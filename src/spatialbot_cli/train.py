"""`spatialbot train`: train a policy from a recipe, and go on after an interruption."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import tyro
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


@dataclass(frozen=True)
class TrainArguments:
    """Train a policy from a recipe; started again with the same recipe and directory, it goes on."""

    recipe: Path
    """YAML file, e.g. config/train/tiny.yaml."""
    out: Path
    """Directory of the run: state, logs, TensorBoard events, plots and `checkpoint/`."""
    cache: Path = Path("datasets/.cache")
    """Where decoded episodes are kept between runs."""
    steps: int | None = None
    """Replace the recipe's number of steps."""
    rgb_only: bool = False
    """Train without depth: the same recipe with `depth_variant: null`, to compare."""
    threads: int = 0
    """CPU threads; 0 takes all cores."""


def main(argv: list[str]) -> int:
    """Run the verb; returns the exit code."""
    arguments = tyro.cli(TrainArguments, args=argv, prog="spatialbot train")
    import torch

    from spatialbot_policy.config import load_yaml
    from spatialbot_training.recipe import Recipe
    from spatialbot_training.trainer import Trainer

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    recipe = load_yaml(Recipe, arguments.recipe)
    if arguments.steps is not None:
        recipe = replace(recipe, schedule=replace(recipe.schedule, steps=arguments.steps))
    if arguments.rgb_only:
        recipe = replace(recipe, policy=replace(recipe.policy, depth_variant=None))
    console = Console()
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler(console=console)])
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not sys.stdout.isatty()) as progress:
        bars: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in bars:
                bars[what] = progress.add_task(what, total=total)
            progress.update(bars[what], completed=done, total=total)

        trainer = Trainer(recipe, arguments.out, arguments.cache, show)
        if trainer.step:
            console.print(f"going on from step {trainer.step}")
        checkpoint = trainer.run()
    console.print(f"checkpoint: {checkpoint}")
    return 0
