"""The auxiliary question: right answers from an episode's poses, and a loss over the known ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spatialbot_training.localisation import (
    NAMES,
    LocalisationHead,
    localisation_errors_mm,
    localisation_loss,
    localisation_targets,
)


def poses(*places: tuple[float, float, float]) -> np.ndarray:
    """(T, 7) poses of one frame."""
    return np.array([[*place, 0, 0, 0, 1] for place in places], dtype=float)


def answers(transforms: dict[str, np.ndarray], steps: int = 1) -> list[dict[str, float]]:
    """Known answers of each step in metres and fractions, by name."""
    tool = poses(*[(0.5, 0.1, 0.3)] * steps)
    targets = localisation_targets(tool, np.full(steps, 0.25), transforms)
    assert targets.dtype == np.float32 and targets.shape == (steps, len(NAMES))
    scaled = targets * np.where(np.array(NAMES) == "closure", 1.0, 0.1)
    centre = {"x": 0.6, "y": 0.0, "z": 0.1}
    return [
        {
            name: round(float(value) + centre.get(name[-1] if "_" in name else "", 0.0), 4)
            for name, value in zip(NAMES, row, strict=True)
            if np.isfinite(value)
        }
        for row in scaled
    ]


def test_a_recording_without_transforms_answers_for_the_tool_alone() -> None:
    assert answers({}) == [{"tool_x": 0.5, "tool_y": 0.1, "tool_z": 0.3, "closure": 0.25}]


def test_boards_and_goals_are_no_objects() -> None:
    known = answers({name: poses((0.7, 0.2, 0.0)) for name in ("board_left", "target", "goal", "obstacle")})[
        0
    ]
    assert known["board_left_x"] == 0.7 and known["board_left_y"] == 0.2
    assert not any("object" in name or "right" in name for name in known)


def test_objects_are_ordered_as_the_robot_sees_them_whatever_their_names() -> None:
    left, middle, right = (0.6, 0.2, 0.05), (0.5, 0.0, 0.06), (0.7, -0.1, 0.07)
    known = answers({"a": poses(right), "b": poses(left), "c": poses(middle)})[0]
    for place, position in (("leftmost", left), ("middle", middle), ("rightmost", right)):
        assert tuple(known[f"object_{place}_{axis}"] for axis in "xyz") == position
    assert "only_object_x" not in known
    pair = answers({"a": poses(right), "b": poses(left)})[0]
    assert "object_middle_x" not in pair
    assert pair["object_leftmost_y"] == 0.2 and pair["object_rightmost_y"] == -0.1


def test_a_single_object_is_in_every_place() -> None:
    known = answers({"object": poses((0.55, 0.1, 0.02))})[0]
    assert {known[f"{name}_y"] for name in ("object_leftmost", "object_middle", "only_object")} == {0.1}


def test_stills_of_different_scenes_count_the_objects_of_their_own_step() -> None:
    nothing = (np.nan, np.nan, np.nan)
    a = poses((0.6, 0.2, 0.05), (0.6, 0.3, 0.05), nothing)
    b = poses((0.5, 0.0, 0.05), nothing, nothing)
    c = poses((0.7, -0.1, 0.05), (0.7, -0.3, 0.05), nothing)
    three, two, none = answers({"a": a, "b": b, "c": c}, steps=3)
    assert three["object_middle_y"] == 0.0 and three["object_rightmost_y"] == -0.1
    assert two["object_leftmost_y"] == 0.3 and two["object_rightmost_y"] == -0.3
    assert "object_middle_y" not in two
    assert not any("object" in name for name in none)


def test_loss_looks_at_known_answers_alone() -> None:
    given = torch.tensor([[1.0, 5.0], [2.0, 7.0]], requires_grad=True)
    targets = torch.tensor([[1.0, float("nan")], [3.0, float("nan")]])
    loss = localisation_loss(given, targets)
    assert loss.item() == pytest.approx((0 + (1 - 0.05)) / 2)
    loss.backward()
    assert torch.isfinite(given.grad).all() and not given.grad[:, 1].any()


def test_loss_without_any_answer_is_zero_and_has_a_gradient() -> None:
    head = LocalisationHead(3)
    loss = localisation_loss(head(torch.ones(2, 3)), torch.full((2, len(NAMES)), float("nan")))
    loss.backward()
    assert loss.item() == 0 and not head.linear.weight.grad.any()


def test_errors_are_medians_in_millimetres_of_the_groups_that_are_known() -> None:
    targets = np.full((3, len(NAMES)), np.nan, dtype=np.float32)
    targets[:, :4] = 0
    given = np.zeros_like(targets)
    given[:, :3] = [[0.1], [0.2], [9.0]]  # in units of 0.1 m
    given[:, 3] = 0.5
    assert localisation_errors_mm(given, targets) == pytest.approx({"tool": 20.0, "closure": 50.0})
