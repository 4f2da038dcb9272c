"""Depth images: any camera's depth to millimetres, millimetres to three channels and back, object depth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from spatialbot_policy.errors import FrameError
from spatialbot_policy.types import DepthArray, FloatArray, UInt8Array


class DepthVariant(str, Enum):
    """How millimetres are spread over three 8-bit channels; a checkpoint knows one of them only."""

    UINT24 = "uint24"  # the plain 24-bit number, most significant byte first
    PAPER = "paper"  # equations 1-3 of the paper: units of 1024, 32 and 1 mm, times 2, 8 and 8
    RELEASED = "released"  # as the released checkpoints were trained: the first channel times 4


MAX_MM: Mapping[DepthVariant, int] = MappingProxyType(
    {DepthVariant.UINT24: 2**24 - 1, DepthVariant.PAPER: 2**17 - 1, DepthVariant.RELEASED: 2**16 - 1}
)

# First channel of the two spread variants: (d // 1024) << k == (d >> (10 - k)) with k low bits cleared.
_FIRST_CHANNEL_SHIFT = {DepthVariant.PAPER: 1, DepthVariant.RELEASED: 2}
# No supported camera or encoding sees past 131 m, so a median above this is a number of millimetres.
_LARGEST_MEDIAN_M = 200.0
_BLOCK_PIXELS = 1 << 16


def to_millimetres(depth: NDArray[Any], unit: str | None = None) -> DepthArray:
    """Turn a camera's or simulator's depth image into whole millimetres, 0 = invalid.

    Args:
        depth: (H, W); floating point in metres (NaN, infinite and <= 0 are invalid), or integers of at
            least 16 bits in millimetres.
        unit: "m" or "mm" to say it outright; None takes metres for floats and millimetres for integers.

    Returns:
        (H, W) uint16 for 16-bit integers, else uint32.

    Raises:
        FrameError: another type or shape, negative integers, or values that contradict the unit.
    """
    if unit not in (None, "m", "mm"):
        raise FrameError(f"unknown depth unit {unit!r}; pass unit='m' or unit='mm'")
    if depth.ndim != 2 or depth.size == 0:
        raise FrameError(f"depth must be a non-empty (H, W) image, got {depth.shape}; drop the other axes")
    if depth.dtype.kind == "f":
        return _from_float(depth, unit)
    if depth.dtype.kind not in "iu" or depth.dtype.itemsize < 2:
        raise FrameError(
            f"depth of type {depth.dtype} is no depth image; pass float metres or 16-bit millimetres "
            "(an 8-bit depth picture is a visualisation and has lost its unit)"
        )
    if unit == "m":
        raise FrameError(f"integer depth ({depth.dtype}) cannot be in metres; pass unit='mm' or float metres")
    lowest, highest = int(depth.min()), int(depth.max())
    if lowest < 0 or highest > MAX_MM[DepthVariant.UINT24]:
        raise FrameError(
            f"integer depth runs from {lowest} to {highest} mm, outside 0..{MAX_MM[DepthVariant.UINT24]}: "
            "a signed 16-bit image overflows past 32767 mm; limit the camera's range or use uint16"
        )
    return depth.astype(np.uint16) if depth.dtype.itemsize == 2 else depth.astype(np.uint32)


def _from_float(depth: NDArray[Any], unit: str | None) -> NDArray[np.uint32]:
    valid = np.isfinite(depth) & (depth > 0)
    scale = 1.0 if unit == "mm" else 1000.0
    if scale != 1.0 and valid.any():
        median = float(np.median(depth[valid]))
        if median > _LARGEST_MEDIAN_M:
            raise FrameError(
                f"float depth has a median of {median:.0f}, too far for metres: it looks like millimetres; "
                "pass unit='mm' or divide by 1000"
            )
    depth_mm = np.rint(np.where(valid, depth, 0).astype(np.float64) * scale)
    if depth_mm.max() > MAX_MM[DepthVariant.UINT24]:
        raise FrameError(
            f"float depth reaches {depth_mm.max():.0f} mm, more than 24 bits hold "
            f"({MAX_MM[DepthVariant.UINT24]}); limit the camera's range or mark far pixels invalid (0)"
        )
    return depth_mm.astype(np.uint32)


def encode(depth_mm: DepthArray, variant: DepthVariant, out: UInt8Array | None = None) -> UInt8Array:
    """Spread millimetres over three channels (paper, equations 1-3), before any resize of the image.

    Args:
        depth_mm: (H, W) uint16 or uint32 millimetres, 0 = invalid.
        variant: the encoding; its largest depth is `MAX_MM[variant]`.
        out: contiguous (H, W, 3) uint8 to write into; a loop that keeps one allocates none per frame.

    Returns:
        (H, W, 3) uint8: `out`, or a new image.

    Raises:
        FrameError: another type, a depth beyond the variant's range, or an `out` that does not fit.
    """
    if depth_mm.dtype not in (np.uint16, np.uint32) or depth_mm.ndim != 2 or depth_mm.size == 0:
        raise FrameError(
            f"depth to encode must be a non-empty (H, W) uint16 or uint32 image of millimetres, got "
            f"{depth_mm.shape} {depth_mm.dtype}; use to_millimetres first"
        )
    deepest = int(depth_mm.max())
    if deepest > MAX_MM[variant]:
        raise FrameError(
            f"depth of {deepest} mm is outside the range 0..{MAX_MM[variant]} mm of the '{variant.value}' "
            "encoding; limit the camera's range or mark far pixels invalid (0)"
        )
    shape = (*depth_mm.shape, 3)
    image = np.empty(shape, np.uint8) if out is None else out
    if image.shape != shape or image.dtype != np.uint8 or not image.flags.carray:
        raise FrameError(f"out must be writable, contiguous {shape} uint8, got {image.shape} {image.dtype}")
    # Blocks that fit the cache, with little fresh memory: new pages cost more than the arithmetic.
    rows = max(1, _BLOCK_PIXELS // depth_mm.shape[1])
    for top in range(0, depth_mm.shape[0], rows):
        block: NDArray[np.unsignedinteger[Any]] = np.ascontiguousarray(depth_mm[top : top + rows])
        cv2.merge(_channels(block, variant), image[top : top + rows])
    return image


def _channels(depth: NDArray[np.unsignedinteger[Any]], variant: DepthVariant) -> list[UInt8Array]:
    """Three channels by shifts and narrowing casts, which run over whole vectors; divisions do not."""
    if variant is DepthVariant.UINT24:
        wide = depth.astype(np.uint32, copy=False)
        return [(wide >> 16).astype(np.uint8), (wide >> 8).astype(np.uint8), wide.astype(np.uint8)]
    shift = _FIRST_CHANNEL_SHIFT[variant]
    first = (depth >> (10 - shift)).astype(np.uint8)
    first &= 0xFF & -(1 << shift)
    second = (depth >> 2).astype(np.uint8)
    second &= 0xF8
    return [first, second, (depth << 3).astype(np.uint8)]


def decode(image: UInt8Array, variant: DepthVariant) -> NDArray[np.uint32]:
    """Read millimetres back from three channels: the exact inverse of `encode`.

    Args:
        image: (H, W, 3) uint8 as `encode` made it.
        variant: the encoding it was made with.

    Returns:
        (H, W) uint32 millimetres, 0 = invalid.

    Raises:
        FrameError: another type, or values that `encode` never writes (interpolation, JPEG, another variant).
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise FrameError(f"an encoded depth image is (H, W, 3) uint8, got {image.shape} {image.dtype}")
    if variant is DepthVariant.UINT24:
        words = cv2.cvtColor(image, cv2.COLOR_RGB2BGRA).reshape(-1).view("<u4").reshape(image.shape[:2])
        return (words & 0xFFFFFF).astype(np.uint32, copy=False)
    shift = _FIRST_CHANNEL_SHIFT[variant]
    first, second, third = (_uint8(channel).reshape(image.shape[:2]) for channel in cv2.split(image))
    unused = (first, (1 << shift) - 1), (second, 7), (third, 7)
    if any(int(np.bitwise_or.reduce(channel, axis=None)) & bits for channel, bits in unused):
        raise FrameError(
            f"the image holds values that the '{variant.value}' depth encoding never writes: it was "
            "interpolated, stored as JPEG, or encoded in another variant; store PNG and resize by nearest"
        )
    depth = first.astype(np.uint32)
    depth <<= 10 - shift
    depth |= second.astype(np.uint16) << 2
    depth |= third >> 3
    return depth


