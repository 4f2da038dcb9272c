"""What the nodes rely on in rclpy: the same on a real ROS 2 and on the embedded graph."""

from __future__ import annotations

import array
import threading

import pytest
import rclpy
from builtin_interfaces.msg import Time as TimeMessage
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.duration import Duration
from rclpy.exceptions import (
    InvalidTopicNameException,
    NotInitializedException,
)
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message, serialize_message
from rclpy.task import Future
from rclpy.time import Time
from sensor_msgs.msg import Image
from std_msgs.msg import Int32, String
from std_srvs.srv import SetBool, Trigger
from tests.ros.harness import make_node

BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class TestTopics:
    def test_messages_arrive_in_order(self, graph):
        node = make_node(graph)
        got = graph.record(Int32, "numbers")
        publisher = node.create_publisher(Int32, "numbers", 100)
        graph.settle()
        for number in range(20):
            publisher.publish(Int32(data=number))
        graph.until(lambda: len(got) == 20)
        assert [message.data for message in got] == list(range(20))

    def test_receiver_does_not_see_later_changes_of_the_message(self, graph):
        got = graph.record(String, "text")
        message = String(data="before")
        node = make_node(graph)
        publisher = node.create_publisher(String, "text", 10)
        graph.settle()
        publisher.publish(message)
        message.data = "after"
        graph.until(lambda: got)
        assert got[0].data == "before"

    def test_queue_keeps_the_newest(self, graph):
        node = make_node(graph)
        got: list[int] = []
        node.create_subscription(Int32, "numbers", lambda message: got.append(message.data), 3)
        publisher = graph.node.create_publisher(Int32, "numbers", 100)
        graph.settle()
        for number in range(10):
            publisher.publish(Int32(data=number))
        graph.until(lambda: got and got[-1] == 9)
        graph.settle()
        assert len(got) <= 10 and got == sorted(got)

    def test_keep_all_loses_nothing(self, graph):
        node = make_node(graph)
        got: list[int] = []
        keep_all = QoSProfile(history=HistoryPolicy.KEEP_ALL)
        node.create_subscription(Int32, "numbers", lambda message: got.append(message.data), keep_all)
        publisher = graph.node.create_publisher(Int32, "numbers", keep_all)
        graph.settle()
        for number in range(50):
            publisher.publish(Int32(data=number))
        graph.until(lambda: len(got) == 50)
        assert got == list(range(50))

    def test_best_effort_publisher_does_not_reach_a_reliable_subscription(self, graph):
        reliable = graph.record(Int32, "numbers", 10)
        best_effort = graph.record(Int32, "numbers", BEST_EFFORT)
        graph.publish("numbers", Int32(data=1), BEST_EFFORT)
        graph.until(lambda: best_effort)
        assert not reliable

    def test_late_subscriber_gets_a_transient_local_message(self, graph):
        graph.publish("instruction", String(data="old"), LATCHED)
        graph.publish("instruction", String(data="new"))
        latched = graph.record(String, "instruction", LATCHED)
        volatile = graph.record(String, "instruction", 10)
        graph.until(lambda: latched)
        assert [message.data for message in latched] == ["new"]
        assert not volatile

    def test_volatile_publisher_does_not_reach_a_transient_local_subscription(self, graph):
        latched = graph.record(String, "instruction", LATCHED)
        volatile = graph.record(String, "instruction", 10)
        graph.publish("instruction", String(data="x"), 10)
        graph.until(lambda: volatile)
        assert not latched

    def test_raw_subscription_gets_what_serialize_message_writes(self, graph):
        got = graph.record(String, "text", raw=True)
        message = String(data="grüß dich")
        graph.publish("text", message)
        graph.until(lambda: got)
        assert isinstance(got[0], bytes)
        assert got[0] == serialize_message(message)
        assert deserialize_message(got[0], String) == message

    def test_serialized_bytes_can_be_published(self, graph):
        got = graph.record(String, "text")
        publisher = graph.node.create_publisher(String, "text", 10)
        graph.settle()
        publisher.publish(serialize_message(String(data="raw")))
        graph.until(lambda: got)
        assert got == [String(data="raw")]

    def test_image_arrives_unchanged(self, graph):
        pixels = bytes(range(256)) * 75
        sent = Image(height=60, width=320, encoding="mono8", step=320, data=array.array("B", pixels))
        sent.header.stamp = TimeMessage(sec=12, nanosec=34)
        got = graph.record(Image, "image")
        graph.publish("image", sent)
        graph.until(lambda: got)
        assert bytes(got[0].data) == pixels
        assert got[0].header.stamp == TimeMessage(sec=12, nanosec=34)

    def test_wrong_type_is_refused(self, graph):
        publisher = graph.node.create_publisher(String, "text", 10)
        with pytest.raises(TypeError):
            publisher.publish(Int32())

    def test_destroyed_publisher_cannot_publish_and_is_not_counted(self, graph):
        publisher = graph.node.create_publisher(String, "text", 10)
        graph.until(lambda: graph.node.count_publishers("text") == 1)
        assert graph.node.destroy_publisher(publisher)
        graph.until(lambda: graph.node.count_publishers("text") == 0)
        with pytest.raises(Exception, match="destr"):
            publisher.publish(String())

    def test_two_publishers_are_counted(self, graph):
        node = make_node(graph)
        node.create_publisher(String, "/target", 1)
        graph.node.create_publisher(String, "/target", 1)
        graph.until(lambda: node.count_publishers("/target") == 2)
        infos = node.get_publishers_info_by_topic("/target")
        assert {info.node_name for info in infos} == {"node_under_test", "test_harness"}
        assert {info.topic_type for info in infos} == {"std_msgs/msg/String"}

    @pytest.mark.parametrize("name", ["", "1abc", "a b", "a//b", "a/", "a-b"])
    def test_invalid_topic_name(self, graph, name):
        with pytest.raises(InvalidTopicNameException):
            graph.node.create_publisher(String, name, 1)

    @pytest.mark.parametrize(("qos", "error"), [(-1, ValueError), ("ten", TypeError)])
    def test_invalid_qos(self, graph, qos, error):
        with pytest.raises(error):
            graph.node.create_publisher(String, "text", qos)

    def test_error_in_a_callback_comes_out_of_spin(self, graph):
        def fail(_message):
            raise KeyError("from the callback")

        graph.node.create_subscription(String, "text", fail, 10)
        with pytest.raises(KeyError, match="from the callback"):
            graph.publish("text", String())
            graph.until(lambda: False, 5.0)


