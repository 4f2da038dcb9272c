"""Open-loop validation: predicted against recorded actions on held-out episodes, in figures and as a plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from spatialbot_policy.action_space import ACTION_NAMES, ActionSpace
from spatialbot_training.collate import Pick, collate
from spatialbot_training.examples import EpisodeExamples
from spatialbot_training.frame_store import FrameStore
from spatialbot_training.intention import intention_figures
from spatialbot_training.learner import Learner
from spatialbot_training.localisation import localisation_errors_mm

_CHUNK = 64
_MOST_DEMO_STEPS, _MOST_STILLS = 400, 320


@dataclass(frozen=True)
class OpenLoopExample:
    """A few episodes' actions in a row: (T, 7) each, and where an episode begins."""

    predicted: np.ndarray
    recorded: np.ndarray
    starts: np.ndarray


@dataclass(frozen=True)
class _Answers:
    """What a learner says of R steps, and of the F distinct steps that their histories hold.

    Attributes:
        actions: (R, 7) decoded actions.
        located: (F, A) localisation answers; None of a learner without a head for them.
        targets: (F, A) right localisation answers.
        intended: (R, 5) answers to what the words mean; None of a learner without a head for them.
        meant: (R, 5) right answers to it.
    """

    actions: np.ndarray
    located: np.ndarray | None
    targets: np.ndarray
    intended: np.ndarray | None
    meant: np.ndarray


@torch.no_grad()
def validate(learner: Learner, source: EpisodeExamples) -> tuple[dict[str, float], OpenLoopExample]:
    """Measure errors on a validation store; the learner is left in evaluation mode.

    Returns:
        figures (median absolute error of dx, dy, dz in millimetres, share of right gripper answers, on
        demonstrations and on stills; localisation errors in millimetres; how well the words are understood,
        on both and over all), and an example to plot.
    """
    learner.eval()
    store = source.store
    stills = np.flatnonzero(store.stills)
    selections = {
        "demo": demo_rows(store),
        "stills": stills[:: max(1, len(stills) // _MOST_STILLS)],
    }
    report: dict[str, float] = {}
    said: list[_Answers] = []
    example = OpenLoopExample(np.zeros((0, 7)), np.zeros((0, 7)), np.zeros(0, dtype=np.int64))
    for name, rows in selections.items():
        if not len(rows):
            continue
        answers = _ask(learner, source, rows)
        said.append(answers)
        recorded = np.asarray(store.actions[rows])
        figures = _figures(answers, recorded, source.pipeline.action_space)
        report |= {f"{name}/{key}": value for key, value in figures.items()}
        if name == "demo":
            starts = np.flatnonzero(np.diff(store.episode[rows], prepend=-1))
            example = OpenLoopExample(answers.actions, recorded, starts)
    return report | _understood(said), example


def demo_rows(store: FrameStore) -> np.ndarray:
    """(R,) steps of demonstrations that are asked: as many whole ones as fit, from all over the store."""
    demos = np.flatnonzero(~store.stills)
    episodes, lengths = np.unique(store.episode[demos], return_counts=True)
    if not len(episodes):
        return demos
    count = min(len(episodes), max(1, int(_MOST_DEMO_STEPS / lengths.mean())))
    chosen = episodes[np.linspace(0, len(episodes) - 1, count).astype(int)]
    return demos[np.isin(store.episode[demos], chosen)][:_MOST_DEMO_STEPS]


def _understood(said: Sequence[_Answers]) -> dict[str, float]:
    """How well the words are understood in all these answers together; nothing without a head for it."""
    intended = [answers.intended for answers in said if answers.intended is not None]
    if not intended:
        return {}
    return intention_figures(np.concatenate(intended), np.concatenate([answers.meant for answers in said]))


def _figures(answers: _Answers, recorded: np.ndarray, space: ActionSpace) -> dict[str, float]:
    """Errors against what a perfect answer could be: the recorded action, clipped to the bounds."""
    low, high = space.decode_vectors(np.array([[0], [space.bins - 1]]).repeat(space.dimensions, axis=1))
    reachable = np.clip(recorded, low, high)
    error_mm = np.abs(answers.actions - reachable)[:, :3] * 1000
    figures = {f"{axis}_mm": float(np.median(error_mm[:, i])) for i, axis in enumerate(ACTION_NAMES[:3])}
    figures["gripper_right"] = float(np.mean((answers.actions[:, 6] > 0.5) == (recorded[:, 6] > 0.5)))
    figures |= _understood([answers])
    if answers.located is None:
        return figures
    errors = localisation_errors_mm(answers.located, answers.targets)
    return figures | {f"where_{group}_mm": value for group, value in errors.items()}


def _ask(learner: Learner, source: EpisodeExamples, rows: np.ndarray) -> _Answers:
    """Let the learner answer these steps, some at a time."""
    space = source.pipeline.action_space
    device = next(learner.parameters()).device
    actions, located, targets, intended, meant = [], [], [], [], []
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK].tolist()
        batch = collate([Pick(0, row) for row in chunk], [source], source.processor)
        prompts = source.processor([source.prompt(row) for row in chunk])
        inputs = {name: prompts[name].to(device) for name in ("input_ids", "attention_mask")}
        said = learner.answer(batch.to(device), inputs)
        actions.append(space.decode_vectors(said.bins.cpu().numpy()))
        targets.append(batch.targets.numpy())
        meant.append(batch.meant.numpy())
        if said.located is not None:
            located.append(said.located.cpu().numpy())
        if said.meant is not None:
            intended.append(said.meant.cpu().numpy())
    return _Answers(
        np.concatenate(actions),
        np.concatenate(located) if located else None,
        np.concatenate(targets),
        np.concatenate(intended) if intended else None,
        np.concatenate(meant),
    )


def plot_open_loop(example: OpenLoopExample, space: ActionSpace, path: Path, most_steps: int = 160) -> None:
    """Draw predicted and recorded actions by dimension, after Fig. 6 of the full-length SpatialBot paper.

    Args:
        example: an empty one draws nothing.
        space: its bins are named in the title.
        path: PNG to write, replaced in one step.
        most_steps: where the plot ends.
    """
    if not len(example.recorded):
        return
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    predicted, recorded = example.predicted[:most_steps], example.recorded[:most_steps]
    figure, axes = plt.subplots(7, 1, figsize=(11, 12), sharex=True)
    units = ["m"] * 3 + ["rad"] * 3 + ["closure"]
    for column, axis in enumerate(axes):
        axis.step(range(len(recorded)), recorded[:, column], label="recorded")
        axis.step(range(len(predicted)), predicted[:, column], label="predicted")
        for start in example.starts[example.starts < most_steps]:
            axis.axvline(start, color="0.8", linewidth=0.8)
        axis.set_ylabel(f"{ACTION_NAMES[column]} [{units[column]}]")
    axes[0].legend(loc="upper right", ncol=2)
    axes[0].set_title(f"open loop, {space.bins} bins, held-out episodes (a grey line where one begins)")
    axes[-1].set_xlabel("step")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part.png")
    figure.savefig(temporary, dpi=70)
    plt.close(figure)
    temporary.replace(path)
