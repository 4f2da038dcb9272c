"""The order in which the embedded graph runs what is ready, and what its queues drop."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spatialbot_ros.embedded.clocks import ROSClock
from spatialbot_ros.embedded.contexts import Context
from spatialbot_ros.embedded.executors import SingleThreadedExecutor
from spatialbot_ros.embedded.messages import get_interface
from spatialbot_ros.embedded.node import Node
from spatialbot_ros.embedded.parameter import Parameter
from spatialbot_ros.embedded.qos import QoSProfile, ReliabilityPolicy
from spatialbot_ros.embedded.times import ClockType, Time

Int32 = get_interface("std_msgs/msg/Int32")


@pytest.fixture
def node() -> Iterator[Node]:
    context = Context()
    context.init(args=[])
    made = Node("node", context=context)
    yield made
    made.destroy_node()
    context.try_shutdown()


def run_all(node: Node) -> None:
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    while executor.step():
        pass
    executor.remove_node(node)


def test_messages_of_all_topics_run_in_the_order_of_their_arrival(node):
    seen: list[tuple[str, int]] = []
    publishers = {}
    for topic in ("c", "a", "b"):
        node.create_subscription(
            Int32, topic, lambda message, topic=topic: seen.append((topic, message.data)), 100
        )
        publishers[topic] = node.create_publisher(Int32, topic, 100)
    order = [("a", 0), ("b", 1), ("a", 2), ("c", 3), ("c", 4), ("b", 5)]
    for topic, number in order:
        publishers[topic].publish(Int32(data=number))
    run_all(node)
    assert seen == order


def test_work_that_callbacks_make_comes_after_what_was_there(node):
    seen: list[int] = []

    def callback(message):
        seen.append(message.data)
        if message.data < 10:
            publisher.publish(Int32(data=message.data + 10))

    node.create_subscription(Int32, "numbers", callback, 100)
    publisher = node.create_publisher(Int32, "numbers", 100)
    for number in (1, 2):
        publisher.publish(Int32(data=number))
    run_all(node)
    assert seen == [1, 2, 11, 12]


def test_timers_run_by_due_time_and_not_by_age(node):
    node.set_parameters([Parameter("use_sim_time", value=True)])
    seen: list[str] = []
    node.create_timer(0.3, lambda: seen.append("slow"))
    node.create_timer(0.2, lambda: seen.append("fast"))
    node.get_clock().set_ros_time_override(Time(seconds=1.05, clock_type=ClockType.ROS_TIME))
    run_all(node)
    assert seen == ["fast", "slow"]


def test_timer_that_is_always_due_starves_nobody(node):
    seen: list[str] = []
    node.create_timer(0.0, lambda: seen.append("timer"))
    node.create_subscription(Int32, "numbers", lambda message: seen.append("message"), 10)
    publisher = node.create_publisher(Int32, "numbers", 10)
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    executor.step()
    publisher.publish(Int32())
    for _ in range(3):
        executor.step()
    assert seen.count("message") == 1


@given(depth=st.integers(0, 6), count=st.integers(0, 12), best_effort=st.booleans())
def test_queue_drops_the_oldest_beyond_its_depth(depth, count, best_effort):
    context = Context()
    context.init(args=[])
    node = Node("node", context=context, start_parameter_services=False)
    reliability = ReliabilityPolicy.BEST_EFFORT if best_effort else ReliabilityPolicy.RELIABLE
    seen: list[int] = []
    qos = QoSProfile(depth=depth, reliability=reliability)
    subscription = node.create_subscription(Int32, "numbers", lambda message: seen.append(message.data), qos)
    publisher = node.create_publisher(Int32, "numbers", 100)
    for number in range(count):
        publisher.publish(Int32(data=number))
    run_all(node)
    kept = max(1, depth)
    assert seen == list(range(count))[-kept:]
    assert subscription.dropped == max(0, count - kept)
    node.destroy_node()
    context.shutdown()


def test_destroyed_subscription_gets_nothing_that_waited(node):
    seen: list[int] = []
    subscription = node.create_subscription(Int32, "numbers", seen.append, 10)
    node.create_publisher(Int32, "numbers", 10).publish(Int32())
    node.destroy_subscription(subscription)
    run_all(node)
    assert not seen


@given(st.lists(st.integers(0, 2_000_000_000), max_size=30))
def test_timer_on_any_course_of_time_fires_once_a_period_at_most(times):
    context = Context()
    context.init(args=[])
    node = Node("node", context=context, start_parameter_services=False)
    clock = ROSClock()
    clock._set_ros_time_is_active(True)
    calls: list[int] = []
    node.create_timer(0.1, lambda: calls.append(clock.now_ns), clock=clock)
    longest = 0
    for now_ns in times:
        before = len(calls)
        clock.set_ros_time_override(Time(nanoseconds=now_ns, clock_type=ClockType.ROS_TIME))
        run_all(node)
        # The second call can only be one that falls on this very instant.
        longest = max(longest, len(calls) - before)
    assert longest <= 2
    node.destroy_node()
    context.shutdown()
