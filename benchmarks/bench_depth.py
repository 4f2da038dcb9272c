"""Depth codec at 640 x 480 against the papers' formula in plain NumPy, both in one run.

python -m benchmarks.bench_depth prints a table, and the figures as one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import tracemalloc
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from spatialbot_policy.depth import DepthVariant, decode, encode

SIZE = (480, 640)


def reference_encode(depth: NDArray[np.integer]) -> NDArray[np.uint8]:
    """The paper's equations as printed, in the depth's own integer type."""
    first, second, third = (depth // 1024) * 2, ((depth // 32) % 32) * 8, (depth % 32) * 8
    return np.stack([first, second, third], axis=-1).astype(np.uint8)


def reference_decode(image: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """The paper's equations backwards."""
    wide = image.astype(np.uint32)
    return (wide[..., 0] // 2) * 1024 + (wide[..., 1] // 8) * 32 + wide[..., 2] // 8


def run(turns: int = 10, calls: int = 20) -> dict[str, dict[str, float]]:
    """Time our codec and the reference in turns of several calls, so that a busy machine slows both.

    Returns:
        For each case the medians in milliseconds, their ratio, and the peak of fresh memory in MB.
    """
    cv2.setNumThreads(1)
    depth = np.random.default_rng(0).integers(0, 10_000, SIZE).astype(np.uint16)
    image = encode(depth, DepthVariant.PAPER)
    wide, kept = depth.astype(np.uint32), np.empty_like(image)
    variant = DepthVariant.PAPER
    cases: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "encode uint16 into a kept image": (
            lambda: encode(depth, variant, out=kept),
            lambda: reference_encode(depth),
        ),
        "encode uint16": (lambda: encode(depth, variant), lambda: reference_encode(depth)),
        "encode uint32": (lambda: encode(wide, variant), lambda: reference_encode(wide)),
        "decode": (lambda: decode(image, variant), lambda: reference_decode(image)),
    }
    if not np.array_equal(image, reference_encode(depth)):
        raise RuntimeError("our encoding differs from the reference; the figures would mean nothing")
    return {name: _compare(ours, reference, turns, calls) for name, (ours, reference) in cases.items()}


def _compare(
    ours: Callable[[], object], reference: Callable[[], object], turns: int, calls: int
) -> dict[str, float]:
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(turns):
        for function, samples in zip((ours, reference), times, strict=True):
            for _ in range(calls):
                start = time.perf_counter()
                function()
                samples.append((time.perf_counter() - start) * 1e3)
    ours_ms, reference_ms = (statistics.median(samples) for samples in times)
    return {
        "ours_ms": ours_ms,
        "reference_ms": reference_ms,
        "ratio": reference_ms / ours_ms,
        "ours_peak_mb": _peak_mb(ours),
        "reference_peak_mb": _peak_mb(reference),
    }


def _peak_mb(function: Callable[[], object]) -> float:
    tracemalloc.start()
    function()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def main() -> None:
    """Print the table, and the figures as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--turns", type=int, default=10, help="turns of 20 calls each")
    arguments = parser.parse_args()
    results = run(arguments.turns)
    print(f"depth codec, {SIZE[1]} x {SIZE[0]}, one thread, median")
    print(f"{'case':<33}{'ours ms':>10}{'NumPy ms':>10}{'ratio':>8}{'ours MB':>10}{'NumPy MB':>10}")
    for name, r in results.items():
        print(
            f"{name:<33}{r['ours_ms']:>10.3f}{r['reference_ms']:>10.3f}{r['ratio']:>7.1f}x"
            f"{r['ours_peak_mb']:>10.1f}{r['reference_peak_mb']:>10.1f}"
        )
    print(json.dumps(results))


if __name__ == "__main__":
    main()
