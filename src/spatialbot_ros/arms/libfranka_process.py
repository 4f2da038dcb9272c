"""The process beside the robot: a 1 kHz loop that follows the newest target, away from the node's Python."""

from __future__ import annotations

import gc
import importlib
import json
import mmap
import os
import signal
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from spatialbot_policy.types import FloatArray
from spatialbot_ros.arms.joint_motion import JointLimits, JointMotion
from spatialbot_ros.arms.libfranka_link import Link, Order, Phase, State, Task

TICK_S = 0.001  # the robot's own
_LONGEST_GAP = 20  # ticks; libfranka gives up before that many packets are lost in a row
_READ_EVERY_S = 0.01
_PRIORITY = 80
_REFLEX = 4


@dataclass(frozen=True)
class ProcessSettings:
    """What the arm node hands over; the fields are those of `LibfrankaSettings`.

    Attributes:
        parent: process id of the arm node: when it is gone, the motion ends.
    """

    module: str
    address: str
    realtime: str
    target_timeout_s: float
    velocity_rad_s: tuple[float, ...]
    acceleration_rad_s2: float
    jerk_rad_s3: float
    gain_hz: float
    parent: int


class RobotLoop:
    """Follows orders until it is told to end, or its parent is gone.

    Args:
        settings: of the motion.
        module: pylibfranka, or what stands in for it.
        link: to the arm node.
    """

    def __init__(self, settings: ProcessSettings, module: Any, link: Link) -> None:
        self._settings = settings
        self._module = module
        self._link = link
        self._limits = JointLimits(
            np.array(settings.velocity_rad_s),
            np.full(7, settings.acceleration_rad_s2),
            np.full(7, settings.jerk_rad_s3),
        )
        self._phase = Phase.CONNECTING
        self._fault = ""
        self._tick = 0
        self._recovery = 0
        self.asked_to_end = False

    def run(self) -> None:
        """Connect, then read or control until the end."""
        realtime = self._module.RealtimeConfig
        enforce = self._settings.realtime == "enforce"
        robot = self._module.Robot(self._settings.address, realtime.kEnforce if enforce else realtime.kIgnore)
        self._recovery = self._link.order().recovery
        self._phase = Phase.READING
        while not self._ending(order := self._link.order()):
            try:
                if order.recovery != self._recovery:
                    self._recover(robot, order)
                elif order.task is Task.FOLLOW and self._phase is not Phase.FAULT:
                    self._control(robot)
                else:
                    self._publish(robot.read_once())
                    time.sleep(_READ_EVERY_S)
            except RuntimeError as error:  # the base of every exception of libfranka
                self._fail(str(error))
                self._publish(robot.read_once())

    def _control(self, robot: Any) -> None:
        """Follow targets until the order changes; leaves the joints at rest."""
        control = robot.start_joint_position_control(self._module.ControllerMode.JointImpedance)
        state, _ = control.readOnce()
        motion = JointMotion(np.array(state.q_d), self._limits, self._settings.gain_hz)
        self._phase = Phase.CONTROL
        finished = False
        while not finished:
            order = self._link.order()
            going = order.task is Task.FOLLOW and not self._fault and not self._ending(order)
            if going and time.monotonic() - order.written_s > self._settings.target_timeout_s:
                self._fault = f"no target for {self._settings.target_timeout_s:g} s: is the arm node stuck?"
                going = False
            finished = not going and motion.at_rest
            command = self._module.JointPositions(motion.position.tolist())
            command.motion_finished = finished
            control.writeOnce(command)
            if finished:
                break
            state, duration = control.readOnce()
            self._publish(state)
            for _ in range(min(max(1, round(duration.to_sec() / TICK_S)), _LONGEST_GAP)):
                if going:
                    motion.towards(order.target_rad, TICK_S)
                else:
                    motion.to_rest(TICK_S)
        self._phase = Phase.FAULT if self._fault else Phase.READING

    def _recover(self, robot: Any, order: Order) -> None:
        """Clear the robot's errors, once for each request."""
        self._recovery = order.recovery
        self._fault, self._phase = "", Phase.READING
        state = robot.read_once()
        if state.robot_mode.value == _REFLEX or _error_names(state.current_errors):
            robot.automatic_error_recovery()

    def _ending(self, order: Order) -> bool:
        return self.asked_to_end or order.task is Task.END or os.getppid() != self._settings.parent

    def _fail(self, text: str) -> None:
        self._fault, self._phase = text, Phase.FAULT

    def _publish(self, state: Any) -> None:
        self._tick += 1
        text = ", ".join(_error_names(state.current_errors))
        if self._phase is Phase.FAULT:
            text = self._fault
        self._link.send_state(
            State(
                self._phase,
                self._tick,
                self._recovery,
                state.robot_mode.value,
                np.array(state.q),
                column_major(state.O_T_EE),
                text,
            )
        )


def column_major(values: Any) -> FloatArray:
    """(4, 4) matrix of libfranka's sixteen numbers, which run down the columns."""
    return np.array(values, dtype=np.float64).reshape(4, 4).T


def _error_names(errors: Any) -> list[str]:
    names = (name for name in dir(type(errors)) if not name.startswith("_"))
    return [name for name in names if getattr(errors, name) is True]


def _be_punctual(settings: ProcessSettings) -> None:
    """Keep the garbage collector and, where asked, the scheduler out of the loop."""
    gc.collect()
    gc.freeze()
    gc.disable()
    if settings.realtime == "enforce":
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))


def main(arguments: list[str]) -> int:
    """Run the loop; arguments are the descriptor of the shared memory and the settings as JSON."""
    settings = ProcessSettings(**json.loads(arguments[1]))
    link = Link(mmap.mmap(int(arguments[0]), Link.SIZE))
    # Ctrl-C reaches the whole terminal: the arm node decides when the motion ends
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        loop = RobotLoop(settings, importlib.import_module(settings.module), link)

        def end(number: int, frame: Any) -> None:
            loop.asked_to_end = True

        signal.signal(signal.SIGTERM, end)
        _be_punctual(settings)
        loop.run()
    except (ImportError, RuntimeError, OSError) as error:
        text = _explained(error, settings)
        link.send_state(State(Phase.FAULT, 0, 0, 0, np.zeros(7), np.eye(4), text))
        print(f"libfranka_process: {text}", file=sys.stderr)
        return 1
    return 0


def _explained(error: Exception, settings: ProcessSettings) -> str:
    if isinstance(error, ImportError):
        return f"{error}; install it with: pip install pylibfranka"
    if isinstance(error, PermissionError):
        return (
            f"{error}: real-time priority is not allowed; give the user rtprio 99 in "
            "/etc/security/limits.d, or set 'libfranka.realtime' to 'ignore'"
        )
    return f"{settings.address}: {error}"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
