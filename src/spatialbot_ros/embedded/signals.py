"""Signals: Ctrl-C and SIGTERM end the contexts of the process, unless a node asked for NO handlers."""

from __future__ import annotations

import signal
import threading
import weakref
from enum import IntEnum
from typing import Any


class SignalHandlerOptions(IntEnum):
    """Which signals `rclpy.init()` takes over."""

    NO = 0
    SIGINT = 1
    SIGTERM = 2
    ALL = 3


_CONTEXTS: weakref.WeakSet[Any] = weakref.WeakSet()
_PREVIOUS: dict[int, Any] = {}


def watch(context: Any) -> None:
    """End this context too when a signal comes."""
    _CONTEXTS.add(context)


def install_signal_handlers(options: SignalHandlerOptions = SignalHandlerOptions.ALL) -> None:
    """Take signals over; only the main thread can, elsewhere this does nothing."""
    if threading.current_thread() is not threading.main_thread():
        return
    wanted = {signal.SIGINT: SignalHandlerOptions.SIGINT, signal.SIGTERM: SignalHandlerOptions.SIGTERM}
    for number, option in wanted.items():
        if options & option and number not in _PREVIOUS:
            _PREVIOUS[number] = signal.signal(number, _on_signal)


def uninstall_signal_handlers() -> None:
    """Give the signals back."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in list(_PREVIOUS):
        signal.signal(number, _PREVIOUS.pop(number) or signal.SIG_DFL)


def get_current_signal_handlers_options() -> SignalHandlerOptions:
    """Which signals are taken over now."""
    options = SignalHandlerOptions.NO
    if signal.SIGINT in _PREVIOUS:
        options = SignalHandlerOptions(options | SignalHandlerOptions.SIGINT)
    if signal.SIGTERM in _PREVIOUS:
        options = SignalHandlerOptions(options | SignalHandlerOptions.SIGTERM)
    return options


def _on_signal(number: int, frame: Any) -> None:
    for context in list(_CONTEXTS):
        context.end()
    previous = _PREVIOUS.get(number)
    if callable(previous):
        previous(number, frame)
