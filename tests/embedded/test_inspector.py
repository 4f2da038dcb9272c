"""Looking into a running graph from outside: topics, messages, rates, parameters, services."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from spatialbot_policy.errors import ConfigError
from spatialbot_ros import embedded

if not embedded.install():
    pytest.skip("a real ROS 2 is here", allow_module_level=True)

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import String
from std_srvs.srv import Trigger

from spatialbot_ros.embedded.inspector import Inspector
from spatialbot_ros.embedded.socket_lines import ask, socket_path
from spatialbot_ros.nodes.reporting import STATUS_QOS


class Watched(Node):
    """A node with one of everything."""

    def __init__(self, context: rclpy.context.Context) -> None:
        super().__init__("watched", context=context)
        self.declare_parameter("speed", 0.5)
        self.latched = self.create_publisher(String, "words", STATUS_QOS)
        self.latched.publish(String(data="hello"))
        self.images = self.create_publisher(Image, "image", 10)
        self.create_timer(0.02, lambda: self.images.publish(Image(height=2, width=3, data=bytes(18))))
        self.create_service(Trigger, "start", self.answer)

    def answer(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = True, "started"
        return response


@pytest.fixture(autouse=True)
def graph(tmp_path, monkeypatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    context = rclpy.context.Context()
    rclpy.init(args=[], context=context)
    node = Watched(context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)

    def spin() -> None:
        while context.ok():
            try:
                executor.spin_once(timeout_sec=0.05)
            except ExternalShutdownException:
                return

    thread = threading.Thread(target=spin)
    thread.start()
    inspector = Inspector()
    yield
    inspector.close()
    context.end()
    thread.join()
    node.destroy_node()
    context.try_shutdown()
    assert not socket_path().exists()


def test_list_names_topics_with_both_ends_and_services():
    items = list(ask(do="list"))
    topics = {item["topic"]: item for item in items if "topic" in item}
    assert topics["/words"]["type"] == "std_msgs/msg/String" and topics["/words"]["from"] == ["watched"]
    services = {item["service"]: item["type"] for item in items if "service" in item}
    assert services["/start"] == "std_srvs/srv/Trigger"


def test_echo_shows_a_latched_message_at_once_and_long_data_by_its_length():
    (answer,) = ask(do="echo", topic="/words", count=1)
    assert answer["message"] == {"data": "hello"}
    (answer,) = ask(do="echo", topic="/image", count=1)
    assert answer["message"]["height"] == 2 and answer["message"]["data"] == "<18 values>"


def test_hz_measures_the_rate():
    answer = next(iter(ask(do="hz", topic="/image")))
    assert 10 < answer["hz"] <= 60 and answer["bytes_per_s"] > 18 * answer["hz"]


def test_parameters_are_listed_shown_and_set():
    assert {"name": "speed", "value": 0.5} in list(ask(do="param", node="watched"))
    assert list(ask(do="param", node="/watched", name="speed", value=0.75)) == [
        {"name": "speed", "value": 0.75}
    ]
    assert list(ask(do="param", node="watched", name="speed")) == [{"name": "speed", "value": 0.75}]


def test_a_service_is_called():
    assert list(ask(do="call", service="/start")) == [{"response": {"success": True, "message": "started"}}]


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ({"do": "sing"}, "unknown question 'sing'"),
        ({"do": "echo", "topic": "/nothing"}, "there is no /nothing; there are: "),
        ({"do": "call", "service": "/nothing"}, "there is no /nothing"),
        ({"do": "call", "service": "/start", "request": {"x": 1}}, "has no field 'x'"),
        ({"do": "param", "node": "nobody"}, "there is no service /nobody/list_parameters"),
        ({"do": "param", "node": "watched", "name": "speed", "value": "fast"}, "refuses 'speed'"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(question, words):
    with pytest.raises(ConfigError, match=words):
        list(ask(**question))


def test_a_second_graph_in_the_same_domain_is_refused():
    with pytest.raises(ConfigError, match="another graph runs in this domain"):
        Inspector()


def test_without_a_graph_the_asker_is_told_how_to_start_one(monkeypatch, tmp_path):
    monkeypatch.setenv("ROS_DOMAIN_ID", "77")
    with pytest.raises(ConfigError, match="no graph runs in this domain; start one"):
        list(ask(do="list"))
