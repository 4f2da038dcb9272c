"""`spatialbot demo`: roll out the shipped policy on a few unseen scenes and write a report with pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console

from spatialbot_cli.evaluate import episode_progress, follow, print_evaluation, tell
from spatialbot_policy.errors import CheckpointError

VIDEO = "demo.mp4"


@dataclass(frozen=True)
class DemoArguments:
    """Roll out the shipped policy on a few unseen scenes and write a report with pictures and a film."""

    checkpoint: str = "checkpoints/tiny"
    """Checkpoint directory, or a baseline: expert, do-nothing."""
    out: Path = Path("demo-report")
    """Directory of the report; the results of an earlier demo there are replaced."""
    pick: int = 6
    """Scenes with one object; 0 for none."""
    position: int = 2
    """Scenes with several alike objects; 0 for none."""
    first_seed: int = 10_000_000
    """The scenes' seeds count up from here."""
    workers: int = 2
    """Processes."""


def main(argv: list[str]) -> int:
    """Run the verb; returns the exit code."""
    arguments = tyro.cli(DemoArguments, args=argv, prog="spatialbot demo")
    from spatialbot_sim.evaluation.evaluate import evaluate
    from spatialbot_sim.evaluation.plan import EvaluationPlan
    from spatialbot_sim.evaluation.rollout import BASELINES

    if arguments.checkpoint not in BASELINES:
        check_there(Path(arguments.checkpoint))
    families = {"pick": arguments.pick, "position": arguments.position}
    plan = EvaluationPlan(
        checkpoint=arguments.checkpoint,
        out=arguments.out,
        episodes={family: count for family, count in families.items() if count},
        first_seed=arguments.first_seed,
        video=max(families.values()),
        workers=arguments.workers,
    )
    console = Console()
    console.print(f"Rolling out {arguments.checkpoint} on {sum(families.values())} scenes it has never seen.")
    with episode_progress(console) as progress:
        evaluation = evaluate(plan, follow(progress), tell(console), fresh=True)
    print_evaluation(console, evaluation)
    film = join_films(arguments.out, [entry.result.video for entry in evaluation.entries if entry.result])
    if film is not None:
        tell(console)(str(film))
    return 1 if evaluation.errors else 0


def check_there(checkpoint: Path) -> None:
    """Say how to get a checkpoint that is not there.

    Raises:
        CheckpointError: there is none.
    """
    if (checkpoint / "policy.yaml").is_file():
        return
    raise CheckpointError(
        f"there is no checkpoint in {checkpoint.absolute()}; run the demo from the root of the repository, "
        f"and bring lost files back with: git checkout -- {checkpoint}. Without one, watch the scripted "
        "expert with: spatialbot demo --checkpoint expert"
    )


def join_films(out: Path, videos: list[str]) -> Path | None:
    """Write all films of the demo after each other into one; None without films."""
    from spatialbot_sim.evaluation.film import join_mp4
    from spatialbot_sim.task.contract import SPATIAL_CONTRACT

    if not videos:
        return None
    join_mp4([out / video for video in videos], out / VIDEO, SPATIAL_CONTRACT.rate_hz)
    return out / VIDEO
