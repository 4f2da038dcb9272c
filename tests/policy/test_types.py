"""Frames and actions refuse what must not reach the policy."""

from __future__ import annotations

import numpy as np
import pytest

from spatialbot_policy.errors import ActionError, FrameError, SpatialBotError
from spatialbot_policy.types import ActionStep, RgbdFrame

COLOR = np.zeros((4, 6, 3), np.uint8)


def test_frame_keeps_its_arrays():
    depth = np.ones((4, 6), np.uint16)
    frame = RgbdFrame("base", 7, COLOR, depth)
    assert frame.color is COLOR and frame.depth_mm is depth


@pytest.mark.parametrize(
    "color",
    [COLOR.astype(np.float32), COLOR[..., 0], np.zeros((4, 6, 4), np.uint8)],
    ids=["float", "2d", "rgba"],
)
def test_frame_refuses_other_colour(color):
    with pytest.raises(FrameError, match="'base'.*uint8 RGB.*convert"):
        RgbdFrame("base", 0, color)


@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.uint8, np.int64])
def test_frame_refuses_other_depth_types(dtype):
    with pytest.raises(FrameError, match="millimetres.*to_millimetres"):
        RgbdFrame("base", 0, COLOR, np.ones((4, 6), dtype))


def test_frame_refuses_sizes_that_disagree():
    with pytest.raises(FrameError, match=r"depth \(6, 4\) and colour \(4, 6\) disagree.*align"):
        RgbdFrame("base", 0, COLOR, np.ones((6, 4), np.uint16))


def test_action_vector_order():
    step = ActionStep(np.array([1.0, 2, 3]), np.array([4.0, 5, 6]), 0.5)
    assert step.as_vector().tolist() == [1, 2, 3, 4, 5, 6, 0.5]


def test_action_refuses_other_widths_and_values():
    with pytest.raises(ActionError, match="3 translations"):
        ActionStep(np.zeros(2), np.zeros(3), 0.0)
    with pytest.raises(ActionError, match="finite"):
        ActionStep(np.zeros(3), np.array([0, np.nan, 0]), 0.0)
    with pytest.raises(SpatialBotError, match="finite"):
        ActionStep(np.zeros(3), np.zeros(3), float("inf"))
