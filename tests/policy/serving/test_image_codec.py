"""Images on the wire: what the model sees and what is refused are the same, whatever way they travel."""

from __future__ import annotations

import io

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from spatialbot_policy.config import CameraConfig, PolicyConfig
from spatialbot_policy.depth import MAX_MM, DepthVariant
from spatialbot_policy.errors import ConfigError, FrameError, WireError
from spatialbot_policy.pipeline import build_pipeline
from spatialbot_policy.serving import wire
from spatialbot_policy.serving.image_choice import AGAIN_AFTER, TRIAL, ImageChoice
from spatialbot_policy.serving.image_codec import (
    CODECS,
    ImageMode,
    WireImages,
    decode_image,
    encode_image,
    plain_bytes,
)
from spatialbot_policy.serving.key_maps import NATIVE
from spatialbot_policy.serving.messages import decode_observation, encode_observation
from spatialbot_policy.types import Observation, RgbdFrame

LOSSLESS = [ImageMode.RAW, ImageMode.FIT, ImageMode.ZSTD, ImageMode.PNG]
SIDES = st.integers(1, 40)


@st.composite
def frames(draw: st.DrawFn, farthest: int = 4000) -> RgbdFrame:
    """A frame of any size; its depth is dense, or valid in a few pixels, or nowhere."""
    height, width = draw(SIDES), draw(SIDES)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    color = rng.integers(0, 256, (height, width, 3), np.uint8)
    depth = rng.integers(0, farthest, (height, width)).astype(draw(st.sampled_from([np.uint16, np.uint32])))
    share = draw(st.sampled_from([1.0, 0.05, 0.0]))
    return RgbdFrame(
        "camera", 7, color, np.where(rng.random((height, width)) < share, depth, 0).astype(depth.dtype)
    )


def seen_by_the_model(frame: RgbdFrame, config: PolicyConfig) -> list[np.ndarray] | str:
    """The model's images, or why there are none."""
    try:
        return list(build_pipeline(config).encode_frame(frame))
    except FrameError as error:
        return str(error)


def travelled(frame: RgbdFrame, config: PolicyConfig, mode: ImageMode) -> RgbdFrame:
    """The frame as the server reads it."""
    asked = Observation(frame.stamp_ns, "look", {"camera": frame})
    data = wire.pack(encode_observation(asked, config, WireImages(mode, config)))
    return decode_observation(wire.unpack(data), config, NATIVE.of_policy(config)).frames["camera"]


@settings(max_examples=300, deadline=None)
@given(
    frame=frames(farthest=2**16),
    width=SIDES,
    height=SIDES,
    variant=st.sampled_from([None, *DepthVariant]),
    mode=st.sampled_from(LOSSLESS),
)
def test_the_model_sees_bit_by_bit_the_same(frame, width, height, variant, mode):
    config = PolicyConfig((CameraConfig("camera", width, height),), depth_variant=variant)
    here = seen_by_the_model(frame, config)
    there = seen_by_the_model(travelled(frame, config, mode), config)
    if isinstance(here, str):
        assert there == here
        return
    assert len(there) == len(here)
    for one, other in zip(here, there, strict=True):
        assert one.dtype == other.dtype and np.array_equal(one, other)


@pytest.mark.parametrize("mode", LOSSLESS)
@pytest.mark.parametrize("variant", [DepthVariant.PAPER, DepthVariant.RELEASED])
def test_depth_beyond_the_range_is_refused_where_it_would_be_here_although_fitting_drops_the_pixel(
    mode, variant
):
    config = PolicyConfig((CameraConfig("camera", 4, 4),), depth_variant=variant)
    depth = np.full((40, 40), 500, np.uint32)
    depth[0, 0] = MAX_MM[variant] + 1
    frame = RgbdFrame("camera", 7, np.zeros((40, 40, 3), np.uint8), depth)
    here = seen_by_the_model(frame, config)
    assert isinstance(here, str) and "outside the range" in here
    assert seen_by_the_model(travelled(frame, config, mode), config) == here


def test_one_valid_pixel_that_fitting_drops_is_no_reason_to_refuse():
    config = PolicyConfig((CameraConfig("camera", 4, 4),), depth_variant=DepthVariant.PAPER)
    depth = np.zeros((40, 40), np.uint16)
    depth[0, 0] = 500
    frame = RgbdFrame("camera", 7, np.zeros((40, 40, 3), np.uint8), depth)
    color, black = seen_by_the_model(travelled(frame, config, ImageMode.FIT), config)
    assert not black.any()


def test_fitting_never_enlarges_a_message_and_drops_depth_that_nobody_looks_at():
    config = PolicyConfig((CameraConfig("camera", 64, 64),))
    frame = RgbdFrame("camera", 7, np.zeros((30, 40, 3), np.uint8), np.ones((30, 40), np.uint16))
    sent = WireImages(ImageMode.FIT, config).frame(frame)
    assert sent.color is frame.color and sent.depth_mm is None


@settings(max_examples=100, deadline=None)
@given(frame=frames(farthest=2**32), codec=st.sampled_from(["png", "zstd"]))
def test_an_image_comes_back_as_it_was(frame, codec):
    for image in (frame.color, frame.depth_mm, frame.color[::-1], np.asfortranarray(frame.color)):
        if codec == "png" and image.dtype == np.uint32:
            with pytest.raises(WireError, match="cannot hold"):
                encode_image(image, codec)
            continue
        found = decode_image(wire.unpack(wire.pack(encode_image(image, codec))))
        assert found.dtype == image.dtype and np.array_equal(found, image)


