"""Where the fixed camera sees a point of the scene: a pinhole written out anew, to check pictures with."""

from __future__ import annotations

import numpy as np

from spatialbot_policy.episode import CameraIntrinsics
from spatialbot_policy.types import RgbdFrame

CAMERA_M = np.array([0.52, 0.0, 0.72])
LOOKS_AT_M = np.array([-0.09, 0.0, 0.06])


def look_at(point_m: np.ndarray, intrinsics: CameraIntrinsics) -> tuple[int, int, float]:
    """Column, row and depth in metres at which the fixed camera sees a (3,) point of the world frame."""
    forward = (LOOKS_AT_M - CAMERA_M) / np.linalg.norm(LOOKS_AT_M - CAMERA_M)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    x, y, z = (float((point_m - CAMERA_M) @ axis) for axis in (right, down, forward))
    u, v = intrinsics.fx * x / z + intrinsics.cx, intrinsics.fy * y / z + intrinsics.cy
    return int(u), int(v), z


def measured_depth_m(frame: RgbdFrame, point_m: np.ndarray, intrinsics: CameraIntrinsics) -> float:
    """What the depth image says at the pixel where the camera sees a point."""
    u, v, _ = look_at(point_m, intrinsics)
    assert frame.depth_mm is not None
    return float(frame.depth_mm[v, u]) / 1000.0
