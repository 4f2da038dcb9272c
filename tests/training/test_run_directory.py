"""A run's directory: one recipe, one process, and nothing half written after a kill or on a full disk."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from spatialbot_policy.errors import CheckpointError
from spatialbot_training.recipe import Recipe
from spatialbot_training.run_directory import RunDirectory, load_state

WEIGHTS = {"step": 4, "weights": torch.arange(5)}


def steps_of(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (path / "log.jsonl").read_text().splitlines()]


def test_state_comes_back(tmp_path: Path, recipe: Recipe) -> None:
    directory = RunDirectory(tmp_path / "run", recipe)
    assert load_state(directory.path) is None
    directory.save_state(WEIGHTS)
    state = load_state(directory.path)
    assert state is not None and state["step"] == 4 and torch.equal(state["weights"], WEIGHTS["weights"])


def test_one_process_at_a_time(tmp_path: Path, recipe: Recipe) -> None:
    first = RunDirectory(tmp_path, recipe)
    with pytest.raises(CheckpointError, match="another process is training in .*choose another --out"):
        RunDirectory(tmp_path, recipe)
    first.close()
    RunDirectory(tmp_path, recipe).close()


def test_a_run_of_another_recipe_is_refused_and_left_as_it_was(tmp_path: Path, recipe: Recipe) -> None:
    directory = RunDirectory(tmp_path, recipe)
    directory.save_state(WEIGHTS)
    directory.close()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    other = replace(recipe, schedule=replace(recipe.schedule, learning_rate=0.5))
    with pytest.raises(CheckpointError, match="holds a run of another recipe.*choose another --out"):
        RunDirectory(tmp_path, other)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    RunDirectory(tmp_path, recipe).close()


def test_a_run_from_before_a_field_was_added_goes_on(tmp_path: Path, recipe: Recipe) -> None:
    directory = RunDirectory(tmp_path, recipe)
    directory.save_state(WEIGHTS)
    directory.close()
    known = json.loads((tmp_path / "recipe.json").read_text())
    del known["schedule"]["clip_norm"]  # still at its default
    (tmp_path / "recipe.json").write_text(json.dumps(known))
    RunDirectory(tmp_path, recipe).close()
    (tmp_path / "recipe.json").write_text("{")
    with pytest.raises(CheckpointError, match="holds a run of another recipe"):
        RunDirectory(tmp_path, recipe)


def test_a_run_that_saved_nothing_yet_gives_way_to_a_mended_recipe(tmp_path: Path, recipe: Recipe) -> None:
    RunDirectory(tmp_path, recipe).close()
    mended = replace(recipe, schedule=replace(recipe.schedule, learning_rate=0.5))
    RunDirectory(tmp_path, mended).close()
    assert json.loads((tmp_path / "recipe.json").read_text())["schedule"]["learning_rate"] == 0.5


def test_what_a_kill_left_half_written_is_removed(tmp_path: Path, recipe: Recipe) -> None:
    RunDirectory(tmp_path, recipe).close()
    (tmp_path / ".state.pt").write_bytes(b"half")
    (tmp_path / ".checkpoint.partial-x").mkdir()
    (tmp_path / ".checkpoint.partial-x" / "config.json").write_text("{")
    (tmp_path / "notes.txt").write_text("mine")
    RunDirectory(tmp_path, recipe).close()
    assert {path.name for path in tmp_path.iterdir()} == {".lock", "recipe.json", "notes.txt"}


def test_the_log_goes_on_after_the_state(tmp_path: Path, recipe: Recipe) -> None:
    directory = RunDirectory(tmp_path, recipe)
    directory.start_log(0)
    for step in (2, 4, 6):
        directory.record(step, {"loss": 1.0 / step})
    directory.close()
    with open(tmp_path / "log.jsonl", "a") as file:
        file.write('{"step": 4, "lo')  # cut off by a kill
    again = RunDirectory(tmp_path, recipe)
    again.start_log(4)
    again.record(6, {"loss": 0.5})
    again.close()
    assert steps_of(tmp_path) == [2, 4, 6]
    assert json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1]) == {"step": 6, "loss": 0.5}


def test_tensorboard_shows_each_step_once_after_going_on(
    tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    now = time.time
    for start, steps in ((0, (2, 4, 6)), (4, (6, 8))):
        # TensorBoard orders its files by the second they were opened in: a run goes on some seconds later
        monkeypatch.setattr(time, "time", lambda later=start: now() + later)
        directory = RunDirectory(tmp_path, recipe)
        directory.start_log(start)
        for step in steps:
            directory.record(step, {"loss": float(step)})
        directory.close()
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("loss")] == [2, 4, 6, 8]


@pytest.mark.parametrize("content", [b"", b"not a state", b"PK\x03\x04 cut off"])
def test_a_damaged_state_says_what_to_remove(tmp_path: Path, recipe: Recipe, content: bytes) -> None:
    directory = RunDirectory(tmp_path, recipe)
    (tmp_path / "state.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match="state.pt is damaged or no state of a run; remove it"):
        load_state(directory.path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_keeps_the_state_before(tmp_path: Path, recipe: Recipe) -> None:
    directory = RunDirectory(tmp_path, recipe)
    directory.save_state(WEIGHTS)
    (tmp_path / ".state.pt").symlink_to("/dev/full")
    with pytest.raises(CheckpointError, match="cannot write the state of step 9.*check space"):
        directory.save_state({"step": 9, "weights": torch.zeros(100_000)})
    state = load_state(directory.path)
    assert state is not None and state["step"] == 4
    directory.start_log(4)
    (tmp_path / "log.jsonl").symlink_to("/dev/full")
    with pytest.raises(CheckpointError, match="cannot write the log of step 6"):
        directory.record(6, {"loss": 1.0})


def test_a_file_in_the_way(tmp_path: Path, recipe: Recipe) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(CheckpointError, match="cannot write the run in .*File exists"):
        RunDirectory(tmp_path / "run", recipe)
    assert (tmp_path / "run").read_text() == "a file"
