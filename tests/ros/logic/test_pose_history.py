"""A pose of the past is found, interpolated or refused, in any order of arrival."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from spatialbot_ros.logic.pose import Pose, quaternion_from_rpy
from spatialbot_ros.logic.pose_history import PoseHistory
from spatialbot_ros.logic.reasons import Reason, Refusal

MS = 1_000_000


def pose_at(stamp_ns: int) -> Pose:
    """Moves along x by one metre a second and turns about z by one radian a second."""
    seconds = stamp_ns * 1e-9
    return Pose(np.array([seconds, 0.2, 0.3]), quaternion_from_rpy(np.array([0.0, 0.0, seconds])))


def filled(stamps: list[int], capacity: int = 50, max_gap_ns: int = 50 * MS) -> PoseHistory:
    history = PoseHistory(capacity, max_gap_ns)
    for stamp_ns in stamps:
        history.push(stamp_ns, pose_at(stamp_ns))
    return history


def test_an_exact_stamp_gives_the_very_pose():
    history = PoseHistory(10, 50 * MS)
    kept = pose_at(20 * MS)
    history.push(10 * MS, pose_at(10 * MS))
    history.push(20 * MS, kept)
    history.push(30 * MS, pose_at(30 * MS))
    assert history.at(20 * MS) is kept


@given(st.permutations([0, 20 * MS, 45 * MS, 60 * MS, 100 * MS]), st.integers(0, 100 * MS))
def test_between_two_stamps_it_interpolates_whatever_their_order(stamps, wanted):
    found = filled(stamps).at(wanted)
    assert isinstance(found, Pose)
    distance_m, turn_rad = found.distance(pose_at(wanted))
    assert distance_m < 1e-9
    assert turn_rad < 1e-7


def test_a_little_newer_than_the_newest_gives_the_newest():
    history = filled([0, 20 * MS])
    assert history.at(70 * MS) == pose_at(20 * MS)
    refused = history.at(70 * MS + 1)
    assert isinstance(refused, Refusal)
    assert refused.reason is Reason.POSE_STOPPED
    assert "50 ms" in refused.detail


def test_a_gap_is_not_bridged():
    refused = filled([0, 100 * MS]).at(40 * MS)
    assert isinstance(refused, Refusal)
    assert "missing for 100 ms" in refused.detail


def test_older_than_the_oldest_and_empty_are_refused():
    for history, wanted in ((filled([50 * MS]), 40 * MS), (filled([]), 0)):
        refused = history.at(wanted)
        assert isinstance(refused, Refusal)
        assert refused.reason is Reason.POSE_STOPPED


@given(st.lists(st.integers(0, 1000), max_size=60), st.integers(1, 20))
def test_memory_is_bounded_and_keeps_the_newest(stamps, capacity):
    history = filled(stamps, capacity)
    newest = sorted(set(stamps))[-capacity:]
    assert history.newest_stamp_ns == (newest[-1] if newest else None)
    assert [isinstance(history.at(stamp), Pose) for stamp in newest] == [True] * len(newest)
    if newest and newest[0] > 0:
        assert isinstance(history.at(newest[0] - 1), Refusal)


def test_the_same_stamp_again_replaces_and_clear_forgets():
    history = filled([10 * MS])
    other = pose_at(0)
    history.push(10 * MS, other)
    assert history.at(10 * MS) is other
    history.clear()
    assert isinstance(history.at(10 * MS), Refusal)
