"""The arm's state machine: who may move it, and what has to happen before anybody may again."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spatialbot_ros.logic.arm_supervisor import (
    JOINTS,
    MOVING,
    POSE,
    ArmSupervisor,
    Change,
    Mode,
    Silences,
)
from spatialbot_ros.logic.reasons import Reason, Refusal

MS = 1_000_000
SILENCES = Silences(policy_ns=60 * MS, teleop_ns=60 * MS, pose_ns=50 * MS, joints_ns=50 * MS)
REFLEX = Refusal(Reason.ROBOT_REFLEX, "hit something")
OPERATOR = Refusal(Reason.OPERATOR_HOLD, "")


class Arm:
    """A supervisor with its clock and the changes it told."""

    def __init__(self, ready: bool = False) -> None:
        self.changes: list[Change] = []
        self.supervisor = ArmSupervisor(SILENCES, self.changes.append, ready)
        self.now_ns = 10**9

    def step(self, milliseconds: float = 5.0, streams: bool = True) -> None:
        """Let time pass, with the robot's state arriving unless told otherwise."""
        self.now_ns += round(milliseconds * MS)
        if streams:
            self.supervisor.stream(POSE, self.now_ns)
            self.supervisor.stream(JOINTS, self.now_ns)
        self.supervisor.tick(self.now_ns)

    def policy(self) -> bool:
        return self.supervisor.admit_policy(self.now_ns)

    def teleop(self) -> bool:
        return self.supervisor.admit_teleop(self.now_ns)

    def resume(self) -> Refusal | None:
        return self.supervisor.resume(self.now_ns)

    @property
    def mode(self) -> Mode:
        return self.supervisor.mode

    @property
    def reason(self) -> Reason | None:
        refusal = self.supervisor.refusal
        return None if refusal is None else refusal.reason


@pytest.fixture
def following() -> Arm:
    arm = Arm()
    arm.step()
    assert arm.resume() is None
    arm.supervisor.policy_status(True)
    assert arm.policy()
    assert arm.mode is Mode.FOLLOWING
    return arm


def test_starts_holding_and_lets_nobody_but_a_person_in() -> None:
    arm = Arm()
    arm.step()
    arm.supervisor.policy_status(True)
    assert (arm.mode, arm.reason) == (Mode.HOLDING, Reason.NOT_STARTED)
    assert not arm.policy()
    assert arm.teleop()


def test_autostart_needs_no_resume_once() -> None:
    arm = Arm(ready=True)
    arm.supervisor.policy_status(True)
    assert not arm.policy(), "the robot has not been heard"
    assert arm.mode is Mode.READY
    arm.step()
    assert arm.policy()
    arm.supervisor.hold(OPERATOR)
    arm.step()
    assert not arm.policy()


def test_resume_is_refused_without_the_robots_state() -> None:
    arm = Arm()
    refusal = arm.resume()
    assert refusal is not None and refusal.reason is Reason.POSE_STOPPED
    arm.supervisor.stream(POSE, arm.now_ns)
    refusal = arm.resume()
    assert refusal is not None and refusal.reason is Reason.JOINTS_STOPPED
    arm.step()
    assert arm.resume() is None


def test_the_policy_has_to_say_that_it_is_active(following: Arm) -> None:
    following.supervisor.policy_status(False, "color_stopped: no image")
    assert (following.mode, following.reason) == (Mode.HOLDING, Reason.POLICY_STOPPED)
    assert following.supervisor.refusal is not None
    assert "color_stopped" in following.supervisor.refusal.detail
    following.supervisor.policy_status(True)
    assert not following.policy()
    assert following.resume() is None
    assert following.policy()


def test_ready_waits_for_a_policy_that_is_not_active_yet() -> None:
    arm = Arm()
    arm.step()
    arm.resume()
    arm.supervisor.policy_status(False, "not started")
    assert arm.mode is Mode.READY
    arm.supervisor.policy_status(True)
    arm.supervisor.policy_status(False, "camera")
    assert (arm.mode, arm.reason) == (Mode.HOLDING, Reason.POLICY_STOPPED)


def test_silence_of_the_policy_ends_the_motion(following: Arm) -> None:
    for _ in range(12):
        following.step(5.0)
    assert following.mode is Mode.FOLLOWING
    following.step(5.0)
    assert (following.mode, following.reason) == (Mode.HOLDING, Reason.POLICY_SILENT)
    assert not following.policy()


@pytest.mark.parametrize(("silent", "reason"), [(POSE, Reason.POSE_STOPPED), (JOINTS, Reason.JOINTS_STOPPED)])
def test_silence_of_the_robot_latches(following: Arm, silent: str, reason: Reason) -> None:
    other = JOINTS if silent == POSE else POSE
    for _ in range(11):
        following.step(5.0, streams=False)
        following.supervisor.stream(other, following.now_ns)
    assert (following.mode, following.reason) == (Mode.STOPPED, reason)
    following.step()
    assert following.mode is Mode.STOPPED


