"""The auxiliary question: right answers from an episode's poses, and a loss over the known ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spatialbot_policy.errors import ConfigError, EpisodeError
from spatialbot_training.localisation import (
    NAMES,
    LocalisationHead,
    localisation_errors_mm,
    localisation_loss,
    localisation_targets,
)
from spatialbot_training.object_facts import ObjectFacts, object_facts


def poses(*places: tuple[float, float, float]) -> np.ndarray:
    """(T, 7) poses of one frame."""
    return np.array([[*place, 0, 0, 0, 1] for place in places], dtype=float)


TOOL_M = (0.5, 0.1, 0.3)


def answers(
    transforms: dict[str, np.ndarray], steps: int = 1, facts: dict[str, ObjectFacts] | None = None
) -> list[dict[str, float]]:
    """Known answers of each step by name: places in the base frame and sizes in metres, and fractions."""
    targets = localisation_targets(poses(*[TOOL_M] * steps), np.full(steps, 0.25), transforms, facts)
    assert targets.dtype == np.float32 and targets.shape == (steps, len(NAMES))
    return [
        {
            name: round(_in_metres(name, float(value)), 4)
            for name, value in zip(NAMES, row, strict=True)
            if np.isfinite(value)
        }
        for row in targets
    ]


def _in_metres(name: str, value: float) -> float:
    if name.startswith("height_"):
        return 0.06 + 0.01 * value
    if name.startswith("radius_"):
        return 0.026 + 0.01 * value
    if name[-2:] not in ("_x", "_y", "_z"):
        return value
    origin = (0.6, 0.0, 0.1) if name.startswith("tool_") else TOOL_M
    return origin["xyz".index(name[-1])] + 0.1 * value


def place_of(known: dict[str, float], name: str) -> tuple[float, ...] | None:
    """Where the answers say that something is; None where they do not."""
    found = [known.get(f"{name}_{axis}") for axis in "xyz"]
    return None if None in found else tuple(found)


def cup(height_m: float = 0.06, radius_m: float = 0.026, role: str = "distractor") -> ObjectFacts:
    return ObjectFacts(role, radius_m, height_m, "cup", "red")


def test_a_recording_without_transforms_answers_for_the_tool_alone() -> None:
    assert answers({}) == [{"tool_x": 0.5, "tool_y": 0.1, "tool_z": 0.3, "closure": 0.25}]


def test_boards_and_goals_are_no_objects() -> None:
    known = answers({name: poses((0.7, 0.2, 0.0)) for name in ("board_left", "target", "goal", "obstacle")})[
        0
    ]
    assert known["board_left_x"] == 0.7 and known["board_left_y"] == 0.2
    assert not any("object" in name or "right" in name for name in known)
    assert place_of(known, "obstacle") == (0.7, 0.2, 0.0) and "height_obstacle" not in known


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


def test_all_but_the_tool_is_seen_from_the_tool() -> None:
    """Camera and tool moved together change nothing but the tool's own place."""
    shift = np.array([0.03, -0.02, 0.01, 0, 0, 0, 0])
    tool, scene = poses(TOOL_M), {"object": poses((0.55, 0.1, 0.02)), "board_left": poses((0.6, 0.2, 0.0))}
    one = localisation_targets(tool, np.zeros(1), scene)
    moved = {name: values + shift for name, values in scene.items()}
    other = localisation_targets(tool + shift, np.zeros(1), moved)
    np.testing.assert_allclose(other[:, :3] - one[:, :3], [[0.3, -0.2, 0.1]], atol=1e-5)
    np.testing.assert_allclose(other[:, 3:], one[:, 3:], atol=1e-5)


def test_nearest_and_farthest_need_two_objects_and_no_facts() -> None:
    near, far = (0.5, 0.0, 0.05), (0.7, -0.1, 0.05)
    known = answers({"a": poses(far), "b": poses(near)})[0]
    assert place_of(known, "nearest") == near and place_of(known, "farthest") == far
    assert not any(name.startswith(("tallest", "height", "real", "is_real")) for name in known)
    assert place_of(answers({"a": poses(far)})[0], "nearest") is None


def test_sizes_are_answered_at_the_place_where_an_object_stands() -> None:
    left, right = (0.6, 0.2, 0.05), (0.5, -0.1, 0.06)
    facts = {"a": cup(0.07, 0.03), "b": cup(0.05, 0.02), "elsewhere": cup()}
    known = answers({"a": poses(right), "b": poses(left)}, facts=facts)[0]
    assert (known["height_leftmost"], known["radius_leftmost"]) == (0.05, 0.02)
    assert (known["height_rightmost"], known["radius_rightmost"]) == (0.07, 0.03)
    assert known["is_real_leftmost"] == known["is_real_rightmost"] == 1
    assert "height_middle" not in known


