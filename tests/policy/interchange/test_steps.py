"""Steps of an episode in one stream: what `EpisodeReader.arrays` gives, without holding the episode."""

from __future__ import annotations

import numpy as np
from tests.policy import episode_samples as samples
from tests.policy.interchange import bag_samples as bags

from spatialbot_policy.episode import EpisodeReader
from spatialbot_policy.interchange.rosbag_import import RosbagOptions, import_rosbags
from spatialbot_policy.interchange.steps import EpisodeSteps


def assert_same_as_arrays(path):
    arrays, steps = EpisodeReader(path).arrays(), list(EpisodeSteps(EpisodeReader(path)))
    assert [step.stamp_ns for step in steps] == arrays["stamps"].tolist()
    assert [step.instruction for step in steps] == arrays["instructions"]
    for row, step in enumerate(steps):
        for camera, images in arrays["color"].items():
            np.testing.assert_array_equal(step.frames[camera].color, images[row])
        for camera, images in arrays["depth"].items():
            np.testing.assert_array_equal(step.frames[camera].depth_mm, images[row])
        np.testing.assert_array_equal(step.action.as_vector(), arrays["actions"][row])
        np.testing.assert_array_equal(step.tool_pose, arrays["tcp_pose"][row])
        assert step.closure == arrays["closure"][row]
        np.testing.assert_array_equal(step.joints_rad, arrays["joints"][row])
        for name, poses in arrays["transforms"].items():
            np.testing.assert_array_equal(step.transforms[name], poses[row])


def test_steps_are_those_of_the_arrays(tmp_path):
    assert_same_as_arrays(samples.record(tmp_path, steps=5))


def test_steps_of_a_raw_recording(tmp_path):
    options = RosbagOptions(names=bags.NAMES, instruction="push")
    import_rosbags(bags.write(tmp_path / "bag"), tmp_path / "data", options)
    assert_same_as_arrays(tmp_path / "data/episodes/000000")


def test_what_is_held_does_not_grow_with_the_episode(tmp_path):
    steps = EpisodeSteps(EpisodeReader(samples.record(tmp_path, steps=12)))
    assert len(steps) == 12
    stream = iter(steps)
    for _ in range(6):
        next(stream)
    held = stream.gi_frame.f_locals["held"]
    assert all(len(values) <= 2 for values in held.values())