def metric_from_relative(d_r: FloatArray, d_min_m: float, d_max_m: float) -> FloatArray:
    """Turn relative inverse depth into metres (first version of the paper, equations 4-6).

    Args:
        d_r: any shape, 0 = farthest, 1 = nearest.
        d_min_m: depth in metres where d_r is 1.
        d_max_m: depth in metres where d_r is 0.

    Raises:
        FrameError: d_r outside 0..1 or not finite, or not 0 < d_min_m < d_max_m.
    """
    if not 0 < d_min_m < d_max_m < np.inf:
        raise FrameError(f"depth limits must satisfy 0 < d_min_m < d_max_m, got {d_min_m} and {d_max_m} m")
    relative = np.asarray(d_r, dtype=np.float64)
    if relative.size and not (np.min(relative) >= 0 and np.max(relative) <= 1):
        raise FrameError(
            f"relative depth must lie in 0..1, got {np.min(relative)}..{np.max(relative)}; "
            "scale the estimator's output first"
        )
    scale = 1 / d_min_m - 1 / d_max_m
    return np.asarray(1 / (scale * relative + 1 / d_max_m))


@dataclass(frozen=True)
class ObjectDepth:
    """Depth of one object in millimetres; max, min and mean are None without a trustworthy mask."""

    center_mm: int
    max_mm: int | None = None
    min_mm: int | None = None
    mean_mm: int | None = None


