"""A data set's recipe: what it asks for, what it refuses, and that it goes on where it stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from spatialbot_policy.config import load_yaml
from spatialbot_policy.errors import ConfigError, TaskError
from spatialbot_sim.collection import collect as module
from spatialbot_sim.collection.collect import CollectReport
from spatialbot_sim.collection.recipe import CollectPart, CollectRecipe, collect_recipe

RECIPES = Path(__file__).parents[3] / "config" / "collect"


def part(families: tuple[str, ...] = ("pick",), **values) -> CollectPart:
    return CollectPart(families, **values)


@pytest.mark.parametrize(
    "parts",
    [
        (part(demos=10), part(demos=10, first_seed=10)),
        (part(demos=10), part(("size",), demos=10)),
        (part(demos=10), part(stills=10)),
        (part(demos=10), part(demos=10, policy=Path("a"))),
        (part(demos=10, policy=Path("a")), part(demos=10, policy=Path("b"))),
    ],
)
def test_parts_that_ask_for_different_episodes_go_together(parts):
    assert len(CollectRecipe(parts).plans(Path("set"))) == 2


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((), "the recipe has no parts"),
        ((part(demos=10), part(demos=5, first_seed=9)), r"parts 1 and 2 both ask for seed 9 \(pick demo\)"),
        ((part(stills=10), part(("size", "pick"), stills=1)), r"both ask for seed 0 \(pick stills\)"),
        ((part(demos=3), part(demos=3, vary=True)), "do not overlap"),
        (
            (part(demos=3, policy=Path("a")), part(demos=3, policy=Path("a"), policy_share=0.5)),
            r"\(pick demo driven by a\)",
        ),
        ((part(demos=1), part()), "nothing to collect"),
        ((part(("stack",), demos=1),), "unknown family 'stack'"),
        ((part(demos=1, stills=1, policy=Path("a")),), "nobody drives in stills"),
        ((part(demos=2, first_seed=9_999_999),), "is not for training"),
    ],
)
def test_a_recipe_that_cannot_be_collected_is_refused(parts, message):
    with pytest.raises(TaskError, match=message):
        CollectRecipe(parts)


def test_common_settings_hold_for_every_part():
    recipe = CollectRecipe((part(demos=1), part(stills=1)), image_size=64, wrist_camera=True, workers=3)
    plans = recipe.plans(Path("set"))
    assert {(plan.image_size, plan.wrist_camera, plan.workers) for plan in plans} == {(64, True, 3)}
    assert {plan.workers for plan in recipe.plans(Path("set"), workers=5)} == {5}
    table_top = CollectRecipe((CollectPart(demos=2),), task="PickCube-v1")
    assert table_top.plans(Path("set"))[0].families == ("",)


def test_parts_are_collected_in_order(tmp_path, monkeypatch):
    plans, told = [], []

    def collect(plan, on_progress, report):
        plans.append(plan)
        on_progress(1, 2)
        return CollectReport(already_there=len(plans))

    monkeypatch.setattr("spatialbot_sim.collection.recipe.collect", collect)
    recipe = CollectRecipe((part(demos=1), part(stills=2)))
    reports = collect_recipe(recipe, tmp_path, on_progress=lambda *counts: told.append(counts))
    assert [(plan.demos, plan.stills, plan.out) for plan in plans] == [(1, 0, tmp_path), (0, 2, tmp_path)]
    assert [report.already_there for report in reports] == [1, 2] and told == [(1, 1, 2), (2, 1, 2)]


def test_what_an_earlier_part_recorded_stays_when_a_later_one_stops(tmp_path, monkeypatch):
    def broken(make_handler, arguments, jobs, workers, report):
        if jobs and jobs[0].kind == "stills":
            raise TaskError("the second part stops")
        yield from ()

    monkeypatch.setattr(module, "run_jobs", broken)
    recipe = CollectRecipe((part(demos=1), part(stills=1)))
    with pytest.raises(TaskError, match="the second part stops"):
        collect_recipe(recipe, tmp_path)
    assert (tmp_path / "dataset.yaml").is_file()


def test_a_misspelt_key_names_the_nearest(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text("parts:\n  - {families: [pick], demo: 3}\n")
    with pytest.raises(ConfigError, match=r"parts\[0\]: unknown key 'demo'.*did you mean 'demos'"):
        load_yaml(CollectRecipe, file)


@pytest.mark.parametrize("file", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.name)
def test_a_shipped_recipe_is_sound_and_shares_no_scene_with_the_others(file):
    recipe = load_yaml(CollectRecipe, file)
    scenes = {key[:2] + key[3:] for plan in recipe.plans(Path("set")) for key in plan.keys()}
    for other in RECIPES.glob("*.yaml"):
        if other != file:
            for plan in load_yaml(CollectRecipe, other).plans(Path("set")):
                assert not scenes & {key[:2] + key[3:] for key in plan.keys()}
