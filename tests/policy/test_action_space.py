"""Actions to bins, tokens and text, and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spatialbot_policy.action_space import ActionSpace
from spatialbot_policy.errors import ActionError, ConfigError
from spatialbot_policy.types import ActionStep

SPACE = ActionSpace()
RTX = ActionSpace("delta_pose_terminate", 0.2, 0.2)
SPACES = st.builds(
    ActionSpace,
    kind=st.sampled_from(["delta_pose", "delta_pose_terminate"]),
    translation_bound_m=st.floats(1e-3, 1.0),
    rotation_bound_rad=st.floats(1e-3, 3.2),
    bins=st.sampled_from([3, 11, 99, 101, 103, 255, 501, 999]),
)


def step(vector, terminate=False) -> ActionStep:
    values = np.asarray(vector, dtype=np.float64)
    return ActionStep(values[:3], values[3:6], float(values[6]), terminate)


@settings(max_examples=60, deadline=None)
@given(SPACES, st.data())
def test_bins_tokens_and_text_come_back(space, data):
    bins = np.array(data.draw(st.lists(st.integers(0, space.bins - 1), min_size=7, max_size=7)))
    if space.terminates:
        bins = np.append(bins, data.draw(st.sampled_from([0, space.bins - 1])))
    np.testing.assert_array_equal(space.to_bins(space.from_bins(bins)), bins)
    np.testing.assert_array_equal(space.from_tokens(space.to_tokens(bins)), bins)
    np.testing.assert_array_equal(space.from_text(space.to_text(bins)), bins)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-0.3, 0.3), min_size=6, max_size=6), st.floats(-1, 2))
def test_quantisation_is_at_most_half_a_bin_after_clipping(motion, gripper):
    vector = np.array([*motion, gripper])
    high = np.array([0.05] * 3 + [0.1] * 3 + [1])
    low = np.array([-0.05] * 3 + [-0.1] * 3 + [0])
    bins = SPACE.to_bins(step(vector))
    error = np.abs(SPACE.from_bins(bins).as_vector() - np.clip(vector, low, high))
    assert (error <= (high - low) / 200 + 1e-12).all()


def test_standing_still_is_exactly_the_middle_bin():
    assert SPACE.to_bins(step(np.zeros(7))).tolist() == [50] * 6 + [0]
    assert SPACE.from_bins([50] * 6 + [100]).as_vector().tolist() == [0] * 6 + [1]


def test_ends_and_gripper_direction():
    closed = SPACE.from_bins([0, 100, 50, 0, 100, 50, 100])
    assert closed.translation_m.tolist() == [-0.05, 0.05, 0]
    assert closed.rotation_rad.tolist() == [-0.1, 0.1, 0]
    assert closed.gripper_closure == 1.0
    assert SPACE.from_bins([50] * 6 + [37]).gripper_closure == pytest.approx(0.37)


def test_terminate_comes_last_and_only_in_its_kind():
    assert (SPACE.dimensions, RTX.dimensions) == (7, 8)
    assert RTX.names[-2:] == ("gripper", "terminate")
    assert RTX.to_bins(step(np.zeros(7), terminate=True)).tolist() == [50] * 6 + [0, 100]
    assert RTX.from_bins([50] * 6 + [0, 100]).terminate
    assert not RTX.from_bins([50] * 6 + [0, 0]).terminate
    assert SPACE.to_bins(step(np.zeros(7), terminate=True)).shape == (7,)


def test_vectors_equal_steps_one_by_one():
    vectors = np.random.default_rng(0).normal(0, 0.1, (20, 7))
    flags = np.arange(20) % 3 == 0
    expected = [RTX.to_bins(step(vector, bool(flag))) for vector, flag in zip(vectors, flags, strict=True)]
    bins = RTX.encode_vectors(vectors, flags)
    np.testing.assert_array_equal(bins, expected)
    assert bins.dtype == np.int64
    np.testing.assert_array_equal(RTX.decode_vectors(bins), [RTX.from_bins(row).as_vector() for row in bins])
    assert SPACE.encode_vectors(np.zeros((0, 7))).shape == (0, 7)
    assert RTX.encode_vectors(vectors)[:, -1].max() == 0


def test_tokens_are_named_by_bin():
    assert len(SPACE.token_strings) == 101
    assert (SPACE.token_strings[0], SPACE.token_strings[100]) == ("<action_000>", "<action_100>")


def test_text_is_the_papers():
    assert SPACE.to_text([17, 51, 44, 62, 83, 7, 100]) == "<0.17, 0.51, 0.44, 0.62, 0.83, 0.07, 1>"
    assert SPACE.to_text([50, 0, 100, 50, 50, 50, 0]) == "<0.5, 0, 1, 0.5, 0.5, 0.5, 0>"


def test_text_may_carry_trailing_zeros():
    text = " <0.50,0.00, 1.00, 0.5, 0.5, 0.5, 0>\n"
    assert SPACE.from_text(text).tolist() == [50, 0, 100, 50, 50, 50, 0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<0.5, 0.5>",
        "0.5, 0, 1, 0.5, 0.5, 0.5, 0",
        "The robot should <0.5, 0, 1, 0.5, 0.5, 0.5, 0>.",
        "<0.5, 0, 1, 0.5, 0.5, 0.5, 0, 1>",
        "<0.5, 0, 1, 0.5, 0.5, 0.5, >",
        "<0.5, 0, 1, 0.5, 0.5, 0.5, 1.01>",
        "<0.5, 0, 1, 0.5, 0.5, 0.5, -0.1>",
        "<0.5, 0, 1, 0.5, 0.5, 0.5, 0.123>",
        "<0.5, 0, 1, 0.5, 0.5, 0.5, 1e0>",
        "<0.5, 0, 1, 0.5, 0.5, 0.5, nan>",
        "<0.5, 0, 1, 0.5, 0.5, 0.5, .5>",
        "<0.5, 0, 1, 0.5, 0.5, 0.5, ٠>",
    ],
)
def test_other_text_is_refused(text):
    with pytest.raises(ActionError):
        SPACE.from_text(text)


def test_text_between_two_bins_is_refused():
    with pytest.raises(ActionError, match="'0.25' in .* none of the 11 values 0, 0.1 .. 1"):
        ActionSpace(bins=11).from_text("<0.25, 0, 0, 0, 0, 0, 0>")


@pytest.mark.parametrize(
    "tokens", [["<action_050>"] * 6, ["<action_050>"] * 6 + ["<action_101>"], ["50"] * 7]
)
def test_other_tokens_are_refused(tokens):
    with pytest.raises(ActionError, match="7 tokens <action_000>..<action_100>"):
        SPACE.from_tokens(tokens)


@pytest.mark.parametrize(
    ("bins", "message"),
    [([50] * 6, "dx, dy"), ([50] * 6 + [101], "0..100"), ([-1] * 7, "0..100"), ([0.5] * 7, "integers")],
)
def test_other_bins_are_refused(bins, message):
    for reader in (SPACE.from_bins, SPACE.to_text, SPACE.to_tokens):
        with pytest.raises(ActionError, match=message):
            reader(bins)


def test_vectors_that_are_no_actions_are_refused():
    with pytest.raises(ActionError, match="action 1 is not finite"):
        SPACE.encode_vectors([[0] * 7, [0] * 6 + [np.nan]])
    with pytest.raises(ActionError, match=r"\(T, 7\)"):
        SPACE.encode_vectors(np.zeros(7))
    with pytest.raises(ActionError, match="terminate flags"):
        RTX.encode_vectors(np.zeros((2, 7)), [True])


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "joint"},
        {"translation_bound_m": 0.0},
        {"rotation_bound_rad": float("nan")},
        {"bins": 100},
        {"bins": 1},
        {"bins": 1001},
    ],
)
def test_impossible_spaces_are_refused(changes):
    with pytest.raises(ConfigError):
        ActionSpace(**changes)
