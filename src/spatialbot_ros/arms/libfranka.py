"""The robot through its own interface (FCI): a process beside the node commands it at 1 kHz."""

from __future__ import annotations

import json
import mmap
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace

from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import JointState

from spatialbot_policy.errors import ConfigError
from spatialbot_ros.arms.backend import Done
from spatialbot_ros.arms.franka_state import refusal_of
from spatialbot_ros.arms.libfranka_link import Link, Order, Phase, State, Task
from spatialbot_ros.arms.libfranka_process import ProcessSettings
from spatialbot_ros.convert.named_vectors import from_named
from spatialbot_ros.convert.states import from_pose
from spatialbot_ros.logic.parameter import parameter
from spatialbot_ros.logic.pose import Pose
from spatialbot_ros.logic.reasons import Reason, Refusal
from spatialbot_ros.logic.safety import Command, RobotReading

_END_S = 3.0  # from full speed the joints need less than half a second to come to rest


@dataclass(frozen=True)
class LibfrankaSettings:
    """Parameters of the backend "libfranka"."""

    address: str = parameter("", "host name or IP address of the robot's control unit")
    module: str = parameter("pylibfranka", "Python module that talks to the robot")
    realtime: str = parameter(
        "enforce",
        "whether to insist on real-time priority; needs a PREEMPT_RT kernel",
        choices=("enforce", "ignore"),
    )
    state_rate_hz: float = parameter(
        100.0, "rate at which joints and tool pose are published, Hz", low=10.0, high=500.0
    )
    state_timeout_s: float = parameter(0.2, "longest silence of the process, s", low=0.05, high=5.0)
    target_timeout_s: float = parameter(
        0.25, "silence of the arm node after which the process stops the motion, s", low=0.02, high=2.0
    )
    velocity_rad_s: tuple[float, ...] = parameter(
        (1.3, 1.3, 1.3, 1.3, 2.6, 2.0, 2.6), "velocity of each joint, rad/s", low=0.01, high=5.26, length=7
    )
    acceleration_rad_s2: float = parameter(5.0, "acceleration of every joint, rad/s^2", low=0.1, high=10.0)
    jerk_rad_s3: float = parameter(500.0, "jerk of every joint, rad/s^3", low=10.0, high=5000.0)
    gain_hz: float = parameter(
        15.0, "share of the remaining way made each second: higher follows closer, 1/s", low=1.0, high=20.0
    )


class Libfranka:
    """Starts the process, hands it the newest joints, and publishes what it measures.

    Raises:
        ConfigError: no address is given.
    """

    def __init__(
        self,
        node: Node,
        settings: LibfrankaSettings,
        joint_names: tuple[str, ...],
        base_frame: str,
        joints_topic: str,
        pose_topic: str,
    ) -> None:
        if not settings.address:
            raise ConfigError(
                "parameter 'libfranka.address' is '', allowed is the robot's host name or IP address"
            )
        self._settings = settings
        self._names = joint_names
        self._base_frame = base_frame
        self._clock = node.get_clock()
        self._joints = node.create_publisher(JointState, joints_topic, 10)
        self._pose = node.create_publisher(PoseStamped, pose_topic, 10)
        self._order = Order()
        self._tick = 0
        self._heard_ns: int | None = None
        self._done: Done | None = None
        self._start()
        node.create_timer(1.0 / settings.state_rate_hz, self._on_timer)

    @property
    def topics(self) -> tuple[str, ...]:
        """None: the robot takes commands from one connection only."""
        return ()

    @property
    def process_id(self) -> int:
        """Of the process beside the robot."""
        return self._process.pid

    def send(self, command: Command, reading: RobotReading) -> None:
        """Give the process new joints to move to."""
        self._tell(Task.FOLLOW, command)

    def hold(self, command: Command) -> None:
        """Let the joints come to rest where they are: a pose measured in motion lies behind them."""
        self._tell(Task.WAIT, command)

    def status(self, now_ns: int) -> Refusal | None:
        """What the robot reports, and whether the process lives."""
        state, code = self._link.state(), self._process.poll()
        if code is not None:
            why = state.text if state is not None and state.text else f"it ended with {code}"
            return Refusal(Reason.BACKEND_ERROR, f"the process beside the robot: {why}")
        if state is None:
            return Refusal(Reason.NOT_STARTED, f"connecting to {self._settings.address}")
        if self._heard_ns is not None and now_ns - self._heard_ns > self._settings.state_timeout_s * 1e9:
            return Refusal(Reason.BACKEND_ERROR, "the process beside the robot is silent")
        if state.phase is Phase.FAULT:
            return refusal_of(state.robot_mode, ()) or Refusal(Reason.BACKEND_ERROR, state.text)
        return refusal_of(state.robot_mode, state.text.split(", ") if state.text else ())

    def recover(self, done: Done) -> None:
        """Clear the robot's errors; start the process again if it has ended."""
        self._done = done
        if self._process.poll() is not None:
            self._start()
            self._finish(None)
            return
        self._order = replace(self._order, task=Task.WAIT, recovery=self._order.recovery + 1)
        self._link.send_order(self._order)

    def close(self) -> None:
        """Let the joints come to rest and the process end."""
        self._order = replace(self._order, task=Task.END)
        self._link.send_order(self._order)
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _start(self) -> None:
        # anonymous memory: nothing is left behind, however the two processes end
        descriptor = os.memfd_create("spatialbot_arm")
        try:
            os.ftruncate(descriptor, Link.SIZE)
            self._link = Link(mmap.mmap(descriptor, Link.SIZE))
            self._order = Order(recovery=self._order.recovery)
            self._link.send_order(self._order)
            settings = self._process_settings()
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "spatialbot_ros.arms.libfranka_process",
                    str(descriptor),
                    json.dumps(asdict(settings)),
                ],
                pass_fds=(descriptor,),
                stdin=subprocess.DEVNULL,
            )
        finally:
            os.close(descriptor)
        self._tick, self._heard_ns = 0, None

    def _process_settings(self) -> ProcessSettings:
        settings = self._settings
        return ProcessSettings(
            module=settings.module,
            address=settings.address,
            realtime=settings.realtime,
            target_timeout_s=settings.target_timeout_s,
            velocity_rad_s=settings.velocity_rad_s,
            acceleration_rad_s2=settings.acceleration_rad_s2,
            jerk_rad_s3=settings.jerk_rad_s3,
            gain_hz=settings.gain_hz,
            parent=os.getpid(),
        )

    def _tell(self, task: Task, command: Command) -> None:
        self._order = replace(
            self._order, task=task, target_rad=command.joints_rad, written_s=time.monotonic()
        )
        self._link.send_order(self._order)

    def _on_timer(self) -> None:
        """Publish the newest state, and tell how a recovery went."""
        state = self._link.state()
        if state is None or state.tick == self._tick:
            return
        self._tick, self._heard_ns = state.tick, self._clock.now().nanoseconds
        self._publish(state, self._heard_ns)
        if self._done is not None and state.recovery == self._order.recovery:
            failed = state.phase is Phase.FAULT
            self._finish(Refusal(Reason.ROBOT_ERROR, f"recovery failed: {state.text}") if failed else None)

    def _publish(self, state: State, now_ns: int) -> None:
        joints = dict(zip(self._names, state.joints_rad.tolist(), strict=True))
        self._joints.publish(from_named(now_ns, joints))
        quaternion = Rotation.from_matrix(state.tool[:3, :3]).as_quat()
        self._pose.publish(from_pose(now_ns, self._base_frame, Pose(state.tool[:3, 3], quaternion)))

    def _finish(self, refusal: Refusal | None) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(refusal)
