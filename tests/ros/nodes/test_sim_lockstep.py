"""The lock-step protocol: one step for each complete command of the present state, whatever the order."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spatialbot_ros.logic.action_target import opening_m
from spatialbot_ros.logic.pose import Pose
from spatialbot_ros.nodes.sim_lockstep import Lockstep

PERIOD, PATIENCE = 100, 2000
POSE = Pose(np.array([0.4, 0.0, 0.2]), np.array([1.0, 0.0, 0.0, 0.0]))
OTHER = Pose(np.array([0.5, 0.0, 0.2]), np.array([1.0, 0.0, 0.0, 0.0]))


@pytest.fixture
def lockstep() -> Lockstep:
    made = Lockstep(PERIOD, PATIENCE)
    made.shown(1000, 0, new_state=True)
    return made


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_command_is_complete_when_its_three_parts_are_there_in_any_order(lockstep, order):
    parts = [
        lambda: lockstep.target(1000, POSE),
        lambda: lockstep.gripper(opening_m(1.0)),
        lambda: lockstep.executed(1000, 1.0, False),
    ]
    for number in order:
        assert lockstep.move() is None
        parts[number]()
    move = lockstep.move()
    assert (move.stamp_ns, move.target, move.finger_m, move.terminate) == (1000, POSE, 0.0, False)


def test_an_unchanged_gripper_needs_no_new_goal_and_a_changed_one_waits_for_it(lockstep):
    lockstep.gripper(opening_m(0.0))
    lockstep.target(1000, POSE)
    lockstep.executed(1000, 0.0, False)
    assert lockstep.move() is not None
    lockstep.shown(1100, 1, new_state=True)
    assert lockstep.move() is None
    lockstep.target(1100, POSE)
    lockstep.executed(1100, 1.0, True)
    assert lockstep.move() is None
    lockstep.gripper(opening_m(1.0))
    assert lockstep.move().terminate


def test_a_closure_that_is_no_number_never_completes_a_command(lockstep):
    lockstep.gripper(opening_m(0.0))
    lockstep.target(1000, POSE)
    lockstep.executed(1000, float("nan"), False)
    assert lockstep.move() is None


def test_a_command_for_an_earlier_state_is_ignored(lockstep):
    lockstep.gripper(opening_m(0.0))
    lockstep.shown(1100, 1, new_state=False)  # the same state, shown twice
    lockstep.target(1000, POSE)
    lockstep.executed(1000, 0.0, False)
    assert lockstep.move().stamp_ns == 1000
    lockstep.shown(1200, 2, new_state=True)
    for stamp in (1000, 1100):
        lockstep.target(stamp, OTHER)
        lockstep.executed(stamp, 0.0, False)
    assert lockstep.move() is None


def test_target_and_executed_action_of_different_pictures_do_not_mix(lockstep):
    lockstep.gripper(opening_m(0.0))
    lockstep.shown(1100, 1, new_state=False)
    lockstep.target(1100, OTHER)
    lockstep.executed(1000, 0.0, False)
    assert lockstep.move() is None
    lockstep.target(1000, POSE)
    assert lockstep.move().target == POSE
    lockstep.executed(1100, 0.0, False)
    assert lockstep.move().target == OTHER  # the newest


def test_a_hold_command_alone_does_not_move_the_simulator(lockstep):
    lockstep.gripper(opening_m(0.0))
    lockstep.target(1000, POSE)
    assert lockstep.move() is None


def test_the_state_is_shown_at_the_rate_until_the_policy_works_and_then_after_patience(lockstep):
    assert [lockstep.show_again(now) for now in (0, 99, 100)] == [False, False, True]
    lockstep.policy_status(True)
    assert [lockstep.show_again(now) for now in (100, 1999, 2000)] == [False, False, True]
    lockstep.policy_status(False)
    assert lockstep.show_again(100)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 3), st.booleans()), max_size=80))
def test_no_sequence_of_messages_moves_twice_for_one_state_or_for_another(events):
    lockstep = Lockstep(PERIOD, PATIENCE)
    stamp, first, moves = 0, 0, []
    lockstep.shown(0, 0, new_state=True)
    for given_stamp, kind, closed in events:
        if kind == 0:
            lockstep.target(given_stamp, POSE)
        elif kind == 1:
            lockstep.executed(given_stamp, float(closed), False)
        elif kind == 2:
            lockstep.gripper(opening_m(float(closed)))
        else:
            stamp += 1
            lockstep.shown(stamp, 0, new_state=False)
        move = lockstep.move()
        if move is not None:
            assert move.stamp_ns >= first
            moves.append(first)
            stamp += 1
            first = stamp
            lockstep.shown(stamp, 0, new_state=True)
            assert lockstep.move() is None
    assert len(set(moves)) == len(moves)
