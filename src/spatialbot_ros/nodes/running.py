"""Runs one node: start, spin, last words. Signals end the spinning, not the publishers."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Protocol

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from spatialbot_policy.errors import SpatialBotError

EXIT_REFUSED = 2
_WAKE_S = 0.05  # a signal is seen when the executor returns to Python


class MakeNode(Protocol):
    """A node class of this package."""

    def __call__(self) -> Node:
        """Construct the node; it may refuse with a SpatialBotError."""


def run(make_node: MakeNode, args: Sequence[str] | None = None) -> None:
    """Construct a node, spin it until SIGINT, SIGTERM or the end of its context, and let it close.

    The node's `close()` runs while its publishers still work, so that a hold command can be the last word.

    Raises:
        SystemExit: with EXIT_REFUSED when the node refuses to start; standard error has the reason.
    """
    # rclpy's own handlers would end the context before `close()` could publish.
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    stop = _stop_on_signals()
    try:
        node = make_node()
    except SpatialBotError as error:
        rclpy.try_shutdown()
        print(f"{_program(args)}: {error}", file=sys.stderr)
        raise SystemExit(EXIT_REFUSED) from error
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        while rclpy.ok() and not stop.is_set():
            executor.spin_once(timeout_sec=_WAKE_S)
    except ExternalShutdownException:
        stop.set()
    finally:
        node.close()
        executor.remove_node(node)
        node.destroy_node()
        rclpy.try_shutdown()


def _stop_on_signals() -> threading.Event:
    """An event that SIGINT and SIGTERM set; outside the main thread whoever runs us ends the context."""
    stop = threading.Event()
    if threading.current_thread() is threading.main_thread():

        def handle(number: int, frame: FrameType | None) -> None:
            stop.set()

        signal.signal(signal.SIGINT, handle)
        signal.signal(signal.SIGTERM, handle)
    return stop


def _program(args: Sequence[str] | None) -> str:
    """The node's name as the launch file gave it, otherwise the program's."""
    words = list(sys.argv if args is None else args)
    for word in words:
        if word.startswith("__node:="):
            return word.removeprefix("__node:=")
    return words[0].rsplit("/", 1)[-1] if words else "spatialbot"
