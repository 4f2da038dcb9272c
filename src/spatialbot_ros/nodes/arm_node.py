"""The arm node: actions of the policy or a person in, guarded commands out; nobody else moves the robot."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from spatialbot_policy.errors import SpatialBotError
from spatialbot_ros.arms.backend import NOT_READY
from spatialbot_ros.arms.choose import make_backend
from spatialbot_ros.arms.gripper import make_gripper
from spatialbot_ros.convert.actions import to_action
from spatialbot_ros.convert.stamps import stamp_ns
from spatialbot_ros.convert.states import to_arm_joints, to_pose
from spatialbot_ros.convert.status import is_ok
from spatialbot_ros.logic.arm_motion import ArmMotion
from spatialbot_ros.logic.arm_supervisor import JOINTS, POSE, ArmSupervisor, Change, Mode
from spatialbot_ros.logic.pose_history import PoseHistory
from spatialbot_ros.logic.reasons import Reason, Refusal
from spatialbot_ros.logic.safety import guard_for
from spatialbot_ros.nodes.arm_parameters import ArmParameters
from spatialbot_ros.nodes.arm_telling import ArmTelling
from spatialbot_ros.nodes.parameters import Parameters
from spatialbot_ros.nodes.reporting import STATUS_QOS
from spatialbot_ros.nodes.running import run

_POSES_KEPT = 2000  # two seconds at the robot's 1 kHz: longer than any action's age
_NEWEST = QoSProfile(depth=1)


class ArmNode(Node):
    """Guards the robot.

    It starts holding; the resume service lets the policy in, hold stops, recover releases a fault. Whatever
    ends a motion makes it send one hold command.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("arm_node", **kwargs)
        parameters: Parameters[ArmParameters] = Parameters(self, ArmParameters)
        self._settings = parameters.value
        self._telling = ArmTelling(self, self._settings)
        guard = guard_for(self._settings.arm, self._settings.guard)
        self._motion = ArmMotion(guard, PoseHistory(_POSES_KEPT, self._settings.silences.pose_ns))
        parameters.on_change(lambda settings: self._motion.relimit(settings.guard))
        self._gripper = make_gripper(self, self._settings.gripper)
        # last of what may be refused: it may hold on to the robot
        self._backend = make_backend(self, self._settings.backend_settings)
        self._supervisor = ArmSupervisor(
            self._settings.silences, self._on_change, ready=self._settings.autostart
        )
        self._waiting: tuple[JointState, int] | None = None
        self._action_stamp_ns = 0
        self._stamps: dict[str, int] = {}
        self._recovery_ends_ns: int | None = None
        self._cleared = False
        self._closed = False
        self._connect()
        self._show()

    def close(self) -> None:
        """Stop moving: the hold command is the last message to the robot."""
        if self._closed:
            return
        self._closed = True
        self._supervisor.hold(Refusal(Reason.SHUTDOWN, "the arm node ends"))
        self._backend.close()

    def _connect(self) -> None:
        settings = self._settings
        state = QoSProfile(
            depth=10,
            reliability=ReliabilityPolicy.RELIABLE
            if settings.state_reliability == "reliable"
            else ReliabilityPolicy.BEST_EFFORT,
        )
        self.create_subscription(PoseStamped, settings.pose_topic, self._on_pose, state)
        self.create_subscription(JointState, settings.joints_topic, self._on_joints, state)
        self.create_subscription(
            DiagnosticStatus, settings.policy_status_topic, self._on_policy_status, STATUS_QOS
        )
        self.create_subscription(JointState, settings.action_topic, self._on_action, _NEWEST)
        self.create_subscription(JointState, settings.teleop_topic, self._on_teleop, _NEWEST)
        for name, callback in (
            ("hold", self._on_hold),
            ("resume", self._on_resume),
            ("recover", self._on_recover),
        ):
            self.create_service(Trigger, f"/spatialbot/arm/{name}", callback)
        self.create_timer(1.0 / settings.watch_rate_hz, self._watch)
        if not settings.one_command_per_action:
            self.create_timer(settings.command_period_s, self._on_command_timer)

    # -- the robot's state

    def _on_pose(self, message: PoseStamped) -> None:
        frame = message.header.frame_id
        if frame not in ("", self._settings.base_frame):
            detail = f"poses are in frame '{frame}', 'base_frame' is '{self._settings.base_frame}'"
            self._supervisor.fault(Refusal(Reason.STATE_INVALID, detail))
            return
        try:
            self._motion.pose(stamp_ns(message.header), to_pose(message))
        except SpatialBotError as error:
            self._supervisor.fault(Refusal(Reason.STATE_INVALID, str(error)))
            return
        self._heard(POSE, stamp_ns(message.header))

    def _on_joints(self, message: JointState) -> None:
        if self._settings.joint_names[0] not in message.name:
            return  # the gripper may publish its own joints on the same topic
        try:
            joints = to_arm_joints(message, self._settings.joint_names)
        except SpatialBotError as error:
            self._supervisor.fault(Refusal(Reason.STATE_INVALID, str(error)))
            return
        self._motion.joints(stamp_ns(message.header), joints)
        self._heard(JOINTS, stamp_ns(message.header))

    def _heard(self, name: str, stamp: int) -> None:
        """Count a state as a sign of life if its stamp moves on and is near the present."""
        now_ns = self._now_ns()
        if stamp != self._stamps.get(name) and abs(now_ns - stamp) <= self._settings.silences.of(name):
            self._supervisor.stream(name, now_ns)
        self._stamps[name] = stamp
        self._take_waiting()

    # -- who commands

    def _on_policy_status(self, message: DiagnosticStatus) -> None:
        self._supervisor.policy_status(is_ok(message), message.message)
        self._take_waiting()

    def _on_action(self, message: JointState) -> None:
        now_ns = self._now_ns()
        self._telling.action_came(now_ns)
        if self._supervisor.mode in (Mode.READY, Mode.FOLLOWING):
            self._waiting = (message, now_ns)
            self._take_waiting()

    def _on_teleop(self, message: JointState) -> None:
        now_ns = self._now_ns()
        if self._supervisor.admit_teleop(now_ns, able=self._robot_refusal(now_ns) is None):
            self._follow(message, now_ns)

    def _take_waiting(self) -> None:
        """Follow the policy's newest action once everything else was heard: topics come in any order."""
        if self._waiting is None:
            return
        (message, arrived_ns), now_ns = self._waiting, self._now_ns()
        age_ns = now_ns - stamp_ns(message.header)
        if now_ns > arrived_ns and age_ns > self._settings.guard.max_action_age_ms * 1e6:
            self._waiting = None  # it became old by waiting; a new one comes
        elif self._supervisor.admit_policy(now_ns, able=self._robot_refusal(now_ns) is None):
            self._waiting = None
            self._follow(message, now_ns)

    # -- commands

    def _follow(self, message: JointState, now_ns: int) -> None:
        """Make an admitted action the goal; without a command timer also command it."""
        self._publish_executed()
        self._action_stamp_ns = stamp_ns(message.header)
        self._telling.action_taken(self._action_stamp_ns)
        try:
            vector, terminate = to_action(message)
        except SpatialBotError as error:
            self._supervisor.fault(Refusal(Reason.ACTION_INVALID, str(error)))
            return
        refusal = self._motion.accept(vector, self._action_stamp_ns, now_ns, terminate)
        if refusal is not None:
            self._refuse(refusal)
        elif self._settings.one_command_per_action and self._command(now_ns):
            self._publish_executed()

    def _on_command_timer(self) -> None:
        # in FOLLOWING and TELEOP there is a goal, or the mode has changed
        if self._supervisor.moving:
            self._command(self._now_ns())

    def _command(self, now_ns: int) -> bool:
        """Send the guard's next command; tells whether there was one."""
        reading = self._motion.reading
        verdict = self._motion.advance(now_ns, self._settings.command_period_s)
        command = verdict.command
        if command is None or reading is None:
            self._refuse(verdict.refusal or Refusal(Reason.NOT_STARTED, "the robot has not been heard"))
            return False
        if self._settings.one_command_per_action:
            command = dataclasses.replace(command, stamp_ns=self._action_stamp_ns)
        try:
            self._backend.send(command, reading)
            self._gripper.command(command.gripper_closure, now_ns)
        except SpatialBotError as error:
            self._supervisor.fault(Refusal(Reason.BACKEND_ERROR, str(error)))
            return False
        self._telling.commanded(verdict.clamped)
        return True

    def _refuse(self, refusal: Refusal) -> None:
        """Stop for the guard's reason: until `recover` if it latched, or if the robot's pose is lost."""
        if self._motion.latched is not None or refusal.reason is Reason.POSE_STOPPED:
            self._supervisor.fault(refusal)
        else:
            self._supervisor.hold(refusal)

    def _publish_executed(self) -> None:
        done = self._motion.finish()
        if done is not None:
            self._telling.executed(done)

    # -- faults

    def _watch(self) -> None:
        """Look for silence, for the robot's own faults, and for somebody else on its topics."""
        now_ns = self._now_ns()
        self._take_waiting()
        self._supervisor.tick(now_ns)
        refusal = self._robot_refusal(now_ns)
        if refusal is not None and (self._supervisor.moving or refusal.reason not in NOT_READY):
            self._supervisor.fault(refusal)
        if self._recovery_ends_ns is not None:
            self._end_recovery(now_ns)

    def _robot_refusal(self, now_ns: int) -> Refusal | None:
        """Why robot or gripper cannot move."""
        for topic in self._backend.topics:
            count = self.count_publishers(topic)
            if count > 1:
                detail = f"{count} publishers on {topic}, the arm node must be the only one; end the others"
                return Refusal(Reason.SECOND_PUBLISHER, detail)
        return self._backend.status(now_ns) or self._gripper.status(now_ns)

    def _end_recovery(self, now_ns: int) -> None:
        """Release the latch once the robot is well; give up after a time."""
        refusal = self._robot_refusal(now_ns)
        if self._cleared and (refusal is None or refusal.reason in NOT_READY):
            self._recovery_ends_ns = None
            self._motion.recover()
            self._supervisor.recover()
        elif self._recovery_ends_ns is not None and now_ns > self._recovery_ends_ns:
            self._recovery_ends_ns = None
            detail = "there was no answer to the recovery; call the recover service again"
            self._telling.stopped(refusal or Refusal(Reason.ROBOT_ERROR, detail))

    def _on_cleared(self, refusal: Refusal | None) -> None:
        if refusal is None:
            self._cleared = True
        elif self._recovery_ends_ns is not None:
            self._recovery_ends_ns = None
            self._telling.stopped(refusal)

    # -- services

    def _on_hold(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._supervisor.hold(Refusal(Reason.OPERATOR_HOLD, "call the resume service to go on"))
        response.success, response.message = True, str(self._supervisor.refusal)
        return response

    def _on_resume(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        now_ns = self._now_ns()
        holding = self._supervisor.mode is Mode.HOLDING
        refusal = (self._robot_refusal(now_ns) if holding else None) or self._supervisor.resume(now_ns)
        response.success = refusal is None
        response.message = str(self._supervisor.mode) if refusal is None else str(refusal)
        return response

    def _on_recover(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = True
        if self._supervisor.mode is not Mode.STOPPED:
            response.message = "there is no fault"
            return response
        if self._recovery_ends_ns is None:
            now_ns = self._now_ns()
            self._recovery_ends_ns = now_ns + round(self._settings.recovery_timeout_s * 1e9)
            self._cleared = False
            self._gripper.restart()
            self._backend.recover(self._on_cleared)
            if self._recovery_ends_ns is not None:
                self._end_recovery(now_ns)
        still = self._supervisor.mode is Mode.STOPPED
        response.message = "recovering; see the status" if still else str(self._supervisor.refusal)
        return response

    # -- what is told

    def _on_change(self, change: Change) -> None:
        if change.ends_motion:
            self._publish_executed()
            self._hold()
        if change.after not in (Mode.READY, Mode.FOLLOWING):
            self._waiting = None
        if change.after is Mode.READY:
            # the gripper may have been moved by others: its next closure is sent in any case
            self._gripper.restart()
        self._show()

    def _hold(self) -> None:
        """Tell the robot to stand still, once."""
        command = self._motion.hold_command(self._now_ns(), self._settings.silences.pose_ns)
        self._motion.restart()
        self._telling.action_dropped()
        if command is None:
            return
        try:
            self._backend.hold(command)
        except SpatialBotError as error:
            # the robot's own driver stops it; here it must at least be seen
            self.get_logger().error(f"the hold command could not be sent: {error}")

    def _show(self) -> None:
        self._telling.state(self._supervisor.mode, self._supervisor.refusal)

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)


def main(args: Sequence[str] | None = None) -> None:
    """Run the node."""
    run(ArmNode, args)


if __name__ == "__main__":
    main()
