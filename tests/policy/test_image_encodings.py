"""Image bytes to RGB and millimetres and back: exact, without needless copies, strict on sizes."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from spatialbot_policy.episodes.topics import MAX_DEPTH_MM
from spatialbot_policy.errors import FrameError
from spatialbot_policy.image_encodings import (
    COLOR_CHANNELS,
    decode_color,
    decode_depth,
    encode_color,
    encode_depth,
)

SIZES = st.tuples(st.integers(1, 6), st.integers(1, 6))
COLORS = SIZES.flatmap(lambda size: hnp.arrays(np.uint8, (*size, 3)))
BUFFERS = st.sampled_from([bytes, bytearray, lambda data: memoryview(bytes(data)), np.frombuffer])


def message(encoding: str, rows: np.ndarray, width: int, padding: int = 0, /, **changes: object):
    """Message of an array whose rows are raw bytes, with `padding` bytes of noise behind each."""
    raw = np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), -1)
    noise = np.full((len(raw), padding), 0xAB, np.uint8)
    padded = np.hstack([raw, noise])
    fields = {"height": len(raw), "width": width, "encoding": encoding, "is_bigendian": 0}
    fields |= {"step": padded.shape[1], "data": padded.tobytes(), **changes}
    return SimpleNamespace(**fields)


def of_encoded(encoded, data=None):
    return SimpleNamespace(
        height=encoded.height,
        width=encoded.width,
        encoding=encoded.encoding,
        is_bigendian=0,
        step=encoded.step,
        data=encoded.pixels if data is None else data,
    )


@given(COLORS, st.sampled_from(["rgb8", "bgr8"]), BUFFERS)
def test_color_comes_back_exactly(color, encoding, buffer):
    encoded = encode_color(color, encoding)
    data = encoded.pixels.tobytes()
    given_data = buffer(data, np.uint8) if buffer is np.frombuffer else buffer(data)
    np.testing.assert_array_equal(decode_color(of_encoded(encoded, given_data)), color)


@given(
    SIZES.flatmap(lambda size: hnp.arrays(np.uint32, size, elements=st.integers(0, MAX_DEPTH_MM)))
    | SIZES.flatmap(lambda size: hnp.arrays(np.uint16, size))
)
def test_depth_comes_back_exactly(depth_mm):
    encoded = encode_depth(depth_mm)
    decoded = decode_depth(of_encoded(encoded))
    np.testing.assert_array_equal(decoded, depth_mm)
    far = depth_mm.max() > np.iinfo(np.uint16).max
    assert (encoded.encoding, decoded.dtype) == (("32FC1", np.uint32) if far else ("16UC1", np.uint16))


@given(COLORS, st.sampled_from(sorted(COLOR_CHANNELS)), st.integers(0, 5))
def test_every_color_encoding_gives_rgb_with_or_without_row_padding(color, encoding, padding):
    channels = {
        "rgb8": color,
        "bgr8": color[..., ::-1],
        "rgba8": np.dstack([color, color[..., :1]]),
        "bgra8": np.dstack([color[..., ::-1], color[..., :1]]),
        "mono8": color[..., :1],
    }[encoding]
    wanted = np.repeat(channels, 3, axis=2) if encoding == "mono8" else color
    sent = message(encoding, channels.reshape(len(color), -1), color.shape[1], padding)
    np.testing.assert_array_equal(decode_color(sent), wanted)


@given(
    SIZES.flatmap(lambda size: hnp.arrays(np.uint16, size)),
    st.booleans(),
    st.integers(0, 3),
)
def test_short_depth_of_both_byte_orders_and_any_padding(depth_mm, big_endian, padding):
    rows = depth_mm.astype(">u2" if big_endian else "<u2")
    sent = message("16UC1", rows, depth_mm.shape[1], padding, is_bigendian=int(big_endian))
    decoded = decode_depth(sent)
    assert decoded.dtype == np.uint16 and decoded.dtype.isnative
    np.testing.assert_array_equal(decoded, depth_mm)


@pytest.mark.parametrize("order", ["<", ">"])
def test_float_depth_is_metres_and_what_is_no_depth_becomes_0(order):
    metres = np.array([[0.5, 1.2345, np.nan, np.inf], [-np.inf, -1.0, 0.0, 70.0]], dtype=f"{order}f4")
    decoded = decode_depth(message("32FC1", metres, 4, is_bigendian=int(order == ">")))
    assert decoded.dtype == np.uint32
    np.testing.assert_array_equal(decoded, [[500, 1235, 0, 0], [0, 0, 0, 70_000]])


def test_plain_images_are_views_into_the_message():
    data = bytearray(4 * 6 * 3)
    color = message("rgb8", np.zeros((4, 18), np.uint8), 6, data=data)
    depth = message("16UC1", np.zeros((4, 6), np.uint16), 6, data=data[:48])
    assert np.shares_memory(decode_color(color), np.frombuffer(data, np.uint8))
    assert np.shares_memory(decode_depth(depth), np.frombuffer(depth.data, np.uint8))
    array = np.zeros((4, 6, 3), np.uint8)
    assert np.shares_memory(encode_color(array).pixels, array)
    millimetres = np.zeros((4, 6), np.uint16)
    assert np.shares_memory(encode_depth(millimetres).pixels, millimetres)


def test_an_image_that_is_not_contiguous_is_encoded_as_it_looks():
    color = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)[:, ::-1]
    np.testing.assert_array_equal(decode_color(of_encoded(encode_color(color))), color)


@pytest.mark.parametrize(
    "changes",
    [
        {"data": bytes(71)},
        {"data": bytes(73)},
        {"data": b""},
        {"step": 17},
        {"step": 19},
        {"height": 5},
        {"height": 0, "data": b""},
        {"width": 0},
        {"width": 7},
    ],
)
def test_sizes_that_disagree_are_refused(changes):
    sent = message("rgb8", np.zeros((4, 18), np.uint8), 6, **changes)
    with pytest.raises(FrameError, match="the message is damaged or its driver fills in wrong sizes"):
        decode_color(sent)


@pytest.mark.parametrize("encoding", ["16UC1", "bayer_rggb8", "yuv422", "RGB8", ""])
def test_another_color_encoding_is_refused(encoding):
    with pytest.raises(FrameError, match=f"must be rgb8, bgr8, rgba8, bgra8, mono8, got '{encoding}'"):
        decode_color(message(encoding, np.zeros((4, 18), np.uint8), 6))


@pytest.mark.parametrize("encoding", ["mono8", "mono16", "rgb8", "8UC1", "64FC1"])
def test_another_depth_encoding_is_refused(encoding):
    with pytest.raises(FrameError, match=f"'16UC1' .* or '32FC1' .*, got '{encoding}'"):
        decode_depth(message(encoding, np.zeros((4, 6), np.uint16), 6))


def test_depth_beyond_the_exact_range_is_refused_both_ways():
    with pytest.raises(FrameError, match="check the unit"):
        encode_depth(np.full((2, 2), MAX_DEPTH_MM + 1, np.uint32))
    with pytest.raises(FrameError, match="check the unit"):
        decode_depth(message("32FC1", np.full((2, 2), 1e4, np.float32), 2))


def test_what_is_no_image_is_not_encoded():
    with pytest.raises(FrameError, match="uint8 RGB, got"):
        encode_color(np.zeros((4, 4), np.uint8))
    with pytest.raises(FrameError, match="rgb8 or bgr8, not 'mono8'"):
        encode_color(np.zeros((4, 4, 3), np.uint8), "mono8")
    with pytest.raises(FrameError, match="to_millimetres first"):
        encode_depth(np.zeros((4, 4), np.float32))


def test_opencv_reads_what_is_written_as_bgr8():
    color = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    encoded = encode_color(color, "bgr8")
    np.testing.assert_array_equal(encoded.pixels.reshape(5, 7, 3), cv2.cvtColor(color, cv2.COLOR_RGB2BGR))