def object_depth(
    depth_mm: DepthArray, box: tuple[int, int, int, int], mask: NDArray[np.bool_] | None = None
) -> ObjectDepth:
    """Describe an object's depth in the paper's four numbers ("Depth Description of an Object").

    Args:
        depth_mm: (H, W) millimetres, 0 = invalid.
        box: x0, y0, x1, y1 in pixels, the last two exclusive.
        mask: (H, W) bool, or None where no mask can be trusted: then the box centre is all there is.

    Returns:
        The depth at the box centre, or at the valid mask pixel nearest to the mask's centroid; with a mask
        also the 95th and 5th percentile as max and min, and the mean over its valid pixels.

    Raises:
        FrameError: a box or mask that does not fit the image, or no valid depth under it.
    """
    height, width = depth_mm.shape
    x0, y0, x1, y1 = box
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise FrameError(f"box {box} does not lie in the {width} x {height} image as x0, y0, x1, y1")
    if mask is None:
        center = int(depth_mm[(y0 + y1) // 2, (x0 + x1) // 2])
        if center == 0:
            raise FrameError(f"the depth at the centre of box {box} is invalid; give a mask of the object")
        return ObjectDepth(center)
    if mask.shape != depth_mm.shape or mask.dtype != np.bool_:
        raise FrameError(f"mask must be {depth_mm.shape} bool, got {mask.shape} {mask.dtype}")
    rows, columns = np.nonzero(mask & (depth_mm > 0))
    if rows.size == 0:
        raise FrameError("no pixel of the mask has a valid depth; leave this object out")
    mask_rows, mask_columns = np.nonzero(mask)
    nearest = np.argmin((rows - mask_rows.mean()) ** 2 + (columns - mask_columns.mean()) ** 2)
    values = depth_mm[rows, columns].astype(np.float64)
    low, high = np.percentile(values, (5, 95))
    mean = round(float(values.mean()))
    return ObjectDepth(
        int(values[nearest]), max_mm=round(float(high)), min_mm=round(float(low)), mean_mm=mean
    )


def _uint8(array: object) -> UInt8Array:
    """Name the type of what OpenCV returns; no copy."""
    return np.asarray(array, dtype=np.uint8)
