"""Scenes: the same seed gives the same scene, and what the instruction says is true of it, computed anew."""

from __future__ import annotations

import re
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spatialbot_policy.errors import TaskError
from spatialbot_sim.task.families import MIN_SPACING_M
from spatialbot_sim.task.instructions import DEGREES, Phrasing
from spatialbot_sim.task.palette import COLORS, UNSEEN_COLORS
from spatialbot_sim.task.scene import rearrange, sample_scene
from spatialbot_sim.task.shift import Shift, sample_conditions
from spatialbot_sim.task.specs import (
    BOARD_HALF_M,
    OBJECT_REGION_M,
    Family,
    ObjectSpec,
    Role,
    SceneSpec,
    Shape,
    parse_family,
)

seeds = st.integers(0, 19_999_999)
phrasings = st.sampled_from(Phrasing)
families = st.sampled_from(Family)
agains = st.integers(0, 3)
"""How often a scene is rearranged."""
VIEWERS = {"robot": ((-0.615, 0.0), (1.0, 0.0)), "camera": ((0.52, 0.0), (-1.0, 0.0))}
"""Where each viewer stands on the plan of the table, and which way it looks."""
OBJECT_WORDS = re.compile(r"the ((?:\w+ )?)(red|green|blue|yellow|orange|purple) (cup|ball|box)\b")
BOARD_WORDS = re.compile(r"\b(left|right) board\b")


def scene_of(family: Family, seed: int, phrasing: Phrasing, again: int) -> SceneSpec:
    """The scene of a seed, rearranged `again` times."""
    scene = sample_scene(family, seed, phrasing)
    rng = np.random.default_rng(seed)
    for _ in range(again):
        scene = rearrange(scene, rng, phrasing)
    return scene


def read_words(scene: SceneSpec) -> tuple[str, str, str]:
    """Qualifier of the object, side of the board and viewer (robot, unless the text says otherwise)."""
    words = OBJECT_WORDS.search(scene.instruction)
    board = BOARD_WORDS.search(scene.instruction)
    assert words and board, scene.instruction
    assert (words[2], words[3]) == (scene.target.color, scene.target.shape.value)
    viewer = re.search(r"\b(robot|camera)\b", scene.instruction)
    return words[1].strip(), board[1], viewer[1] if viewer else "robot"


def leftness(xy: tuple[float, float], viewer: str) -> float:
    """Metres to the left of a viewer's line of sight."""
    (x, y), (dx, dy) = VIEWERS[viewer]
    return dx * (xy[1] - y) - dy * (xy[0] - x)


def distance(xy: tuple[float, float], viewer: str) -> float:
    return float(np.hypot(xy[0] - VIEWERS[viewer][0][0], xy[1] - VIEWERS[viewer][0][1]))


@given(families, seeds, phrasings)
def test_the_same_seed_gives_the_same_scene(family, seed, phrasing):
    assert sample_scene(family, seed, phrasing) == sample_scene(family, seed, phrasing)


@given(families, seeds)
def test_the_phrasing_changes_the_words_and_not_what_stands_where(family, seed):
    train, held_out = (sample_scene(family, seed, phrasing) for phrasing in Phrasing)
    assert (train.objects, train.boards, train.goal) == (held_out.objects, held_out.boards, held_out.goal)
    assert train.instruction != held_out.instruction


def test_seeds_and_families_give_different_scenes():
    scenes = {sample_scene(family, seed) for family in Family for seed in range(40)}
    assert len({(scene.objects, scene.boards) for scene in scenes}) == 40 * len(Family)


@given(families, seeds, agains)
def test_there_is_one_target_and_every_object_has_its_own_name(family, seed, again):
    scene = scene_of(family, seed, Phrasing.TRAIN, again)
    assert [item.role for item in scene.objects].count(Role.TARGET) == 1
    assert len({item.name for item in scene.objects}) == len(scene.objects)
    assert (scene.obstacle is not None) == (family is Family.OBSTACLE)


@given(families, seeds, agains)
def test_boards_lie_apart_and_no_object_starts_on_one(family, seed, again):
    scene = scene_of(family, seed, Phrasing.TRAIN, again)
    left, right = scene.boards
    assert (left.side, right.side) == ("left", "right")
    assert left.xy_m[1] - right.xy_m[1] > 2 * BOARD_HALF_M[1] + 0.3
    for item in scene.objects:
        for board in scene.boards:
            gap = np.abs(np.subtract(item.xy_m, board.xy_m)) - BOARD_HALF_M[:2] - item.radius_m
            assert gap.max() > 0.0


