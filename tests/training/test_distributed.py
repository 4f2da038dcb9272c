"""Several processes: the same losses as one, plain and sharded, and a state that any number goes on from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.start_samples import recipe_of, write_conversations, write_weights
from tests.training.training_samples import small_recipe

from spatialbot_policy.config import save_yaml
from spatialbot_policy.errors import ConfigError
from spatialbot_policy.model import load_checkpoint
from spatialbot_policy.model.checkpoint import load_conversation
from spatialbot_training.adapter import merge_adapter
from spatialbot_training.batch_parts import Sharing, share_out
from spatialbot_training.distributed import Processes
from spatialbot_training.parts import PartsConfig
from spatialbot_training.recipe import Recipe, StartConfig
from spatialbot_training.trainer import Trainer

ALONE = Processes(0, 1, torch.device("cpu"))
LOSSES = ("loss/answer", "loss/localisation", "loss/intention", "grad_norm")


def logged(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def launch(recipe: Recipe, out: Path, cache: Path, *more: str, processes: int = 2) -> None:
    """Run the verb in processes that torchrun starts."""
    save_yaml(recipe, out.with_suffix(".yaml"))
    verb = ["-m", "spatialbot_cli.main", "train", "--recipe", str(out.with_suffix(".yaml")), "--threads", "1"]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    run = subprocess.run(
        [*launcher, f"--nproc-per-node={processes}", *verb, "--out", str(out), "--cache", str(cache), *more],
        env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]


@pytest.fixture
def exact(train_set: Path, validation_set: Path) -> Recipe:
    """Without averaging over steps in the log, and in float32, so that only the sharing can differ."""
    return small_recipe(
        train_set, validation_set, steps=5, log_every=1, save_every=5, bf16=False, intention_weight=0.5
    )


def assert_same(found: Path, expected: Path, tolerance: float = 1e-5) -> None:
    pairs = list(zip(logged(found), logged(expected), strict=True))
    assert len(pairs) == 6  # five steps and the validation
    for line, wanted in pairs:
        for name in LOSSES:
            assert line.get(name, 0) == pytest.approx(wanted.get(name, 0), abs=tolerance), (line, wanted)
    assert pairs[-1][0] == pytest.approx(pairs[-1][1], abs=0.1)  # millimetres of validation


def test_two_processes_have_the_losses_of_one(exact: Recipe, cache: Path, tmp_path: Path) -> None:
    Trainer(exact, tmp_path / "one", cache, processes=ALONE).run()
    launch(exact, tmp_path / "two", cache)
    assert_same(tmp_path / "two", tmp_path / "one")
    load_checkpoint(tmp_path / "two" / "checkpoint")


@pytest.mark.slow
def test_sharded_processes_have_the_losses_of_one_and_one_goes_on_from_their_state(
    exact: Recipe, cache: Path, tmp_path: Path
) -> None:
    Trainer(exact, tmp_path / "one", cache, processes=ALONE).run()
    launch(exact, tmp_path / "two", cache, "--shard")
    assert_same(tmp_path / "two", tmp_path / "one")
    names = [set(torch.load(tmp_path / name / "state.pt")["optimizer"]) for name in ("one", "two")]
    assert names[0] == names[1]
    weights = [load_checkpoint(tmp_path / name / "checkpoint").model.state_dict() for name in ("one", "two")]
    for name, value in weights[0].items():
        # Adam's first steps are as long for the smallest gradient as for the largest
        torch.testing.assert_close(weights[1][name], value, atol=0.01, rtol=0)
    assert Trainer(exact, tmp_path / "two", cache, processes=ALONE).step == 5


def test_two_processes_learn_from_kept_features_as_one(exact: Recipe, cache: Path, tmp_path: Path) -> None:
    tower = Trainer(exact, tmp_path / "tower", cache, processes=ALONE).run()
    recipe = replace(
        exact,
        data=replace(exact.data, cache_features=True),
        start=StartConfig(tower=tower),
        parts=PartsConfig(vision="frozen"),
    )
    Trainer(recipe, tmp_path / "one", cache, processes=ALONE).run()
    launch(recipe, tmp_path / "two", cache)
    assert_same(tmp_path / "two", tmp_path / "one")
    load_checkpoint(tmp_path / "two" / "checkpoint")


def test_accumulated_parts_have_the_losses_of_the_whole(exact: Recipe, cache: Path, tmp_path: Path) -> None:
    def losses(micro_batch: int) -> list[dict[str, float]]:
        recipe = replace(exact, schedule=replace(exact.schedule, micro_batch=micro_batch))
        trainer = Trainer(recipe, tmp_path / str(micro_batch), cache, processes=ALONE)
        return trainer.take(5)

    whole, parts = losses(0), losses(3)  # eight prompts in three parts, three stills in as many
    for one, other in zip(whole, parts, strict=True):
        assert other == pytest.approx(one, abs=1e-5)


def test_a_batch_is_cut_into_parts_of_every_process() -> None:
    assert share_out([128], 0, 4, 1) == Sharing(4, 1, 1)
    assert share_out([128], 8, 8, 2) == Sharing(8, 2, 2)  # the papers': 8 GPUs, 8 at once, 2 turns
    assert share_out([128], 8, 1, 0).accumulation == 16
    with pytest.raises(ConfigError, match="batch of 3 examples cannot be cut into 4 parts"):
        share_out([2, 3], 0, 4, 0)


@pytest.mark.slow
def test_sharded_adapters_over_half_precision_are_those_of_one(cache: Path, tmp_path: Path) -> None:
    write_weights(tmp_path)
    write_conversations(tmp_path / "talk")
    shipped = recipe_of("vqa", tmp_path, save_every=4)
    recipe = replace(
        shipped,
        start=StartConfig(language=tmp_path / "language", vision=(tmp_path / "vision",)),
        parts=replace(shipped.parts, vision="lora"),
        lora=replace(shipped.lora, dropout=0.0),
    )
    Trainer(recipe, tmp_path / "one", cache, processes=ALONE).run()
    launch(recipe, tmp_path / "two", cache, "--shard")
    for line, wanted in zip(logged(tmp_path / "two"), logged(tmp_path / "one"), strict=True):
        # in bfloat16 sums of other parts round otherwise
        assert line.get("loss/answer", 0) == pytest.approx(wanted.get("loss/answer", 0), abs=0.02)
    merged = merge_adapter(tmp_path / "two", tmp_path / "merged")
    load_conversation(merged)
