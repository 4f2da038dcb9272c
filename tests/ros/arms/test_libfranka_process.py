"""The process beside the robot, whole, with a stand-in for pylibfranka."""

from __future__ import annotations

import json
import mmap
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from tests.ros.arms.fake_pylibfranka import HOME

from spatialbot_ros.arms.libfranka_link import Link, Order, Phase, State, Task
from spatialbot_ros.arms.libfranka_process import ProcessSettings, column_major

ROOT = Path(__file__).parents[3]
TARGET = np.array(HOME) + 0.3

# a node of its own process: starts the process beside the robot as its child, and waits
STARTER = """
import json, os, subprocess, sys
descriptor, module, text = sys.argv[1:]
settings = json.dumps({**json.loads(text), "parent": os.getpid()})
words = [sys.executable, "-m", module, descriptor, settings]
subprocess.Popen(words, pass_fds=(int(descriptor),)).wait()
"""


class Process:
    """The process with its link and its robot's folder."""

    def __init__(self, folder: Path, parent: int | None = None, through_parent: bool = False) -> None:
        self.folder = folder
        descriptor = os.memfd_create("test")
        os.ftruncate(descriptor, Link.SIZE)
        self.link = Link(mmap.mmap(descriptor, Link.SIZE))
        settings = ProcessSettings(
            module="tests.ros.arms.fake_pylibfranka",
            address=str(folder),
            realtime="ignore",
            target_timeout_s=0.4,
            velocity_rad_s=(2.0,) * 7,
            acceleration_rad_s2=5.0,
            jerk_rad_s3=500.0,
            gain_hz=15.0,
            parent=os.getpid() if parent is None else parent,
        )
        module = "spatialbot_ros.arms.libfranka_process"
        words = [sys.executable, "-m", module, str(descriptor), json.dumps(asdict(settings))]
        if through_parent:
            words = [sys.executable, "-c", STARTER, str(descriptor), module, json.dumps(asdict(settings))]
        self.popen = subprocess.Popen(
            words,
            pass_fds=(descriptor,),
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src"), *sys.path])},
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(descriptor)

    def order(self, task: Task, target: np.ndarray = TARGET, recovery: int = 0) -> None:
        self.link.send_order(Order(task, recovery, time.monotonic(), target))

    def until(self, condition: Callable[[State], bool], follow: bool = False) -> State:
        """Wait for a state, sending targets meanwhile if asked to."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if follow:
                self.order(Task.FOLLOW)
            state = self.link.state()
            if state is not None and condition(state):
                return state
            time.sleep(0.01)
        raise TimeoutError(f"the process stayed in {self.link.state()}")

    def commands(self) -> np.ndarray:
        return np.loadtxt(self.folder / "commands.txt", ndmin=2)


def moving(state: State) -> bool:
    return state.joints_rad[0] > 0.05


def smooth(commands: np.ndarray) -> bool:
    """Whether a motion keeps the limits, from its first to its last command."""
    velocity = np.diff(commands, axis=0) / 1e-3
    acceleration = np.diff(velocity, axis=0) / 1e-3
    ends = np.abs(velocity[[0, -1]]).max() < 1e-2
    return bool(ends and np.abs(velocity).max() <= 2.001 and np.abs(acceleration).max() <= 5.01)


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    running = Process(tmp_path)
    yield running
    running.popen.kill()
    running.popen.communicate()


def test_follows_holds_and_ends_in_order(process: Process) -> None:
    state = process.until(lambda state: state.phase is Phase.READING)
    assert state.joints_rad.tolist() == HOME
    assert state.tool[:3, 3].tolist() == [0.5, 0.1, 0.4]
    process.until(moving, follow=True)
    process.order(Task.WAIT)
    process.until(lambda state: state.phase is Phase.READING)
    assert (process.folder / "finished").exists()
    assert smooth(process.commands())
    process.until(lambda state: bool(np.abs(state.joints_rad - TARGET).max() < 1e-3), follow=True)
    process.order(Task.END)
    assert process.popen.wait(20) == 0


def test_comes_to_rest_when_targets_stop_and_waits_for_a_recovery(process: Process) -> None:
    process.until(moving, follow=True)
    state = process.until(lambda state: state.phase is Phase.FAULT)
    assert "no target for 0.4 s" in state.text
    commands = process.commands()
    assert smooth(commands)
    tick = process.until(lambda state: state.phase is Phase.FAULT, follow=True).tick
    process.until(lambda state: state.tick > tick + 10, follow=True)
    assert len(process.commands()) == len(commands), "nothing restarts by itself"
    process.order(Task.WAIT, recovery=1)
    process.until(lambda state: state.phase is Phase.READING and state.recovery == 1)
    process.until(lambda state: state.phase is Phase.CONTROL or len(process.commands()) > len(commands), True)


def test_only_a_termination_ends_it_and_smoothly(tmp_path: Path) -> None:
    process = Process(tmp_path)
    process.until(moving, follow=True)
    process.popen.send_signal(signal.SIGINT)  # Ctrl-C is meant for the node
    process.until(lambda state: state.joints_rad[0] > 0.1, follow=True)
    process.popen.terminate()
    assert process.popen.wait(20) == 0
    assert smooth(process.commands())


def test_comes_to_rest_and_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    process = Process(tmp_path, through_parent=True)
    process.until(moving, follow=True)
    process.popen.kill()
    deadline = time.monotonic() + 20
    while not (tmp_path / "finished").exists() and time.monotonic() < deadline:
        process.order(Task.FOLLOW)  # even with fresh targets
        time.sleep(0.01)
    process.popen.communicate()
    assert (tmp_path / "finished").exists()
    assert smooth(process.commands())


def test_a_process_without_its_parent_does_not_move(tmp_path: Path) -> None:
    process = Process(tmp_path, parent=1 if os.getpid() != 1 else 2)
    process.order(Task.FOLLOW)
    assert process.popen.wait(30) == 0
    assert not (tmp_path / "commands.txt").exists()


def test_a_reflex_is_reported_and_cleared_on_request_only(process: Process) -> None:
    process.until(moving, follow=True)
    (process.folder / "reflex").touch()
    state = process.until(lambda state: state.phase is Phase.FAULT, follow=True)
    assert state.robot_mode == 4
    assert "motion aborted" in state.text
    process.until(lambda later: later.tick > state.tick + 5, follow=True)
    assert (process.folder / "reflex").exists()
    process.order(Task.WAIT, recovery=1)
    state = process.until(lambda state: state.phase is Phase.READING)
    assert (state.recovery, state.robot_mode, state.text) == (1, 1, "")
    assert not (process.folder / "reflex").exists()


def test_a_recovery_that_fails_is_told(process: Process) -> None:
    process.until(lambda state: state.phase is Phase.READING)
    (process.folder / "reflex").touch()
    (process.folder / "stuck").touch()
    assert process.until(lambda state: state.robot_mode == 4).text == "cartesian_reflex"
    process.order(Task.WAIT, recovery=1)
    state = process.until(lambda state: state.phase is Phase.FAULT)
    assert (state.recovery, "recovery not possible" in state.text) == (1, True)


def test_no_connection_is_told_with_its_cause(tmp_path: Path) -> None:
    (tmp_path / "refuse").touch()
    process = Process(tmp_path)
    _, errors = process.popen.communicate(timeout=30)
    assert process.popen.returncode == 1
    assert "connection refused" in errors
    state = process.link.state()
    assert state is not None and state.phase is Phase.FAULT and "connection refused" in state.text


def test_frames_of_libfranka_run_down_the_columns() -> None:
    frame = column_major([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0.1, 0.2, 0.3, 1])
    assert frame[:3, 3].tolist() == [0.1, 0.2, 0.3]
