"""What a picture costs the recorder: processor time and bytes of each way to keep it, one thread."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import zstandard

from benchmarks.sensor_frames import sensor_frames
from spatialbot_policy.episodes.image_compression import decode_color, encode_color, encode_depth

STREAMS_HZ = 60.0  # two cameras at 30 Hz
ROUNDS = 5


def measure(images: Sequence[Any], encode: Callable[[Any], bytes]) -> tuple[float, float]:
    """Milliseconds of processor time and bytes of an image: the quickest of several rounds."""
    times, size = [], 0
    for _ in range(ROUNDS):
        began = time.thread_time()
        size = sum(len(encode(image)) for image in images)
        times.append((time.thread_time() - began) / len(images))
    return min(times) * 1e3, size / len(images)


def psnr_db(color: Any, quality: int) -> float:
    """Peak signal-to-noise ratio of a jpeg, in dB."""
    return float(cv2.PSNR(color, decode_color(*encode_color(color, "jpeg", quality))))


def main() -> None:
    """Make frames, keep them for the cameras, print a table and the rows as JSON."""
    frames = sensor_frames()
    np.savez(sys.argv[1], color=[color for color, _ in frames], depth=[depth for _, depth in frames])
    colors, depths = [color for color, _ in frames], [depth for _, depth in frames]
    packers = {level: zstandard.ZstdCompressor(level=level) for level in (1, 3)}
    ways: dict[str, tuple[Sequence[Any], Callable[[Any], bytes]]] = {}
    for level, packer in packers.items():
        ways[f"colour raw, zstd {level}"] = colors, packer.compress
    for quality in (90, 95):
        ways[f"colour jpeg {quality}"] = colors, lambda image, q=quality: encode_color(image, "jpeg", q)[1]
    for level, packer in packers.items():
        ways[f"depth raw, zstd {level}"] = depths, packer.compress
    for kind in ("png", "delta"):
        ways[f"depth {kind}"] = depths, lambda image, k=kind: encode_depth(image, k)[1]
    ways["depth png, all filters"] = depths, _png
    rows = []
    print(f"{'':24s}{'cpu ms':>9s}{'kB':>9s}{'core at 60 Hz':>15s}")
    for name, (images, encode) in ways.items():
        cpu_ms, size = measure(images, encode)
        core = cpu_ms * STREAMS_HZ / 1e3
        print(f"{name:24s}{cpu_ms:9.2f}{size / 1e3:9.1f}{core:15.3f}")
        rows.append({"name": name, "cpu_ms": round(cpu_ms, 3), "bytes": round(size), "core": round(core, 4)})
    ratios = {
        quality: round(np.mean([psnr_db(color, quality) for color in colors]), 2) for quality in (90, 95)
    }
    print("PSNR of jpeg: " + ", ".join(f"{ratio} dB at {quality}" for quality, ratio in ratios.items()))
    print(json.dumps({"ways": rows, "psnr_db": ratios}))


def _png(image: Any) -> bytes:
    return bytes(cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes())


if __name__ == "__main__":
    main()
