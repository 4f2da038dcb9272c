"""From admitted actions to guarded commands: one goal at a time, and what of it was really sent."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from spatialbot_policy.types import ActionStep, FloatArray
from spatialbot_ros.logic.action_target import delta_between, target_pose
from spatialbot_ros.logic.guard_limits import GuardLimits
from spatialbot_ros.logic.pose import Pose
from spatialbot_ros.logic.pose_history import PoseHistory
from spatialbot_ros.logic.reasons import Reason, Refusal
from spatialbot_ros.logic.safety import Command, Guard, RobotReading, Verdict

_SET_BACK_NS = 1_000_000_000


@dataclass(frozen=True)
class Executed:
    """What the guard let out for one action.

    Attributes:
        stamp_ns: of the action's observation.
        action: relative to the tool pose at that stamp; the action itself, bit by bit, where nothing was
            clamped.
    """

    stamp_ns: int
    action: ActionStep


@dataclass(frozen=True)
class _Goal:
    stamp_ns: int
    measured: Pose
    action: ActionStep
    target: Pose
    sent: Command | None = None


class ArmMotion:
    """Keeps the robot's newest state and the newest action's target, and asks the guard for commands.

    Args:
        guard: the choke point that every command passes.
        history: takes the measured tool poses.
    """

    def __init__(self, guard: Guard, history: PoseHistory) -> None:
        self._guard = guard
        self._history = history
        self._pose: tuple[int, Pose] | None = None
        self._joints: tuple[int, FloatArray] | None = None
        self._goal: _Goal | None = None
        self._last: Command | None = None

    def relimit(self, limits: GuardLimits) -> None:
        """Go on under other limits; a latched refusal stays, a motion starts again from rest.

        Raises:
            ConfigError: a limit is outside its range; the old ones hold.
        """
        self._guard.relimit(limits)

    @property
    def latched(self) -> Refusal | None:
        """The refusal that the guard latched."""
        return self._guard.latched

    @property
    def reading(self) -> RobotReading | None:
        """Newest pose and joints, with the older of their stamps; None until both were heard."""
        if self._pose is None or self._joints is None:
            return None
        return RobotReading(min(self._pose[0], self._joints[0]), self._pose[1], self._joints[1])

    def pose(self, stamp_ns: int, pose: Pose) -> None:
        """The tool's pose was measured; a stamp far behind the newest means that time was set back."""
        newest = self._history.newest_stamp_ns
        if newest is not None and newest - stamp_ns > _SET_BACK_NS:
            self._history.clear()
        self._history.push(stamp_ns, pose)
        self._pose = (stamp_ns, pose)

    def joints(self, stamp_ns: int, joints_rad: FloatArray) -> None:
        """The seven joints were measured."""
        self._joints = (stamp_ns, joints_rad)

    def accept(
        self, vector: FloatArray, stamp_ns: int, now_ns: int, terminate: bool = False
    ) -> Refusal | None:
        """Make an action's target the goal; returns why not.

        Args:
            vector: (7,) untrusted numbers, as `ActionStep.as_vector` orders them.
            stamp_ns: of the observation that the action answers.
            now_ns: present time.
            terminate: the action's flag; it is only passed on to what was executed.
        """
        admitted = self._guard.admit(vector, stamp_ns, now_ns)
        if isinstance(admitted, Refusal):
            return admitted
        measured = self._history.at(stamp_ns)
        if isinstance(measured, Refusal):
            return measured
        action = dataclasses.replace(admitted, terminate=terminate)
        self._goal = _Goal(stamp_ns, measured, action, target_pose(measured, action))
        return None

    def advance(self, now_ns: int, duration_s: float) -> Verdict:
        """The guard's command for the next `duration_s` towards the goal."""
        goal, reading = self._goal, self.reading
        if goal is None or reading is None:
            return Verdict(None, (), Refusal(Reason.NOT_STARTED, "there is no action to follow"))
        verdict = self._guard.advance(goal.target, goal.action.gripper_closure, reading, now_ns, duration_s)
        if verdict.command is not None:
            self._last = verdict.command
            self._goal = dataclasses.replace(goal, sent=verdict.command)
        return verdict

    def finish(self) -> Executed | None:
        """End the goal; returns what was sent for it, None if nothing was."""
        goal, self._goal = self._goal, None
        if goal is None or goal.sent is None:
            return None
        sent, action = goal.sent, goal.action
        if sent.pose != goal.target:
            translation, rotation = delta_between(goal.measured, sent.pose)
            action = ActionStep(translation, rotation, sent.gripper_closure, action.terminate)
        elif sent.gripper_closure != action.gripper_closure:
            action = dataclasses.replace(action, gripper_closure=sent.gripper_closure)
        return Executed(goal.stamp_ns, action)

    def hold_command(self, now_ns: int, max_age_ns: int) -> Command | None:
        """Where to stand still: the measured state if it is fresh, else the last command, else None."""
        reading, last = self.reading, self._last
        if reading is not None and abs(now_ns - reading.stamp_ns) <= max_age_ns:
            closure = 0.0 if last is None else last.gripper_closure
            return Command(now_ns, reading.pose, reading.joints_rad, closure)
        return None if last is None else dataclasses.replace(last, stamp_ns=now_ns)

    def restart(self) -> None:
        """Forget the goal and the last command: the next motion starts from the measured pose."""
        self._goal = None
        self._last = None
        self._guard.restart()

    def recover(self) -> None:
        """Release the guard's latch and start afresh."""
        self._guard.recover()
        self.restart()
