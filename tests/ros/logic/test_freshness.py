"""Age, skew and form of images: what passes, and the name of what does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spatialbot_policy.errors import ConfigError
from spatialbot_ros.logic.freshness import FrameContract, FrameForm, FreshnessGate
from spatialbot_ros.logic.reasons import Reason

MS = 1_000_000
GATE = FreshnessGate(max_age_ns=60 * MS, max_skew_ns=10 * MS, max_future_ns=5 * MS)
NOW = 1_000_000 * MS


def reason(color_ms: int, depth_ms: int | None) -> Reason | None:
    """Judge images with these ages."""
    depth_ns = None if depth_ms is None else NOW - depth_ms * MS
    refusal = GATE.check(NOW - color_ms * MS, depth_ns, NOW)
    return None if refusal is None else refusal.reason


@pytest.mark.parametrize(
    ("color_ms", "depth_ms", "expected"),
    [
        (0, 0, None),
        (60, 60, None),
        (-5, -5, None),
        (55, 60, None),
        (20, 30, None),
        (20, None, None),
        (61, 60, Reason.FRAME_STALE),
        (60, 61, Reason.FRAME_STALE),
        (-6, -5, Reason.FRAME_STALE),
        (0, -6, Reason.FRAME_STALE),
        (61, None, Reason.FRAME_STALE),
        (20, 31, Reason.FRAMES_SKEWED),
        (31, 20, Reason.FRAMES_SKEWED),
    ],
)
def test_the_gate_names_what_is_wrong(color_ms, depth_ms, expected):
    assert reason(color_ms, depth_ms) is expected


@pytest.mark.parametrize(("color", "depth"), [(0, NOW), (NOW, 0), (-1, None)])
def test_an_unset_stamp_is_named(color, depth):
    refusal = GATE.check(color, depth, NOW)
    assert refusal is not None and refusal.reason is Reason.STAMP_INVALID
    assert "header.stamp" in refusal.detail


@pytest.mark.parametrize(
    ("color_ms", "depth_ms", "words"),
    [
        (75, 70, "the colour image is 75.0 ms old, allowed are 60.0 ms"),
        (58, 62, "the depth image is 62.0 ms old"),
        (-6, None, "6.0 ms in the future; let one clock stamp all (use_sim_time"),
        (11, 0, "depth is 11.0 ms from colour, allowed are 10.0 ms"),
        (0, 11, "enable_sync:=true"),
    ],
)
def test_the_detail_says_how_much_and_what_mends_it(color_ms, depth_ms, words):
    depth_ns = None if depth_ms is None else NOW - depth_ms * MS
    refusal = GATE.check(NOW - color_ms * MS, depth_ns, NOW)
    assert refusal is not None and words in refusal.detail


@given(st.integers(-200, 200), st.integers(-200, 200))
def test_what_passes_is_fresh_and_together(color_ms, depth_ms):
    sound = all(-5 <= age <= 60 for age in (color_ms, depth_ms)) and abs(color_ms - depth_ms) <= 10
    assert (reason(color_ms, depth_ms) is None) == sound


@pytest.mark.parametrize("limits", [(0, 1, 1), (1, -1, 1), (1, 1, -1)])
def test_impossible_limits_are_refused(limits):
    with pytest.raises(ConfigError, match="freshness limits must be positive"):
        FreshnessGate(*limits)


@pytest.mark.parametrize(
    "changed",
    [FrameForm(320, 480, "rgb8"), FrameForm(640, 240, "rgb8"), FrameForm(640, 480, "bgr8")],
)
def test_a_stream_keeps_the_form_of_its_first_image(changed):
    contract = FrameContract()
    first = FrameForm(640, 480, "rgb8")
    assert contract.check("main colour", first) is None
    assert contract.check("main depth", FrameForm(640, 480, "16UC1")) is None
    for _ in range(2):  # the first stays the measure
        refusal = contract.check("main colour", changed)
        assert refusal is not None and refusal.reason is Reason.FRAME_CHANGED
        assert f"main colour changed from 640 x 480 rgb8 to {changed}" in refusal.detail
    assert contract.check("main colour", first) is None
    contract.reset()
    assert contract.form("main colour") is None
    assert contract.check("main colour", changed) is None
    assert contract.form("main colour") == changed