class TestNames:
    def test_relative_private_and_absolute_names(self, graph):
        node = make_node(graph, "eye", namespace="cell")
        assert node.get_fully_qualified_name() == "/cell/eye"
        assert node.get_namespace() == "/cell"
        assert node.create_publisher(String, "text", 1).topic_name == "/cell/text"
        assert node.create_publisher(String, "~/text", 1).topic_name == "/cell/eye/text"
        assert node.create_publisher(String, "/text", 1).topic_name == "/text"
        assert node.resolve_service_name("~/go") == "/cell/eye/go"

    def test_command_line_of_a_node(self, graph):
        arguments = [
            "--ros-args",
            "-r",
            "__node:=renamed",
            "-r",
            "__ns:=/b",
            "-r",
            "in:=/out",
            "-p",
            "rate:=2.5",
        ]
        node = make_node(graph, "original", cli_args=arguments)
        assert node.get_fully_qualified_name() == "/b/renamed"
        assert node.create_publisher(String, "in", 1).topic_name == "/out"
        assert node.declare_parameter("rate", 1.0).value == 2.5

    def test_parameter_file(self, graph, tmp_path):
        file = tmp_path / "parameters.yaml"
        file.write_text(
            "/**:\n  ros__parameters:\n    rate: 1.5\n    name: everyone\n"
            "eye:\n  ros__parameters:\n    name: eye\n    guard:\n      low: [1.0, 2.0]\n    small: 1e-3\n"
            "other:\n  ros__parameters:\n    rate: 9.0\n"
        )
        node = make_node(graph, "eye", cli_args=["--ros-args", "--params-file", str(file), "-p", "rate:=3.5"])
        assert node.declare_parameter("rate", 0.0).value == 3.5
        assert node.declare_parameter("name", "").value == "eye"
        assert list(node.declare_parameter("guard.low", [0.0]).value) == [1.0, 2.0]
        assert node.declare_parameter("small", 0.0).value == 0.001


