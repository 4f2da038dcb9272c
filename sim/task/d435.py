"""Depth as an Intel RealSense D435 would give it: stereo noise, disparity steps, shadows and holes.

The noise follows Intel's tuning guide for the D400 series: RMS = z^2 * sub-pixel / (focal length * baseline),
with 0.08 pixels, the baseline of 50 mm and the focal length of 848 pixels across the depth field of view.
"""

from __future__ import annotations

import cv2
import numpy as np

BASELINE_M = 0.05
FOCAL_PX = 424 / np.tan(np.deg2rad(87.0) / 2)
"""Of the depth imager at 848 x 480, whose horizontal field of view is 87 degrees (D400 data sheet)."""
SUBPIXEL_RMS = 0.08
DISPARITY_STEP = 1.0 / 32.0
_EDGE_MM = 35.0
_EDGE_LOSS = 0.5
_BLOBS = 6.0


def d435_depth(depth_mm: np.ndarray, focal_px: float, rng: np.random.Generator) -> np.ndarray:
    """Replace ideal depth by a D435's.

    Args:
        depth_mm: (H, W) uint16 ideal depth along the optical axis, 0 = none.
        focal_px: focal length of this picture in pixels, which shadows are as wide as.
        rng: of this picture.

    Returns:
        (H, W) uint16 millimetres, 0 where the camera finds no match.
    """
    depth_m = depth_mm.astype(np.float64) / 1000.0
    known = depth_m > 0
    disparity = FOCAL_PX * BASELINE_M / np.where(known, depth_m, 1.0)
    disparity += SUBPIXEL_RMS * _correlated(depth_mm.shape, rng)
    disparity = np.maximum(np.round(disparity / DISPARITY_STEP), 1.0) * DISPARITY_STEP
    measured = np.round(FOCAL_PX * BASELINE_M / disparity * 1000.0)
    lost = ~known | _shadows(depth_m, known, focal_px) | _blobs(depth_mm.shape, rng)
    lost |= _edges(depth_mm) & (rng.random(depth_mm.shape) < _EDGE_LOSS)
    return np.where(lost, 0, np.clip(measured, 0, 65535)).astype(np.uint16)


def _correlated(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Unit normal noise whose neighbours are alike: a match is found over a window of pixels."""
    noise = cv2.GaussianBlur(rng.normal(size=shape), (0, 0), 0.8)
    return np.asarray(noise / noise.std())


def _shadows(depth_m: np.ndarray, known: np.ndarray, focal_px: float) -> np.ndarray:
    """Pixels that the right imager does not see, because something nearer hides them from there."""
    columns = np.arange(depth_m.shape[1], dtype=np.float64)
    there = columns - np.where(known, focal_px * BASELINE_M / np.where(known, depth_m, 1.0), 0.0)
    leftmost = np.minimum.accumulate(there[:, ::-1], axis=1)[:, ::-1]
    hidden = np.zeros(depth_m.shape, dtype=bool)
    hidden[:, :-1] = there[:, :-1] > leftmost[:, 1:] + 0.1
    return hidden


def _edges(depth_mm: np.ndarray) -> np.ndarray:
    """Pixels with a jump in depth beside them, where matching fails now and then."""
    values = depth_mm.astype(np.float32)
    square = np.ones((3, 3), np.uint8)
    return np.asarray(cv2.dilate(values, square) - cv2.erode(values, square) > _EDGE_MM)


def _blobs(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Holes of a few pixels where a surface shines or has no texture."""
    holes = np.zeros(shape, np.uint8)
    for _ in range(rng.poisson(_BLOBS)):
        centre = (int(rng.integers(shape[1])), int(rng.integers(shape[0])))
        axes = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
        cv2.ellipse(holes, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
    return holes.astype(bool)