@given(families, seeds, agains)
def test_objects_stand_in_reach_and_leave_room_for_the_hand(family, seed, again):
    scene = scene_of(family, seed, Phrasing.TRAIN, again)
    (x0, x1), (y0, y1) = OBJECT_REGION_M
    for item in scene.objects:
        if item.role is not Role.OBSTACLE:
            assert x0 <= item.xy_m[0] <= x1 and y0 <= item.xy_m[1] <= y1
        assert 2 * item.radius_m < 0.07  # the hand opens to 8 cm
        assert item.grasp_height_m <= item.height_m
    if family is not Family.OBSTACLE:
        for first, second in combinations(scene.objects, 2):
            apart = np.abs(np.subtract(first.xy_m, second.xy_m))
            assert (apart >= MIN_SPACING_M).any()


@given(families, seeds, phrasings, agains)
def test_the_board_is_the_one_that_is_named(family, seed, phrasing, again):
    scene = scene_of(family, seed, phrasing, again)
    _, side, viewer = read_words(scene)
    order = sorted(scene.boards, key=lambda board: leftness(board.xy_m, viewer))
    assert order[-1 if side == "left" else 0] == scene.boards[scene.goal]


@given(st.sampled_from([Family.PICK, Family.OBSTACLE]), seeds)
def test_a_lone_object_needs_no_qualifier(family, seed):
    scene = sample_scene(family, seed)
    assert read_words(scene)[0] == ""
    assert sum(item.color == scene.target.color for item in scene.objects) == 1


@settings(max_examples=300)
@given(seeds, phrasings, agains)
def test_a_relation_holds_for_the_target_as_its_viewer_sees_it(seed, phrasing, again):
    scene = scene_of(Family.POSITION, seed, phrasing, again)
    relation, _, viewer = read_words(scene)
    assert re.search(r"\b(robot|camera)\b", scene.instruction), "the words do not say who looks"
    if relation in ("closest", "farthest"):
        order = sorted(scene.objects, key=lambda item: distance(item.xy_m, viewer))
        values, least = [distance(item.xy_m, viewer) for item in order], 0.015
    else:
        order = sorted(scene.objects, key=lambda item: leftness(item.xy_m, viewer))
        values, least = [leftness(item.xy_m, viewer) for item in order], 0.04
    wanted = {"left": -1, "right": 0, "middle": 1, "closest": 0, "farthest": -1}[relation]
    assert order[wanted] is scene.target
    assert np.diff(values).min() > least, "the difference cannot be seen"
    assert relation != "middle" or len(scene.objects) == 3
    assert len({_looks(item) for item in scene.objects}) == 1, "the objects are not alike"


def _looks(item: ObjectSpec) -> tuple[object, ...]:
    return (item.shape, item.color, item.radius_m, item.height_m, item.yaw_rad)


def test_both_viewers_and_all_relations_occur():
    words = [read_words(sample_scene(Family.POSITION, seed)) for seed in range(150)]
    assert {relation for relation, _, _ in words} == {"left", "right", "middle", "closest", "farthest"}
    assert {viewer for _, _, viewer in words} == {"robot", "camera"}


@settings(max_examples=300)
@given(seeds, phrasings, agains)
def test_a_word_of_size_holds_for_the_target_alone(seed, phrasing, again):
    scene = scene_of(Family.SIZE, seed, phrasing, again)
    qualifier, _, _ = read_words(scene)
    word, degree = next(
        (word, degrees.index(qualifier)) for word, degrees in DEGREES.items() if qualifier in degrees
    )
    assert len(scene.objects) == (3 if degree == 2 else 2)
    sizes = {
        "width": [item.radius_m for item in scene.objects],
        "height": [item.height_m for item in scene.objects],
    }
    if word in ("tall", "short", "wide"):  # the other measure must not give it away, nor contradict it
        assert scene.target.shape is not Shape.BALL
        assert len(set(sizes["width" if word != "wide" else "height"])) == 1
    for name in {"wide": ["width"], "tall": ["height"], "short": ["height"]}.get(word, ["width", "height"]):
        order = sorted(scene.objects, key=lambda item: getattr(item, f"{_FIELD[name]}_m"))
        assert order[0 if word in ("small", "short") else -1] is scene.target
        assert np.diff(np.sort(sizes[name])).min() > 0.006, "the difference cannot be seen"
    assert len({(item.shape, item.color) for item in scene.objects}) == 1


_FIELD = {"width": "radius", "height": "height"}


def test_every_word_and_degree_of_size_occurs():
    words = {read_words(sample_scene(Family.SIZE, seed))[0] for seed in range(300)}
    assert words == {word for degrees in DEGREES.values() for word in degrees}


