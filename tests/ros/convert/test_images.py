"""Image messages: exact both ways, received pixels are views, wrong ones are refused with what mends them."""

from __future__ import annotations

import sys
from array import array
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image

from spatialbot_policy.errors import FrameError
from spatialbot_ros.convert.images import from_color, from_depth, to_color, to_depth_mm, to_frame

SIZES = st.tuples(st.integers(1, 5), st.integers(1, 5))
STAMP_NS = 1_700_000_000_123_456_789


def over_the_wire(message: Image) -> Image:
    """The message as a subscriber gets it."""
    return deserialize_message(serialize_message(message), Image)


@given(SIZES.flatmap(lambda size: hnp.arrays(np.uint8, (*size, 3))), st.sampled_from(["rgb8", "bgr8"]))
def test_color_crosses_the_wire_exactly(color, encoding):
    received = over_the_wire(from_color(color, STAMP_NS, "camera_color_optical_frame", encoding))
    assert (received.encoding, received.step) == (encoding, color.shape[1] * 3)
    assert received.header.frame_id == "camera_color_optical_frame"
    np.testing.assert_array_equal(to_color(received), color)


@given(
    SIZES.flatmap(lambda size: hnp.arrays(np.uint16, size))
    | SIZES.flatmap(lambda size: hnp.arrays(np.uint32, size, elements=st.integers(0, 131_000)))
)
def test_depth_crosses_the_wire_exactly(depth_mm):
    received = over_the_wire(from_depth(depth_mm, STAMP_NS, "camera"))
    np.testing.assert_array_equal(to_depth_mm(received), depth_mm)


def test_a_large_image_is_read_without_a_copy():
    color = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    received = over_the_wire(from_color(color, STAMP_NS, "camera"))
    pixels = to_color(received)
    np.testing.assert_array_equal(pixels, color)
    assert np.shares_memory(pixels, np.frombuffer(received.data, np.uint8))


def test_pixels_are_published_as_an_array_of_bytes():
    assert isinstance(from_color(np.zeros((2, 2, 3), np.uint8), 0, "camera").data, array)


def test_a_frame_has_the_stamp_of_its_color_image():
    color = from_color(np.ones((4, 6, 3), np.uint8), STAMP_NS, "camera")
    depth = from_depth(np.full((4, 6), 700, np.uint16), STAMP_NS + 5, "camera")
    frame = to_frame("front", color, depth)
    assert (frame.camera, frame.stamp_ns, frame.depth_mm.max()) == ("front", STAMP_NS, 700)
    assert to_frame("wrist", color).depth_mm is None
    with pytest.raises(FrameError, match="align the depth"):
        to_frame("front", color, from_depth(np.zeros((3, 6), np.uint16), STAMP_NS, "camera"))


def test_float_depth_in_millimetres_is_noticed():
    message = from_depth(np.zeros((16, 16), np.uint16), STAMP_NS, "camera")
    message.encoding, message.step = "32FC1", 64
    message.data = array("B", np.full((16, 16), 700.0, np.float32).tobytes())
    with pytest.raises(FrameError, match="looks like millimetres"):
        to_depth_mm(message)


def test_an_unknown_encoding_names_the_known_ones_and_cv_bridge(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv_bridge", None)
    message = from_color(np.zeros((2, 2, 3), np.uint8), STAMP_NS, "camera")
    message.encoding = "bayer_rggb8"
    with pytest.raises(FrameError, match="'bayer_rggb8' is not one of rgb8, bgr8.*install cv_bridge"):
        to_color(message)


class FakeBridgeError(TypeError):
    """What cv_bridge raises."""


def test_cv_bridge_reads_the_rest_where_it_is_installed(monkeypatch):
    class Bridge:
        def imgmsg_to_cv2(self, message: Image, encoding: str) -> np.ndarray:
            assert encoding == "rgb8"
            if message.encoding == "yuv422":
                return np.full((2, 2, 3), 7, np.uint8)
            raise FakeBridgeError("no such conversion")

    module = ModuleType("cv_bridge")
    module.CvBridge, module.CvBridgeError = Bridge, FakeBridgeError
    monkeypatch.setitem(sys.modules, "cv_bridge", module)
    message = from_color(np.zeros((2, 2, 3), np.uint8), STAMP_NS, "camera")
    message.encoding = "yuv422"
    np.testing.assert_array_equal(to_color(message), np.full((2, 2, 3), 7))
    message.encoding = "32FC3"
    with pytest.raises(FrameError, match="'32FC3'.*no such conversion.*set the camera"):
        to_color(message)


def test_a_truncated_image_is_refused():
    message = from_color(np.zeros((4, 4, 3), np.uint8), STAMP_NS, "camera")
    message.data = message.data[:-1]
    with pytest.raises(FrameError, match="got step 12 and 47 bytes"):
        to_color(message)
