"""The recorder on the graph: raw topics become episodes, and what is missing is told before it is saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from std_msgs.msg import String
from tests.policy import episode_samples as samples
from tests.ros.nodes.recorder_rig import COLOR, DEPTH, DISCARD, INFO, LATCHED, SAVE, START, WORDS, Robot

from spatialbot_policy.episode import Dataset, recover
from spatialbot_policy.episodes import topics
from spatialbot_policy.errors import ConfigError
from spatialbot_ros.convert.states import from_pose
from spatialbot_ros.logic.pose import Pose
from spatialbot_ros.nodes.recorder_node import RecorderNode
from spatialbot_ros.nodes.recorder_parameters import RecorderParameters


@pytest.fixture
def record(graph, tmp_path) -> Callable[..., RecorderNode]:
    def made(**values: Any) -> RecorderNode:
        given = {"dataset": str(tmp_path), "reliability": "reliable", **values}
        return graph.add(RecorderNode(parameter_overrides=graph.parameters(given)))

    return made


def set_flag(graph: Any, name: str, value: bool) -> Any:
    given = ParameterValue(type=ParameterType.PARAMETER_BOOL, bool_value=value)
    request = SetParameters.Request(parameters=[Parameter(name=name, value=given)])
    return graph.call("/recorder_node/set_parameters", SetParameters, request).results[0]


def test_what_the_graph_carried_reads_back_step_by_step(graph, record, tmp_path):
    record(task="table", outcome="success")
    robot = Robot(graph)
    robot.step(act=False)
    assert graph.call(START).message == "episode 0"
    stamps = [robot.step() for _ in range(6)]
    robot.step(act=False)
    assert graph.call(SAVE).message == "saved episode 0: 6 steps"
    robot.step()
    reader = Dataset(tmp_path).episode(0)
    reader.verify()
    assert reader.info.outcome.success is True and reader.info.instruction == WORDS
    observations = reader.observations()
    assert [observation.stamp_ns for observation in observations] == stamps
    for step, observation, (_, action) in zip(range(2, 8), observations, reader.actions(), strict=True):
        frame, state = samples.frame(step), samples.state(step)
        assert np.array_equal(observation.frames["camera"].color, frame.color)
        assert np.array_equal(observation.frames["camera"].depth_mm, frame.depth_mm)
        assert np.array_equal(observation.state.tcp_position_m, state.tcp_position_m)
        assert np.array_equal(observation.state.joint_positions_rad, state.joint_positions_rad)
        assert observation.state.gripper_closure == pytest.approx(state.gripper_closure, abs=1e-12)
        assert action.as_vector().tolist() == samples.action(step).as_vector().tolist()


def test_the_task_may_be_a_parameter_until_somebody_publishes_another(graph, record, tmp_path):
    record(instruction="wipe the table")
    robot = Robot(graph, silent=(topics.INSTRUCTION_TOPIC,))
    robot.step()
    graph.call(START)
    for _ in range(3):
        robot.step()
    graph.advance(0.01)
    graph.publish(topics.INSTRUCTION_TOPIC, String(data="and now the floor"), LATCHED)
    robot.step()
    assert graph.call(SAVE).success
    reader = Dataset(tmp_path).episode(0)
    assert reader.info.instruction == "wipe the table"
    assert reader.arrays()["instructions"] == ["wipe the table"] * 3 + ["and now the floor"]


def test_episodes_get_the_next_number_and_a_discarded_one_leaves_nothing(graph, record, tmp_path):
    record()
    robot = Robot(graph)
    robot.step()
    for end in (SAVE, DISCARD, SAVE):
        assert graph.call(START).success
        for _ in range(3):
            robot.step()
        assert graph.call(end).success
    assert Dataset(tmp_path).indices() == [0, 1]
    assert Dataset(tmp_path).partials() == []


@pytest.mark.parametrize(
    ("silent", "message"),
    [
        (DEPTH, f"topic_missing: no message on {DEPTH}; start the camera"),
        (INFO, f"topic_missing: no message on {INFO}"),
        (
            topics.INSTRUCTION_TOPIC,
            "instruction_missing: publish the task in words on /spatialbot/instruction",
        ),
    ],
)
def test_a_start_without_a_camera_or_the_task_is_refused(graph, record, tmp_path, silent, message):
    record()
    Robot(graph, silent=(silent,)).step()
    response = graph.call(START)
    assert not response.success and message in response.message
    assert not (tmp_path / "episodes").exists()


@pytest.mark.parametrize(
    ("silent", "finding"),
    [
        (topics.POSE_TOPIC, f"{topics.POSE_TOPIC} is missing: no message"),
        (topics.EXECUTED_TOPIC, f"{topics.EXECUTED_TOPIC} is missing: no message"),
        (DEPTH, f"{DEPTH} is missing: no message"),
    ],
)
def test_a_topic_that_is_missing_at_the_save_is_named_and_the_episode_waits(
    graph, record, tmp_path, silent, finding
):
    record()
    robot = Robot(graph)
    robot.step()
    graph.call(START)
    robot.silent = (silent,)
    for _ in range(5):
        robot.step()
    response = graph.call(SAVE)
    assert not response.success and finding in response.message and "allow_incomplete" in response.message
    assert Dataset(tmp_path).indices() == []
    assert not graph.call(START).success
    assert graph.call(DISCARD).success and Dataset(tmp_path).partials() == []


def test_a_slow_camera_is_named_and_saved_when_it_is_allowed(graph, record, tmp_path):
    record()
    robot = Robot(graph)
    robot.step()
    graph.call(START)
    for _ in range(5):
        robot.step()
        graph.advance(0.7, 0.7)
    response = graph.call(SAVE)
    assert f"{COLOR} is slow: 5 messages, 1.25 Hz of 5 Hz" in response.message
    assert f"{COLOR} paused for 0.80 s" in response.message
    robot.step()  # too late: the episode is closed
    assert set_flag(graph, "allow_incomplete", True).successful
    assert graph.call(SAVE).success
    info = Dataset(tmp_path).episode(0).info
    assert info.steps == 5 and any("is slow" in finding for finding in info.extra["audit"])
    assert info.extra["rates_hz"][COLOR] == 1.25


def test_a_recording_in_which_nothing_was_done_cannot_be_saved_and_stays_a_partial(graph, record, tmp_path):
    record(allow_incomplete=True)
    robot = Robot(graph)
    robot.step()
    graph.call(START)
    for _ in range(3):
        robot.step(act=False)
    response = graph.call(SAVE)
    assert not response.success and "no action belongs to a picture" in response.message
    assert Dataset(tmp_path).partials() == [0]
    assert graph.call(START).message == "episode 1"


def test_a_node_that_ends_in_the_middle_leaves_what_recover_brings_back(graph, record, tmp_path):
    node = record()
    robot = Robot(graph)
    robot.step()
    graph.call(START)
    for _ in range(4):
        robot.step()
    node.close()
    (result,) = recover(tmp_path)
    assert (result.recovered, result.steps) == (True, 4)


def test_calls_out_of_order_are_refused_with_what_to_do(graph, record):
    record()
    for service in (SAVE, DISCARD):
        response = graph.call(service)
        assert not response.success and "call /spatialbot/recorder/start first" in response.message
    robot = Robot(graph)
    robot.step()
    graph.call(START)
    response = graph.call(START)
    assert not response.success and "episode 0 is open; save or discard it first" in response.message


def test_another_data_set_is_never_mixed_in(graph, record, tmp_path):
    samples.dataset(tmp_path, width=99)
    record()
    Robot(graph).step()
    response = graph.call(START)
    assert not response.success and "another contract" in response.message


def test_other_topic_names_are_recorded_under_the_contract_s(graph, record, tmp_path):
    record(pose_topic="/current_pose", reliability="best_effort")
    robot = Robot(graph)
    robot.step()
    graph.call(START)
    for step in range(4):
        stamp = robot.step()
        graph.publish("/current_pose", from_pose(stamp, "base", Pose(np.ones(3) * step, samples.IDENTITY)))
    assert graph.call(SAVE).success
    states = Dataset(tmp_path).episode(0).states()
    assert [state.tcp_position_m[0] for state in states] == [0.0, 1.0, 2.0, 3.0]


def test_parameters_that_do_not_fit_are_refused_at_the_start(graph):
    with pytest.raises(ConfigError, match="parameter 'dataset' is ''"):
        RecorderNode(parameter_overrides=graph.parameters())
    with pytest.raises(ConfigError, match="parameter 'color_topics' has 1 values, allowed is one for each"):
        RecorderParameters(dataset="x", cameras=("camera", "wrist"))


def test_the_contract_s_messages_are_those_that_are_recorded():
    assert set(RecorderParameters().contract().values()) == set(topics.topic_types(("camera",)))


def test_the_data_set_is_made_where_it_was_asked(graph, record, tmp_path: Path):
    record(robot="panda", rate_hz=5.0)
    Robot(graph).step()
    assert graph.call(START).success and graph.call(DISCARD).success
    info = Dataset(tmp_path).info
    assert (info.robot, info.rate_hz, info.cameras[0].width) == ("panda", 5.0, 24)
