"""Success against training steps or episodes, drawn from the files of evaluations."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from benchmarks.success_curve import main, read_points
from spatialbot_policy.errors import ConfigError


def evaluation(path: Path, successes: int, step: int | None = None, shift: str | None = None) -> Path:
    """An evaluation of a checkpoint in two families, 10 episodes each, and of a baseline."""
    training = {} if step is None else {"step": step}
    shifted = {} if shift is None else {"shift": shift}  # files from before there were shifts say none
    rows = [
        {"policy": name, "family": family, "rate": successes / 10, "wilson_95": [0.0, 1.0], **shifted}
        for name in ("runs/a", "expert")
        for family in ("pick", "size", "all")
    ]
    policies = {"expert": {"config": None}, "runs/a": {"config": {"training": training}}}
    path.write_text(json.dumps({"policies": policies, "summary": rows}))
    return path


@pytest.fixture
def files(tmp_path):
    return [
        evaluation(tmp_path / "a.json", 9, step=400),
        evaluation(tmp_path / "b.json", 5, step=100, shift="none"),
    ]


def test_points_stand_at_the_training_steps_in_their_order(files):
    points = read_points(files)
    assert points == {family: [(100, 0.5, 0.0, 1.0), (400, 0.9, 0.0, 1.0)] for family in ("pick", "size")}


def test_x_may_be_given_for_each_file(files):
    assert [point[0] for point in read_points(files, (800, 1600))["pick"]] == [800, 1600]
    with pytest.raises(ConfigError, match="2 files and 1 values of x"):
        read_points(files, (800,))


def test_the_picture_is_small_and_shows_a_line_for_each_family(tmp_path, files, capsys):
    out = tmp_path / "curve.png"
    main([str(out), *map(str, files), "--x", "150", "400", "--x-label", "episodes", "--log-x"])
    picture = cv2.imread(str(out))
    assert picture is not None and picture.std() > 10 and out.stat().st_size < 200_000
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "pick\t150\t90 %\t0 to 100 %" and len(told) == 4


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"shift": "light"}, "no episodes of runs/a under shift 'light'"),
        ({"policy": "runs/b"}, "no checkpoint named like 'runs/b'"),
    ],
)
def test_what_is_not_there_is_named(files, values, message):
    with pytest.raises(ConfigError, match=message):
        read_points(files, **values)


def test_foreign_files_and_checkpoints_without_a_step_are_named(tmp_path):
    stepless = evaluation(tmp_path / "a.json", 9)
    with pytest.raises(ConfigError, match="runs/a does not say at which training step"):
        read_points([stepless])
    (tmp_path / "b.json").write_text("[]")
    with pytest.raises(ConfigError, match="no evaluation.json"):
        read_points([tmp_path / "b.json"], (1,))
    with pytest.raises(SystemExit, match="cannot read"):
        main([str(tmp_path / "out.png"), str(tmp_path / "none.json"), str(stepless), "--x", "1", "2"])