def test_the_extremes_of_size_are_those_that_can_be_seen() -> None:
    places = {"a": (0.6, 0.2, 0.05), "b": (0.5, 0.0, 0.05), "c": (0.7, -0.1, 0.05)}
    scene = {name: poses(place) for name, place in places.items()}
    facts = {"a": cup(0.05, 0.026), "b": cup(0.08, 0.027), "c": cup(0.052, 0.02)}
    known = answers(scene, facts=facts)[0]
    assert place_of(known, "tallest") == places["b"] and place_of(known, "narrowest") == places["c"]
    assert place_of(known, "shortest") is None and place_of(known, "widest") is None
    del facts["c"]  # it might be the tallest
    assert place_of(answers(scene, facts=facts)[0], "tallest") is None


def test_a_picture_is_no_real_object_and_has_no_size() -> None:
    real, picture = (0.6, 0.2, 0.05), (0.5, -0.1, 0.0)
    scene = {"cup": poses(real), "flat": poses(picture)}
    facts = {"cup": cup(role="target"), "flat": cup(0.09, role="picture")}
    known = answers(scene, facts=facts)[0]
    assert place_of(known, "real") == real and place_of(known, "tallest") is None
    assert (known["is_real_leftmost"], known["is_real_rightmost"]) == (1, 0)
    assert "height_rightmost" not in known and place_of(known, "object_rightmost") == picture
    assert place_of(answers(scene, facts={**facts, "flat": cup()})[0], "real") is None


def test_an_obstacle_has_a_place_and_a_height_of_its_own() -> None:
    scene = {"cup": poses((0.6, 0.2, 0.05)), "post": poses((0.5, 0.0, 0.1))}
    known = answers(scene, facts={"cup": cup(), "post": cup(0.2, role="obstacle")})[0]
    assert place_of(known, "obstacle") == (0.5, 0.0, 0.1) and known["height_obstacle"] == 0.2
    assert place_of(known, "only_object") == (0.6, 0.2, 0.05)


def test_relations_are_those_of_each_step() -> None:
    nothing = (np.nan, np.nan, np.nan)
    a = poses((0.6, 0.2, 0.05), (0.6, 0.2, 0.05), nothing)
    b = poses((0.5, 0.0, 0.05), (0.8, 0.0, 0.05), (0.5, 0.0, 0.05))
    steps = answers({"a": a, "b": b}, steps=3, facts={"a": cup(0.08), "b": cup(0.05)})
    assert [place_of(known, "nearest") for known in steps] == [(0.5, 0.0, 0.05), (0.6, 0.2, 0.05), None]
    assert [place_of(known, "tallest") for known in steps] == [(0.6, 0.2, 0.05), (0.6, 0.2, 0.05), None]
    assert [known.get("height_leftmost") for known in steps] == [0.08, 0.08, 0.05]


def test_facts_are_read_from_an_episode_and_refused_by_name() -> None:
    fields = {"role": "target", "shape": "cup", "color": "red", "radius_m": 0.02, "height_m": 0.07}
    found = object_facts({"objects": {"a": {**fields, "weight_kg": 1}}, "perturb": True}, "episode 3")
    assert found == {"a": ObjectFacts("target", 0.02, 0.07, "cup", "red")}
    assert object_facts({"perturb": True}, "episode 3") == {}
    with pytest.raises(EpisodeError, match="episode 3.*objects.a.*'height_m'"):
        object_facts({"objects": {"a": {"role": "target", "radius_m": 0.02}}}, "episode 3")
    with pytest.raises(EpisodeError, match="episode 3: extra.objects gives each object's facts"):
        object_facts({"objects": ["a"]}, "episode 3")
    with pytest.raises(ConfigError, match="role is one of .*, got 'hero'"):
        ObjectFacts("hero", 0.02, 0.07)
    with pytest.raises(ConfigError, match="above 0"):
        ObjectFacts("target", 0.0, 0.07)


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
    targets[:, NAMES.index("tallest_x")] = 0
    targets[:, NAMES.index("height_obstacle")] = 0
    given = np.zeros_like(targets)
    given[:, :3] = [[0.1], [0.2], [9.0]]  # in units of 0.1 m
    given[:, 3] = 0.5
    given[:, NAMES.index("tallest_x")] = 0.3
    given[:, NAMES.index("height_obstacle")] = 0.3  # in units of 0.01 m
    expected = {"tool": 20.0, "closure": 50.0, "relations": 30.0, "obstacle": 3.0}
    assert localisation_errors_mm(given, targets) == pytest.approx(expected)
