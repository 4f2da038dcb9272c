"""Configurations from YAML: strict keys and types, exact round trips, checkpoints that disagree."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Literal, Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spatialbot_policy.action_space import ActionSpace
from spatialbot_policy.config import CameraConfig, PolicyConfig, from_dict, load_yaml, save_yaml, to_dict
from spatialbot_policy.depth import DepthVariant
from spatialbot_policy.errors import CheckpointError, ConfigError
from spatialbot_policy.prompt import PromptStyle

POLICY = PolicyConfig(cameras=(CameraConfig("base", 128, 128),), depth_variant=DepthVariant.PAPER)


class Schedule(str, Enum):
    COSINE = "cosine"
    CONSTANT = "constant"


@dataclass(frozen=True)
class Optimiser:
    learning_rate: float = 2e-4
    schedule: Schedule = Schedule.COSINE
    betas: tuple[float, float] = (0.9, 0.999)


@dataclass(frozen=True)
class Recipe:
    """Everything a training recipe may hold."""

    name: str
    datasets: tuple[Path, ...]
    optimiser: Optimiser = field(default_factory=Optimiser)
    resume: Path | None = None
    limit: Optional[int] = None  # noqa: UP045 - both spellings must load
    precision: Literal["bf16", "fp32"] = "bf16"
    weights: dict[str, float] = field(default_factory=dict)
    families: list[str] = field(default_factory=list)
    stages: tuple[Optimiser, ...] = ()
    seed: int | str = 0
    shuffle: bool = True
    extra: object = None


FULL = """
name: tiny
datasets: [datasets/a, datasets/b]
optimiser: {learning_rate: 2e-4, schedule: constant, betas: [0.9, 1]}
resume: runs/last
limit: 10
precision: fp32
weights: {approach: 2, place: 1.5e+0}
families: [pick, position]
stages: [{}, {learning_rate: 1E-5}]
seed: many
shuffle: false
extra: {anything: [1, null]}
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_training_recipe_loads(tmp_path):
    recipe = load_yaml(Recipe, written(tmp_path, FULL))
    assert recipe == Recipe(
        "tiny",
        (Path("datasets/a"), Path("datasets/b")),
        Optimiser(2e-4, Schedule.CONSTANT, (0.9, 1.0)),
        Path("runs/last"),
        10,
        "fp32",
        {"approach": 2.0, "place": 1.5},
        ["pick", "position"],
        (Optimiser(), Optimiser(1e-5)),
        "many",
        False,
        {"anything": [1, None]},
    )
    assert isinstance(recipe.optimiser.betas[1], float)
    assert from_dict(Recipe, to_dict(recipe), "again") == recipe
    save_yaml(recipe, tmp_path / "saved.yaml")
    assert load_yaml(Recipe, tmp_path / "saved.yaml") == recipe


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nmae": "x"}, "unknown key 'nmae'; allowed: name, datasets.*did you mean 'name'"),
        ({"optimiser": {"lr": 1}}, "optimiser: unknown key 'lr'; allowed: learning_rate, schedule, betas"),
        ({"stages": [{}, {"x": 1}]}, r"stages\[1\]: unknown key 'x'"),
        ({"name": 3}, r"name: expected text.*3 \(int\)"),
        ({"name": None}, "name: expected text"),
        ({"limit": True}, r"limit: expected a whole number, got True \(bool\)"),
        ({"limit": 1.5}, "limit: expected a whole number"),
        ({"shuffle": "no"}, "shuffle: expected true or false"),
        ({"precision": "fp16"}, "precision: expected one of bf16, fp32, got 'fp16'"),
        ({"datasets": "a"}, "datasets: expected a list, got 'a'"),
        ({"datasets": [1]}, r"datasets\[0\]: expected a path"),
        ({"optimiser": {"betas": [1]}}, "betas: expected a list of 2 values"),
        ({"optimiser": {"schedule": "step"}}, "schedule: expected one of cosine, constant"),
        ({"optimiser": [1]}, "optimiser: expected a mapping"),
        ({"weights": {"a": "b"}}, "weights.a: expected a number"),
        ({"seed": 1.5}, "seed: expected a whole number.*or.*seed: expected text"),
    ],
)
def test_mistakes_name_the_key(changes, message):
    with pytest.raises(ConfigError, match="(?s)recipe.yaml.*" + message):
        from_dict(Recipe, {"name": "x", "datasets": ["a"]} | changes, "recipe.yaml")


def test_missing_keys_are_named():
    with pytest.raises(ConfigError, match="recipe.yaml: missing key 'datasets'"):
        from_dict(Recipe, {"name": "x"}, "recipe.yaml")


def test_files_that_are_no_configuration(tmp_path):
    with pytest.raises(ConfigError, match="cannot read.*absent.yaml"):
        load_yaml(Recipe, tmp_path / "absent.yaml")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_yaml(Recipe, written(tmp_path, "name: [1"))
    with pytest.raises(ConfigError, match="'name' is given twice"):
        load_yaml(Recipe, written(tmp_path, "name: a\ndatasets: []\nname: b\n"))
    with pytest.raises(ConfigError, match="expected a mapping.*'just text'"):
        load_yaml(Recipe, written(tmp_path, "just text"))
    assert load_yaml(Optimiser, written(tmp_path, "")) == Optimiser()


