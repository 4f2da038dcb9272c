"""Executors and callback groups as nodes may use them: the same on a real ROS 2 and on the embedded graph."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
import rclpy
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.executors import (
    ExternalShutdownException,
    MultiThreadedExecutor,
    SingleThreadedExecutor,
)
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future
from std_msgs.msg import String
from std_srvs.srv import Trigger

WAIT_S = 20.0


@pytest.fixture
def node() -> Iterator[Node]:
    rclpy.init(args=["test"], signal_handler_options=SignalHandlerOptions.NO)
    made = Node("node_under_test")
    yield made
    made.destroy_node()
    rclpy.try_shutdown()


def spin_until(
    executor: MultiThreadedExecutor | SingleThreadedExecutor, condition: Callable[[], object]
) -> bool:
    future = Future()
    stop = threading.Timer(WAIT_S, future.cancel)
    stop.start()
    while not condition() and not future.cancelled():
        executor.spin_once(timeout_sec=0.1)
    stop.cancel()
    return bool(condition())


def test_reentrant_callbacks_run_side_by_side(node):
    together = threading.Barrier(2, timeout=WAIT_S)
    met: list[bool] = []

    def callback():
        together.wait()
        met.append(True)

    group = ReentrantCallbackGroup()
    guards = [node.create_guard_condition(callback, group) for _ in range(2)]
    executor = MultiThreadedExecutor(num_threads=2)
    executor.add_node(node)
    for guard in guards:
        guard.trigger()
    assert spin_until(executor, lambda: len(met) == 2)
    executor.shutdown()


def test_mutually_exclusive_callbacks_take_turns(node):
    inside: list[str] = []
    overlaps: list[list[str]] = []
    ended: list[str] = []
    pause = threading.Event()

    def make(name):
        def callback():
            inside.append(name)
            pause.wait(0.05)
            if len(inside) > 1:
                overlaps.append(list(inside))
            inside.remove(name)
            ended.append(name)

        return callback

    group = MutuallyExclusiveCallbackGroup()
    guards = [node.create_guard_condition(make(name), group) for name in "abc"]
    executor = MultiThreadedExecutor(num_threads=3)
    executor.add_node(node)
    for guard in guards:
        guard.trigger()
    assert spin_until(executor, lambda: len(ended) == 3)
    executor.shutdown()
    assert not overlaps


def test_a_callback_may_call_a_service_of_another_group(node):
    node.create_service(
        Trigger,
        "inner",
        lambda request, response: Trigger.Response(message="in"),
        callback_group=MutuallyExclusiveCallbackGroup(),
    )
    client = node.create_client(Trigger, "inner", callback_group=MutuallyExclusiveCallbackGroup())
    got: list[str] = []
    guard = node.create_guard_condition(lambda: got.append(client.call(Trigger.Request()).message))
    executor = MultiThreadedExecutor(num_threads=3)
    executor.add_node(node)
    assert spin_until(executor, client.service_is_ready)
    guard.trigger()
    assert spin_until(executor, lambda: got)
    executor.shutdown()
    assert got == ["in"]


@pytest.mark.parametrize("kind", [SingleThreadedExecutor, MultiThreadedExecutor])
def test_error_comes_out_of_spin(node, kind):
    def fail():
        raise KeyError("from the callback")

    guard = node.create_guard_condition(fail)
    executor = kind()
    executor.add_node(node)
    guard.trigger()
    with pytest.raises(KeyError, match="from the callback"):
        spin_until(executor, lambda: False)
    executor.shutdown()


def test_shutdown_from_another_thread_ends_spin(node):
    started = threading.Event()
    node.create_guard_condition(started.set).trigger()

    def end():
        started.wait(WAIT_S)
        rclpy.shutdown()

    thread = threading.Thread(target=end)
    thread.start()
    try:
        rclpy.spin(node)
    except (ExternalShutdownException, RuntimeError):
        pass  # what happens depends on where the executor is; RCLError on a real ROS 2 between two waits
    thread.join(WAIT_S)
    assert not rclpy.ok()


def test_spin_until_future_complete(node):
    future = Future()
    node.create_timer(0.01, lambda: future.done() or future.set_result("tick"))
    rclpy.spin_until_future_complete(node, future, timeout_sec=WAIT_S)
    assert future.result() == "tick"
    never = Future()
    rclpy.spin_until_future_complete(node, never, timeout_sec=0.05)
    assert not never.done()


def test_spin_once_without_work_returns(node):
    rclpy.spin_once(node, timeout_sec=0.0)
    rclpy.spin_once(node, timeout_sec=0.02)


def test_task_of_an_executor(node):
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    first = Future(executor=executor)

    async def later() -> str:
        return f"{await first} and more"

    task = executor.create_task(later)
    executor.create_task(lambda: first.set_result("this"))
    executor.spin_until_future_complete(task, timeout_sec=WAIT_S)
    assert task.result() == "this and more"
    executor.shutdown()


def test_blocking_wait_for_a_service_of_another_thread(node):
    other = Node("other")
    client = node.create_client(Trigger, "late")
    timer = threading.Timer(
        0.05, lambda: other.create_service(Trigger, "late", lambda request, response: response)
    )
    timer.start()
    assert client.wait_for_service(timeout_sec=WAIT_S)
    timer.join()
    other.destroy_node()


def test_two_contexts_in_one_process(node):
    context = rclpy.context.Context()
    rclpy.init(args=["test"], context=context)
    other = Node("other", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(other)
    got: list[str] = []
    other.create_subscription(String, "text", lambda message: got.append(message.data), 10)
    publisher = node.create_publisher(String, "text", 10)
    assert spin_until(executor, publisher.get_subscription_count)
    publisher.publish(String(data="across"))
    assert spin_until(executor, lambda: got)
    executor.shutdown()
    other.destroy_node()
    rclpy.shutdown(context=context)
    assert rclpy.ok() and not context.ok()


SPINNING = """
from spatialbot_ros.embedded import install
install()
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.signals import SignalHandlerOptions
rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.{options})
node = rclpy.create_node("spinning")
node.create_timer(0.01, lambda: print("up", flush=True))
try:
    rclpy.spin(node)
    print("returned")
except (ExternalShutdownException, RuntimeError):
    print("ended")  # a real rclpy raises RCLError when the signal comes between two waits
except KeyboardInterrupt:
    print("interrupted")
rclpy.try_shutdown()
"""


@pytest.mark.parametrize(
    ("number", "options", "expected"),
    [
        (signal.SIGTERM, "ALL", {"ended", "returned"}),
        (signal.SIGINT, "ALL", {"interrupted", "ended", "returned"}),
        (signal.SIGINT, "NO", {"interrupted"}),
    ],
)
def test_signals(number, options, expected):
    code = SPINNING.format(options=options)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "up\n"
        process.send_signal(number)
        printed, _ = process.communicate(timeout=WAIT_S)
    assert printed.split()[-1] in expected
