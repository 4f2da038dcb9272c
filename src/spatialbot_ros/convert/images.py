"""Image messages to RGB and millimetres, and back; received pixels are views into the message."""

from __future__ import annotations

from array import array

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import Image

from spatialbot_policy import image_encodings
from spatialbot_policy.errors import FrameError
from spatialbot_policy.image_encodings import COLOR_CHANNELS, EncodedImage
from spatialbot_policy.types import DepthArray, RgbdFrame, UInt8Array
from spatialbot_ros.convert.stamps import stamp_ns, to_header

_LARGEST_MEDIAN_MM = 200_000  # no supported camera sees past 131 m; see spatialbot_policy.depth
_SAMPLED = 8  # every eighth row and column is enough for a median


def to_color(image: Image) -> UInt8Array:
    """(H, W, 3) uint8 RGB; a view of the message's data for `rgb8`.

    Encodings that are not in `image_encodings.COLOR_CHANNELS` (Bayer, YUV, 16 bits) go through cv_bridge.

    Raises:
        FrameError: size and data disagree, or nobody here can read the encoding.
    """
    if image.encoding in COLOR_CHANNELS:
        return image_encodings.decode_color(image)
    return _by_cv_bridge(image)


def to_depth_mm(image: Image) -> DepthArray:
    """(H, W) millimetres, 0 = invalid: uint16 of `16UC1` (a view), uint32 of `32FC1` metres.

    Raises:
        FrameError: another encoding, size and data disagree, or metres that look like millimetres.
    """
    depth = image_encodings.decode_depth(image)
    if image.encoding == "32FC1":
        _check_metres(depth)
    return depth


def to_frame(camera: str, color: Image, depth: Image | None = None) -> RgbdFrame:
    """One camera's images as a frame; its stamp is that of the colour image.

    Raises:
        FrameError: an image is wrong, or the two differ in size.
    """
    return RgbdFrame(
        camera, stamp_ns(color.header), to_color(color), None if depth is None else to_depth_mm(depth)
    )


def from_color(color: UInt8Array, stamp_ns: int, frame_id: str, encoding: str = "rgb8") -> Image:
    """Image message of (H, W, 3) uint8 RGB, as `rgb8` or `bgr8`.

    Raises:
        FrameError: another encoding, type or shape.
    """
    return _message(image_encodings.encode_color(color, encoding), stamp_ns, frame_id)


def from_depth(depth_mm: DepthArray, stamp_ns: int, frame_id: str) -> Image:
    """Image message of (H, W) millimetres: `16UC1`, or `32FC1` metres where a pixel needs more than 16 bits.

    Raises:
        FrameError: another type or shape, or a pixel beyond `MAX_DEPTH_MM`.
    """
    return _message(image_encodings.encode_depth(depth_mm), stamp_ns, frame_id)


def _message(encoded: EncodedImage, stamp_ns: int, frame_id: str) -> Image:
    message = Image()
    message.header = to_header(stamp_ns, frame_id)
    message.height = encoded.height
    message.width = encoded.width
    message.encoding = encoded.encoding
    message.is_bigendian = 0
    message.step = encoded.step
    # an array of bytes is taken as it is; every other type is checked byte by byte, which takes 60 ms
    data = array("B")
    data.frombytes(encoded.pixels.data)
    message.data = data
    return message


def _by_cv_bridge(image: Image) -> UInt8Array:
    known = ", ".join(COLOR_CHANNELS)
    try:
        from cv_bridge import CvBridge, CvBridgeError
    except ImportError as error:
        raise FrameError(
            f"colour encoding '{image.encoding}' is not one of {known}; set the camera to one of them, or "
            "install cv_bridge (ros-$ROS_DISTRO-cv-bridge), which reads more"
        ) from error
    try:
        return np.asarray(CvBridge().imgmsg_to_cv2(image, "rgb8"), dtype=np.uint8)
    except CvBridgeError as error:
        raise FrameError(
            f"colour encoding '{image.encoding}' is not one of {known}, and cv_bridge cannot turn it into "
            f"rgb8 ({error}); set the camera to one of them"
        ) from error


def _check_metres(depth_mm: NDArray[np.unsignedinteger]) -> None:
    sample = depth_mm[::_SAMPLED, ::_SAMPLED]
    seen = sample[sample > 0]
    if seen.size and float(np.median(seen)) > _LARGEST_MEDIAN_MM:
        raise FrameError(
            f"'32FC1' depth has a median of {np.median(seen) / 1000.0:.0f} m, too far for metres: it looks "
            "like millimetres; make its driver publish metres (REP 118) or 16UC1"
        )
