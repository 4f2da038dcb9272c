"""What an image costs on its way: milliseconds to write and to read it, and bytes, by size and codec.

python -m benchmarks.bench_image_codecs prints a table, then the figures as one line of JSON. Images are the
simulator's: a frame as it is, and enlarged with the noise and the holes of a sensor. `zstd of differences` is
what was tried and left: fewer bytes by a tenth, for the time that these bytes take at 250 Mbit/s.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import zstandard

from spatialbot_policy.config import CameraConfig, PolicyConfig
from spatialbot_policy.depth import DepthVariant
from spatialbot_policy.serving.image_codec import ImageMode, WireImages, decode_image, encode_image
from spatialbot_policy.types import RgbdFrame
from spatialbot_sim.task.robot import SimRobot
from spatialbot_sim.task.seeds import EVAL_SEEDS

ROUNDS = 31
SIZE = (640, 480)
DIFFERENCES = "zstd of differences"


def main() -> None:
    """Measure every codec on colour and depth of both sizes, and the fitting."""
    rows = [row for name, frame in frames().items() for row in measure(name, frame)]
    print(f"{'image':24s}{'codec':24s}{'write ms':>10s}{'read ms':>10s}{'bytes':>10s}")
    for image, codec, write_ms, read_ms, size in rows:
        print(f"{image:24s}{codec:24s}{write_ms:10.2f}{read_ms:10.2f}{size:10d}")
    names = ("image", "codec", "write_ms", "read_ms", "bytes")
    print(json.dumps({"rows": [dict(zip(names, row, strict=True)) for row in rows]}))


def frames() -> dict[str, RgbdFrame]:
    """A frame of the simulator, and the same as a sensor of 640 x 480 would see it."""
    robot = SimRobot()
    small = robot.reset(EVAL_SEEDS.start).frames["camera"]
    robot.close()
    millimetres = np.asarray(small.depth_mm, np.float32)
    rng = np.random.default_rng(0)
    color = cv2.resize(small.color, SIZE, interpolation=cv2.INTER_CUBIC) + rng.normal(0, 2, (*SIZE[::-1], 3))
    depth = cv2.resize(millimetres, SIZE, interpolation=cv2.INTER_LINEAR)
    depth = depth + rng.normal(0, 1.4, depth.shape) * (depth / 1000) ** 2
    depth[cv2.GaussianBlur(rng.normal(0, 1, depth.shape), (0, 0), 8) > 0.08] = 0  # holes
    large = RgbdFrame(
        "camera",
        0,
        np.clip(color, 0, 255).astype(np.uint8),
        np.clip(np.rint(depth), 0, 65535).astype(np.uint16),
    )
    return {"640 x 480": large, "128 x 128": small}


def measure(name: str, frame: RgbdFrame) -> list[tuple[str, str, float, float, int]]:
    """Rows of the table for one frame."""
    rows = []
    for kind, image in (("colour", frame.color), ("depth", frame.depth_mm)):
        if image is None:
            continue
        rows.append((f"{kind} {name}", "as it is", 0.0, 0.0, image.nbytes))
        for codec in ("png", "zstd", "jpeg") if kind == "colour" else ("png", "zstd"):
            write_ms, sent = timed(encode_image, image, codec)
            read_ms, _ = timed(decode_image, sent)
            rows.append((f"{kind} {name}", codec, write_ms, read_ms, len(sent["data"])))
        write_ms, data = timed(differences, image)
        read_ms, found = timed(from_differences, data, image)
        if not np.array_equal(found, image):
            raise ArithmeticError("the differences do not add up to the image")
        rows.append((f"{kind} {name}", DIFFERENCES, write_ms, read_ms, len(data)))
    config = PolicyConfig((CameraConfig("camera", 128, 128),), depth_variant=DepthVariant.PAPER)
    fit_ms, fitted = timed(WireImages(ImageMode.FIT, config).frame, frame)
    size = fitted.color.nbytes + fitted.depth_mm.nbytes
    return [*rows, (f"both {name}", "fit to 128 x 128", fit_ms, 0.0, size)]


def differences(image: np.ndarray) -> bytes:
    """Each pixel less its left neighbour, low and high bytes apart, compressed."""
    steps = image.copy()
    steps[:, 1:] -= image[:, :-1]
    split = np.moveaxis(steps.view(np.uint8).reshape(*steps.shape, steps.itemsize), -1, 0)
    return zstandard.ZstdCompressor(level=1).compress(np.ascontiguousarray(split).tobytes())


def from_differences(data: bytes, like: np.ndarray) -> np.ndarray:
    """The inverse of `differences`."""
    split = np.frombuffer(zstandard.ZstdDecompressor().decompress(data), np.uint8)
    joined = np.moveaxis(split.reshape(like.itemsize, *like.shape), 0, -1)
    steps = np.ascontiguousarray(joined).view(like.dtype).reshape(like.shape)
    return np.add.accumulate(steps, axis=1, dtype=like.dtype)


def timed(work: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """Median milliseconds of a call, and what it returns."""
    taken, result = [], None
    for _ in range(ROUNDS):
        began = time.perf_counter()
        result = work(*arguments)
        taken.append((time.perf_counter() - began) * 1e3)
    return statistics.median(taken), result


if __name__ == "__main__":
    main()
