"""The functions of the module rclpy itself: init, spin and shutdown."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from spatialbot_ros.embedded import contexts, signals
from spatialbot_ros.embedded.executors import SingleThreadedExecutor
from spatialbot_ros.embedded.futures import Future
from spatialbot_ros.embedded.node import Node
from spatialbot_ros.embedded.signals import SignalHandlerOptions

_LOCK = threading.Lock()
_EXECUTORS: dict[contexts.Context, SingleThreadedExecutor] = {}


def init(
    *,
    args: Sequence[str] | None = None,
    context: contexts.Context | None = None,
    domain_id: int | None = None,
    signal_handler_options: SignalHandlerOptions | None = None,
) -> None:
    """Start a context, by default that of the process or thread, with command line arguments."""
    default = contexts.get_default_context()
    used = default if context is None else context
    if signal_handler_options is None:
        signal_handler_options = SignalHandlerOptions.ALL if used is default else SignalHandlerOptions.NO
    used.init(args, domain_id=domain_id)
    if signal_handler_options != SignalHandlerOptions.NO:
        signals.watch(used)
        signals.install_signal_handlers(signal_handler_options)


def shutdown(*, context: contexts.Context | None = None, uninstall_handlers: bool | None = None) -> None:
    """Shut a context down and give back the signals if it is the default one."""
    default = context is None or context is contexts.get_default_context()
    try:
        contexts.shutdown(context=context)
    finally:
        if uninstall_handlers or (uninstall_handlers is None and default):
            signals.uninstall_signal_handlers()


def create_node(node_name: str, **kwargs: Any) -> Node:
    """Make a Node."""
    return Node(node_name, **kwargs)


def get_global_executor() -> SingleThreadedExecutor:
    """The executor of the `spin` functions, one for each default context."""
    context = contexts.get_default_context()
    with _LOCK:
        known = _EXECUTORS.get(context)
        if known is not None:
            return known
        made = _EXECUTORS[context] = SingleThreadedExecutor(context=context)
    # Without the lock: a context that does not run calls back at once.
    context.on_shutdown(lambda: _forget(context))
    return made


def _forget(context: contexts.Context) -> None:
    with _LOCK:
        executor = _EXECUTORS.pop(context, None)
    if executor is not None:
        executor.wake()


def spin_once(node: Node, *, executor: Any = None, timeout_sec: float | None = None) -> None:
    """Run one callback of a node."""
    used = get_global_executor() if executor is None else executor
    try:
        used.add_node(node)
        used.spin_once(timeout_sec=timeout_sec)
    finally:
        used.remove_node(node)


def spin(node: Node, executor: Any = None) -> None:
    """Run the callbacks of a node until its context ends."""
    used = get_global_executor() if executor is None else executor
    try:
        used.add_node(node)
        while used.context.ok():
            used.spin_once()
    finally:
        used.remove_node(node)


def spin_until_future_complete(
    node: Node, future: Future, executor: Any = None, timeout_sec: float | None = None
) -> None:
    """Run the callbacks of a node until a future is done."""
    used = get_global_executor() if executor is None else executor
    try:
        used.add_node(node)
        used.spin_until_future_complete(future, timeout_sec)
    finally:
        used.remove_node(node)


def get_rmw_implementation_identifier() -> str:
    """Name of what carries the messages."""
    return "spatialbot_embedded"
