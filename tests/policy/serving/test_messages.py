"""Observations and answers as messages: there and back, and what is no answer."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tests.policy.serving.stand_ins import CONFIG, StandInHost

from spatialbot_policy.config import CameraConfig
from spatialbot_policy.errors import ActionError, FrameError, RequestError, WireError
from spatialbot_policy.serving import wire
from spatialbot_policy.serving.image_codec import ImageMode, WireImages
from spatialbot_policy.serving.key_maps import NATIVE
from spatialbot_policy.serving.messages import (
    decode_chunk,
    decode_observation,
    encode_chunk,
    encode_observation,
)
from spatialbot_policy.serving.refusals import REFUSALS
from spatialbot_policy.serving.sessions import Session
from spatialbot_policy.types import ActionChunk, ActionStep, Observation, RgbdFrame

TWO = replace(CONFIG, cameras=(CameraConfig("base", 8, 8), CameraConfig("wrist", 8, 8)))
DTYPES = st.sampled_from(["u1", "u2", ">u2", "u4", "f4", "U3", "M8[s]"])
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**40) | st.floats() | st.text(max_size=5)
    | st.binary(max_size=5) | hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, min_side=0, max_side=3)),
    lambda inner: st.lists(inner, max_size=2)
    | st.dictionaries(st.sampled_from(["codec", "data", "shape", "dtype"]), inner, max_size=4),
    max_leaves=4,
)  # fmt: skip
FINITE = st.floats(-10, 10)
STEPS = st.builds(
    lambda values, closure, done: ActionStep(np.array(values[:3]), np.array(values[3:]), closure, done),
    st.lists(FINITE, min_size=6, max_size=6), st.floats(0, 1), st.booleans(),
)  # fmt: skip


def observation(seed: int = 0, skew_ns: int = 3) -> Observation:
    rng = np.random.default_rng(seed)
    frames = {
        name: RgbdFrame(
            name,
            1000 + skew_ns * number,
            rng.integers(0, 255, (6, 10, 3), dtype=np.uint8),
            rng.integers(1, 9000, (6, 10), dtype=np.uint16),
        )
        for number, name in enumerate(("base", "wrist"))
    }
    return Observation(1000, "stack the cups", frames)


@pytest.mark.parametrize("mode", [ImageMode.RAW, ImageMode.ZSTD])
@pytest.mark.parametrize("skew_ns", [0, 3])
def test_an_observation_comes_back_whole(mode, skew_ns):
    big = replace(TWO, cameras=tuple(replace(camera, width=99, height=99) for camera in TWO.cameras))
    sent = observation(skew_ns=skew_ns)
    message = encode_observation(sent, big, WireImages(mode, big))
    assert ("observation/wrist/stamp_ns" in message) == (skew_ns != 0)
    found = decode_observation(wire.unpack(wire.pack(message)), big, NATIVE.of_policy(big))
    assert (found.stamp_ns, found.instruction) == (sent.stamp_ns, sent.instruction)
    for name, frame in sent.frames.items():
        np.testing.assert_array_equal(found.frames[name].color, frame.color)
        np.testing.assert_array_equal(found.frames[name].depth_mm, frame.depth_mm)
        assert found.frames[name].stamp_ns == frame.stamp_ns


def test_a_policy_that_sees_colour_only_is_sent_and_reads_no_depth():
    flat = replace(TWO, depth_variant=None)
    message = encode_observation(observation(), flat, WireImages(ImageMode.RAW, flat), reset=True)
    assert not any("depth" in key for key in message) and message["reset"] is True
    message["observation/base/depth_mm"] = "whatever"
    assert decode_observation(message, flat, NATIVE.of_policy(flat)).frames["base"].depth_mm is None


def test_a_missing_camera_is_not_sent_around():
    alone = Observation(1000, "x", {"base": observation().frames["base"]})
    with pytest.raises(FrameError, match="camera 'wrist' is missing at stamp 1000"):
        encode_observation(alone, TWO, WireImages(ImageMode.RAW, TWO))


def test_an_observation_without_a_stamp_needs_one_from_somewhere():
    message = encode_observation(observation(), TWO, WireImages(ImageMode.RAW, TWO))
    del message["observation/stamp_ns"]
    keys = NATIVE.of_policy(TWO)
    with pytest.raises(RequestError, match="'observation/stamp_ns' is missing"):
        decode_observation(message, TWO, keys)
    assert decode_observation(message, TWO, keys, 77).stamp_ns == 77


@given(st.lists(STEPS, min_size=1, max_size=4), st.integers(0, 2**62))
def test_an_answer_comes_back_whole(steps, stamp):
    found = decode_chunk(wire.unpack(wire.pack(encode_chunk(ActionChunk(stamp, tuple(steps))))))
    assert found.observation_stamp_ns == stamp and len(found.steps) == len(steps)
    for one, other in zip(found.steps, steps, strict=True):
        np.testing.assert_array_equal(one.as_vector(), other.as_vector())
        assert one.terminate == other.terminate


GOOD = {"actions": np.zeros((2, 7)), "terminate": np.zeros(2, bool), "stamp_ns": 5}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"actions": None}, WireError, "'actions' must be an array"),
        ({"actions": np.zeros(7)}, WireError, "'actions' must be an array"),
        ({"actions": np.zeros((2, 7), int)}, WireError, "'actions' must be an array"),
        ({"actions": np.zeros((2, 8))}, WireError, "another robot"),
        ({"actions": np.zeros((0, 7))}, WireError, r"must be \(horizon, 7\)"),
        ({"actions": np.full((2, 7), np.nan)}, ActionError, "must be finite"),
        ({"terminate": np.zeros(3, bool)}, WireError, "'terminate' must be"),
        ({"terminate": np.zeros(2)}, WireError, "'terminate' must be"),
        ({"stamp_ns": None}, WireError, "'stamp_ns' must be"),
        ({"stamp_ns": 5.0}, WireError, "'stamp_ns' must be"),
        ({"stamp_ns": True}, WireError, "'stamp_ns' must be"),
    ],
)
def test_what_is_no_answer_is_refused(changes, error, message):
    with pytest.raises(error, match=message):
        decode_chunk(GOOD | changes)
    with pytest.raises(WireError, match="must be a map"):
        decode_chunk([1])


@given(st.data())
def test_whatever_stands_under_a_key_it_is_refused_by_a_name_that_a_client_may_see(data):
    message = encode_observation(observation(), TWO, WireImages(ImageMode.RAW, TWO))
    keys = [*NATIVE.of_policy(TWO).known, "else"]
    for key in data.draw(st.lists(st.sampled_from(keys), min_size=1, max_size=3)):
        message[key] = data.draw(ANYTHING)
    session = Session(StandInHost(config=TWO), NATIVE.of_policy(TWO))
    try:
        session.answer(message, session.episode_of(message))
    except tuple(REFUSALS):
        pass


@dataclass(frozen=True)
class Strange:
    """A codec that sends another image than it is given."""

    def frame(self, frame: RgbdFrame) -> RgbdFrame:
        return frame

    def image(self, image):
        return image[:-1]


def test_what_a_codec_makes_is_checked_as_what_a_client_sends():
    message = encode_observation(observation(), TWO, Strange())
    message["observation/base/depth_mm"] = observation().frames["base"].depth_mm
    with pytest.raises(FrameError, match="disagree"):
        decode_observation(message, TWO, NATIVE.of_policy(TWO))
