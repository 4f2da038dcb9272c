"""Depth as people like to look at it: one colour for each distance."""

from __future__ import annotations

import cv2
import numpy as np

from spatialbot_policy.types import DepthArray, UInt8Array


def colourise(depth_mm: DepthArray) -> UInt8Array:
    """Depth images as pictures: near is red, far is blue (turbo), invalid is black.

    Args:
        depth_mm: (T, H, W) millimetres; all images share one scale, from the 2nd to the 98th percentile.

    Returns:
        (T, H, W, 3) uint8 RGB.
    """
    valid = depth_mm > 0
    near, far = np.percentile(depth_mm[valid], [2, 98]) if valid.any() else (0.0, 1.0)
    closeness = 1.0 - (depth_mm.astype(np.float32) - near) / max(far - near, 1.0)
    levels = np.rint(closeness.clip(0, 1) * 255).astype(np.uint8)
    flat = levels.reshape(1, -1) if levels.size else np.zeros((1, 0), np.uint8)
    picture = cv2.cvtColor(cv2.applyColorMap(flat, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
    result = np.asarray(picture, dtype=np.uint8).reshape(*depth_mm.shape, 3)
    result[~valid] = 0
    return result
