"""CompressedImage messages: png is exact, compressedDepth in both encodings, foreign data is refused."""

from __future__ import annotations

import struct
from array import array

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sensor_msgs.msg import CompressedImage

from spatialbot_policy.errors import FrameError
from spatialbot_ros.convert.compressed import from_color, from_depth, to_color, to_depth_mm

SIZES = st.tuples(st.integers(1, 8), st.integers(1, 8))


def message(format_name: str, data: bytes) -> CompressedImage:
    return CompressedImage(format=format_name, data=array("B", data))


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


@given(SIZES.flatmap(lambda size: hnp.arrays(np.uint8, (*size, 3))))
def test_png_color_is_exact(color):
    np.testing.assert_array_equal(to_color(from_color(color, 0, "camera", "png")), color)


def test_jpeg_color_keeps_its_channels_in_order():
    color = np.zeros((32, 32, 3), np.uint8)
    color[...] = (200, 100, 20)
    sent = from_color(color, 5, "camera")
    assert sent.format == "rgb8; jpeg compressed bgr8" and sent.header.stamp.nanosec == 5
    assert np.abs(to_color(sent).astype(int) - color).max() < 8


def test_a_publisher_that_did_not_swap_its_channels():
    color = np.zeros((4, 4, 3), np.uint8)
    color[..., 0] = 250
    np.testing.assert_array_equal(to_color(message("rgb8; png compressed rgb8", png(color))), color)


def test_grey_and_alpha_images_become_rgb():
    grey = np.full((4, 4), 90, np.uint8)
    np.testing.assert_array_equal(
        to_color(message("mono8; png compressed ", png(grey))), np.dstack([grey] * 3)
    )
    assert to_color(message("bgra8; png compressed bgra8", png(np.dstack([grey] * 4)))).shape == (4, 4, 3)


@given(SIZES.flatmap(lambda size: hnp.arrays(np.uint16, size)))
def test_short_depth_is_exact(depth_mm):
    for sent in (from_depth(depth_mm, 0, "camera"), message("16UC1; png compressed ", png(depth_mm))):
        decoded = to_depth_mm(sent)
        assert decoded.dtype == np.uint16
        np.testing.assert_array_equal(decoded, depth_mm)


def test_float_depth_is_inverse_depth_with_its_scale_in_the_header():
    scale, largest = 100.0 * 101.0, 10.0
    offset = 1.0 - scale / largest
    metres = np.array([[0.35, 1.0, 2.5], [9.9, 0.5, np.nan]])
    inverse = np.where(np.isnan(metres), 0, np.rint(scale / metres + offset)).astype(np.uint16)
    sent = message("32FC1; compressedDepth png", struct.pack("<iff", 0, scale, offset) + png(inverse))
    decoded = to_depth_mm(sent)
    assert decoded.dtype == np.uint32 and decoded[1, 2] == 0
    # one step of the inverse depth is depth^2 / scale, at most 10 mm at 10 m
    error = np.abs(decoded - np.nan_to_num(metres) * 1000)
    assert (error <= np.nan_to_num(metres) ** 2 / scale * 1000 / 2 + 1).all()


@pytest.mark.parametrize(
    ("format_name", "data", "reason"),
    [
        ("16UC1; compressedDepth png", b"", "does not hold a png"),
        ("16UC1; compressedDepth rvl", bytes(40), "rvl is not supported"),
        ("16UC1; compressedDepth png", bytes(12) + b"\x89PNG broken", "are no image that OpenCV reads"),
        ("16UC1; compressedDepth png", bytes(12) + png(np.zeros((2, 2), np.uint8)), "has lost its unit"),
        ("32FC1; png compressed ", png(np.zeros((2, 2), np.uint16)), "lacks the scale"),
        ("rgb8; jpeg compressed bgr8", bytes(40), "must be '16UC1' or '32FC1'"),
    ],
)
def test_depth_that_cannot_be_read_is_refused(format_name, data, reason):
    with pytest.raises(FrameError, match=reason):
        to_depth_mm(message(format_name, data))


@pytest.mark.parametrize(
    ("format_name", "data", "reason"),
    [
        ("rgb8; jpeg compressed bgr8", b"", "0 bytes of format 'rgb8; jpeg"),
        ("rgb8; jpeg compressed bgr8", bytes(40), "are no image that OpenCV reads"),
        ("16UC1; compressedDepth png", bytes(40), "is a depth image; subscribe to the colour"),
    ],
)
def test_color_that_cannot_be_read_is_refused(format_name, data, reason):
    with pytest.raises(FrameError, match=reason):
        to_color(message(format_name, data))


def test_what_cannot_be_compressed_is_refused():
    with pytest.raises(FrameError, match="jpeg or png, not 'webp'"):
        from_color(np.zeros((2, 2, 3), np.uint8), 0, "camera", "webp")
    with pytest.raises(FrameError, match="70000 mm does not fit 16 bits"):
        from_depth(np.full((2, 2), 70_000, np.uint32), 0, "camera")
