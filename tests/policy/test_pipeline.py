"""The pipeline: order of images, live equals offline, and no bad frame gets through."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, is_dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spatialbot_policy.config import CameraConfig, PolicyConfig
from spatialbot_policy.depth import DepthVariant, encode
from spatialbot_policy.errors import FrameError, HistoryError
from spatialbot_policy.history import History, history_indices
from spatialbot_policy.pipeline import build_pipeline
from spatialbot_policy.types import ActionStep, Observation, RgbdFrame

CONFIG = PolicyConfig(
    cameras=(CameraConfig("base", 32, 24), CameraConfig("wrist", 16, 16)), depth_variant=DepthVariant.PAPER
)
COLOUR_ONLY = replace(CONFIG, depth_variant=None)


def frame(camera: str, stamp_ns: int, size=(24, 32), depth=True) -> RgbdFrame:
    rng = np.random.default_rng(stamp_ns)
    color = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    return RgbdFrame(
        camera, stamp_ns, color, rng.integers(1, 5000, size).astype(np.uint16) if depth else None
    )


def observation(stamp_ns: int, instruction="pick up the cup", **changes) -> Observation:
    frames = {"wrist": frame("wrist", stamp_ns, (48, 64)), "base": frame("base", stamp_ns)} | changes
    return Observation(stamp_ns, instruction, frames)


def test_images_run_newest_first_then_camera_then_colour_before_depth():
    history = History(4, CONFIG.max_gap_ns)
    history.push(observation(1))
    inputs = build_pipeline(CONFIG)(history.push(observation(2, "push the box")))
    assert len(inputs.images) == 16
    assert [image.shape for image in inputs.images[:4]] == [(24, 32, 3)] * 2 + [(16, 16, 3)] * 2
    newest = frame("base", 2)
    np.testing.assert_array_equal(inputs.images[0], newest.color)
    np.testing.assert_array_equal(inputs.images[1], encode(newest.depth_mm, DepthVariant.PAPER))
    np.testing.assert_array_equal(inputs.images[4], frame("base", 1).color)
    np.testing.assert_array_equal(inputs.images[12], frame("base", 1).color)
    assert (
        inputs.prompt.startswith("<image 1>\n")
        and "<image 16>\nInstruct the robot to push the box\n" in inputs.prompt
    )


def test_colour_only_policies_leave_depth_out():
    pipeline = build_pipeline(COLOUR_ONLY)
    with_depth, without = observation(1), observation(1, base=frame("base", 1, depth=False))
    assert len(pipeline.encode_observation(with_depth)) == 2
    for image, expected in zip(
        pipeline.encode_observation(without), pipeline.encode_observation(with_depth), strict=True
    ):
        np.testing.assert_array_equal(image, expected)
    assert "<image 8>" in pipeline.prompt("x") and "<image 9>" not in pipeline.prompt("x")


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 900), min_size=1, max_size=8))
def test_live_equals_offline(pauses_ms):
    stamps = np.cumsum(pauses_ms) * 1_000_000
    observations = [observation(int(stamp)) for stamp in stamps]
    pipeline = build_pipeline(CONFIG)
    history = History(CONFIG.history_length, CONFIG.max_gap_ns)
    stored = [pipeline.encode_observation(item) for item in observations]
    indices = history_indices(stamps, CONFIG.history_length, CONFIG.max_gap_ns)
    for item, row in zip(observations, indices, strict=True):
        live = pipeline(history.push(item)).images
        offline = [image for index in row for image in stored[index]]
        assert len(live) == len(offline)
        assert all(np.array_equal(a, b) for a, b in zip(live, offline, strict=True))


def test_depth_comes_back_from_the_images():
    pipeline = build_pipeline(CONFIG)
    item = frame("base", 3)
    encode_depth = pipeline.frame_steps[1]
    np.testing.assert_array_equal(encode_depth.inverse(pipeline.encode_frame(item)[1]), item.depth_mm)
    with pytest.raises(FrameError, match="colour only"):
        build_pipeline(COLOUR_ONLY).frame_steps[1].inverse(np.zeros((2, 2, 3), np.uint8))


def test_actions_come_back():
    pipeline = build_pipeline(CONFIG)
    step = ActionStep(np.array([0.05, 0.0, -0.05]), np.array([0.1, 0.0, -0.1]), 1.0)
    bins = pipeline.action_bins(step)
    assert bins.tolist() == [100, 50, 0, 100, 50, 0, 100]
    np.testing.assert_allclose(pipeline.action_bins.inverse(bins).as_vector(), step.as_vector())
    assert pipeline.action_space is CONFIG.action_space


def test_steps_are_frozen_dataclasses_in_the_order_of_the_data_path():
    steps = build_pipeline(CONFIG).steps
    assert [type(step).__name__ for step in steps] == [
        "SelectCameras", "CheckDepth", "EncodeDepth", "ResizeImages", "WritePrompt", "ActionBins",
    ]  # fmt: skip
    for step in steps:
        assert is_dataclass(step) and callable(step)
        with pytest.raises(FrozenInstanceError):
            setattr(step, next(iter(step.__dataclass_fields__)), None)


def test_a_missing_camera_is_named():
    lonely = Observation(5, "x", {"base": frame("base", 5)})
    with pytest.raises(FrameError, match=r"camera 'wrist' is missing at stamp 5; there are \['base'\]"):
        build_pipeline(CONFIG).encode_observation(lonely)


def test_an_unknown_camera_is_named():
    with pytest.raises(FrameError, match=r"'top' is not in the policy's list \['base', 'wrist'\]"):
        build_pipeline(CONFIG).encode_frame(frame("top", 1))


def test_missing_depth_is_named():
    with pytest.raises(FrameError, match="camera 'base' gives no depth.*enable_depth"):
        build_pipeline(CONFIG).encode_observation(observation(1, base=frame("base", 1, depth=False)))


def test_all_invalid_depth_is_named():
    blind = replace(frame("base", 9), depth_mm=np.zeros((24, 32), np.uint16))
    with pytest.raises(FrameError, match="camera 'base'.*stamp 9 is all invalid"):
        build_pipeline(CONFIG).encode_frame(blind)


def test_one_valid_pixel_is_enough():
    dim = np.zeros((24, 32), np.uint16)
    dim[0, 0] = 700
    assert build_pipeline(CONFIG).encode_frame(replace(frame("base", 9), depth_mm=dim))[1].any()


def test_depth_out_of_range_names_the_camera():
    far = np.full((24, 32), 200_000, np.uint32)
    with pytest.raises(FrameError, match=r"camera 'base': depth of 200000 mm.*0\.\.131071"):
        build_pipeline(CONFIG).encode_frame(replace(frame("base", 1), depth_mm=far))


def test_histories_of_another_form_are_refused():
    pipeline = build_pipeline(CONFIG)
    newer, older = observation(2), observation(1)
    with pytest.raises(HistoryError, match="needs 4 frames, got 2"):
        pipeline([newer, older])
    with pytest.raises(HistoryError, match=r"newest to oldest.*\[1, 2, 2, 2\]"):
        pipeline([older, newer, newer, newer])
