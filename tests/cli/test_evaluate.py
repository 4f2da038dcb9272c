"""`spatialbot evaluate` and `spatialbot demo`: reports with films, and errors that say how to go on."""

from __future__ import annotations

import base64
import json
import re

import cv2
import numpy as np
import pytest

from spatialbot_cli import main as cli
from spatialbot_sim.evaluation.film import read_mp4


def test_the_demo_writes_a_report_with_pictures_and_a_film(tmp_path, capsys):
    out = tmp_path / "demo-report"
    arguments = ["--checkpoint", "expert", "--pick", "1", "--position", "1", "--workers", "1"]
    assert cli.main(["demo", "--out", str(out), *arguments]) == 0
    told = capsys.readouterr().out
    assert "2/2" in told.replace(" ", "") and "report.html" in told and "demo.mp4" in told
    page = (out / "report.html").read_text()
    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    assert len(pictures) == 2 and "success in" in page and "http" not in page
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(pictures[0]), np.uint8), cv2.IMREAD_COLOR)
    assert picture.std() > 20
    films = sorted((out / "videos").glob("*.mp4"))
    assert len(films) == 2 and all(film.stat().st_size < 1_000_000 for film in films)
    assert len(list((out / "filmstrips").glob("*.png"))) == 2
    steps = sum(len(list(read_mp4(film))) for film in films)
    assert len(list(read_mp4(out / "demo.mp4"))) == steps
    episodes = json.loads((out / "evaluation.json").read_text())["episodes"]
    assert [episode["family"] for episode in episodes] == ["pick", "position"]


def test_shifts_are_compared_in_a_table_of_their_own(tmp_path, capsys):
    arguments = ["--checkpoint", "expert", "--episodes", "1", "--shifts", "none", "colors", "--baselines"]
    more = ["--video", "0", "--workers", "1", "--max-steps", "60"]
    assert cli.main(["evaluate", "--out", str(tmp_path), *arguments, *more]) == 0
    told = capsys.readouterr().out
    assert "Success under each shift" in told and "single shifts" in told and "never_lifted" in told
    data = json.loads((tmp_path / "evaluation.json").read_text())
    words = {item["shift"]: item["instruction"] for item in data["episodes"] if item["policy"] == "expert"}
    assert words["none"] != words["colors"]  # another colour is named
    assert not (tmp_path / "videos").exists()


def test_without_the_shipped_checkpoint_the_demo_says_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["demo"]) == 2
    told = capsys.readouterr().err
    assert "there is no checkpoint in" in told and "git checkout -- checkpoints/tiny" in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--families", "pick", "nosuch"], "unknown family 'nosuch'"),
        (["--first-seed", "17"], "seed 17 is not for evaluation"),
        (["--checkpoint", "nowhere"], "there is no checkpoint directory nowhere"),
        (["--families", "pick", "pick"], "name each family once"),
        (["--task", "PickCube-v1", "--families", "pick"], "task 'PickCube-v1' has no families"),
        (["--shift", "training"], "'training' is what training shows and no evaluation"),
        (["--shifts", "none", "fog"], "unknown shift 'fog'"),
    ],
)
def test_bad_requests_are_one_line_and_leave_nothing(tmp_path, capsys, arguments, message):
    out = tmp_path / "out"
    assert cli.main(["evaluate", "--out", str(out), "--checkpoint", "expert", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("verb", ["collect", "evaluate"])
def test_an_output_that_is_a_file_is_one_line_and_stays(tmp_path, capsys, verb):
    out = tmp_path / "out"
    out.write_text("mine")
    more = ["--checkpoint", "expert"] if verb == "evaluate" else []
    assert cli.main([verb, "--out", str(out), *more]) == 2
    assert str(out) in capsys.readouterr().err and out.read_text() == "mine"


def test_collect_refuses_families_of_a_task_without_them(tmp_path, capsys):
    out = tmp_path / "out"
    assert cli.main(["collect", "--out", str(out), "--task", "PickCube-v1", "--families", "pick"]) == 2
    assert "task 'PickCube-v1' has no families" in capsys.readouterr().err and not out.exists()
