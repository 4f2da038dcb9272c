"""Latency of one control step of the policy by stage, and what keeping the frames' embeddings saves.

python -m benchmarks.bench_policy prints a table, then the figures as one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from spatialbot_policy.config import CameraConfig, PolicyConfig
from spatialbot_policy.depth import DepthVariant
from spatialbot_policy.history import History
from spatialbot_policy.inference import LocalPolicy
from spatialbot_policy.model import build_tiny
from spatialbot_policy.model.checkpoint import Checkpoint, load_checkpoint
from spatialbot_policy.pipeline import Pipeline, build_pipeline
from spatialbot_policy.prompt import PromptStyle
from spatialbot_policy.types import Observation, RgbdFrame

SHIPPED = Path(__file__).resolve().parents[1] / "checkpoints" / "tiny"
INSTRUCTION = "pick up the red cup and put it on the left board"
SIZE = (480, 640)
WARM_UP = 5

Times = dict[str, list[float]]


def checkpoint() -> tuple[Checkpoint, str]:
    """The shipped checkpoint, or the same network with fresh weights: the time does not depend on them."""
    if SHIPPED.is_dir():
        return load_checkpoint(SHIPPED), "checkpoints/tiny"
    cameras = (CameraConfig("camera", 128, 128),)
    policy = PolicyConfig(cameras=cameras, depth_variant=DepthVariant.PAPER, prompt=PromptStyle.REFERENCE)
    torch.manual_seed(0)
    model, processor = build_tiny(policy, [f"Instruct the robot to {INSTRUCTION}"])
    return Checkpoint(model.eval(), processor, policy), "fresh weights"


def observation(step: int, policy: PolicyConfig) -> Observation:
    """A camera's picture at its own size, so that resizing is in the figures as on the robot."""
    rng = np.random.default_rng(step)
    stamp_ns = (step + 1) * 100_000_000
    color = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    depth = rng.integers(400, 1400, SIZE).astype(np.uint16)
    frames = {camera.name: RgbdFrame(camera.name, stamp_ns, color, depth) for camera in policy.cameras}
    return Observation(stamp_ns, INSTRUCTION, frames)


@contextmanager
def stage_times(made: Checkpoint, times: Times) -> Iterator[None]:
    """Add the milliseconds of every call of a stage, told apart by what it is given, to `times`."""
    model, encode = made.model, Pipeline.encode_observation
    encode_images, forward = model.encode_images, model.forward

    def stage_of(**inputs: object) -> str:
        return "prefill" if inputs.get("past_key_values") is None else "tokens"

    Pipeline.encode_observation = _timed(encode, lambda *_, **__: "encode frame", times)  # type: ignore
    model.encode_images = _timed(encode_images, lambda *_, **__: "vision tower", times)
    model.forward = _timed(forward, stage_of, times)
    try:
        yield
    finally:
        Pipeline.encode_observation = encode  # type: ignore[method-assign]
        model.encode_images, model.forward = encode_images, forward


def _timed(function: Callable, stage: Callable[..., str], times: Times) -> Callable:
    def call(*args: object, **kwargs: object) -> object:
        start = time.perf_counter()
        result = function(*args, **kwargs)
        times[stage(**kwargs)].append((time.perf_counter() - start) * 1e3)
        return result

    return call


def measure_stages(made: Checkpoint, seen: list[Observation]) -> dict[str, dict[str, float]]:
    """Median and 95th percentile of each stage of `LocalPolicy.act`, in milliseconds per step."""
    policy = LocalPolicy(made)
    steps: Times = defaultdict(list)
    for number, each in enumerate(seen):
        times: Times = defaultdict(list)
        with stage_times(made, times):
            start = time.perf_counter()
            policy.act(each)
            times["total"].append((time.perf_counter() - start) * 1e3)
        if number >= WARM_UP:
            for stage, values in times.items():
                steps[stage].append(sum(values))
    return {stage: _summary(values) for stage, values in steps.items()}


def measure_cache(made: Checkpoint, seen: list[Observation]) -> dict[str, float]:
    """A step that encodes the newest frame alone against one that encodes the whole history, in turns.

    Raises:
        RuntimeError: the two answer differently, so the figures would mean nothing.
    """
    keeping, encoding = LocalPolicy(made), EncodesAll(made)
    times: tuple[list[float], list[float]] = ([], [])
    for number, each in enumerate(seen):
        answers = []
        for policy, samples in zip((keeping, encoding), times, strict=True):
            start = time.perf_counter()
            answers.append(policy.predict_bins(each).tolist())
            if number >= WARM_UP:
                samples.append((time.perf_counter() - start) * 1e3)
        if answers[0] != answers[1]:
            raise RuntimeError("with kept embeddings the policy answers differently")
    kept_ms, all_ms = (statistics.median(samples) for samples in times)
    return {"kept_ms": kept_ms, "all_ms": all_ms, "ratio": all_ms / kept_ms}


class EncodesAll:
    """The policy without a memory for embeddings: pipeline and tower see all frames of each history."""

    def __init__(self, made: Checkpoint) -> None:
        self._made, self._pipeline = made, build_pipeline(made.policy)
        self._history = History(made.policy.history_length, made.policy.max_gap_ns)

    @torch.inference_mode()
    def predict_bins(self, each: Observation) -> np.ndarray:
        """(dimensions,) bins."""
        inputs = self._pipeline(self._history.push(each))
        batch = self._made.processor(inputs.prompt, list(inputs.images))
        return np.asarray(self._made.model.generate_actions(batch, self._pipeline.action_space.dimensions)[0])


def _summary(values: list[float]) -> dict[str, float]:
    return {"p50_ms": statistics.median(values), "p95_ms": float(np.percentile(values, 95))}


def main() -> None:
    """Print the table and the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, default=60, help="steps that are measured")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    made, source = checkpoint()
    seen = [observation(step, made.policy) for step in range(arguments.steps + WARM_UP)]
    stages, cache = measure_stages(made, seen), measure_cache(made, seen)
    print(f"policy step, {source}, {SIZE[1]} x {SIZE[0]} RGB-D, {arguments.threads} threads")
    print(f"{'stage':<16}{'p50 ms':>10}{'p95 ms':>10}")
    for stage, figures in stages.items():
        print(f"{stage:<16}{figures['p50_ms']:>10.2f}{figures['p95_ms']:>10.2f}")
    print(
        f"embeddings kept {cache['kept_ms']:.2f} ms, all frames encoded {cache['all_ms']:.2f} ms: "
        f"{cache['ratio']:.2f} x"
    )
    print(json.dumps({"checkpoint": source, "threads": arguments.threads, "stages": stages, "cache": cache}))


if __name__ == "__main__":
    main()