def test_an_arm_that_holds_may_lose_its_robot_and_find_it_again() -> None:
    arm = Arm()
    arm.step()
    arm.step(500.0, streams=False)
    assert arm.mode is Mode.HOLDING
    assert arm.resume() is not None
    arm.step()
    assert arm.resume() is None


def test_a_person_takes_over_at_once_and_gives_back_to_nobody(following: Arm) -> None:
    assert following.teleop()
    assert following.mode is Mode.TELEOP
    assert not following.policy()
    refusal = following.resume()
    assert refusal is not None and refusal.reason is Reason.TELEOP_ACTIVE
    for _ in range(13):
        following.step(5.0)
    assert (following.mode, following.reason) == (Mode.HOLDING, Reason.TELEOP_RELEASED)
    assert not following.policy()
    assert following.resume() is None
    assert following.policy()


@pytest.mark.parametrize("stop", ["hold", "fault"])
def test_a_button_held_through_a_stop_counts_only_after_its_release(stop: str) -> None:
    arm = Arm()
    arm.step()
    assert arm.teleop()
    if stop == "hold":
        arm.supervisor.hold(OPERATOR)
    else:
        arm.supervisor.fault(REFLEX)
    for _ in range(10):
        arm.step(20.0)
        assert not arm.teleop()
    arm.supervisor.recover()
    for _ in range(10):
        arm.step(20.0)
        assert not arm.teleop()
    for _ in range(4):
        arm.step(20.0)
    assert arm.teleop()


def test_the_first_fault_stays_and_only_recover_releases_it(following: Arm) -> None:
    following.supervisor.fault(REFLEX)
    following.supervisor.fault(Refusal(Reason.ROBOT_ERROR, "later"))
    following.supervisor.hold(OPERATOR)
    following.supervisor.policy_status(False, "")
    assert (following.mode, following.reason) == (Mode.STOPPED, Reason.ROBOT_REFLEX)
    assert following.resume() == REFLEX
    following.supervisor.recover()
    assert following.mode is Mode.HOLDING
    following.supervisor.policy_status(True)
    assert not following.policy()


def test_motion_ends_once_for_each_stop(following: Arm) -> None:
    following.supervisor.fault(REFLEX)
    following.supervisor.recover()
    following.supervisor.hold(OPERATOR)
    assert [change.ends_motion for change in following.changes].count(True) == 1


def test_a_clock_set_back_does_not_hide_a_silence(following: Arm) -> None:
    following.now_ns = 5 * MS
    following.supervisor.tick(following.now_ns)
    following.step(51.0, streams=False)
    assert (following.mode, following.reason) == (Mode.STOPPED, Reason.POSE_STOPPED)


def test_an_arm_that_is_not_able_to_move_admits_nobody(following: Arm) -> None:
    assert not following.supervisor.admit_policy(following.now_ns, able=False)
    assert not following.supervisor.admit_teleop(following.now_ns, able=False)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(
            "step silence policy policy teleop teleop resume hold fault recover active inactive".split()
        ),
        st.integers(1, 80),
    ),
    max_size=80,
)


@given(EVENTS, st.booleans())
@settings(max_examples=300, deadline=None)
def test_no_command_leaves_that_nobody_asked_for(events: list[tuple[str, int]], ready: bool) -> None:
    """Whatever comes in whatever order: latched means latched, held means held, a person comes first."""
    arm = Arm(ready)
    allowed = ready  # whether an operator let the policy in since motion last ended
    latched = False
    teleop_ns: int | None = None
    for event, milliseconds in events:
        supervisor, before = arm.supervisor, arm.mode
        admitted = False
        if event in ("step", "silence"):
            arm.step(milliseconds, streams=event == "step")
        elif event == "policy":
            admitted = arm.policy()
            assert not admitted or (allowed and supervisor.policy_active and before is not Mode.TELEOP)
        elif event == "teleop":
            admitted = arm.teleop()
            teleop_ns = arm.now_ns if admitted else teleop_ns
        elif event == "resume":
            allowed = arm.resume() is None or allowed
        elif event == "hold":
            supervisor.hold(OPERATOR)
        elif event == "fault":
            supervisor.fault(REFLEX)
        elif event == "recover":
            supervisor.recover()
            latched = False
        else:
            supervisor.policy_status(event == "active")
        assert not (admitted and latched)
        assert not admitted or arm.mode in MOVING
        assert supervisor.moving == (arm.mode in MOVING)
        assert (supervisor.refusal is None) == (arm.mode not in (Mode.HOLDING, Mode.STOPPED))
        if before not in MOVING and arm.mode in MOVING:
            assert event in ("policy", "teleop")
        if before is Mode.STOPPED and arm.mode is not Mode.STOPPED:
            assert event == "recover" and arm.mode is Mode.HOLDING
        latched = arm.mode is Mode.STOPPED
        if arm.mode not in (Mode.READY, Mode.FOLLOWING):
            allowed = False
        if admitted and event == "policy" and teleop_ns is not None:
            assert arm.mode is Mode.FOLLOWING
    for earlier, later in zip(arm.changes, arm.changes[1:], strict=False):
        assert earlier.after is later.before
