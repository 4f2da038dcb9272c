"""The recorder's raw subscriptions: every message once, in order, whoever takes them, and a clean end."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription
from std_msgs.msg import String
from tests.ros.harness import make_node
from tests.ros.nodes.recorder_rig import DISCARD, LATCHED, SAVE, START, Robot

from spatialbot_policy.episode import Dataset
from spatialbot_policy.episodes import topics
from spatialbot_policy.episodes.mcap_file import read_messages
from spatialbot_ros.nodes.recorder_node import RecorderNode
from spatialbot_ros.nodes.recorder_streams import RecorderStreams, open_streams

polled = pytest.mark.skipif(not hasattr(Subscription, "handle"), reason="the executor takes the messages")
QOS = QoSProfile(depth=100)


@pytest.fixture
def streams(graph) -> Any:
    made = open_streams(make_node(graph))
    yield made
    made.end()


def publisher(graph: Any, streams: RecorderStreams, take: Any, topic: str = "/said") -> Any:
    """A publisher that `take` hears."""
    streams.add(String, topic, take, QOS)
    streams.begin()
    made = graph.node.create_publisher(String, topic, QOS)
    graph.until(lambda: made.get_subscription_count() == 1)
    return made


def stream_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "recorder streams"]


def test_every_message_of_a_burst_is_taken_once_and_in_order(graph, streams):
    heard: list[bytes] = []
    said = publisher(graph, streams, heard.append)
    for number in range(90):
        said.publish(String(data=f"message {number:03d}"))
    graph.until(lambda: len(heard) >= 90)
    graph.settle()
    assert [data[8:19].decode() for data in heard] == [f"message {number:03d}" for number in range(90)]


def test_a_callback_between_runs_after_what_came_before_it(graph, streams):
    heard: list[bytes] = []
    said = publisher(graph, streams, heard.append)
    seen: list[int] = []
    look = streams.between(lambda: seen.append(len(heard)))
    for number in range(20):
        said.publish(String(data=str(number)))
        time.sleep(0.002)  # a middleware hands over in a thread of its own
        graph.until(lambda: True)
        if not hasattr(Subscription, "handle"):
            graph.settle()
        look()
    assert seen == list(range(1, 21))


def test_no_message_is_handled_while_a_callback_between_waits(graph, streams):
    heard: list[bytes] = []
    said = publisher(graph, streams, heard.append)

    def wait() -> int:
        before = len(heard)
        said.publish(String(data="meanwhile"))
        time.sleep(0.1)
        return len(heard) - before

    assert streams.between(wait)() == 0
    graph.until(lambda: len(heard) == 1)


@polled
def test_the_end_takes_what_has_come_and_nothing_later(graph, streams):
    heard: list[bytes] = []
    said = publisher(graph, streams, heard.append)
    held = streams.between(lambda: [said.publish(String(data=str(number))) for number in range(50)])
    held()
    time.sleep(0.005)
    streams.end()
    assert len(heard) == 50 and not stream_threads()
    said.publish(String(data="late"))
    time.sleep(0.05)
    streams.end()
    assert len(heard) == 50


@polled
def test_an_error_over_a_message_ends_the_executor_not_just_the_thread(graph, streams):
    def take(data: bytes) -> None:
        raise RuntimeError("no such picture")

    said = publisher(graph, streams, take)
    said.publish(String(data="x"))
    with pytest.raises(RuntimeError, match="no such picture"):
        graph.until(lambda: False, timeout_s=5.0)


def test_what_was_sent_before_save_is_recorded_and_nothing_after_it(graph, tmp_path):
    values = {"dataset": str(tmp_path), "reliability": "reliable", "allow_incomplete": True}
    node = graph.add(RecorderNode(parameter_overrides=graph.parameters(values)))
    robot = Robot(graph)
    robot.step()
    for index in range(3):
        assert graph.call(START).success
        stamps = [robot.step() for _ in range(4)]
        assert graph.call(SAVE).success
        robot.step()  # between two episodes
        episode = Dataset(tmp_path).episode(index)
        kinds = topics.topic_types(("camera",))
        found = [message.topic for message in read_messages(episode.path / "episode.mcap", kinds)]
        assert [observation.stamp_ns for observation in episode.observations()] == stamps
        for topic in (topics.JOINTS_TOPIC, topics.POSE_TOPIC, topics.color_topic("camera")):
            assert found.count(topic) == len(stamps)
    node.close()
    assert not stream_threads()


def test_no_thread_is_left_of_a_recorder_that_is_killed_or_refuses_to_start(graph, tmp_path):
    values = {"dataset": str(tmp_path), "reliability": "reliable"}
    node = graph.add(RecorderNode(parameter_overrides=graph.parameters(values)))
    Robot(graph).step()
    assert graph.call(START).success
    with pytest.raises(Exception, match="is being recorded into by process"):
        RecorderNode(parameter_overrides=graph.parameters(values))
    graph.remove(node)
    assert not stream_threads()


def test_calls_are_answered_while_messages_pour_in(graph, tmp_path):
    values = {"dataset": str(tmp_path), "reliability": "reliable"}
    graph.add(RecorderNode(parameter_overrides=graph.parameters(values)))
    robot = Robot(graph)
    robot.step()
    assert graph.call(START).success
    stop = threading.Event()
    words = graph.node.create_publisher(String, topics.INSTRUCTION_TOPIC, LATCHED)

    def pour() -> None:
        while not stop.wait(0.0005):
            words.publish(String(data="pick up the red cup"))

    pouring = threading.Thread(target=pour)
    pouring.start()
    try:
        assert graph.call(DISCARD, timeout_s=5.0).success
    finally:
        stop.set()
        pouring.join()
