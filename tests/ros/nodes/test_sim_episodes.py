"""The episode driver: calls in order, repeats what is refused, and counts endings as an evaluation does."""

from __future__ import annotations

import pytest

from spatialbot_ros.nodes.sim_episodes import EpisodeDriver, Phase

RETRY, GIVE_UP = 10, 100


def driver(seeds: tuple[int, ...] = (7, 8), max_steps: int = 3) -> EpisodeDriver:
    return EpisodeDriver(seeds, max_steps, RETRY, GIVE_UP)


def running(**options: object) -> EpisodeDriver:
    made = driver(**options)  # type: ignore[arg-type]
    made.built()
    for call in (Phase.RESUME, Phase.START):
        assert made.call_due(0) is call
        made.answered(call, True, "", 0)
    made.policy_status(True, "")
    made.arm_status(True, False, "")
    assert made.phase is Phase.RUN
    return made


def test_without_seeds_nobody_is_called():
    made = driver(())
    assert made.phase is Phase.IDLE and made.call_due(0) is None


def test_an_episode_lets_the_policy_in_starts_it_runs_stops_and_goes_on():
    made = running()
    made.stepped({"lifted": True})
    made.stepped({"success": True})
    ending = made.take_ending()
    assert (ending.seed, ending.success, ending.failure, ending.steps) == (7, True, "", 2)
    assert ending.seen == ("lifted", "success") and made.take_ending() is None
    assert made.quiet
    assert made.call_due(1) is Phase.STOP
    made.answered(Phase.STOP, True, "", 1)
    assert (made.phase, made.seed) == (Phase.NEXT, 8) and not made.quiet


def test_after_the_last_seed_it_is_done():
    made = running(seeds=(7,))
    made.stepped({"success": True})
    made.call_due(1)
    made.answered(Phase.STOP, True, "", 1)
    assert made.phase is Phase.DONE and made.call_due(1000) is None


def test_a_refused_call_is_repeated_one_at_a_time():
    made = driver()
    made.built()
    assert made.call_due(0) is Phase.RESUME
    assert made.call_due(50) is None  # still in flight
    made.answered(Phase.RESUME, False, "no pose yet", 50)
    assert made.refused == "resume refused: no pose yet"
    assert made.call_due(55) is Phase.RESUME
    made.answered(Phase.RESUME, True, "", 55)
    assert made.refused == "" and made.phase is Phase.START


def test_no_picture_belongs_between_a_call_that_starts_or_stops_the_policy_and_its_answer():
    made = driver()
    made.built()
    made.call_due(0)
    assert not made.quiet
    made.answered(Phase.RESUME, True, "", 0)
    assert not made.quiet
    made.call_due(1)
    assert made.quiet
    made.answered(Phase.START, False, "no image yet", 2)
    assert not made.quiet


def test_a_service_that_never_answers_is_asked_again():
    made = driver()
    made.built()
    assert made.call_due(0) is Phase.RESUME
    assert made.call_due(4 * 10**9) is None
    assert made.call_due(6 * 10**9) is Phase.RESUME


def test_a_call_that_is_refused_for_too_long_ends_the_episode_with_the_refusal():
    made = driver()
    made.built()
    for now in range(0, 2 * GIVE_UP, RETRY):
        if made.call_due(now) is not Phase.RESUME:
            break
        made.answered(Phase.RESUME, False, "no pose yet", now)
    ending = made.take_ending()
    assert (ending.failure, ending.steps, ending.success) == ("resume refused: no pose yet", 0, False)
    assert made.phase is Phase.STOP


def test_a_policy_that_is_gone_does_not_keep_the_next_episode():
    made = running()
    made.policy_status(False, "policy_error")
    for now in range(0, 2 * GIVE_UP, RETRY):
        if made.call_due(now) is not Phase.STOP:
            break
        made.answered(Phase.STOP, False, "no such service", now)
    assert made.phase is Phase.NEXT


def test_time_up_is_a_failure_that_the_flags_name():
    made = running(max_steps=2)
    made.stepped({"success": False})
    assert made.take_ending() is None
    made.stepped({"success": False})
    ending = made.take_ending()
    assert (ending.success, ending.failure, ending.steps) == (False, "", 2)


def test_the_policy_s_own_end_ends_the_episode():
    made = running()
    made.stepped({}, terminate=True)
    assert made.take_ending().steps == 1


@pytest.mark.parametrize(("reason", "failure"), [("policy_hung", "policy_hung"), ("task_done", "")])
def test_a_policy_that_stops_ends_the_episode_with_its_reason(reason, failure):
    made = running()
    made.policy_status(False, reason)
    assert made.take_ending().failure == failure


@pytest.mark.parametrize(
    ("fault", "reason", "ends"),
    [
        (True, "ik_unreachable", True),
        (False, "policy_silent", True),
        (False, "operator_hold", False),
        (False, "teleop_released", False),
    ],
)
def test_a_fault_of_the_arm_ends_the_episode_and_a_person_does_not(fault, reason, ends):
    made = running()
    made.arm_status(False, fault, reason)
    ending = made.take_ending()
    assert (ending.failure == reason) if ends else (ending is None)


def test_a_fault_is_released_before_the_next_episode():
    made = running()
    made.arm_status(False, True, "ik_unreachable")
    made.call_due(1)
    made.answered(Phase.STOP, True, "", 1)
    made.built()
    assert made.call_due(3) is Phase.RECOVER
    made.answered(Phase.RECOVER, True, "", 3)
    assert made.phase is Phase.RESUME


def test_a_late_status_of_the_last_episode_does_not_end_this_one():
    made = driver()
    made.built()
    for call in (Phase.RESUME, Phase.START):
        made.call_due(0)
        made.answered(call, True, "", 0)
    made.policy_status(False, "not_started")
    made.arm_status(False, False, "policy_stopped")
    assert made.phase is Phase.RUN and made.take_ending() is None
