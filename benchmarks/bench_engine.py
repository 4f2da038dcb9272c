"""A control step of the engine against the two loops people run today, on the same weights and in turns.

python -m benchmarks.bench_engine prints a table for each case, then the figures as one line of JSON.

The loops:

text      four RGB-D frames encoded anew, the action as free text by plain `generate` (the reference loop)
tokens    four frames encoded anew, seven action tokens by plain `generate` over the whole vocabulary
engine    ours, in float32 and in bfloat16; with "parallel" all tokens come from one pass

The first two are in float32. On a GPU: --device cuda --reference bfloat16 --engines bfloat16 --cases 0.5b;
that also prints the least times that the bytes and sums of a step allow on the GPU that --gpu names.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import cv2
import torch

from benchmarks.engine_cases import CASES, Case, build_case
from benchmarks.engine_loops import (
    ENGINES,
    EngineLoop,
    Measured,
    check_answers,
    make_engine,
    on_device,
    throughput,
)
from benchmarks.memory_peak import PeakMemory
from benchmarks.reference_loop import EXAMPLE, STAGES, ReferenceLoop
from benchmarks.roofline import GPUS, Peaks, step_work
from benchmarks.scenes import INSTRUCTION, PERIOD_NS, SIZE, color_image, depth_image, observation
from spatialbot_policy.model.checkpoint import Checkpoint
from spatialbot_policy.pipeline import build_pipeline
from spatialbot_policy.types import Observation

DISTINCT = 32
"""Pictures that are made; a longer run shows them again under new stamps."""
LEAST_SEEN = 2
"""Observations that a batch's throughput needs: the first one warms up."""


def measure(case: Case, options: argparse.Namespace) -> dict[str, Any]:
    """All loops in turns, so that a busy machine slows all of them, and the throughput of batches."""
    place = torch.device(options.device)
    turns = options.turns or case.turns
    warm_up = case.warm_up if place.type == "cpu" else 3
    seen = observations(case, max(LEAST_SEEN, (warm_up + turns) * case.calls))
    base = on_device(case.made, place, getattr(torch, options.reference))
    engines = {name: make_engine(case.made, options.device, name) for name in options.engines}
    if "float32" in engines and place.type == "cpu":
        check_answers(case, engines["float32"], seen[: case.calls])
    dimensions = base.policy.action_space.dimensions
    loops = {
        "text": Measured(ReferenceLoop(base, case.text_tokens, as_text=True), case.text_tokens),
        "tokens": Measured(ReferenceLoop(base, dimensions, as_text=False), dimensions),
    }
    for name, engine in engines.items():
        loops[f"engine {name}"] = Measured(EngineLoop(engine), dimensions, one_pass="parallel" in name)
    for turn in range(warm_up + turns):
        part = seen[turn * case.calls : (turn + 1) * case.calls]
        for measured in loops.values():
            memory = PeakMemory(place)
            measured.take(part, counts=turn >= warm_up)
            measured.peak_mb = memory.read_mb()
    found = {name: measured.summary() for name, measured in loops.items()}
    return {
        "source": case.source,
        "parameters": sum(value.numel() for value in base.model.parameters()),
        "prompt_tokens": prompt_tokens(base),
        "text_tokens": case.text_tokens,
        "target": case.target,
        "loops": found,
        "speed_up": {name: speed_up(row, found["text"]) for name, row in found.items()},
        "throughput": {
            name: throughput(each, case.batches, seen) for name, each in engines.items() if "/" not in name
        },
    }


def observations(case: Case, count: int) -> list[Observation]:
    """As many steps as asked for, with pictures that repeat after a while."""
    made = [observation(step, case.made.policy) for step in range(min(count, DISTINCT))]
    return [_restamped(made[step % len(made)], (step + 1) * PERIOD_NS) for step in range(count)]


def _restamped(seen: Observation, stamp_ns: int) -> Observation:
    frames = {name: replace(frame, stamp_ns=stamp_ns) for name, frame in seen.frames.items()}
    return replace(seen, stamp_ns=stamp_ns, frames=frames)


def prompt_tokens(made: Checkpoint) -> int:
    """Length of the prompt of a step."""
    prompt = build_pipeline(made.policy).prompt(INSTRUCTION)
    return int(made.processor(prompt)["input_ids"].shape[1])


def speed_up(ours: dict[str, Any], reference: dict[str, Any]) -> dict[str, float]:
    """How many times faster than the reference loop: by the clock, and by the processor's own time."""
    return {
        "wall": reference["p50_ms"] / ours["p50_ms"],
        "cpu": reference["cpu_p50_ms"] / max(ours["cpu_p50_ms"], 1e-3),
    }


