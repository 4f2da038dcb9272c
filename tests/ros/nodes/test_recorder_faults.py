"""Bad input to the recorder: refused by name, or in an episode that says so; never lost, never broken."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from std_msgs.msg import String
from tests.policy import episode_samples as samples
from tests.ros.nodes.recorder_rig import COLOR, DEPTH, LATCHED, SAVE, START, Robot

from spatialbot_policy.episode import Dataset, EpisodeInfo
from spatialbot_policy.episodes import topics
from spatialbot_policy.errors import EpisodeError
from spatialbot_ros.convert.images import from_color, from_depth
from spatialbot_ros.logic.operator_view import OperatorView
from spatialbot_ros.nodes.recorder_node import RecorderNode


@pytest.fixture
def record(graph, tmp_path) -> Callable[..., RecorderNode]:
    def made(**values: Any) -> RecorderNode:
        given = {"dataset": str(tmp_path), "reliability": "reliable", "allow_incomplete": True, **values}
        return graph.add(RecorderNode(parameter_overrides=graph.parameters(given)))

    return made


@pytest.fixture
def status(graph) -> list[DiagnosticStatus]:
    return graph.record(DiagnosticStatus, "/spatialbot/recorder/status", LATCHED)


def view(status: list[DiagnosticStatus]) -> OperatorView:
    return OperatorView.from_values({item.key: item.value for item in status[-1].values})


def saved(tmp_path) -> EpisodeInfo:
    """Facts of the one episode, whose messages were checked."""
    (reader,) = Dataset(tmp_path).episodes()
    reader.verify()
    reader.arrays()
    return reader.info


def start(graph: Any, steps: int = 3) -> Robot:
    robot = Robot(graph)
    robot.step()
    assert graph.call(START).success
    for _ in range(steps):
        robot.step()
    return robot


def test_a_second_recorder_on_a_data_set_is_refused_until_the_first_one_ends(graph, record):
    first = record()
    with pytest.raises(EpisodeError, match="is being recorded into by process"):
        record()
    graph.remove(first)
    record()


def test_a_data_set_of_a_newer_schema_refuses_the_node(record, tmp_path):
    samples.dataset(tmp_path)
    file = tmp_path / "dataset.yaml"
    file.write_text(file.read_text().replace("schema: ", "schema: 9"))
    with pytest.raises(EpisodeError, match="schema 9., this version reads up to"):
        record()


def test_a_place_that_cannot_be_written_refuses_the_node(record, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EpisodeError, match="cannot write to"):
        record(dataset=str(tmp_path / "file"))


def test_depth_without_any_measurement_refuses_the_start(graph, record):
    record()
    robot = Robot(graph, silent=(DEPTH,))
    robot.step()
    graph.publish(DEPTH, from_depth(np.zeros((16, 24), np.uint16), graph.now_ns, "camera"))
    response = graph.call(START)
    assert not response.success and f"depth_invalid: no pixel of {DEPTH} has a depth" in response.message


def test_a_camera_on_another_clock_refuses_the_start(graph, record):
    record()
    robot = Robot(graph, silent=(COLOR,))
    robot.step()
    old_ns = graph.now_ns - 3600 * 10**9
    graph.publish(COLOR, from_color(samples.frame(0).color, old_ns, "camera"))
    response = graph.call(START)
    assert not response.success and "stamp_invalid" in response.message
    assert "3600.0 s behind the recorder's clock" in response.message


def test_a_picture_that_changes_its_size_ends_the_episode_up_to_there(graph, record, status, tmp_path):
    record()
    robot = start(graph, steps=4)
    large = np.zeros((32, 48, 3), np.uint8)
    graph.publish(COLOR, from_color(large, graph.now_ns + 1, "camera"))
    robot.step()
    assert view(status).state == "review" and "changed from 24 x 16 rgb8 to 48 x 32 rgb8" in view(status).told
    assert graph.call(SAVE).success
    info = saved(tmp_path)
    assert info.steps == 4 and "changed from 24 x 16" in str(info.extra["ended_by"])


def test_a_recorder_whose_clock_jumps_back_ends_the_episode_up_to_there(graph, record, status, tmp_path):
    record()
    robot = start(graph, steps=4)
    graph.set_time(graph.now_ns - 60 * 10**9)
    robot.step()
    assert view(status).state == "review"
    assert graph.call(SAVE).success
    info = saved(tmp_path)
    assert info.steps == 4 and "the recorder's clock jumped back by" in str(info.extra["ended_by"])
    robot.step()
    assert graph.call(START).success, "the next one begins on the new clock"


def test_a_stream_whose_stamps_jump_back_ends_the_episode_up_to_there(graph, record, tmp_path):
    record()
    robot = start(graph, steps=4)
    frame = samples.frame(9)
    graph.publish(DEPTH, from_depth(frame.depth_mm, graph.now_ns - 5 * 10**9, "camera"))
    robot.step()
    assert graph.call(SAVE).success
    info = saved(tmp_path)
    assert info.steps == 4 and f"{DEPTH}: the clock jumped back by 5.00 s" in str(info.extra["ended_by"])


def test_depth_that_stops_is_warned_of_at_once_and_marks_the_episode(graph, record, status, tmp_path):
    record()
    diagnostics = graph.record(DiagnosticArray, "/diagnostics")
    robot = start(graph, steps=3)
    robot.silent = (DEPTH,)
    for _ in range(20):
        robot.step()
    assert any(text.startswith(f"silent: {DEPTH}") for text in view(status).warnings)
    shown = {item.key: item.value for item in diagnostics[-1].status[0].values}
    assert f"silent: {DEPTH}" in shown["warnings"]
    robot.silent = ()
    for _ in range(20):
        robot.step()
    assert not view(status).warnings
    assert graph.call(SAVE).success
    info = saved(tmp_path)
    (span,) = [item for item in info.extra["warnings"] if item["name"] == "silent"]
    assert span["topic"] == DEPTH and 1.0 < span["from_s"] < span["to_s"] < 3.0
    assert any(f"{DEPTH} paused" in finding for finding in info.extra["audit"])


def test_a_full_disk_is_seen_before_it_is_full(graph, record, status):
    record(**{"warnings.disk_gb": 1e6})
    graph.advance(1.0)
    assert any(text.startswith("disk_low: ") for text in view(status).warnings)


def test_a_folder_that_is_gone_and_a_slow_disk_are_warned_of(graph, record, status, monkeypatch, tmp_path):
    node = record()
    thread = SimpleNamespace(waiting_bytes=400_000_000, dropped=3, error="", leave=lambda: None)
    monkeypatch.setattr(node._recording, "thread", thread)
    tmp_path.rename(tmp_path.with_name("elsewhere"))
    graph.advance(1.0)
    names = {text.split(":")[0] for text in view(status).warnings}
    tmp_path.with_name("elsewhere").rename(tmp_path)
    assert {"disk_gone", "queue", "dropped"} <= names


def test_what_a_crash_cut_off_is_named_at_the_start(graph, record, status, tmp_path):
    first = record()
    start(graph)
    graph.remove(first)
    record()
    assert f"cut off earlier: 0; spatialbot episodes recover {tmp_path}" in view(status).told


def test_another_type_under_a_topic_s_name_is_named(graph, record, status):
    record()
    graph.node.create_publisher(String, "/tf", 10)
    graph.until(lambda: graph.advance(0.5) or any("type: /tf" in text for text in view(status).warnings))
    assert "also published as std_msgs/msg/String, recorded is tf2_msgs/msg/TFMessage" in "".join(
        view(status).warnings
    )


def test_an_instruction_that_is_empty_refuses_the_start(graph, record):
    record()
    robot = Robot(graph, silent=(topics.INSTRUCTION_TOPIC,))
    robot.step()
    graph.publish(topics.INSTRUCTION_TOPIC, String(data="  "), LATCHED)
    assert "instruction_missing" in graph.call(START).message


def test_an_episode_that_grows_too_long_waits_for_the_operator(graph, record, status, tmp_path):
    record(**{"flow.max_length_s": 1.0})
    start(graph, steps=15)
    assert view(status).state == "review"
    assert graph.call(SAVE).success
    info = saved(tmp_path)
    assert 9 <= info.steps <= 10 and info.extra["ended_by"] == "the longest episode is 1 s (max_length_s)"


def test_an_instruction_that_changes_in_mid_episode_is_told(graph, record, status):
    record()
    start(graph)
    graph.publish(topics.INSTRUCTION_TOPIC, String(data="and now the floor"), LATCHED)
    graph.until(lambda: 'changed the instruction in mid-episode: "and now the floor"' in view(status).told)
