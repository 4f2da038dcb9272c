"""Open-loop validation: predicted against recorded actions on held-out episodes, in figures and as a plot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from spatialbot_policy.action_space import ACTION_NAMES, ActionSpace
from spatialbot_policy.model import SpatialBotForActionPrediction
from spatialbot_policy.model.vision_tower import as_tower
from spatialbot_training.batches import BatchSource
from spatialbot_training.localisation import LocalisationHead, localisation_errors_mm

_CHUNK = 64
_MOST_DEMO_STEPS, _MOST_STILLS = 400, 320


@dataclass(frozen=True)
class OpenLoopExample:
    """A few episodes' actions in a row: (T, 7) each, and where an episode begins."""

    predicted: np.ndarray
    recorded: np.ndarray
    starts: np.ndarray


@torch.no_grad()
def validate(
    model: SpatialBotForActionPrediction, head: LocalisationHead, source: BatchSource
) -> tuple[dict[str, float], OpenLoopExample]:
    """Measure errors on a validation store.

    Returns:
        figures (median absolute error of dx, dy, dz in millimetres, share of right gripper answers, on
        demonstrations and on stills; localisation errors in millimetres), and an example to plot.
    """
    model.eval()
    store = source.store
    report: dict[str, float] = {}
    demos = np.flatnonzero(~store.stills)[:_MOST_DEMO_STEPS]
    stills = np.flatnonzero(store.stills)
    stills = stills[:: max(1, len(stills) // _MOST_STILLS)]
    example = OpenLoopExample(np.zeros((0, 7)), np.zeros((0, 7)), np.zeros(0, dtype=np.int64))
    for name, rows in (("demo", demos), ("stills", stills)):
        if not len(rows):
            continue
        predicted, answers, targets = _predict(model, head, source, rows)
        recorded = np.asarray(store.actions[rows])
        error_mm = np.abs(predicted - np.clip(recorded, *_bounds(source.pipeline.action_space)))[:, :3] * 1000
        report |= {
            f"{name}/{axis}_mm": float(np.median(error_mm[:, i])) for i, axis in enumerate(("dx", "dy", "dz"))
        }
        report[f"{name}/gripper_right"] = float(np.mean((predicted[:, 6] > 0.5) == (recorded[:, 6] > 0.5)))
        report |= {
            f"{name}/where_{group}_mm": v for group, v in localisation_errors_mm(answers, targets).items()
        }
        if name == "demo":
            starts = np.flatnonzero(np.diff(store.episode[rows], prepend=-1))
            example = OpenLoopExample(predicted, recorded, starts)
    return report, example


def _bounds(space: ActionSpace) -> tuple[np.ndarray, np.ndarray]:
    ends = space.decode_vectors(
        np.stack([np.zeros(space.dimensions), np.full(space.dimensions, space.bins - 1)]).astype(int)
    )
    return ends[0], ends[1]


def _predict(
    model: SpatialBotForActionPrediction, head: LocalisationHead, source: BatchSource, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(R, 7) decoded actions, and localisation answers and targets of the frames seen."""
    actions, answers, targets = [], [], []
    space = source.pipeline.action_space
    for start in range(0, len(rows), _CHUNK):
        batch = source.make(rows[start : start + _CHUNK])
        features = as_tower(model.vision_tower).frame_features(batch.pixel_values)
        steps = len(batch.targets)
        embeds = model.embed_features(features)
        embeds = embeds.reshape(steps, -1, embeds.shape[-1])[batch.history]
        prompts = [source.pipeline.prompt(source.store.instructions[row]) for row in batch.rows]
        inputs = {**source.processor(prompts), "image_embeds": embeds.reshape(-1, embeds.shape[-1])}
        bins = model.generate_actions(inputs, space.dimensions)
        actions.append(space.decode_vectors(bins.numpy())[:, :7])
        answers.append(head(features.view(steps, -1, features.shape[-1])[:, 0]).numpy())
        targets.append(batch.targets.numpy())
    return np.concatenate(actions), np.concatenate(answers), np.concatenate(targets)


def plot_open_loop(example: OpenLoopExample, space: ActionSpace, path: Path, most_steps: int = 160) -> None:
    """Draw predicted and recorded actions, a panel for each dimension (after SpatialBot, full version, Fig. 6)."""
    if not len(example.recorded):
        return
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(7, 1, figsize=(11, 12), sharex=True)
    units = ["m"] * 3 + ["rad"] * 3 + ["closure"]
    for column, axis in enumerate(axes):
        axis.step(
            range(len(example.recorded[:most_steps])), example.recorded[:most_steps, column], label="recorded"
        )
        axis.step(
            range(len(example.predicted[:most_steps])),
            example.predicted[:most_steps, column],
            label="predicted",
        )
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
