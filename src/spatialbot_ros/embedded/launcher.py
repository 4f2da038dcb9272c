"""Runs the nodes of a launch file in this process: each `main(args)` unmodified, in a thread of its own."""

from __future__ import annotations

import importlib
import logging
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points

from spatialbot_policy.errors import ConfigError
from spatialbot_policy.process_tuning import take_turns
from spatialbot_ros.embedded.contexts import Context, own_default_context
from spatialbot_ros.embedded.launch_file import LaunchFile, NodeEntry

Main = Callable[[Sequence[str]], None]
"""What a console script of a node looks like: runs the node until it is told to end."""

_log = logging.getLogger(__name__)
_STOP_S = 10.0


@dataclass
class _Running:
    """One node's thread.

    Attributes:
        entry: what it was started from.
        context: its own default context; ending it is what a signal is to a process.
        thread: runs its `main`.
        failure: why it ended by itself, "" while it runs or after a clean end.
    """

    entry: NodeEntry
    context: Context = field(default_factory=Context)
    thread: threading.Thread = field(init=False)
    failure: str = ""


class Launcher:
    """The nodes of one launch file, started in the file's order and stopped in the reverse.

    A node that ends by itself is told about and the others go on, as under `ros2 launch`: who misses it must
    stop the robot by its own watchdog.
    """

    def __init__(self, launch: LaunchFile) -> None:
        self._nodes = [_Running(entry) for entry in launch.nodes]
        self._until: str | None = None
        _refuse_same_names(launch)
        self._mains = {entry.executable: _main_of(entry) for entry in launch.nodes}

    def start(self, until: str | None = None) -> None:
        """Start every node; returns at once.

        Args:
            until: name of a node whose end is the end of all, for `wait`.

        Raises:
            ConfigError: no node has this name.
        """
        names = [running.entry.name for running in self._nodes]
        if until is not None and until not in names:
            raise ConfigError(f"no node is named '{until}'; there are: {', '.join(names)}")
        self._until = until
        take_turns()
        for running in self._nodes:
            running.thread = threading.Thread(target=self._run, args=(running,), daemon=True)
            running.thread.name = running.entry.name
            running.thread.start()

    @property
    def alive(self) -> tuple[str, ...]:
        """Names of the nodes that run."""
        return tuple(running.entry.name for running in self._nodes if running.thread.is_alive())

    @property
    def failures(self) -> tuple[str, ...]:
        """`name: reason` of each node that ended by itself with an error."""
        return tuple(f"{running.entry.name}: {running.failure}" for running in self._nodes if running.failure)

    def wait(self, seconds: float) -> bool:
        """Wait for the nodes to end; returns whether all have, or the one that `start` was told of."""
        awaited = [running for running in self._nodes if self._until in (None, running.entry.name)]
        for running in awaited:
            running.thread.join(seconds / len(awaited))
        return not any(running.thread.is_alive() for running in awaited)

    def stop(self) -> tuple[str, ...]:
        """Stop the nodes in the reverse of their order, each after the one before has closed.

        Returns:
            names of those that did not end in time; they are threads of this process and end with it.
        """
        stuck = []
        for running in reversed(self._nodes):
            running.context.end()
            running.thread.join(_STOP_S)
            if running.thread.is_alive():
                stuck.append(running.entry.name)
        return tuple(stuck)

    def _run(self, running: _Running) -> None:
        entry = running.entry
        try:
            with own_default_context(running.context):
                self._mains[entry.executable]([entry.executable, *entry.command_line()])
        except SystemExit as end:
            if end.code not in (0, None):
                running.failure = f"ended with exit code {end.code}"
        except Exception as error:  # a node's bug must not take the others with it
            running.failure = f"{type(error).__name__}: {error}"
            _log.error("%s died\n%s", entry.name, traceback.format_exc())


def _refuse_same_names(launch: LaunchFile) -> None:
    names: set[str] = set()
    for entry in launch.nodes:
        name = f"/{entry.namespace}/{entry.name}".replace("//", "/")
        if name in names:
            raise ConfigError(f"{launch.path} starts two nodes named {name}; give one another name")
        names.add(name)
    if not names:
        raise ConfigError(f"{launch.path} starts no node with these arguments")


def _main_of(entry: NodeEntry) -> Main:
    """The function behind a console script of this package.

    Raises:
        ConfigError: there is no such script; names those there are.
    """
    scripts = {
        script.name: script.value
        for script in entry_points(group="console_scripts")
        if script.value.startswith("spatialbot_ros.nodes.")
    }
    if entry.executable not in scripts:
        raise ConfigError(f"there is no node '{entry.executable}'; there are: {', '.join(sorted(scripts))}")
    module, _, function = scripts[entry.executable].partition(":")
    found: Main = getattr(importlib.import_module(module), function)
    return found
