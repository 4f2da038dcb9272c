"""Statistics of LeRobot data sets, per episode and merged over all, as `meta/stats.json` has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spatialbot_policy.types import FloatArray, UInt8Array

QUANTILES = (0.01, 0.1, 0.5, 0.9, 0.99)
Stats = dict[str, Any]


def _key(quantile: float) -> str:
    return f"q{int(quantile * 100):02d}"


def vector_stats(values: FloatArray) -> Stats:
    """Statistics of (T, D) numbers, each of them (D,)."""
    stats = {
        "min": values.min(axis=0),
        "max": values.max(axis=0),
        "mean": values.mean(axis=0),
        "std": values.std(axis=0),
    }
    for quantile in QUANTILES:
        stats[_key(quantile)] = np.quantile(values, quantile, axis=0)
    return {name: value.tolist() for name, value in stats.items()} | {"count": [len(values)]}


@dataclass
class ImageHistogram:
    """How often each of the 256 values comes up in each channel: exact statistics in little memory."""

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros((3, 256), np.int64))
    images: int = 0

    def add(self, image: UInt8Array) -> None:
        """Count one (H, W, 3) image."""
        for channel in range(3):
            self.counts[channel] += np.bincount(image[..., channel].reshape(-1), minlength=256)
        self.images += 1

    def stats(self) -> Stats:
        """Statistics in 0..1, each (3, 1, 1), as the library expects of images."""
        values = np.arange(256) / 255.0
        total = self.counts.sum(axis=1)
        share = self.counts / total[:, None]
        mean = share @ values
        spread = np.sqrt(np.maximum(share @ values**2 - mean**2, 0.0))
        seen = [np.flatnonzero(channel) for channel in self.counts]
        below = np.cumsum(share, axis=1)
        found: dict[str, Any] = {
            "min": [values[places[0]] for places in seen],
            "max": [values[places[-1]] for places in seen],
            "mean": mean,
            "std": spread,
        }
        for quantile in QUANTILES:
            found[_key(quantile)] = [values[int(np.searchsorted(row, quantile))] for row in below]
        shaped = {name: [[[float(item)]] for item in value] for name, value in found.items()}
        return shaped | {"count": [self.images]}


def merge_stats(parts: Sequence[Mapping[str, Stats]]) -> dict[str, Stats]:
    """Statistics of all episodes from those of each: exact, but quantiles are means weighted by length."""
    return {name: _merge([part[name] for part in parts]) for name in parts[0]}


def _merge(parts: list[Stats]) -> Stats:
    counts = np.array([part["count"][0] for part in parts], dtype=np.float64)
    weights = counts / counts.sum()

    def stack(name: str) -> FloatArray:
        return np.array([part[name] for part in parts], dtype=np.float64)

    def weighted(values: FloatArray) -> FloatArray:
        return np.asarray(np.tensordot(weights, values, axes=1))

    mean = weighted(stack("mean"))
    square = weighted(stack("std") ** 2 + stack("mean") ** 2)
    merged = {
        "min": stack("min").min(axis=0),
        "max": stack("max").max(axis=0),
        "mean": mean,
        "std": np.sqrt(np.maximum(square - mean**2, 0.0)),
    }
    for quantile in QUANTILES:
        merged[_key(quantile)] = weighted(stack(_key(quantile)))
    return {name: value.tolist() for name, value in merged.items()} | {"count": [int(counts.sum())]}