def test_a_policy_loads_from_yaml(tmp_path):
    text = """
    cameras: [{name: base, width: 128, height: 128}]
    depth_variant: paper
    action_space: {kind: delta_pose_terminate, bins: 101}
    training: {episodes: 400}
    """
    policy = load_yaml(PolicyConfig, written(tmp_path, text))
    assert policy == replace(
        POLICY, action_space=ActionSpace("delta_pose_terminate"), training={"episodes": 400}
    )
    assert policy.max_gap_ns == 500_000_000


@settings(max_examples=30, deadline=None)
@given(
    st.builds(
        PolicyConfig,
        cameras=st.lists(
            st.builds(CameraConfig, st.text(min_size=1), st.integers(1, 2000), st.integers(1, 2000)),
            min_size=1,
            max_size=3,
            unique_by=lambda camera: camera.name,
        ).map(tuple),
        schema=st.just(1),
        history_length=st.integers(1, 8),
        max_gap_ms=st.integers(1, 5000),
        rate_hz=st.floats(0.1, 100),
        depth_variant=st.none() | st.sampled_from(DepthVariant),
        prompt=st.sampled_from(PromptStyle),
        action_space=st.builds(ActionSpace, rotation_bound_rad=st.floats(0.01, 1)),
        training=st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.booleans())),
    )
)
def test_any_policy_comes_back(tmp_path_factory, policy):
    path = tmp_path_factory.mktemp("policy") / "policy.yaml"
    save_yaml(policy, path)
    assert load_yaml(PolicyConfig, path) == policy
    policy.check_matches(load_yaml(PolicyConfig, path))


@pytest.mark.parametrize("text", ["caf\u00e9\u0085\u2028", "2e-4", "0E0", "yes", "null", "1:30", " a\n\tb"])
def test_texts_that_yaml_might_misread_come_back(tmp_path, text):
    """PyYAML wrote U+0085 unescaped and read a space; `2e-4` was text when written and a number when read."""
    policy = replace(POLICY, training={"note": text, text: [text]})
    save_yaml(policy, tmp_path / "policy.yaml")
    assert load_yaml(PolicyConfig, tmp_path / "policy.yaml") == policy


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 2}, "schema 2.*update"),
        ({"cameras": []}, "at least one"),
        ({"cameras": [{"name": "a", "width": 1, "height": 1}] * 2}, "differ in name"),
        ({"cameras": [{"name": "a", "width": 0, "height": 1}]}, r"cameras\[0\].*width"),
        ({"history_length": 0}, "history_length"),
        ({"rate_hz": 0}, "rate_hz"),
        ({"action_space": {"bins": 100}}, "action_space.*bins must be odd"),
    ],
)
def test_policy_values_outside_their_range(changes, message):
    with pytest.raises(ConfigError, match="policy.yaml.*" + message):
        from_dict(PolicyConfig, to_dict(POLICY) | changes, "policy.yaml")


def test_disagreements_are_all_listed_with_both_values():
    request = replace(
        POLICY,
        cameras=(CameraConfig("wrist", 224, 224),),
        depth_variant=None,
        rate_hz=20.0,
        action_space=ActionSpace(bins=255, translation_bound_m=0.2),
    )
    with pytest.raises(CheckpointError) as caught:
        POLICY.check_matches(request, "the data set")
    message = str(caught.value)
    for part in (
        "action_space.bins: 101 != 255",
        "action_space.translation_bound_m: 0.05 != 0.2",
        "depth_variant: paper != none (colour only)",
        "cameras: base 128x128 != wrist 224x224",
        "rate_hz: 10.0 != 20.0",
        "Bring the data set in line",
    ):
        assert part in message
    assert "history_length" not in message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"history_length": 1}, "history_length: 4 != 1"),
        ({"prompt": PromptStyle.PAPER}, "prompt: reference != paper"),
        ({"action_space": ActionSpace("delta_pose_terminate")}, "action_space.kind"),
        ({"depth_variant": DepthVariant.RELEASED}, "depth_variant: paper != released"),
    ],
)
def test_each_disagreement_alone_is_enough(changes, message):
    with pytest.raises(CheckpointError, match=message):
        POLICY.check_matches(replace(POLICY, **changes))


def test_what_may_differ_does():
    POLICY.check_matches(replace(POLICY, max_gap_ms=900, training={"seed": 3}))


def test_changes_replace_what_a_file_says_wherever_it_is(tmp_path: Path):
    file = tmp_path / "recipe.yaml"
    file.write_text(FULL, encoding="utf-8")
    before = load_yaml(Recipe, file)
    changes = ("optimiser.learning_rate=1e-3", "limit=null", "weights.place=4", "datasets=[c]")
    assert load_yaml(Recipe, file, changes) == replace(
        before,
        optimiser=replace(before.optimiser, learning_rate=1e-3),
        limit=None,
        weights={**before.weights, "place": 4.0},
        datasets=(Path("c"),),
    )
    file.write_text("name: a\ndatasets: [b]\n", encoding="utf-8")
    assert load_yaml(Recipe, file, ["optimiser.schedule=constant"]).optimiser.schedule is Schedule.CONSTANT


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("limit", "changes nothing"),
        ("=3", "changes nothing"),
        ("optimiser.=3", "changes nothing"),
        ("limitt=3", "unknown key 'limitt'.*did you mean 'limit'"),
        ("limit=many", "limit: expected a whole number"),
        ("limit.a=3", "holds no keys"),
        ("limit=[", "not valid YAML"),
    ],
)
def test_a_change_that_cannot_be_made_is_refused_by_name(change: str, message: str, tmp_path: Path):
    file = tmp_path / "recipe.yaml"
    file.write_text(FULL, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_yaml(Recipe, file, [change])