class TestServices:
    def test_call(self, graph):
        node = make_node(graph)

        def answer(request, response):
            response.success = not request.data
            response.message = f"was {request.data}"
            return response

        node.create_service(SetBool, "~/switch", answer)
        response = graph.call("/node_under_test/switch", SetBool, SetBool.Request(data=True))
        assert (response.success, response.message) == (False, "was True")

    def test_without_a_server(self, graph):
        client = graph.node.create_client(Trigger, "nobody")
        assert not client.service_is_ready()
        assert not client.wait_for_service(timeout_sec=0.05)

    def test_server_that_was_destroyed_is_not_ready(self, graph):
        node = make_node(graph)
        service = node.create_service(Trigger, "go", lambda request, response: response)
        client = graph.node.create_client(Trigger, "go")
        graph.until(client.service_is_ready)
        node.destroy_service(service)
        graph.until(lambda: not client.service_is_ready())

    def test_callback_must_return_the_response(self, graph):
        node = make_node(graph)
        node.create_service(Trigger, "go", lambda request, response: None)
        with pytest.raises(TypeError):
            graph.call("go")

    def test_request_of_another_type_is_refused(self, graph):
        client = graph.node.create_client(Trigger, "go")
        with pytest.raises(TypeError):
            client.call_async(SetBool.Request())

    def test_callback_may_be_a_coroutine_that_calls_on(self, graph):
        node = make_node(graph)
        graph.node.create_service(Trigger, "inner", lambda request, response: Trigger.Response(message="in"))
        inner = graph.node.create_client(Trigger, "inner", callback_group=ReentrantCallbackGroup())

        async def outer(request, response):
            found = await inner.call_async(Trigger.Request())
            response.message = "out of " + found.message
            return response

        node.create_service(Trigger, "outer", outer)
        graph.until(inner.service_is_ready)
        assert graph.call("outer").message == "out of in"

    def test_done_callback(self, graph):
        node = make_node(graph)
        node.create_service(Trigger, "go", lambda request, response: Trigger.Response(message="done"))
        client = graph.node.create_client(Trigger, "go")
        graph.until(client.service_is_ready)
        seen: list[str] = []
        future = client.call_async(Trigger.Request())
        future.add_done_callback(lambda done: seen.append(done.result().message))
        graph.until(lambda: seen)
        assert seen == ["done"]


