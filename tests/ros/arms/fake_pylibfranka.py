"""Stands in for pylibfranka: a robot whose address is a folder; files in it make faults and tell what came.

`refuse` refuses the connection, `reflex` causes a reflex (the file goes with the recovery), `user_stop` is
the button while it exists, `stuck` lets the recovery fail. `commands.txt` gets one line of seven joints for
each command, `finished` says that a motion was ended in order. With `kinematics` the tool is
where an FR3 has it.
"""

from __future__ import annotations

import enum
import time
from pathlib import Path
from typing import Any

import numpy as np

from spatialbot_ros.logic.arm_models import FR3
from spatialbot_ros.logic.kinematics import ArmKinematics
from spatialbot_ros.logic.pose import matrix

HOME = [0.0, -0.785, 0.0, -2.356, 0.0, 1.571, 0.785]


class ControlException(RuntimeError):
    """A motion was cut off."""


class NetworkException(RuntimeError):
    """No connection."""


class CommandException(RuntimeError):
    """A command was refused."""


class RealtimeConfig(enum.Enum):
    kEnforce = 0
    kIgnore = 1


class ControllerMode(enum.Enum):
    JointImpedance = 0
    CartesianImpedance = 1


class RobotMode(enum.Enum):
    Idle = 1
    Move = 2
    Reflex = 4
    UserStopped = 5


class Errors:
    """Two of libfranka's flags."""

    def __init__(self, reflex: bool = False) -> None:
        self._reflex = reflex

    @property
    def cartesian_reflex(self) -> bool:
        return self._reflex

    @property
    def joint_reflex(self) -> bool:
        return False


class Duration:
    def to_sec(self) -> float:
        return 0.001


class JointPositions:
    def __init__(self, q: list[float]) -> None:
        self.q = q
        self.motion_finished = False


class RobotState:
    def __init__(self, q: list[float], mode: RobotMode, kinematics: Any) -> None:
        self.q = self.q_d = list(q)
        self.robot_mode = mode
        self.current_errors = Errors(mode is RobotMode.Reflex)
        # turned by half a turn about x, at 0.5, 0.1, 0.4: column by column
        self.O_T_EE = [1.0, 0, 0, 0, 0, -1, 0, 0, 0, 0, -1, 0, 0.5, 0.1, 0.4, 1]
        if kinematics is not None:
            pose = kinematics.forward(np.array(q))
            frame = np.eye(4)
            frame[:3, :3], frame[:3, 3] = matrix(pose.quaternion_xyzw), pose.position_m
            self.O_T_EE = frame.T.ravel().tolist()


class Robot:
    def __init__(self, address: str, realtime: RealtimeConfig) -> None:
        self.folder = Path(address)
        if (self.folder / "refuse").exists():
            raise NetworkException("libfranka: connection refused")
        self.q = list(HOME)
        self.moving = False
        self.kinematics = None
        if (self.folder / "kinematics").exists():
            self.kinematics = ArmKinematics(FR3)

    def mode(self) -> RobotMode:
        if (self.folder / "user_stop").exists():
            return RobotMode.UserStopped
        if (self.folder / "reflex").exists():
            return RobotMode.Reflex
        return RobotMode.Move if self.moving else RobotMode.Idle

    def read_once(self) -> RobotState:
        if self.moving:
            raise RuntimeError("read_once during a motion")
        return RobotState(self.q, self.mode(), self.kinematics)

    def automatic_error_recovery(self) -> None:
        if (self.folder / "stuck").exists():
            raise CommandException("libfranka: recovery not possible")
        (self.folder / "reflex").unlink(missing_ok=True)

    def start_joint_position_control(self, mode: ControllerMode) -> ActiveControl:
        if self.mode() is not RobotMode.Idle:
            raise CommandException("libfranka: command rejected in this mode")
        self.moving = True
        return ActiveControl(self)


class ActiveControl:
    def __init__(self, robot: Robot) -> None:
        self.robot = robot
        self.log: Any = (robot.folder / "commands.txt").open("a")

    def readOnce(self) -> tuple[RobotState, Duration]:  # noqa: N802 - libfranka's name
        time.sleep(0.001)
        mode = self.robot.mode()
        if mode is not RobotMode.Move:
            self.robot.moving = False
            raise ControlException(f"libfranka: motion aborted, {mode.name}")
        return RobotState(self.robot.q, mode, self.robot.kinematics), Duration()

    def writeOnce(self, command: JointPositions) -> None:  # noqa: N802 - libfranka's name
        self.robot.q = list(command.q)
        self.log.write(" ".join(repr(value) for value in command.q) + "\n")
        self.log.flush()
        if command.motion_finished:
            self.robot.moving = False
            (self.robot.folder / "finished").touch()
