"""`spatialbot train`: a run that is killed goes on, and every mistake is one line."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tests.training.training_samples import (
    POLICY,
    contract,
    record_demos,
    record_stills,
    small_recipe,
)

from spatialbot_cli import main as cli
from spatialbot_policy.config import save_yaml, to_dict
from spatialbot_policy.episode import Dataset
from spatialbot_policy.inference import LocalPolicy


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPATIALBOT_DEBUG", raising=False)
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`train` with demonstrations and stills, `other` with demonstrations alone."""
    directory = tmp_path_factory.mktemp("data")
    record_demos(directory / "train", seeds=(1, 2, 3))
    record_stills(directory / "train", seeds=(4,))
    record_demos(directory / "other", seeds=(100, 2))
    return directory


@pytest.fixture
def recipe(data: Path) -> dict[str, Any]:
    return to_dict(small_recipe(data / "train"))


def train(recipe: dict[str, Any], tmp_path: Path, *more: str) -> int:
    """Write the recipe and run the verb."""
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    where = ["--out", str(tmp_path / "run"), "--cache", str(tmp_path / "cache")]
    return cli.main(["train", "--recipe", str(path), *where, *more])


def test_a_run_ends_with_a_checkpoint(recipe: dict, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert train(recipe, tmp_path, "--steps", "4", "--threads", "1", "--rgb-only") == 0
    assert "checkpoint" in capsys.readouterr().out
    policy = LocalPolicy.from_checkpoint(tmp_path / "run" / "checkpoint")
    assert policy.config.depth_variant is None and policy.config.training["step"] == 4
    assert train(recipe, tmp_path, "--steps", "4", "--rgb-only") == 0
    assert "going on from step 4" in capsys.readouterr().out


def test_values_of_a_recipe_can_be_replaced(recipe: dict, tmp_path: Path) -> None:
    changes = ("--set", "schedule.steps=2", "schedule.seed=7")
    assert train(recipe, tmp_path, "--threads", "1", *changes) == 0
    summary = LocalPolicy.from_checkpoint(tmp_path / "run" / "checkpoint").config.training
    assert summary["step"] == 2 and summary["recipe"]["schedule"]["seed"] == 7


def unknown_key(recipe: dict, data: Path) -> None:
    recipe["schedule"]["stepps"] = recipe["schedule"].pop("steps")


def no_data_set(recipe: dict, data: Path) -> None:
    recipe["data"]["train"] = [str(data / "nowhere")]


def another_contract(recipe: dict, data: Path) -> None:
    if not (data / "fast").exists():
        Dataset.create(data / "fast", contract(rate_hz=20.0))
    recipe["data"]["train"] = [str(data / "fast")]


def shared_seeds(recipe: dict, data: Path) -> None:
    recipe["data"]["validation"] = [str(data / "other")]


def no_stills(recipe: dict, data: Path) -> None:
    recipe["data"]["train"] = [str(data / "other")]


def no_network(recipe: dict, data: Path) -> None:
    recipe["model"]["vision"]["keypoint"] = 3


MISTAKES = [
    (unknown_key, "schedule: unknown key 'stepps'; allowed: .*did you mean 'steps'"),
    (no_data_set, "nowhere is no data set"),
    (another_contract, "fast and the recipe's policy disagree .*rate_hz: 20.0 != 10.0"),
    (shared_seeds, "seed 2 of Squares/pick is in training and in validation"),
    (no_stills, "asks for stills, and the data sets hold none"),
    (no_network, "model.vision: unknown key 'keypoint'; did you mean 'keypoints'"),
]


@pytest.mark.parametrize(("spoil", "message"), MISTAKES, ids=[spoil.__name__ for spoil, _ in MISTAKES])
def test_a_mistake_is_one_line_and_begins_no_run(
    spoil: Any, message: str, recipe: dict, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    spoil(recipe, data)
    assert train(recipe, tmp_path) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("spatialbot: ")
    assert re.search(message, line), line
    assert not (tmp_path / "run" / "state.pt").exists() and not (tmp_path / "run" / "checkpoint").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "1"], "localisation_steps must lie between 0 and steps, got 2 of 1"),
        (["--threads", "-1"], "--threads must be 0"),
    ],
)
def test_arguments_out_of_range(
    recipe: dict, tmp_path: Path, capsys: pytest.CaptureFixture, arguments: list[str], message: str
) -> None:
    assert train(recipe, tmp_path, *arguments) == 2
    assert message in capsys.readouterr().err


def test_a_recipe_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = ["--recipe", str(tmp_path / "no.yaml"), "--out", str(tmp_path / "run")]
    assert cli.main(["train", *arguments]) == 2
    assert "no.yaml" in capsys.readouterr().err and not (tmp_path / "run").exists()


def wait_for_step(log: Path, step: int, process: subprocess.Popen) -> None:
    """Until the log holds a step; minutes at most, on a machine that does something else."""
    for _ in range(6000):
        if log.is_file() and f'"step": {step},' in log.read_text():
            return
        if process.poll() is not None:
            pytest.fail(f"training ended with {process.returncode} before step {step}")
        time.sleep(0.05)
    process.kill()
    pytest.fail(f"step {step} was not reached")


def losses(out: Path) -> dict[int, float]:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss/localisation"] for line in lines}


@pytest.mark.slow
def test_kill_9_in_the_middle_of_a_run_changes_nothing(data: Path, tmp_path: Path) -> None:
    recipe = small_recipe(data / "train", steps=60, log_every=1, save_every=7, validate_every=20)
    save_yaml(recipe, tmp_path / "recipe.yaml")

    def command(out: str) -> list[str]:
        verb = [sys.executable, "-m", "spatialbot_cli.main", "train", "--threads", "1"]
        where = ["--out", str(tmp_path / out), "--cache", str(tmp_path / "cache")]
        return [*verb, "--recipe", str(tmp_path / "recipe.yaml"), *where]

    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for step in (10, 24):
        with subprocess.Popen(command("killed"), env=environment, stdout=subprocess.DEVNULL) as process:
            wait_for_step(tmp_path / "killed" / "log.jsonl", step, process)
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
    for out in ("killed", "whole"):
        subprocess.run(command(out), env=environment, check=True, stdout=subprocess.DEVNULL)
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    assert losses(killed) == losses(whole) and len(losses(whole)) == 60
    weights = Path("checkpoint") / "model.safetensors"
    assert (killed / weights).read_bytes() == (whole / weights).read_bytes()
    assert POLICY.cameras == LocalPolicy.from_checkpoint(killed / "checkpoint").config.cameras


def test_a_piped_log_has_one_line_for_each_record(recipe: dict, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    where = ["--out", str(tmp_path / "run"), "--cache", str(tmp_path / "cache")]
    command = [
        sys.executable,
        "-m",
        "spatialbot_cli.main",
        "train",
        "--recipe",
        str(tmp_path / "recipe.yaml"),
    ]
    run = subprocess.run([*command, *where, "--steps", "4"], capture_output=True, text=True, check=True)
    logged = [line for line in run.stdout.splitlines() if line.startswith("step ")]
    assert logged and all(line.endswith("}") for line in logged)