class TestTime:
    def test_timers_follow_the_simulated_time(self, graph):
        node = make_node(graph)
        calls: list[int] = []
        node.create_timer(0.1, lambda: calls.append(node.get_clock().now().nanoseconds))
        start = graph.now_ns
        graph.advance(0.35, 0.01)
        assert calls == [start + 100_000_000 * count for count in (1, 2, 3)]

    def test_a_jump_over_several_periods_fires_once(self, graph):
        node = make_node(graph)
        calls: list[int] = []
        node.create_timer(0.1, lambda: calls.append(node.get_clock().now().nanoseconds))
        start = graph.now_ns
        graph.advance(0.55, 0.55)
        assert calls == [start + 550_000_000]
        graph.advance(0.05, 0.05)
        assert calls[1:] == [start + 600_000_000]

    def test_after_a_jump_backwards_timers_go_on(self, graph):
        node = make_node(graph)
        calls: list[int] = []
        node.create_timer(0.1, lambda: calls.append(node.get_clock().now().nanoseconds))
        graph.advance(0.2, 0.1)
        calls.clear()
        earlier = graph.now_ns - 50_000_000_000
        graph.set_time(earlier)
        assert calls == []
        graph.advance(0.1, 0.05)
        assert calls == [earlier + 100_000_000]

    def test_cancel_and_reset(self, graph):
        node = make_node(graph)
        calls: list[int] = []
        timer = node.create_timer(0.1, lambda: calls.append(1))
        timer.cancel()
        assert timer.is_canceled()
        graph.advance(0.3, 0.1)
        assert not calls
        timer.reset()
        graph.advance(0.1, 0.1)
        assert len(calls) == 1
        assert node.destroy_timer(timer)
        graph.advance(0.3, 0.1)
        assert len(calls) == 1

    def test_wall_timer(self, graph):
        node = graph.add(Node("on_wall_time"))
        calls: list[int] = []
        node.create_timer(0.01, lambda: calls.append(1))
        graph.until(lambda: len(calls) >= 3)

    def test_switching_simulated_time_off_and_on(self, graph):
        node = make_node(graph)
        assert node.get_clock().now().nanoseconds == graph.now_ns
        node.set_parameters([Parameter("use_sim_time", value=False)])
        assert node.get_clock().now().nanoseconds > 1_600_000_000 * 10**9
        node.set_parameters([Parameter("use_sim_time", value=True)])
        graph.advance(0.1)
        assert node.get_clock().now().nanoseconds == graph.now_ns

    def test_times_and_durations(self, graph):
        now = graph.node.get_clock().now()
        later = now + Duration(seconds=1.5)
        assert (later - now).nanoseconds == 1_500_000_000
        assert later > now and Time.from_msg(later.to_msg()) == later
        assert now.seconds_nanoseconds() == (graph.now_ns // 10**9, graph.now_ns % 10**9)
        with pytest.raises(TypeError):
            _ = now < Time(seconds=1)
        with pytest.raises(ValueError, match="negative"):
            Time(seconds=-1)


class TestExecution:
    def test_guard_condition_from_another_thread(self, graph):
        node = make_node(graph)
        where: list[str] = []
        guard = node.create_guard_condition(lambda: where.append(threading.current_thread().name))
        worker = threading.Thread(target=guard.trigger, name="worker")
        worker.start()
        graph.until(lambda: where)
        worker.join()
        assert where == [threading.current_thread().name]

    def test_triggers_before_the_callback_count_once(self, graph):
        node = make_node(graph)
        calls: list[int] = []
        guard = node.create_guard_condition(lambda: calls.append(1))
        for _ in range(3):
            guard.trigger()
        graph.settle()
        assert calls == [1]

    def test_future(self):
        future = Future()
        seen: list[object] = []
        future.add_done_callback(lambda done: seen.append(done.result()))
        assert not future.done() and future.result() is None
        future.set_result(5)
        assert future.done() and seen == [5]
        failed = Future()
        failed.set_exception(KeyError("reason"))
        with pytest.raises(KeyError, match="reason"):
            failed.result()

    def test_a_destroyed_node_is_gone(self, graph):
        node = make_node(graph, "short_lived")
        node.create_publisher(String, "/text", 1)
        graph.until(lambda: graph.node.count_publishers("/text") == 1)
        graph.remove(node)
        graph.until(lambda: graph.node.count_publishers("/text") == 0)
        graph.until(lambda: "short_lived" not in graph.node.get_node_names())

    def test_rclpy_is_ok_until_shutdown(self, graph):
        assert rclpy.ok()
        with pytest.raises(RuntimeError):
            rclpy.init(args=[])
        graph.close()
        assert not rclpy.ok()
        with pytest.raises(NotInitializedException):
            Node("too_late")

    def test_logger(self, graph, capfd):
        logger = make_node(graph, "talker").get_logger()
        for number in range(3):
            logger.info(f"once {number}", once=True)
            logger.warning(f"throttled {number}", throttle_duration_sec=60.0)
        logger.debug("not printed")
        assert logger.name == "talker"
        printed = capfd.readouterr().err
        assert "[INFO]" in printed and "[talker]: once 0" in printed and "once 1" not in printed
        assert "throttled 0" in printed and "throttled 1" not in printed
        assert "not printed" not in printed
