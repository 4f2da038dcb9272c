"""What the arm node and the robot's own process tell each other, as records of numbers."""

from __future__ import annotations

import mmap
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from spatialbot_policy.types import FloatArray
from spatialbot_ros.arms.newest_record import NewestRecord

_ORDER_WIDTH = 3 + 7
_STATE_WIDTH = 4 + 7 + 12


class Task(IntEnum):
    """What the process shall do."""

    WAIT = 0
    """Stand still and read the robot's state; a motion comes to rest."""
    FOLLOW = 1
    """Move towards the newest target."""
    END = 2
    """Come to rest and end."""


class Phase(IntEnum):
    """What the process does."""

    CONNECTING = 0
    READING = 1
    CONTROL = 2
    FAULT = 3
    """Something went wrong: it reads the state and waits for a recovery."""


@dataclass(frozen=True, eq=False)
class Order:
    """From the arm node.

    Attributes:
        task: what to do.
        recovery: number of the newest recovery that was asked for.
        written_s: when, on the monotonic clock that both processes share.
        target_rad: (7,) where to move.
    """

    task: Task = Task.WAIT
    recovery: int = 0
    written_s: float = 0.0
    target_rad: FloatArray = field(default_factory=lambda: np.zeros(7))


@dataclass(frozen=True, eq=False)
class State:
    """From the process.

    Attributes:
        phase: what it does.
        tick: counts the states.
        recovery: number of the newest recovery that was tried.
        robot_mode: libfranka's number.
        joints_rad: (7,) measured.
        tool: (4, 4) measured tool frame in the base frame (O_T_EE).
        text: what went wrong, or the robot's error flags, separated by commas.
    """

    phase: Phase
    tick: int
    recovery: int
    robot_mode: int
    joints_rad: FloatArray
    tool: FloatArray
    text: str = ""


class Link:
    """Both directions in one piece of shared memory."""

    SIZE = NewestRecord.size(_ORDER_WIDTH) + NewestRecord.size(_STATE_WIDTH)

    def __init__(self, memory: mmap.mmap) -> None:
        self._orders = NewestRecord(memory, 0, _ORDER_WIDTH)
        self._states = NewestRecord(memory, NewestRecord.size(_ORDER_WIDTH), _STATE_WIDTH)

    def send_order(self, order: Order) -> None:
        """Replace the order."""
        self._orders.write(np.concatenate([[order.task, order.recovery, order.written_s], order.target_rad]))

    def order(self) -> Order:
        """The newest order; to wait before the first."""
        record = self._orders.read()
        if record is None:
            return Order()
        task, recovery, written_s = record.numbers[:3].tolist()
        return Order(Task(int(task)), int(recovery), written_s, record.numbers[3:])

    def send_state(self, state: State) -> None:
        """Replace the state."""
        head = [state.phase, state.tick, state.recovery, state.robot_mode]
        # the tool's frame without its last row, which is 0, 0, 0, 1
        body = [state.joints_rad, state.tool[:3].ravel()]
        self._states.write(np.concatenate([head, *body]), state.text)

    def state(self) -> State | None:
        """The newest state; None before the first."""
        record = self._states.read()
        if record is None:
            return None
        phase, tick, recovery, mode = (int(value) for value in record.numbers[:4])
        tool = np.eye(4)
        tool[:3] = record.numbers[11:23].reshape(3, 4)
        return State(Phase(phase), tick, recovery, mode, record.numbers[4:11], tool, record.text)