def roofline(case: Case, device: str, peaks: Peaks) -> dict[str, float]:
    """Milliseconds that each stage of a step in bfloat16 takes at least."""
    made = on_device(case.made, torch.device(device), torch.bfloat16)
    images = build_pipeline(made.policy).encode_observation(observation(0, made.policy))
    pixels = made.processor.stack_images(images).to(made.model.device)
    work = step_work(made.model, pixels, prompt_tokens(made), made.policy.action_space.dimensions)
    least = {stage: each.least_ms(peaks) for stage, each in work.items()}
    return {**least, "total": sum(least.values())}


def decode_images(turns: int = 20) -> dict[str, float]:
    """Median milliseconds to decode a camera's compressed pictures."""
    color, depth = color_image(0), depth_image(0)
    coded = {
        "color jpeg": (cv2.imencode(".jpg", color)[1], cv2.IMREAD_COLOR),
        "color png": (cv2.imencode(".png", color)[1], cv2.IMREAD_COLOR),
        "depth png": (cv2.imencode(".png", depth)[1], cv2.IMREAD_UNCHANGED),
    }
    return {
        name: statistics.median(_time_ms(cv2.imdecode, pixels, mode) for _ in range(turns))
        for name, (pixels, mode) in coded.items()
    }


def _time_ms(work: Callable[..., object], *arguments: object) -> float:
    start = time.perf_counter()
    work(*arguments)
    return (time.perf_counter() - start) * 1e3


def show(name: str, result: dict[str, Any], options: argparse.Namespace) -> None:
    """Print one case as a table."""
    print(
        f"{name} ({result['source']}), {SIZE[1]} x {SIZE[0]} RGB-D, prompt of {result['prompt_tokens']} "
        f"tokens, {options.device}, {options.threads} threads; an action as text has "
        f"{result['text_tokens']} tokens"
    )
    head = f"{'loop':<24}{'p50 ms':>10}{'p95 ms':>10}{'cpu ms':>10}{'faster':>9}"
    print(head + "".join(f"{stage:>9}" for stage in STAGES) + f"{'tok/s':>8}{'peak MB':>9}")
    for loop, row in result["loops"].items():
        stages = "".join(f"{row['stages_ms'].get(stage, 0.0):>9.1f}" for stage in STAGES)
        print(
            f"{loop:<24}{row['p50_ms']:>10.1f}{row['p95_ms']:>10.1f}{row['cpu_p50_ms']:>10.1f}"
            f"{result['speed_up'][loop]['wall']:>8.1f}x{stages}"
            f"{row['tokens_per_s'] or 0:>8.0f}{row['peak_mb'] or 0:>9.0f}"
        )
    for engine, rates in result["throughput"].items():
        text = ", ".join(f"{size}: {rate:.2f}" for size, rate in rates.items())
        print(f"observations a second by batch, {engine}: {text}")
    if least := result.get("roofline_ms"):
        print("at least, ms: " + ", ".join(f"{stage} {value:.2f}" for stage, value in least.items()))


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=["tiny", "0.5b-144"])
    parser.add_argument(
        "--engines", nargs="+", choices=ENGINES, default=["float32", "bfloat16", "float32/parallel"]
    )
    parser.add_argument("--reference", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--layers", type=int, help="layers of both transformers of 0.5b, for development")
    parser.add_argument("--turns", type=int, help="turns of all loops; each case has its own default")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of torch; all cores if left out")
    parser.add_argument("--gpu", choices=GPUS, default="h200", help="whose roofline is printed")
    parser.add_argument("--tflops", type=float, help="dense bfloat16 peak, instead of the preset's")
    parser.add_argument("--bandwidth", type=float, help="memory bandwidth in GB/s, instead of the preset's")
    return parser.parse_args(given)


def main() -> None:
    """Print the tables and the JSON."""
    options = arguments()
    torch.set_num_threads(options.threads)
    preset = GPUS[options.gpu]
    peaks = Peaks(options.tflops or preset.tflops, options.bandwidth or preset.bandwidth_gb_s)
    decoding = decode_images()
    print("decoding 640 x 480: " + ", ".join(f"{name} {value:.1f} ms" for name, value in decoding.items()))
    results = {}
    for name in options.cases:
        case = build_case(name, options.layers)
        result = measure(case, options)
        if options.device != "cpu":
            result["roofline_ms"] = roofline(case, options.device, peaks)
        show(name, result, options)
        results[name] = result
    figures = {"device": options.device, "threads": options.threads, "example": EXAMPLE}
    print(json.dumps({**figures, "decode_image_ms": decoding, "cases": results}))


if __name__ == "__main__":
    main()
