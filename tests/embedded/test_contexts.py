"""Contexts of the embedded graph: one for each node's thread, ended from outside, last words."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from spatialbot_ros.embedded import contexts, running
from spatialbot_ros.embedded.contexts import Context, own_default_context
from spatialbot_ros.embedded.exceptions import ExternalShutdownException, RCLError
from spatialbot_ros.embedded.executors import SingleThreadedExecutor
from spatialbot_ros.embedded.messages import get_interface
from spatialbot_ros.embedded.node import Node
from spatialbot_ros.embedded.times import Duration

String = get_interface("std_msgs/msg/String")
WAIT_S = 20.0


def in_thread(main: Callable[[], None], context: Context) -> threading.Thread:
    def run() -> None:
        with own_default_context(context):
            main()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_each_thread_has_its_own_default_context_and_all_share_the_graph():
    running.init(args=["outside"])
    listener = Node("listener")
    got: list[str] = []
    listener.create_subscription(String, "text", lambda message: got.append(message.data), 10)
    seen: list[bool] = []

    def main() -> None:
        seen.append(contexts.ok())
        running.init(args=["inside", "--ros-args", "-r", "__node:=renamed"])
        node = Node("talker")
        seen.append(node.get_name() == "renamed")
        node.create_publisher(String, "text", 10).publish(String(data="hello"))
        node.destroy_node()
        running.shutdown()
        seen.append(contexts.ok())

    thread = in_thread(main, Context())
    thread.join(WAIT_S)
    assert seen == [False, True, False]
    running.spin_once(listener, timeout_sec=0)
    assert got == ["hello"]
    assert contexts.ok()
    listener.destroy_node()
    running.shutdown()


def test_node_ended_from_outside_says_its_last_words():
    context, watching = Context(), Context()
    watching.init(args=[])
    watcher = Node("watcher", context=watching)
    got: list[str] = []
    watcher.create_subscription(String, "last_words", lambda message: got.append(message.data), 10)
    spinning = threading.Event()
    how: list[str] = []

    def main() -> None:
        running.init(args=["node"])
        node = Node("node")
        publisher = node.create_publisher(String, "last_words", 10)
        node.create_guard_condition(spinning.set).trigger()
        try:
            running.spin(node)
            how.append("returned")
        except ExternalShutdownException:
            how.append("raised")
        publisher.publish(String(data="holding"))
        node.destroy_node()
        contexts.try_shutdown()
        with pytest.raises(Exception, match="destroyed|shut down"):
            publisher.publish(String(data="too late"))

    thread = in_thread(main, context)
    assert spinning.wait(WAIT_S)
    context.end()
    thread.join(WAIT_S)
    assert not thread.is_alive() and len(how) == 1
    executor = SingleThreadedExecutor(context=watching)
    executor.add_node(watcher)
    while executor.step():
        pass
    assert got == ["holding"]
    watcher.destroy_node()
    watching.shutdown()


def test_end_wakes_who_waits_for_a_service():
    context = Context()
    context.init(args=[])
    node = Node("node", context=context)
    client = node.create_client(get_interface("std_srvs/srv/Trigger"), "nobody")
    timer = threading.Timer(0.05, context.end)
    timer.start()
    assert not client.wait_for_service()
    timer.join()
    node.destroy_node()
    context.try_shutdown()


def test_end_wakes_who_sleeps_on_simulated_time():
    context = Context()
    context.init(args=[])
    node = Node("node", context=context, cli_args=["--ros-args", "-p", "use_sim_time:=true"])
    later = node.get_clock().now() + Duration(seconds=1)
    timer = threading.Timer(0.05, context.end)
    timer.start()
    assert not node.get_clock().sleep_until(later, context)
    timer.join()
    node.destroy_node()
    context.try_shutdown()


def test_shutdown_after_the_end_is_refused_as_after_a_signal():
    context = Context()
    context.init(args=[])
    context.end()
    assert not context.ok() and context.usable
    with pytest.raises(RCLError, match="try_shutdown"):
        context.shutdown()
    assert not context.usable
    context.try_shutdown()


def test_context_runs_once():
    context = Context()
    with pytest.raises(RuntimeError, match="initialized"):
        context.shutdown()
    context.init(args=[])
    with pytest.raises(RuntimeError, match="only be called once"):
        context.init(args=[])
    context.shutdown()


def test_callbacks_at_the_end_run_once_and_late_ones_at_once():
    context = Context()
    context.init(args=[])
    called: list[str] = []
    context.on_shutdown(lambda: called.append("first"))
    context.end()
    context.try_shutdown()
    context.on_shutdown(lambda: called.append("late"))
    assert called == ["first", "late"]


def test_nodes_that_crashed_leave_the_graph_with_their_context():
    context, watching = Context(), Context()
    watching.init(args=[])
    watcher = Node("watcher", context=watching)
    context.init(args=[])

    class Refusing(Node):
        def __init__(self) -> None:
            super().__init__("refusing", context=context)
            self.create_publisher(String, "/text", 1)
            raise ValueError("bad parameter")

    with pytest.raises(ValueError, match="bad parameter"):
        Refusing()
    with pytest.raises(Exception, match="use_sim_time"):
        Node("other", context=context, cli_args=["--ros-args", "-p", "use_sim_time:=5"])
    context.try_shutdown()
    assert watcher.count_publishers("/text") == 0
    assert watcher.get_node_names() == ["watcher"]
    watcher.destroy_node()
    watching.shutdown()


def test_nothing_works_after_shutdown():
    context = Context()
    context.init(args=[])
    node = Node("node", context=context)
    publisher = node.create_publisher(String, "/text", 1)
    context.shutdown()
    with pytest.raises(RCLError, match="shut down"):
        publisher.publish(String())
    with pytest.raises(RCLError, match="shut down"):
        node.create_publisher(String, "/text", 1)
    with pytest.raises(ExternalShutdownException):
        SingleThreadedExecutor(context=context).spin_once(timeout_sec=0)
    node.destroy_node()


def test_spin_without_init_is_refused_at_once():
    with own_default_context(), pytest.raises(ExternalShutdownException):
        running.get_global_executor().spin_once(timeout_sec=0)
