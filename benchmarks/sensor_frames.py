"""RGB-D frames as a stereo camera of 640 x 480 would see the simulator's table: noise, steps and holes."""

from __future__ import annotations

import cv2
import numpy as np

from spatialbot_policy.types import DepthArray, FloatArray, UInt8Array
from spatialbot_sim.task.robot import SimRobot
from spatialbot_sim.task.seeds import EVAL_SEEDS

SIZE = (640, 480)
_FOCAL_PX, _BASELINE_MM = 385.0, 50.0  # Intel, D400 data sheet: D435 depth at 848 x 480 scaled to 640
_DISPARITY_NOISE_PX = 0.08  # RMS subpixel error that Intel gives for a textured scene
_DISPARITY_STEPS = 32  # the ASIC's subpixel resolution is 1/32
_HOLES = 1.9  # deviations above which correlated noise makes a hole: about 3 % of the picture
_EDGE_MM = 15.0


def sensor_frames(scenes: int = 6, seed: int = 0) -> list[tuple[UInt8Array, DepthArray]]:
    """Colour (480, 640, 3) RGB and depth (480, 640) in millimetres of several scenes."""
    rng = np.random.default_rng(seed)
    robot = SimRobot()
    try:
        found = []
        for scene in range(scenes):
            frame = robot.reset(EVAL_SEEDS.start + scene).frames["camera"]
            found.append((_color(frame.color, rng), _depth(np.asarray(frame.depth_mm, np.float32), rng)))
        return found
    finally:
        robot.close()


def _color(small: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    """Enlarged, with a fine grain as of wood and the noise of a sensor."""
    color = cv2.resize(small, SIZE, interpolation=cv2.INTER_CUBIC).astype(np.float32)
    grain = 12.0 * _correlated(rng, 1.5) * 0.2
    noisy = color + grain[..., None] + rng.normal(0, 2, color.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def _depth(small: FloatArray, rng: np.random.Generator) -> DepthArray:
    """Depth by way of disparity: its noise grows with the square of the distance, and comes in steps."""
    depth = cv2.resize(small, SIZE, interpolation=cv2.INTER_LINEAR)
    disparity = _FOCAL_PX * _BASELINE_MM / np.maximum(depth, 1.0) + _DISPARITY_NOISE_PX * _correlated(
        rng, 1.5
    )
    disparity = np.round(disparity * _DISPARITY_STEPS) / _DISPARITY_STEPS
    measured = _FOCAL_PX * _BASELINE_MM / np.maximum(disparity, 0.5)
    steep = np.abs(cv2.Laplacian(cv2.resize(small, SIZE), cv2.CV_32F)) > _EDGE_MM
    edges = cv2.dilate(steep.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    measured[(depth <= 0) | edges | (_correlated(rng, 5.0) > _HOLES)] = 0
    return np.clip(np.rint(measured), 0, 65535).astype(np.uint16)


def _correlated(rng: np.random.Generator, sigma_px: float) -> FloatArray:
    """Noise of deviation 1 whose neighbours are alike, as block matching makes it."""
    noise = cv2.GaussianBlur(rng.normal(0, 1, SIZE[::-1]).astype(np.float32), (0, 0), sigma_px)
    return np.asarray(noise / noise.std())
