"""The fixed facts of SpatialPickPlace: names, rate, bounds, cameras, the robot's place. No simulator in here.

The world frame is that of `scene`: origin on the table top, x away from the robot, y to its left, z up.
"""

from __future__ import annotations

import numpy as np

SPATIAL_TASK = "SpatialPickPlace-v1"
CONTROL_HZ = 10

TRANSLATION_BOUND_M = 0.05
ROTATION_BOUND_RAD = 0.1
"""Bounds of one action in each dimension; at 10 Hz half a metre and one radian a second."""

MAX_OPENING_M = 0.08
"""Distance between the open fingers of the Franka Hand: data sheet, 80 mm."""

BASE_M = np.array([-0.615, 0.0, 0.0])
"""Robot base in the world frame: positions in the base frame are world positions minus this."""

HOME_RAD = np.array([0.0, -0.25, 0.0, -2.35, 0.0, 2.1, np.pi / 4, 0.04, 0.04])
"""Arm raised and drawn back, so that the camera sees the whole table at the start; the fingers come last."""

CAMERA = "camera"
WRIST_CAMERA = "wrist"
IMAGE_SIZE = 128
"""Width and height in pixels of both cameras unless told otherwise."""

CAMERA_M = np.array([0.52, 0.0, 0.72])
CAMERA_TARGET_M = np.array([-0.09, 0.0, 0.06])
CAMERA_FOV_RAD = 0.75
"""The fixed camera stands opposite the robot and looks down at the table between them."""