def test_a_jpeg_keeps_colours_in_their_order_and_is_for_colour_alone():
    image = np.zeros((32, 48, 3), np.uint8)
    image[:, :, 0] = 200
    found = decode_image(encode_image(image, "jpeg"))
    assert found.shape == image.shape and abs(found.astype(int) - image).max() < 8
    with pytest.raises(WireError, match="cannot hold"):
        encode_image(image[:, :, 0].astype(np.uint16), "jpeg")


def test_a_png_is_one_that_everybody_reads():
    image = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    picture = Image.open(io.BytesIO(encode_image(image, "png")["data"]))
    assert np.array_equal(np.asarray(picture), image)


GOOD = {codec: encode_image(np.arange(60, dtype=np.uint8).reshape(4, 5, 3), codec) for codec in CODECS}
BOMB = zstandard.ZstdCompressor().compress(bytes(10**8))


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shape": [4, 6, 3]}, "is no|holds"),
        ({"shape": [4, 5]}, "is said to be"),
        ({"shape": [4, 5, 4]}, "is said to be"),
        ({"shape": [4, 5, 3.0]}, "is said to be"),
        ({"shape": [4, -5, 3]}, "is said to be"),
        ({"shape": [True, 5, 3]}, "is said to be"),
        ({"shape": "453"}, "is said to be"),
        ({"shape": [10**6, 10**6, 3]}, "larger than"),
        ({"dtype": "|O"}, "is said to be"),
        ({"dtype": ["<u2"]}, "is said to be"),
        ({"shape": [4, 5], "dtype": "<u2"}, "is no"),
        ({"data": b""}, "is no"),
        ({"data": "text"}, "must be an array, or a map"),
        ({"data": BOMB}, "is no"),
        ({"codec": "pickle"}, "known are"),
        ({"codec": ["png"]}, "known are"),
        ({"more": 1}, "must be an array, or a map"),
    ],
)
def test_an_image_that_is_none_is_refused_by_name(codec, changes, words):
    with pytest.raises(WireError, match=words):
        decode_image({**GOOD[codec], **changes}, "the image of 'front'")


@pytest.mark.parametrize("codec", CODECS)
def test_data_that_is_cut_off_is_refused_unless_no_pixel_is_lost(codec):
    data, whole = GOOD[codec]["data"], decode_image(GOOD[codec])
    refused = 0
    for cut in range(len(data)):
        try:
            assert np.array_equal(decode_image({**GOOD[codec], "data": data[:cut]}), whole)
        except WireError:
            refused += 1
    assert refused >= len(data) - 24  # the mark of a picture's end may be gone
    with pytest.raises(WireError):
        decode_image({**GOOD[codec], "codec": "zstd" if codec != "zstd" else "png"})


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200), codec=st.sampled_from(CODECS), flip=st.integers(0, 10**6))
def test_noise_never_does_more_than_be_refused(data, codec, flip):
    good = bytearray(GOOD[codec]["data"])
    good[flip % len(good)] ^= 1 << flip % 8
    for bytes_ in (data, bytes(good)):
        try:
            assert decode_image({**GOOD[codec], "data": bytes_}).shape == (4, 5, 3)
        except WireError:
            continue


def test_auto_is_no_way_of_sending_by_itself():
    with pytest.raises(ConfigError, match="chooses between"):
        WireImages(ImageMode.AUTO, PolicyConfig((CameraConfig("camera", 4, 4),)))


# --- the choice by measurement


def run(choice: ImageChoice, steps: int, overhead_ms: float, bytes_per_ms: float) -> list[ImageMode]:
    """Modes taken on a link of that speed; compressing takes a millisecond and leaves a fifth."""
    modes = []
    for _ in range(steps):
        modes.append(choice.mode)
        sent = 100_000 if choice.mode is ImageMode.FIT else 20_000
        packing_ms = 0.0 if choice.mode is ImageMode.FIT else 1.0
        choice.note(overhead_ms + packing_ms + sent / bytes_per_ms, sent, 100_000)
    return modes


def test_a_fast_link_sends_images_as_they_are_and_looks_again_now_and_then():
    modes = run(ImageChoice(500.0), 2 * AGAIN_AFTER, overhead_ms=0.5, bytes_per_ms=1e6)
    assert modes[0] is ImageMode.ZSTD and modes[2 * TRIAL] is ImageMode.FIT
    assert modes.count(ImageMode.ZSTD) == 2 * TRIAL and modes[-1] is ImageMode.FIT


def test_a_slow_link_keeps_compressing_and_tries_only_what_it_can_afford():
    modes = run(ImageChoice(500.0), 2 * AGAIN_AFTER, overhead_ms=0.5, bytes_per_ms=2e4)
    assert modes.count(ImageMode.FIT) == 2 * TRIAL and modes[-1] is ImageMode.ZSTD
    assert set(run(ImageChoice(50.0), 2 * AGAIN_AFTER, 0.5, bytes_per_ms=3e3)) == {ImageMode.ZSTD}


def test_a_link_that_became_slow_is_noticed():
    choice = ImageChoice(500.0)
    assert run(choice, 100, 0.5, 1e6)[-1] is ImageMode.FIT
    assert run(choice, 2 * AGAIN_AFTER, 0.5, 2e4)[-1] is ImageMode.ZSTD


def test_plain_bytes_are_those_of_the_uncompressed_images():
    image = np.zeros((4, 5, 3), np.uint8)
    assert plain_bytes({"prompt": "x", "a": image, "b": encode_image(image, "zstd")}) == 120
