"""CameraInfo messages to pinhole intrinsics, and back."""

from __future__ import annotations

import numpy as np
from sensor_msgs.msg import CameraInfo

from spatialbot_policy.episodes.topics import CameraIntrinsics
from spatialbot_policy.errors import EpisodeError, FrameError
from spatialbot_ros.convert.stamps import to_header

_MODEL = "plumb_bob"


def to_intrinsics(message: CameraInfo) -> CameraIntrinsics:
    """Intrinsics of a rectified or `plumb_bob` camera.

    Raises:
        FrameError: another distortion model, or a camera that is not calibrated.
    """
    distortion = tuple(float(value) for value in message.d) or (0.0,) * 5
    distorted = any(distortion)
    if distorted and (message.distortion_model != _MODEL or len(distortion) != 5):
        raise FrameError(
            f"distortion model '{message.distortion_model}' with {len(distortion)} coefficients is not "
            f"supported; use '{_MODEL}' with five, or publish rectified images"
        )
    k = np.asarray(message.k, dtype=np.float64).reshape(3, 3)
    if not (np.isfinite(k).all() and k[0, 0] > 0 and k[1, 1] > 0):
        raise FrameError(
            f"the camera matrix has focal lengths {k[0, 0]} and {k[1, 1]}: the camera is not calibrated; "
            "calibrate it or let its driver fill in CameraInfo"
        )
    try:
        return CameraIntrinsics(
            message.width,
            message.height,
            float(k[0, 0]),
            float(k[1, 1]),
            float(k[0, 2]),
            float(k[1, 2]),
            distortion if distorted else (0.0,) * 5,
        )
    except EpisodeError as error:
        raise FrameError(str(error)) from error


def from_intrinsics(intrinsics: CameraIntrinsics, stamp_ns: int, frame_id: str) -> CameraInfo:
    """CameraInfo of an undistorted or `plumb_bob` camera, not rectified."""
    matrix = intrinsics.matrix
    return CameraInfo(
        header=to_header(stamp_ns, frame_id),
        height=intrinsics.height,
        width=intrinsics.width,
        distortion_model=_MODEL,
        d=[float(value) for value in intrinsics.distortion],
        k=matrix.reshape(-1),
        r=np.eye(3).reshape(-1),
        p=np.hstack([matrix, np.zeros((3, 1))]).reshape(-1),
    )
