"""What the recorder writes beside the messages, how it packs pictures, and what a full disk does to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from geometry_msgs.msg import TransformStamped
from std_msgs.msg import String
from tests.policy import episode_samples as samples
from tests.policy.episodes.test_disk_full import LAST, disk  # noqa: F401  # a fixture
from tests.ros.nodes.test_recorder_node import DEPTH, LATCHED, SAVE, START, Robot, record  # noqa: F401
from tf2_msgs.msg import TFMessage

from spatialbot_policy.episode import Dataset, EpisodeWriter
from spatialbot_policy.episodes.mcap_file import read_attachments
from spatialbot_policy.errors import EpisodeError
from spatialbot_ros.nodes.recorder_thread import RecorderThread
from spatialbot_ros.nodes.replay_episode import ReplayEpisode

URDF = '<robot name="fr3"/>'


def static_transform(parent: str, child: str, x: float) -> TFMessage:
    item = TransformStamped()
    item.header.frame_id, item.child_frame_id = parent, child
    item.transform.translation.x, item.transform.rotation.w = x, 1.0
    return TFMessage(transforms=[item])


def run_episode(graph: Any, steps: int = 5) -> str:
    robot = Robot(graph)
    robot.step()
    assert graph.call(START).success
    for _ in range(steps):
        robot.step()
    answer = graph.call(SAVE)
    assert answer.success, answer.message
    return str(answer.message)


def test_description_fixed_transforms_settings_and_software_are_in_the_episode(
    graph: Any,
    record: Callable[..., Any],  # noqa: F811
    tmp_path: Path,
) -> None:
    graph.publish("/robot_description", String(data=URDF), LATCHED)
    graph.publish("/tf_static", static_transform("hand", "camera", 0.1), LATCHED)
    record(task="stacking")
    run_episode(graph)
    reader = Dataset(tmp_path).episode(0)
    found = read_attachments(reader.path / "episode.mcap")
    assert sorted(found) == reader.info.extra["attachments"]
    assert found["robot_description.urdf"].decode() == URDF
    (transform,) = json.loads(found["tf_static.json"])
    assert (transform["parent"], transform["child"]) == ("hand", "camera")
    assert transform["translation_m"] == [0.1, 0.0, 0.0] and transform["rotation_xyzw"][3] == 1.0
    assert yaml.safe_load(found["recorder.yaml"])["task"] == "stacking"
    assert json.loads(found["software.json"])["packages"]["numpy"] == np.__version__


def test_packed_pictures_replay_as_images(
    graph: Any,
    record: Callable[..., Any],  # noqa: F811
    tmp_path: Path,
) -> None:
    record(color_encoding="jpeg", depth_encoding="delta")
    run_episode(graph)
    reader = Dataset(tmp_path).episode(0)
    reader.verify()
    assert Dataset(tmp_path).info.cameras[0].packed
    assert np.array_equal(reader.arrays()["depth"]["camera"][0], samples.frame(2).depth_mm)
    episode = ReplayEpisode(reader.path)
    assert episode.topics[DEPTH] == "sensor_msgs/msg/Image" and episode.frames == 5


def test_a_disk_that_fills_ends_the_episode_and_it_can_be_saved(
    graph: Any,
    record: Callable[..., Any],  # noqa: F811
    disk: Any,  # noqa: F811
    tmp_path: Path,
) -> None:
    node = record(allow_incomplete=True)
    robot = Robot(graph)
    robot.step()
    assert graph.call(START).success
    disk.room = 40_000
    for _ in range(100):
        robot.step()
    graph.until(lambda: node._recording.thread.error)
    graph.settle()
    answer = graph.call(SAVE)
    assert answer.success, answer.message
    reader = Dataset(tmp_path).episode(0)
    reader.verify()
    assert LAST in reader.info.extra["cut_off"] and LAST in reader.info.extra["ended_by"]
    assert 0 < reader.info.steps < 100


class _Wedged:
    """A writer on a disk that fails for another reason."""

    cut_off = ""

    def write_raw(self, topic: str, log_ns: int, data: bytes) -> None:
        raise EpisodeError("the disk is gone")

    def flush_old(self) -> None: ...


def test_an_episode_that_could_not_be_written_is_not_committed() -> None:
    told: list[int] = []
    writer: Any = _Wedged()
    thread = RecorderThread(writer, 1000, lambda: told.append(1))
    thread.put("/a", 0, b"x")
    thread.put("/a", 1, b"x")
    with pytest.raises(EpisodeError, match="the disk is gone"):
        thread.commit(None, {})  # type: ignore[arg-type]
    assert told == [1]


def test_a_full_queue_drops_and_counts(tmp_path: Path) -> None:
    samples.dataset(tmp_path)
    info = samples.info()
    writer = EpisodeWriter(tmp_path, 0, type(info)("x", "", "t", None, join_tolerance_ms=20.0))
    thread = RecorderThread(writer, 10, lambda: None)
    thread.put("/joint_states", 0, b"x" * 11)
    assert thread.dropped == 1 and thread.waiting_bytes == 0
    thread.discard()
