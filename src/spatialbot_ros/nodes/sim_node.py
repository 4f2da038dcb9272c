"""sim_node: SpatialPickPlace as camera and robot of the graph, in lock-step with it or in real time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from control_msgs.action import GripperCommand
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from rclpy.action import ActionServer
from rclpy.action.server import GoalResponse
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger

from spatialbot_policy.errors import ActionError
from spatialbot_ros.convert.actions import to_action
from spatialbot_ros.convert.stamps import stamp_ns
from spatialbot_ros.convert.states import to_pose
from spatialbot_ros.logic.action_target import FINGER_TRAVEL_M, opening_m
from spatialbot_ros.logic.pose import Pose
from spatialbot_ros.logic.reasons import Reason, Refusal
from spatialbot_ros.nodes.parameters import Parameters
from spatialbot_ros.nodes.reporting import REASON_KEY, STATUS_QOS, Reporter
from spatialbot_ros.nodes.running import run
from spatialbot_ros.nodes.sim_episodes import Ending, EpisodeDriver, Phase
from spatialbot_ros.nodes.sim_lockstep import Lockstep
from spatialbot_ros.nodes.sim_parameters import LOCKSTEP, SimParameters
from spatialbot_ros.nodes.sim_streams import SimStreams, restamped
from spatialbot_sim.task.failures import failure_kind
from spatialbot_sim.task.robot import EPISODE_START_NS, SimRobot

_CLOCK_LEAD_S = 0.01
_RETRY_NS = 100_000_000
_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_OUTCOMES = QoSProfile(depth=1000, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class SimNode(Node):
    """Publishes pictures and state with simulated time, and carries out the arm's commands.

    In lock-step nothing moves until the command for the last picture is complete; in real time the newest
    target is followed at the control rate. With `episodes` it plays scenes: it starts the policy, lets it in,
    stops it at the end, and publishes how it ended.

    Args:
        robot: a simulator that is there already; None to make one.
        kwargs: for the node.
    """

    def __init__(self, robot: SimRobot | None = None, **kwargs: Any) -> None:
        super().__init__("sim_node", **kwargs)
        self.parameters: SimParameters = Parameters(self, SimParameters).value
        values = self.parameters
        self._owns_robot = robot is None
        self._robot = robot or SimRobot(
            family=values.family,
            phrasing=values.phrasing,
            image_size=values.image_size,
            wrist_camera=values.wrist_camera,
        )
        self._period_ns = round(1e9 / self._robot.rate_hz)
        self._stamp_ns = EPISODE_START_NS - self._period_ns
        self._target: Pose | None = None
        self._finger_m = opening_m(0.0)
        # half a period: the timer that asks comes once a period, a little early or late
        self._lockstep = Lockstep(self._period_ns // 2, round(values.patience_s * 1e9))
        seeds = range(values.first_seed, values.first_seed + values.episodes)
        self._driver = EpisodeDriver(seeds, values.max_steps, _RETRY_NS, round(values.start_timeout_s * 1e9))
        self._successes = 0
        self._clock_told_s: float | None = None
        self._announced_end = False
        self._connect(values)
        self._report = Reporter(self, "sim")
        if values.episodes:
            self._lead_episode(time.monotonic_ns())
        else:
            self._build(values.first_seed)
        # wall time: this node makes simulated time
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(self._period_ns * 1e-9, self._tick, clock=steady)

    def _connect(self, values: SimParameters) -> None:
        self._streams = SimStreams(self, values, self._robot.intrinsics)
        self._instruction = self.create_publisher(String, values.instruction_topic, _LATCHED)
        self._outcomes = self.create_publisher(String, values.outcome_topic, _OUTCOMES)
        self.create_subscription(PoseStamped, values.target_topic, self._on_target, 10)
        self.create_subscription(JointState, values.executed_topic, self._on_executed, 10)
        self.create_subscription(
            DiagnosticStatus, f"{values.policy}/status", self._on_policy_status, STATUS_QOS
        )
        self.create_subscription(DiagnosticStatus, f"{values.arm}/status", self._on_arm_status, STATUS_QOS)
        self._gripper = ActionServer(
            self,
            GripperCommand,
            values.gripper_action,
            execute_callback=self._on_gripper,
            goal_callback=self._on_gripper_goal,
        )
        services = {
            Phase.START: f"{values.policy}/start",
            Phase.STOP: f"{values.policy}/stop",
            Phase.RECOVER: f"{values.arm}/recover",
            Phase.RESUME: f"{values.arm}/resume",
        }
        self._calls = {phase: self.create_client(Trigger, name) for phase, name in services.items()}

    # -- what arrives

    def _on_target(self, message: PoseStamped) -> None:
        try:
            pose = to_pose(message)
        except ActionError as error:
            self.get_logger().error(f"{self.parameters.target_topic}: {error}")
            return
        self._target = pose
        self._lockstep.target(stamp_ns(message), pose)
        self._follow()

    def _on_executed(self, message: JointState) -> None:
        try:
            vector, terminate = to_action(message)
        except ActionError as error:
            self.get_logger().error(f"{self.parameters.executed_topic}: {error}")
            return
        self._lockstep.executed(stamp_ns(message), float(vector[6]), terminate)
        self._follow()

    def _on_gripper_goal(self, goal: GripperCommand.Goal) -> GoalResponse:
        position_m = float(goal.command.position)
        if not 0.0 <= position_m <= FINGER_TRAVEL_M:
            self.get_logger().error(
                f"{self.parameters.gripper_action}: a finger goes 0 .. {FINGER_TRAVEL_M} m, got {position_m}"
            )
            return GoalResponse.REJECT
        self._finger_m = position_m
        self._lockstep.gripper(position_m)
        self._follow()
        return GoalResponse.ACCEPT

    def _on_gripper(self, handle: Any) -> GripperCommand.Result:
        """Answer at once: in lock-step the fingers move with the steps to come."""
        handle.succeed()
        state = self._observation.state
        measured = opening_m(state.gripper_closure) if state is not None else 0.0
        return GripperCommand.Result(position=measured, reached_goal=True)

    def _on_policy_status(self, message: DiagnosticStatus) -> None:
        active = message.level == DiagnosticStatus.OK
        self._lockstep.policy_status(active)
        self._driver.policy_status(active, _reason(message))
        self._go_on()

    def _on_arm_status(self, message: DiagnosticStatus) -> None:
        active = message.level == DiagnosticStatus.OK
        self._driver.arm_status(active, message.level == DiagnosticStatus.ERROR, _reason(message))
        self._go_on()

    # -- time

    def _tick(self) -> None:
        self._go_on()
        if self.parameters.mode != LOCKSTEP and self.context.ok():
            target = self._target or self._start
            self._step(lambda: self._robot.move(target, self._finger_m), terminate=False)

    def _go_on(self) -> None:
        """Do what is due: lead the episode, or show the state again."""
        now_ns = time.monotonic_ns()
        self._lead_episode(now_ns)
        if self._announced_end and self.parameters.exit_when_done:
            self.context.try_shutdown()  # of this node's own process, or of its thread's part of it
        elif self.parameters.mode == LOCKSTEP and not self._driver.quiet:
            if self._lockstep.show_again(now_ns):
                self._show(new_state=False)

    def _follow(self) -> None:
        """Take a step in lock-step when its command is complete and an episode runs."""
        if self.parameters.mode != LOCKSTEP or self._driver.phase not in (Phase.RUN, Phase.IDLE):
            return
        move = self._lockstep.move()
        if move is not None:
            self._step(lambda: self._robot.move(move.target, move.finger_m), move.terminate)

    def _step(self, move: Callable[[], Any], terminate: bool) -> None:
        self._advance_clock()
        result = move()
        self._observation = result.observation
        self._driver.stepped(result.flags, terminate)
        self._finish_episode()
        if self.parameters.mode != LOCKSTEP or not self._driver.quiet:
            self._show(new_state=True)
        self._go_on()

    def _advance_clock(self) -> None:
        """Tell the time of the next pictures, well before them: topics keep no order among each other."""
        if self._clock_told_s is None:
            self._stamp_ns += self._period_ns
            self._streams.publish_clock(self._stamp_ns)
            self._clock_told_s = time.monotonic()

    def _show(self, new_state: bool) -> None:
        self._advance_clock()
        told_s, self._clock_told_s = self._clock_told_s, None
        # drawing takes longer than this; where nothing was drawn, wait
        time.sleep(max(0.0, (told_s or 0.0) + _CLOCK_LEAD_S - time.monotonic()))
        self._streams.publish(restamped(self._observation, self._stamp_ns))
        self._lockstep.shown(self._stamp_ns, time.monotonic_ns(), new_state)

    def _build(self, seed: int) -> None:
        """Set up a scene and show it; simulated time goes on."""
        self._observation = self._robot.reset(seed, self.parameters.family)
        self._start, self._target = self._robot.pose, None
        self._finger_m = opening_m(0.0)
        self._instruction.publish(String(data=self._observation.instruction))
        self._show(new_state=True)
        self._report.ok(f"seed {seed}: {self._observation.instruction}")

    # -- episodes

    def _lead_episode(self, now_ns: int) -> None:
        if self._driver.phase is Phase.NEXT:
            self._build(self._driver.seed)
            self._driver.built()
        call = self._driver.call_due(now_ns)
        if call is not None:
            self._call(call)
        self._finish_episode()
        if self._driver.phase is Phase.DONE and not self._announced_end:
            self._announced_end = True
            self._report.ok(f"{self.parameters.episodes} episodes played, {self._successes} successes")

    def _call(self, call: Phase) -> None:
        client = self._calls[call]
        if not client.service_is_ready():
            self._answered(call, False, f"{client.srv_name} is not there")
            return
        future = client.call_async(Trigger.Request())
        future.add_done_callback(
            lambda done: self._answered(call, done.result().success, done.result().message)
        )

    def _answered(self, call: Phase, accepted: bool, message: str) -> None:
        self._driver.answered(call, accepted, message, time.monotonic_ns())
        if self._driver.refused:
            self._report.holding(Refusal(Reason.NOT_STARTED, self._driver.refused))
        elif self._driver.phase is Phase.RUN:
            self._report.ok(f"seed {self._driver.seed}: running")
            if self.parameters.mode == LOCKSTEP and call is Phase.START:
                self._show(new_state=True)  # the first picture whose answer counts
        if call is Phase.STOP and self._driver.phase is not Phase.STOP:
            self._show(new_state=True)  # how it ended
        self._follow()
        self._go_on()

    def _finish_episode(self) -> None:
        ending = self._driver.take_ending()
        if ending is None:
            return
        self._successes += ending.success
        self._outcomes.publish(String(data=json.dumps(self._outcome(ending))))
        self.get_logger().info(
            f"seed {ending.seed}: {'success' if ending.success else 'failure'} after {ending.steps} steps"
        )

    def _outcome(self, ending: Ending) -> dict[str, object]:
        """What `/spatialbot/sim/outcome` says; the names are those of an evaluation's episodes."""
        failure = "" if ending.success else ending.failure or failure_kind(dict(ending.flags))
        return {
            "seed": ending.seed,
            "family": self.parameters.family,
            "instruction": self._observation.instruction,
            "success": ending.success,
            "failure": failure,
            "steps": ending.steps,
            "seen": list(ending.seen),
        }

    def close(self) -> None:
        """Release the simulator."""
        if self._owns_robot:
            self._robot.close()


def _reason(message: DiagnosticStatus) -> str:
    """The reason's name in a status."""
    return next((item.value for item in message.values if item.key == REASON_KEY), "")


def main(args: list[str] | None = None) -> None:
    """Run the node until it is told to stop."""
    run(SimNode, args)


if __name__ == "__main__":
    main()
