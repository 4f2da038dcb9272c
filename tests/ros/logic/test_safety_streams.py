"""Random, extreme and malicious streams of actions: no command beyond a limit, never NaN."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from spatialbot_policy.types import ActionStep
from spatialbot_ros.logic.action_target import target_pose
from spatialbot_ros.logic.arm_models import FR3
from spatialbot_ros.logic.pose import Pose, conjugate, multiply, rotation_vector
from spatialbot_ros.logic.reasons import Refusal
from spatialbot_ros.logic.safety import Command, GuardLimits, RobotReading, guard_for

DT = 0.02
DT_NS = 20_000_000
ROUNDING = 1e-7
HOME = np.array(FR3.home_rad)
STREAMING = GuardLimits()
ONE_FOR_EACH = dataclasses.replace(
    STREAMING, from_measured=True, max_acceleration_m_s2=30.0, max_acceleration_rad_s2=60.0
)
KINDS = (
    *["random"] * 6,
    *["large", "largest", "alternating", "alternating", "outward", "outward", "spin"],
    *["denormal", "still", "target", "target"],
    *["wild", "infinite", "nan", "short", "nested", "text"],
    *["stale", "future", "clock_back", "clock_stands", "pause"],
    *["lag", "jump", "bad_joints", "restart", "bad_closure"],
)
# shrinking streams of eighty steps takes minutes, and says no more than the step that failed
UNSHRUNK = (Phase.explicit, Phase.reuse, Phase.generate)
STEPS = st.tuples(st.sampled_from(KINDS), st.integers(0, 2**32 - 1))
MALICE: dict[str, Any] = {
    "wild": [1e300, 0, 0, 0, 0, 0, 0],
    "infinite": [0, 0, np.inf, 0, 0, -np.inf, 0],
    "nan": [0, np.nan, 0, 0, 0, 0, 0],
    "short": [0.01] * 6,
    "nested": [[0.01] * 7],
    "text": ["full speed"] * 7,
    "denormal": [5e-324, -5e-324, 1e-310, 5e-324, 0, -1e-315, 5e-324],
    "still": [0.0] * 7,
}


def numbers(kind: str, rng: np.random.Generator, number: int, limits: GuardLimits) -> Any:
    """What the sender of an action makes up."""
    if kind in MALICE:
        return MALICE[kind]
    scale = np.array([limits.max_step_m] * 3 + [limits.max_step_rad] * 3 + [1.0])
    if kind == "large":
        return scale * rng.uniform(-9.9, 9.9, 7)
    if kind == "largest":
        return scale * rng.choice([-10.0, 10.0], 7)
    if kind == "alternating":
        return scale * (1.0 if number % 2 else -1.0) * np.array([1, 1, 1, 1, 1, 1, 0])
    if kind == "outward":
        return scale * np.array([1.0, np.sign(rng.normal()), 1.0, 0, 0, 0, 1.0])
    if kind == "spin":
        return scale * np.array([0, 0, 0, 1.0, -1.0, 1.0, 0])
    return scale * rng.uniform(-1.0, 1.0, 7)


class Bench:
    """A guard, an arm that follows it, and the memory needed to check each command against the last."""

    def __init__(self, limits: GuardLimits) -> None:
        self.limits = limits
        self.guard = guard_for("fr3", limits)
        self.kinematics = self.guard._kinematics
        self.now_ns = self.advanced_ns = 10**12
        self.number = 0
        self.commands = 0
        self._rest(HOME)

    def _rest(self, joints: np.ndarray) -> None:
        self.joints, self.pose = joints, self.kinematics.forward(joints)
        self.last: Command | None = None
        self.velocity, self.spin = np.zeros(3), np.zeros(3)

    def step(self, kind: str, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.number += 1
        self.now_ns += {"clock_back": -(10**11), "clock_stands": 0, "pause": 10**10}.get(kind, DT_NS)
        if kind == "restart":
            self.guard.recover()
            self._rest(self.joints)
        stamp_ns = self.now_ns + {"stale": -(10**10), "future": 10**10}.get(kind, 0)
        admitted = self.guard.admit(numbers(kind, rng, self.number, self.limits), stamp_ns, self.now_ns)
        if isinstance(admitted, Refusal):
            if self.guard.latched is not None:
                self.check_latched()
            return
        assert np.linalg.norm(admitted.translation_m) <= self.limits.max_step_m + ROUNDING
        assert np.linalg.norm(admitted.rotation_rad) <= self.limits.max_step_rad + ROUNDING
        assert 0.0 <= admitted.gripper_closure <= 1.0
        self.advance(kind, rng, admitted)

    def advance(self, kind: str, rng: np.random.Generator, action: ActionStep) -> None:
        elapsed_ns, self.advanced_ns = self.now_ns - self.advanced_ns, self.now_ns
        target = target_pose(self.pose, action)
        if kind == "target":  # whoever calls the guard went mad as well
            target = Pose(rng.normal(size=3) * 10.0 ** rng.integers(-3, 300), rng.normal(size=4))
        closure = np.nan if kind == "bad_closure" else action.gripper_closure
        reading = self.reading(kind, rng)
        verdict = self.guard.advance(target, closure, reading, self.now_ns, DT)
        if verdict.command is None:
            assert verdict.refusal is self.guard.latched is not None
            self.check_latched()
            return
        early = not self.limits.from_measured and elapsed_ns <= 0 and self.last is not None
        self.check(verdict.command, reading, paused=elapsed_ns > 2.5 * DT_NS, early=early)
        if not verdict.clamped and not early:
            assert verdict.command.pose == target
        self.last = verdict.command
        self.pose, self.joints = self.last.pose, self.last.joints_rad

    def reading(self, kind: str, rng: np.random.Generator) -> RobotReading:
        joints, pose = self.joints, self.pose
        if kind == "bad_joints":
            joints = joints * np.nan
        if kind == "jump":
            pose = Pose(pose.position_m + rng.normal(size=3) * 0.3, pose.quaternion_xyzw)
        if kind == "lag":
            pose = Pose(pose.position_m + rng.normal(size=3) * 0.005, pose.quaternion_xyzw)
        return RobotReading(self.now_ns, pose, joints)

    def check(self, command: Command, reading: RobotReading, paused: bool, early: bool) -> None:
        """Hold a command against every limit."""
        limits, low, high = self.limits, np.array(self.limits.box_min_m), np.array(self.limits.box_max_m)
        self.commands += 1
        position, joints = command.pose.position_m, command.joints_rad
        values = np.concatenate([position, command.pose.quaternion_xyzw, joints, [command.gripper_closure]])
        assert np.isfinite(values).all()
        assert (position >= low).all() and (position <= high).all()
        assert 0.0 <= command.gripper_closure <= 1.0
        begin = reading.pose if self.last is None or limits.from_measured else self.last.pose
        seed = reading.joints_rad if self.last is None or limits.from_measured else self.last.joints_rad
        velocity = (position - np.clip(begin.position_m, low, high)) / DT
        spin = rotation_vector(multiply(command.pose.quaternion_xyzw, conjugate(begin.quaternion_xyzw))) / DT
        for value, step, speed in (
            (velocity, limits.max_step_m, limits.max_speed_m_s),
            (spin, limits.max_step_rad, limits.max_speed_rad_s),
        ):
            assert np.linalg.norm(value) * DT <= step + ROUNDING
            assert np.linalg.norm(value) <= speed + ROUNDING
        if early:
            assert command.pose == self.last.pose
            return
        if paused:
            self.velocity, self.spin = np.zeros(3), np.zeros(3)
        if not limits.from_measured:
            change = np.linalg.norm(velocity - self.velocity)
            assert change <= limits.max_acceleration_m_s2 * DT * (1 + 1e-5) + ROUNDING
        turn = np.linalg.norm(spin - self.spin)
        assert turn <= limits.max_acceleration_rad_s2 * DT * (1 + 1e-5) + ROUNDING
        self.velocity, self.spin = velocity, spin
        self.check_joints(joints, seed)

    def check_joints(self, joints: np.ndarray, seed: np.ndarray) -> None:
        margin = self.limits.joint_margin_rad
        assert (joints >= FR3.lower(margin)).all() and (joints <= FR3.upper(margin)).all()
        fastest = self.limits.joint_velocity_scale * np.array(FR3.velocity_rad_s)
        assert (np.abs(joints - seed) <= fastest * DT + 1e-12).all()

    def check_latched(self) -> None:
        """After a latch nothing is sent, whatever is asked; then a person recovers it at home."""
        latched = self.guard.latched
        reading = RobotReading(self.now_ns, self.pose, self.joints)
        assert self.guard.admit(np.zeros(7), self.now_ns, self.now_ns) is latched
        assert self.guard.advance(self.pose, 0.0, reading, self.now_ns, DT).command is None
        self.guard.recover()
        self._rest(HOME)


def run(limits: GuardLimits, steps: list[tuple[str, int]]) -> Bench:
    bench = Bench(limits)
    for kind, seed in steps:
        bench.step(kind, seed)
    return bench


MODES = pytest.mark.parametrize("limits", [STREAMING, ONE_FOR_EACH], ids=["streaming", "from_measured"])


@MODES
@settings(max_examples=15, phases=UNSHRUNK, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(STEPS, min_size=80, max_size=80))
def test_no_stream_gets_a_command_beyond_a_limit(limits, steps):
    run(limits, steps)


@pytest.mark.slow
@MODES
@settings(max_examples=500, phases=UNSHRUNK, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(STEPS, min_size=100, max_size=100))
def test_no_stream_of_a_hundred_thousand_gets_a_command_beyond_a_limit(limits, steps):
    run(limits, steps)


@MODES
@pytest.mark.parametrize("kind", ["random", "alternating", "outward", "spin", "large"])
def test_long_runs_of_one_kind_keep_every_limit(limits, kind):
    bench = run(limits, [(kind, number) for number in range(300)])
    assert bench.commands > 100
