"""The quick look at images on the wire agrees with the messages they were made from."""

from __future__ import annotations

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image

from spatialbot_policy.errors import FrameError
from spatialbot_policy.image_head import image_head
from spatialbot_ros.logic.image_look import clipped_shares, fingerprint, hole_share, pose_of


def wire(pixels: np.ndarray, encoding: str, frame_id: str = "camera", padding: int = 0) -> bytes:
    """An Image in CDR; `padding` bytes follow each row."""
    rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(len(pixels), -1)
    rows = np.pad(rows, ((0, 0), (0, padding)))
    message = Image(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding, step=rows.shape[1])
    message.header.frame_id = frame_id
    message.data = rows.tobytes()
    return bytes(serialize_message(message))


@settings(max_examples=50, deadline=None)
@given(
    st.text("abc_", max_size=9), st.integers(1, 40), st.integers(1, 40), st.sampled_from(["rgb8", "16UC1"])
)
def test_the_head_is_that_of_the_message(frame_id, width, height, encoding):
    kind, shape = (np.uint8, (height, width, 3)) if encoding == "rgb8" else (np.uint16, (height, width))
    data = wire(np.full(shape, 7, kind), encoding, frame_id)
    head = image_head(data)
    assert head.form == (width, height, encoding) and head.little_endian
    assert set(data[head.start : head.start + height * head.step]) <= {0, 7}


@pytest.mark.parametrize(
    ("kind", "encoding"), [(np.uint16, "16UC1"), (np.uint16, "mono16"), (np.float32, "32FC1")]
)
def test_holes_are_counted_in_every_depth_encoding_with_padded_rows(kind, encoding):
    depth = np.ones((480, 640), kind)
    depth[:, :160] = 0
    if kind is np.float32:
        depth[:, 160:320] = np.nan
    data = wire(depth, encoding, padding=12)
    wanted = 0.5 if kind is np.float32 else 0.25
    assert hole_share(image_head(data), data) == pytest.approx(wanted, abs=0.02)
    assert clipped_shares(image_head(data), data) is None


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "bgra8", "mono8"])
def test_black_and_white_pixels_are_counted_and_strong_colours_are_not(encoding):
    channels = {"bgra8": 4, "mono8": 1}.get(encoding, 3)
    color = np.full((100, 100, channels), 90, np.uint8)
    color[:50] = 255
    color[50:60] = 0
    color[60:70, :, 0] = 255 if channels > 1 else 90
    data = wire(color, encoding)
    assert clipped_shares(image_head(data), data) == pytest.approx((0.1, 0.5), abs=0.02)
    assert hole_share(image_head(data), data) is None


def test_the_noise_of_a_camera_changes_the_fingerprint():
    rng = np.random.default_rng(0)
    frames = [rng.integers(80, 90, (480, 640, 3), np.uint8) for _ in range(20)]
    prints = [fingerprint(image_head(data), data) for data in (wire(frame, "rgb8") for frame in frames)]
    assert len(set(prints)) == 20
    again = wire(frames[0], "rgb8")
    assert fingerprint(image_head(again), again) == prints[0]


def test_a_pose_is_read_whatever_the_length_of_its_frame_s_name():
    for name in ("", "b", "base", "fr3_link0"):
        message = PoseStamped()
        message.header.frame_id = name
        message.pose.position.y, message.pose.orientation.w = 0.25, 1.0
        assert pose_of(bytes(serialize_message(message))).tolist() == [0, 0.25, 0, 0, 0, 0, 1]


def test_what_is_cut_off_is_refused():
    data = wire(np.zeros((4, 4, 3), np.uint8), "rgb8")
    for length in (0, 3, 10, 30, len(data) - 20):
        with pytest.raises(FrameError, match="look at its publisher"):
            image_head(data[:length])
    with pytest.raises(FrameError, match="a pose of 20 bytes is cut off"):
        pose_of(data[:20])
