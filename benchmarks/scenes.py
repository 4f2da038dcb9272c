"""Made-up RGB-D frames for benchmarks: smooth surfaces with a sensor's noise; they compress as real ones.

A camera moves slowly over its scene, as on a robot: frames that follow each other differ little, and in every
pixel's noise.
"""

from __future__ import annotations

import cv2
import numpy as np

from spatialbot_policy.config import PolicyConfig
from spatialbot_policy.types import DepthArray, Observation, RgbdFrame, UInt8Array

INSTRUCTION = "pick up the red cup and put it on the left board"
SIZE = (480, 640)
PERIOD_NS = 100_000_000
MARGIN, SPEED = 32, 2  # pixels by which the scene is larger than a view, and of motion in a step


def color_image(step: int, scene: int = 0, size: tuple[int, int] = SIZE) -> UInt8Array:
    """(H, W, 3) colours that change slowly over the image, with new noise of 2 levels at each step."""
    coarse = np.random.default_rng(scene).uniform(30, 225, (6, 8, 3)).astype(np.float32)
    smooth = _view(cv2.resize(coarse, _whole(size), interpolation=cv2.INTER_CUBIC), step, size)
    noisy = smooth + np.random.default_rng(step).normal(0, 2, smooth.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def depth_image(step: int, scene: int = 0, size: tuple[int, int] = SIZE) -> DepthArray:
    """(H, W) millimetres of a wavy surface at 0.4 to 1.4 m, with new noise of 2 mm and new holes of 5 %."""
    coarse = np.random.default_rng(scene).uniform(400, 1400, (6, 8)).astype(np.float32)
    smooth = _view(cv2.resize(coarse, _whole(size), interpolation=cv2.INTER_LINEAR), step, size)
    rng = np.random.default_rng(step)
    depth = (smooth + rng.normal(0, 2, smooth.shape)).astype(np.uint16)
    holes = cv2.resize(rng.random((48, 64)).astype(np.float32), size[::-1], interpolation=cv2.INTER_NEAREST)
    depth[holes < 0.05] = 0
    return depth


def _whole(size: tuple[int, int]) -> tuple[int, int]:
    """(W, H) of the scene that the camera moves over."""
    return size[1] + MARGIN, size[0] + MARGIN


def _view(whole: np.ndarray, step: int, size: tuple[int, int]) -> np.ndarray:
    """The part that the camera sees at a step: to and fro along the diagonal."""
    there = step * SPEED % (2 * MARGIN)
    at = min(there, 2 * MARGIN - there)
    return whole[at : at + size[0], at : at + size[1]]


def observation(step: int, policy: PolicyConfig, size: tuple[int, int] = SIZE) -> Observation:
    """What the cameras see at a step, at their own size: resizing is in the figures, as on the robot."""
    stamp_ns = (step + 1) * PERIOD_NS
    frames = {
        camera.name: RgbdFrame(
            camera.name, stamp_ns, color_image(step, scene, size), depth_image(step, scene, size)
        )
        for scene, camera in enumerate(policy.cameras)
    }
    return Observation(stamp_ns, INSTRUCTION, frames)
