"""Images in, actions out: joins frames, asks the policy in its own thread, stops at any fault."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger

from spatialbot_policy.config import PolicyConfig
from spatialbot_policy.errors import CheckpointError, FrameError, HistoryError
from spatialbot_policy.process_tuning import tune_process
from spatialbot_policy.types import Observation, RgbdFrame
from spatialbot_ros.convert.actions import from_action
from spatialbot_ros.logic.action_schedule import ActionSchedule
from spatialbot_ros.logic.observation_builder import ObservationBuilder
from spatialbot_ros.logic.rate_meter import RateMeter
from spatialbot_ros.logic.reasons import Reason, Refusal
from spatialbot_ros.logic.step_pacing import StepPacing
from spatialbot_ros.logic.watchdog import Watchdog
from spatialbot_ros.nodes.camera_streams import FIRST_TIMEOUTS, Arrival, CameraStream
from spatialbot_ros.nodes.parameters import Parameters
from spatialbot_ros.nodes.policy_factory import MakePolicy, load_policy
from spatialbot_ros.nodes.policy_latency import PolicyLatency
from spatialbot_ros.nodes.policy_link import LINK_REASONS, close_link, link_refusal, link_values
from spatialbot_ros.nodes.policy_parameters import PolicyParameters, check_policy_parameters
from spatialbot_ros.nodes.policy_worker import Answer, PolicyWorker
from spatialbot_ros.nodes.reporting import Reporter
from spatialbot_ros.nodes.running import run

TICKS_PER_FRAME = 8
"""How often silence is looked for: 1.8 periods and an eighth stay below two."""
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
ACTION_QUEUE = 10
OBSERVATIONS = "observations"
# What nobody needs to mend: the policy waits rather than having failed.
_WAITING = (Reason.NOT_STARTED, Reason.TASK_DONE, Reason.SHUTDOWN)


class PolicyNode(Node):
    """Runs a policy on camera topics.

    It starts inactive. `/spatialbot/policy/start` succeeds only while every topic is there and fresh, an
    instruction is known and the checkpoint was made for this robot. From then on each control step's
    observation goes to the policy and its action out. Any fault stops it; it never starts again by itself.

    Args:
        make_policy: builds the policy from the parameters; tests and remote policies stand in here.
        on_observation: gets each observation that is handed to the policy.
        kwargs: for `rclpy.node.Node`.

    Raises:
        SpatialBotError: a parameter or the checkpoint cannot be used.
    """

    def __init__(
        self,
        make_policy: MakePolicy = load_policy,
        on_observation: Callable[[Observation], None] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__("policy_node", **kwargs)
        self._values = values = Parameters(self, PolicyParameters).value
        check_policy_parameters(values)
        self._policy = policy = make_policy(values)  # the worker's from here on, but for what any thread may
        self._on_observation = on_observation
        self._instruction = values.instruction
        self._autostart = values.autostart
        self._run = 0
        self._active = self._done = self._joined = False

        self.create_timer(1.0, self._on_diagnostics)  # before the reporter's: values first, then the report
        self._report = Reporter(self, "policy")
        self._builder = ObservationBuilder(values.cameras, round(values.camera_tolerance_ms * 1e6))
        self._pacing = StepPacing(values.robot.rate_hz, values.camera_rate_hz)
        self._schedule = ActionSchedule(values.robot.period_ns, values.blend_steps)
        self._watchdog = Watchdog({OBSERVATIONS: values.frame_timeout_ns})
        self._rate = RateMeter()
        self._latency = PolicyLatency()

        self._actions = self.create_publisher(JointState, values.action_topic, ACTION_QUEUE)
        self._latencies = self.create_publisher(JointState, values.latency_topic, ACTION_QUEUE)
        self._cameras = [
            CameraStream(self, *names, values, self._on_frame, self._on_fault)
            for names in zip(values.cameras, values.color_topics, values.depth_topics, strict=True)
        ]
        self.create_subscription(String, values.instruction_topic, self._on_instruction, LATCHED)
        self.create_service(Trigger, values.start_service, self._on_start)
        self.create_service(Trigger, values.stop_service, self._on_stop)
        self._answered = self.create_guard_condition(self._on_answers)
        self._worker = PolicyWorker(policy, self._answered.trigger)
        self._ticker = self.create_timer(values.frame_period_ns / 1e9 / TICKS_PER_FRAME, self._on_tick)
        self._ticker.cancel()
        self._report.holding(Refusal(Reason.NOT_STARTED, f"call {values.start_service}"))

    # --- start and stop

    def _on_start(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        refusal = None if self._active else self._start()
        response.success = refusal is None
        response.message = str(refusal) if refusal else f"following: {self._instruction}"
        return response

    def _on_stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._autostart = False
        response.success = True
        response.message = "stopped" if self._active else "was not active"
        self._stop(Refusal(Reason.NOT_STARTED, f"stopped by {self._values.stop_service}"))
        return response

    def _start(self) -> Refusal | None:
        """Become active, or say why not."""
        now_ns = self._now_ns()
        refusal = self._not_ready(now_ns)
        if refusal is not None:
            self._report.holding(refusal)
            return refusal
        self._autostart = False
        self._run += 1
        self._active, self._done, self._joined = True, False, False
        self._builder.reset()
        self._pacing.reset()
        self._schedule.clear()
        self._latency.forget()
        self._watchdog.start(now_ns)
        for camera in self._cameras:
            camera.start(now_ns)
        self._ticker.reset()
        self._report.ok(f"following: {self._instruction}")
        return None

    def _not_ready(self, now_ns: int) -> Refusal | None:
        """The first thing that is missing."""
        for camera in self._cameras:
            if refusal := camera.not_ready(now_ns):
                return refusal
        if not self._instruction.strip():
            topic = self._values.instruction_topic
            return Refusal(Reason.INSTRUCTION_MISSING, f"publish the task in words on {topic}")
        if (job := self._worker.busy) is not None:
            return Refusal(
                Reason.POLICY_HUNG,
                f"the policy still works on stamp {job.observation.stamp_ns} ns; start again when it is "
                "done, or restart this node",
            )
        return link_refusal(self._policy) or self._mismatch()

    def _mismatch(self) -> Refusal | None:
        """How checkpoint and robot differ; a policy without a configuration claims nothing."""
        config: PolicyConfig | None = getattr(self._policy, "config", None)
        if config is None:
            return None
        try:
            config.check_matches(self._values.robot.expected(config, self._values.cameras), "the robot")
        except CheckpointError as error:
            return Refusal(Reason.CHECKPOINT_MISMATCH, str(error))
        return None

    def _stop(self, refusal: Refusal) -> None:
        """Become inactive: the status goes out first, then everything in progress is forgotten."""
        if not self._active:
            return
        self._active = False
        (self._report.holding if refusal.reason in _WAITING else self._report.stopped)(refusal)
        self._ticker.cancel()
        self._worker.cancel()
        self._schedule.clear()
        self._watchdog.stop()
        for camera in self._cameras:
            camera.stop()

    # --- what comes in

    def _on_instruction(self, message: String) -> None:
        before, self._instruction = self._instruction, message.data
        if not self._active:
            self._try_autostart()
        elif message.data != before:
            detail = f"from {before!r} to {message.data!r}; start again for the new task"
            self._stop(Refusal(Reason.INSTRUCTION_CHANGED, detail))

    def _on_fault(self, refusal: Refusal) -> None:
        self._stop(refusal)

    def _on_frame(self, frame: RgbdFrame, arrival: Arrival) -> None:
        if not self._active:
            self._try_autostart()
            return
        if frame.camera == self._values.cameras[0]:
            self._latency.arrived(frame.stamp_ns, arrival)
        observation = self._builder.push_frame(frame, self._instruction)
        if observation is not None:
            self._watchdog.feed(OBSERVATIONS, self._now_ns())
            self._joined = True
            self._ask(observation)

    def _try_autostart(self) -> None:
        if self._autostart and self._not_ready(self._now_ns()) is None:
            self._start()

    def _ask(self, observation: Observation) -> None:
        if self._done:
            self._stop(Refusal(Reason.TASK_DONE, "the policy says that the task is done"))
        elif self._pacing.accept(observation.stamp_ns):
            if self._on_observation is not None:
                self._on_observation(observation)
            self._latency.submitted(observation.stamp_ns)
            self._worker.submit(self._run, observation, self._now_ns())

    def _on_answers(self) -> None:
        for answer in self._worker.answers():
            if self._active and answer.job.run == self._run:
                self._on_answer(answer)

    def _on_answer(self, answer: Answer) -> None:
        now_ns = self._now_ns()
        took_ns = now_ns - answer.job.submitted_ns
        if answer.chunk is None:
            self._stop(_raised(answer.error))
        elif took_ns > self._values.late_ns:
            self._stop(Refusal(Reason.POLICY_LATE, _too_long(took_ns, self._values.late_ns)))
        else:
            self._latency.answered(answer)
            self._schedule.submit(answer.chunk)
            self._publish_due(now_ns)

    def _on_tick(self) -> None:
        """Look for silence, and send the later steps of a chunk."""
        if not self._active:
            return
        now_ns = self._now_ns()
        refusal = self._silence(now_ns)
        if refusal is not None:
            self._stop(refusal)
        else:
            self._publish_due(now_ns)

    def _silence(self, now_ns: int) -> Refusal | None:
        for camera in self._cameras:
            if refusal := camera.silence(now_ns):
                return refusal
        allowed_ns = self._values.frame_timeout_ns * (1 if self._joined else FIRST_TIMEOUTS)
        if self._watchdog.silent_ns(OBSERVATIONS, now_ns) > allowed_ns:
            lacking = ", ".join(self._builder.waiting_for())
            detail = f"no frames of all cameras within camera_tolerance_ms; lacking: {lacking}"
            return Refusal(Reason.FRAMES_SKEWED, detail)
        job = self._worker.oldest
        if job is not None and job.run == self._run and now_ns - job.submitted_ns > self._values.hung_ns:
            return Refusal(Reason.POLICY_HUNG, _too_long(now_ns - job.submitted_ns, self._values.hung_ns))
        return link_refusal(self._policy)

    # --- what goes out

    def _publish_due(self, now_ns: int) -> None:
        step = None if self._done else self._schedule.due(now_ns)
        if step is None:
            return
        self._actions.publish(from_action(step.stamp_ns, step.action))
        # The arm may still carry this step out: the stop comes with the next frame.
        self._done = step.action.terminate
        self._rate.tick(now_ns)
        message = self._latency.published(step.observation_stamp_ns, step.stamp_ns)
        if message is not None:
            self._latencies.publish(message)

    def _on_diagnostics(self) -> None:
        now_ns = self._now_ns()
        entries = {"instruction": self._instruction, "actions": f"{self._rate.rate_hz(now_ns):.1f} Hz"}
        entries["observations replaced by newer ones"] = str(self._worker.replaced)
        for camera in self._cameras:
            entries |= camera.values(now_ns)
        self._report.values({**entries, **link_values(self._policy), **self._latency.values()})

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def close(self) -> None:
        """Stop, say so, and end the policy's thread."""
        self._stop(Refusal(Reason.SHUTDOWN, "the node ends"))
        if not self._worker.close():
            self.get_logger().warning("the policy still hangs; its thread is left behind")
        close_link(self._policy)

    def destroy_node(self) -> None:
        """End without last words: an answer that is still to come finds nobody."""
        if hasattr(self, "_worker"):  # a node that refused to start has none
            self._worker.close(0.0)
            close_link(self._policy)
        super().destroy_node()


def _raised(error: Exception | None) -> Refusal:
    """What the policy said of an observation, under the name of what is wrong with it."""
    reasons: dict[type[Exception], Reason] = {
        FrameError: Reason.IMAGE_INVALID,
        HistoryError: Reason.STAMP_INVALID,
        **LINK_REASONS,
    }
    reason = next((name for kind, name in reasons.items() if isinstance(error, kind)), Reason.POLICY_ERROR)
    return Refusal(reason, f"{type(error).__name__}: {error}")


def _too_long(took_ns: int, allowed_ns: int) -> str:
    return (
        f"an answer took {took_ns / 1e6:.0f} ms, allowed are {allowed_ns / 1e6:.0f} ms; use a faster device, "
        "or a lower robot.rate_hz with a checkpoint trained for it"
    )


def main(args: Sequence[str] | None = None) -> None:
    """Run the node until it is interrupted."""
    tune_process()
    run(PolicyNode, args)


if __name__ == "__main__":
    main()
