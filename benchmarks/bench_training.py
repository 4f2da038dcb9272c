"""A training step that encodes each distinct frame once against one that encodes every history, same batch.

python -m benchmarks.bench_training prints a table, then the figures as one line of JSON.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from spatialbot_policy.config import PolicyConfig, load_yaml
from spatialbot_policy.history import history_indices
from spatialbot_policy.pipeline import build_pipeline
from spatialbot_training.batches import Sampler
from spatialbot_training.collate import Batch, Pick, collate
from spatialbot_training.examples import EpisodeExamples
from spatialbot_training.frame_store import FrameStore
from spatialbot_training.learner import Learner
from spatialbot_training.localisation import NAMES
from spatialbot_training.network import build_network
from spatialbot_training.recipe import Recipe
from spatialbot_training.schedule import build_optimizer

RECIPE = Path(__file__).resolve().parents[1] / "config" / "train" / "tiny.yaml"
CHANGES = (
    "start.tower=null",
    "parts.vision=full",
    "data.cache_features=false",
    "data.stills_per_batch=48",
    "data.windows_per_batch=6",
    "data.window_steps=4",
)
"""Everything learns, from stills and stretches of demonstrations, whose histories share frames."""
EPISODES, STEPS = 8, 25


def noise_store(recipe: Recipe) -> FrameStore:
    """Demonstrations and as many stills of noise in the size of the recipe; time does not depend on it."""
    policy, rng = _policy(recipe), np.random.default_rng(0)
    episode = np.repeat(np.arange(2 * EPISODES), STEPS)
    stills = episode >= EPISODES
    stamps = np.arange(len(episode)) * np.where(stills, 20_000_000_000, 100_000_000) + 1
    history = np.concatenate(
        [
            start + history_indices(stamps[start : start + STEPS], policy.history_length, policy.max_gap_ns)
            for start in range(0, len(episode), STEPS)
        ]
    )
    shapes = {camera.name: (len(episode), camera.height, camera.width) for camera in policy.cameras}
    return FrameStore(
        color={name: rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for name, shape in shapes.items()},
        depth_mm={name: rng.integers(400, 1400, shape).astype(np.uint16) for name, shape in shapes.items()},
        stamps=stamps,
        actions=rng.uniform(-0.05, 0.05, (len(episode), 7)) * [1, 1, 1, 1, 1, 1, 0],
        closure=np.zeros(len(episode)),
        targets=rng.normal(size=(len(episode), len(NAMES))).astype(np.float32),
        history=history,
        episode=episode,
        stills=stills,
        instructions=["pick up the red cup and put it on the left board"] * len(episode),
        seeds=[("noise", "pick", seed) for seed in range(2 * EPISODES)],
        fingerprint="noise",
    )


def _policy(recipe: Recipe) -> PolicyConfig:
    if recipe.policy is None:
        raise ValueError(f"{RECIPE} has no policy, and its episodes cannot be drawn")
    return recipe.policy


def repeated(batch: Batch) -> Batch:
    """The same batch with the images of every history laid out, repeats and all."""
    images = len(batch.pixel_values) // len(batch.targets)
    frames = batch.slots[::images] // images
    return dataclasses.replace(
        batch,
        pixel_values=batch.pixel_values[batch.slots],
        slots=torch.arange(len(batch.slots)),
        targets=batch.targets[frames],
        first_images=torch.arange(len(frames)) * images,
    )


def stepper(learner: Learner, recipe: Recipe) -> Callable[[Batch], Tensor]:
    """One optimizer step on a batch, as the trainer takes it after the localisation phase."""
    optimizer = build_optimizer(learner, recipe.schedule)

    def step(batch: Batch) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.schedule.bf16):
            answer, where = learner(batch)
        optimizer.zero_grad(set_to_none=True)
        (answer + recipe.schedule.localisation_weight * where).backward()
        torch.nn.utils.clip_grad_norm_(learner.parameters(), recipe.schedule.clip_norm)
        optimizer.step()
        return answer.detach()

    return step


def run(turns: int) -> dict[str, float]:
    """Median milliseconds of both, in turns, so that a busy machine slows both.

    Raises:
        RuntimeError: the losses differ, so the figures would mean nothing.
    """
    recipe = load_yaml(Recipe, RECIPE, CHANGES)
    store, pipeline = noise_store(recipe), build_pipeline(_policy(recipe))
    torch.manual_seed(0)
    model, processor = build_network(recipe, {pipeline.prompt(text) for text in set(store.instructions)})
    learner = Learner(model, recipe.schedule.rotation_weight)
    source = EpisodeExamples(store, pipeline, processor)
    rows = Sampler(store, recipe.data, seed=0).rows(0)
    once = collate([Pick(0, int(row)) for row in rows], [source], processor)
    every = repeated(once)
    with torch.no_grad():
        losses = [float(learner(batch)[0]) for batch in (once, every)]
    if abs(losses[0] - losses[1]) > 1e-3 * abs(losses[1]):
        raise RuntimeError(f"the two batches give the losses {losses}, so they are not the same")
    step = stepper(learner, recipe)
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(turns + 1):
        for batch, samples in zip((once, every), times, strict=True):
            start = time.perf_counter()
            step(batch)
            if turn:  # the first one warms up
                samples.append((time.perf_counter() - start) * 1e3)
    once_ms, every_ms = (statistics.median(samples) for samples in times)
    return {
        "samples": len(rows),
        "distinct_frames": len(once.targets),
        "history_frames": len(every.targets),
        "once_ms": once_ms,
        "every_ms": every_ms,
        "ratio": every_ms / once_ms,
    }


def main() -> None:
    """Print the table and the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--turns", type=int, default=10, help="steps of each kind")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    figures = run(arguments.turns)
    print(f"training step, {RECIPE.name}, {figures['samples']} samples, {arguments.threads} threads, median")
    print(f"{'each frame once':<22}{figures['distinct_frames']:>6} frames{figures['once_ms']:>10.0f} ms")
    print(f"{'every history':<22}{figures['history_frames']:>6} frames{figures['every_ms']:>10.0f} ms")
    print(f"{'ratio':<22}{figures['ratio']:>22.2f} x")
    print(json.dumps({**figures, "threads": arguments.threads}))


if __name__ == "__main__":
    main()
