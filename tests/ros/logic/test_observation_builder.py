"""Several cameras and the robot's state become one observation, whatever order they come in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spatialbot_policy.errors import ConfigError, FrameError
from spatialbot_policy.types import RgbdFrame, RobotState
from spatialbot_ros.logic.observation_builder import STATE, ObservationBuilder

TASK = "pick up the cup"
COLOR = np.zeros((2, 3, 3), np.uint8)
DEPTH = np.ones((2, 3), np.uint16)


def frame(camera: str, stamp_ns: int, depth: bool = True) -> RgbdFrame:
    return RgbdFrame(camera, stamp_ns, COLOR, DEPTH if depth else None)


def state(stamp_ns: int) -> RobotState:
    return RobotState(stamp_ns, np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]), 0.0, np.zeros(7))


def test_one_camera_without_a_state_is_an_observation_at_once():
    builder = ObservationBuilder(("main",), tolerance_ns=5)
    observation = builder.push_frame(frame("main", 100), TASK)
    assert observation is not None
    assert (observation.stamp_ns, observation.instruction, observation.state) == (100, TASK, None)
    assert builder.push_state(state(100), TASK) is None


def test_the_stamp_is_the_first_cameras_and_frames_keep_the_order_of_the_configuration():
    builder = ObservationBuilder(("main", "wrist"), tolerance_ns=5)
    for stamp in (0, 50):  # the period is known
        builder.push_frame(frame("main", stamp), TASK)
        builder.push_frame(frame("wrist", stamp), TASK)
    wrist, main = frame("wrist", 103, depth=False), frame("main", 100)
    assert builder.push_frame(wrist, TASK) is None
    observation = builder.push_frame(main, TASK)
    assert observation is not None and observation.stamp_ns == 100
    assert list(observation.frames) == ["main", "wrist"]
    assert observation.frames["main"] is main and observation.frames["wrist"] is wrist
    assert observation.frames["wrist"].depth_mm is None


def test_a_frame_waits_for_its_state():
    builder = ObservationBuilder(("main",), tolerance_ns=5, state_tolerance_ns=10)
    builder.push_state(state(80), TASK)
    assert builder.waiting_for() == ("main",)
    assert builder.push_frame(frame("main", 100), TASK) is None
    assert builder.waiting_for() == (STATE,)
    observation = builder.push_state(state(104), TASK)
    assert observation is not None and observation.state is not None
    assert observation.state.stamp_ns == 104


def test_the_nearest_state_is_taken_and_may_serve_twice():
    builder = ObservationBuilder(("main",), tolerance_ns=5, state_tolerance_ns=50)
    for stamp in (90, 99, 107):
        builder.push_state(state(stamp), TASK)
    built = [builder.push_frame(frame("main", stamp), TASK) for stamp in (101, 102)]
    assert [one.state.stamp_ns for one in built if one is not None and one.state is not None] == [99, 99]


def test_waiting_for_names_the_cameras_that_lack():
    builder = ObservationBuilder(("main", "wrist", "side"), tolerance_ns=5)
    builder.push_frame(frame("main", 100), TASK)
    builder.push_frame(frame("side", 100), TASK)
    builder.push_frame(frame("wrist", 94), TASK)
    assert builder.waiting_for() == ("wrist",)


def test_an_incomplete_step_is_dropped_once_a_later_one_is_complete():
    builder = ObservationBuilder(("main", "wrist"), tolerance_ns=5)
    builder.push_frame(frame("main", 100), TASK)
    builder.push_frame(frame("main", 200), TASK)
    observation = builder.push_frame(frame("wrist", 200), TASK)
    assert observation is not None and observation.stamp_ns == 200
    assert (builder.built, builder.dropped, builder.waiting) == (1, 1, 0)
    assert builder.push_frame(frame("wrist", 100), TASK) is None
    assert builder.push_frame(frame("wrist", 200), TASK) is None
    assert (builder.late, builder.duplicates) == (1, 1)


def test_reset_begins_anew():
    builder = ObservationBuilder(("main",), tolerance_ns=5)
    builder.push_frame(frame("main", 100), TASK)
    builder.reset()
    assert builder.push_frame(frame("main", 50), TASK) is not None


def test_reset_forgets_states_too():
    builder = ObservationBuilder(("main",), tolerance_ns=5, state_tolerance_ns=10)
    builder.push_state(state(100), TASK)
    builder.reset()
    assert builder.push_frame(frame("main", 100), TASK) is None


def test_the_rate_outlives_a_reset_so_the_first_frame_need_not_wait():
    builder = ObservationBuilder(("main", "wrist"), tolerance_ns=10)
    for start in (1000, 0):
        built = []
        for step in range(3):
            builder.push_frame(frame("wrist", start + 33 * step), TASK)
            built.append(builder.push_frame(frame("main", start + 33 * step + 8), TASK))
        assert [one is not None for one in built] == [start == 0, True, True]
        builder.reset()


@pytest.mark.parametrize("tolerance", [20, 40, 500])
def test_a_lost_frame_does_not_shift_the_cameras_for_ever(tolerance):
    builder = ObservationBuilder(("main", "wrist"), tolerance)
    stamps = []
    for step in range(10):
        for camera in ("wrist", "main"):
            if (camera, step) != ("wrist", 4):
                observation = builder.push_frame(frame(camera, 33 * step), TASK)
                if observation is not None:
                    stamps.append([one.stamp_ns for one in observation.frames.values()])
    assert stamps == [[33 * step] * 2 for step in range(10) if step != 4]


def test_a_foreign_camera_is_refused():
    with pytest.raises(FrameError, match="camera 'side' is not one of the policy's: main"):
        ObservationBuilder(("main",), 5).push_frame(frame("side", 1), TASK)


@pytest.mark.parametrize(
    ("cameras", "tolerance", "state_tolerance", "match"),
    [
        ((), 1, None, "one or more different cameras"),
        (("a", "a"), 1, None, "one or more different cameras"),
        (("a",), -1, None, "must not be negative"),
        (("a",), 1, -1, "must not be negative"),
    ],
)
def test_impossible_settings_are_refused(cameras, tolerance, state_tolerance, match):
    with pytest.raises(ConfigError, match=match):
        ObservationBuilder(cameras, tolerance, state_tolerance)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_every_complete_step_comes_out_once_whatever_the_interleaving(data):
    cameras = ("main", "wrist", "side")
    steps = data.draw(st.integers(1, 7))
    present = {
        camera: data.draw(st.lists(st.booleans(), min_size=steps, max_size=steps)) for camera in cameras
    }
    builder = ObservationBuilder(cameras, tolerance_ns=20)
    for stamp in (800, 900):  # the period is known
        for camera in cameras:
            builder.push_frame(frame(camera, stamp), TASK)
    queues = {
        camera: [
            frame(camera, 1000 + 100 * step + data.draw(st.integers(-10, 10)))
            for step in range(steps)
            if present[camera][step]
        ]
        for camera in cameras
    }
    expected = [step for step in range(steps) if all(present[camera][step] for camera in cameras)]
    pushed, built = 6, []
    while any(queues.values()):
        camera = data.draw(st.sampled_from([name for name in cameras if queues[name]]))
        observation = builder.push_frame(queues[camera].pop(0), TASK)
        pushed += 1
        if observation is not None:
            built.append(observation)
    assert [round((one.stamp_ns - 1000) / 100) for one in built] == expected
    for one in built:
        assert all(abs(seen.stamp_ns - one.stamp_ns) <= 20 for seen in one.frames.values())
    assert builder.built == 2 + len(built)
    assert pushed == 3 * builder.built + builder.dropped + builder.duplicates + builder.late + builder.waiting