@given(families, seeds, agains)
def test_rearranging_keeps_boards_and_looks(family, seed, again):
    first, scene = sample_scene(family, seed), scene_of(family, seed, Phrasing.TRAIN, again)
    assert (scene.boards, scene.table_rgb) == (first.boards, first.table_rgb)
    assert [(item.name, *_looks(item)) for item in scene.objects] == [
        (item.name, *_looks(item)) for item in first.objects
    ]
    assert [item.xy_m for item in scene.objects if item.role is Role.PICTURE] == [
        item.xy_m for item in first.objects if item.role is Role.PICTURE
    ]


def test_rearranging_asks_for_every_object_and_both_boards_in_other_places():
    scene = next(
        scene
        for scene in (sample_scene(Family.POSITION, seed) for seed in range(50))
        if len(scene.objects) == 3
    )
    rng = np.random.default_rng(0)
    asked = [rearrange(scene, rng) for _ in range(60)]
    assert {item.target.name for item in asked} == {item.name for item in scene.objects}
    assert {item.goal for item in asked} == {0, 1}
    assert len({item.instruction for item in asked}) > 30
    assert len({item.target.xy_m for item in asked}) == 60


@given(families, seeds)
def test_unseen_colors_and_sizes_change_the_looks_alone(family, seed):
    nominal = sample_scene(family, seed)
    palette = sample_conditions(Shift.ALL, family.value, seed).palette
    scene = sample_scene(family, seed, palette=palette)
    assert [
        (item.name, item.xy_m, item.role) for item in scene.objects if item.role is not Role.OBSTACLE
    ] == [(item.name, item.xy_m, item.role) for item in nominal.objects if item.role is not Role.OBSTACLE]
    assert scene.goal == nominal.goal
    assert all(item.color in UNSEEN_COLORS and item.color not in COLORS for item in scene.objects)
    assert scene.target.color in scene.instruction
    assert all(2 * item.radius_m < 0.072 for item in scene.objects)
    if family is Family.PICK:
        assert not 0.023 <= scene.target.radius_m <= 0.031


@given(seeds, agains)
def test_the_obstacle_stands_on_the_way_with_room_for_the_hand_on_both_sides(seed, again):
    scene = scene_of(Family.OBSTACLE, seed, Phrasing.TRAIN, again)
    assert scene.obstacle is not None
    start, post = np.array(scene.target.xy_m), np.array(scene.obstacle.xy_m)
    end = np.array(scene.boards[scene.goal].xy_m)
    way = end - start
    along = float((post - start) @ way / (way @ way))
    assert 0.0 < along < 1.0
    assert np.linalg.norm(start + along * way - post) < 1e-9
    assert min(abs(post[1] - start[1]), abs(end[1] - post[1])) > 0.1 + scene.obstacle.radius_m
    assert scene.obstacle.height_m > scene.target.height_m
    assert scene.obstacle.color != scene.target.color


@given(seeds)
def test_the_picture_shows_the_real_object(seed):
    scene = sample_scene(Family.ILLUSION, seed)
    assert read_words(scene)[0] == "real"
    (picture,) = (item for item in scene.objects if item.role is Role.PICTURE)
    assert _looks(picture) == _looks(scene.target)


@pytest.mark.parametrize("family", Family)
def test_both_boards_are_asked_for(family):
    goals = [sample_scene(family, seed).goal for seed in range(200)]
    assert 60 < sum(goals) < 140


def test_an_unknown_family_is_refused_with_the_known_ones():
    assert parse_family("size") is Family.SIZE
    with pytest.raises(TaskError, match="unknown family 'stack'.*pick, position, size, obstacle, illusion"):
        parse_family("stack")


COLLECTED = {
    Family.PICK: ("grasp the blue box and put it on the right board", (0.052178, 0.115228), 0.026457),
    Family.POSITION: (
        "take hold of the left orange box and set it down on the right board, from the robot's side",
        (-0.088102, 0.102319),
        0.026853,
    ),
    Family.SIZE: (
        "pick the tallest green cup and set it down on the left board",
        (-0.065183, 0.077448),
        0.026,
    ),
    Family.OBSTACLE: ("can you bring the red cup over to the left board", (0.060364, -0.047310), 0.026964),
    Family.ILLUSION: ("transfer the real green cup to the left board", (0.013965, 0.025275), 0.025519),
}


@pytest.mark.parametrize("family", Family)
def test_a_seed_means_the_scene_that_data_sets_were_collected_with(family):
    instruction, xy_m, radius_m = COLLECTED[family]
    scene = sample_scene(family, 12345)
    assert scene.instruction == instruction
    assert scene.target.xy_m == pytest.approx(xy_m, abs=1e-6)
    assert scene.target.radius_m == pytest.approx(radius_m, abs=1e-6)
