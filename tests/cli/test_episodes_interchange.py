"""`spatialbot episodes export` and `import`: options reach the work, and the losses are printed."""

from __future__ import annotations

import json

import pytest
from tests.policy.interchange import bag_samples as bags
from tests.policy.interchange import interchange_samples as samples

from spatialbot_cli import episodes
from spatialbot_policy.episode import Dataset
from spatialbot_policy.errors import InterchangeError


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")


def test_lerobot_there_and_back(tmp_path, capsys):
    for seed in (0, 1):
        samples.record(tmp_path / "data", seed)
    data, out, back = (str(tmp_path / name) for name in ("data", "out", "back"))
    arguments = ["export", data, "--to", "lerobot", "--out", out, "--color", "image", "--depth", "uint24"]
    assert episodes.main([*arguments, "--index", "1"]) == 0
    printed = capsys.readouterr().out
    assert "LeRobot v3.0" in printed and "changed: depth: PNG in the three channels of 'uint24'" in printed
    assert episodes.main(["import", out, "--from", "lerobot", "--out", back]) == 0
    assert "nothing was lost" in capsys.readouterr().out
    assert Dataset(back).episode(0).info.seed == 1


def test_conversations(tmp_path, capsys):
    samples.record(tmp_path / "data")
    arguments = ["export", str(tmp_path / "data"), "--to", "spatialqa", "--out", str(tmp_path / "out")]
    assert episodes.main([*arguments, "--prompt", "reference", "--history", "2", "--no-depth"]) == 0
    entry = json.loads((tmp_path / "out/conversations.json").read_text())[0]
    assert len(entry["image"]) == 2 and "Instruct the robot to" in entry["conversations"][0]["value"]
    assert "lost: actions: 101 values" in capsys.readouterr().out


def test_parquet(tmp_path, capsys):
    samples.record(tmp_path / "data")
    samples.record(tmp_path / "data", seed=1, success=None)
    arguments = ["export", str(tmp_path / "data"), "--to", "parquet", "--out", str(tmp_path / "out")]
    assert episodes.main([*arguments, "--only-success"]) == 0
    assert "left out: 000001: not known to have succeeded" in capsys.readouterr().out


def test_a_recording(tmp_path, capsys):
    bag = bags.write(tmp_path / "bag")
    (tmp_path / "map.yaml").write_text("".join(f"{theirs}: {ours}\n" for theirs, ours in bags.NAMES.items()))
    arguments = ["import", str(bag), "--from", "rosbag2", "--out", str(tmp_path / "data")]
    arguments += ["--map-file", str(tmp_path / "map.yaml"), "--instruction", "push", "--rate-hz", "5"]
    assert episodes.main([*arguments, "--robot", "panda", "--success", "True"]) == 0
    printed = capsys.readouterr().out
    assert "actions computed from poses: 5" in printed and "convention" in printed
    dataset = Dataset(tmp_path / "data")
    assert dataset.info.robot == "panda" and dataset.info.rate_hz == 5.0
    assert dataset.episode(0).info.outcome.success is True


def test_options_of_another_form_are_refused(tmp_path):
    samples.record(tmp_path / "data")
    export = ["export", str(tmp_path / "data"), "--out", str(tmp_path / "out"), "--to"]
    with pytest.raises(InterchangeError, match="--quality belongs to --to lerobot"):
        episodes.main([*export, "parquet", "--quality", "20"])
    source = ["import", str(tmp_path / "data"), "--out", str(tmp_path / "out"), "--from"]
    with pytest.raises(InterchangeError, match="--stamps belongs to --from rosbag2"):
        episodes.main([*source, "lerobot", "--stamps", "receive"])
    with pytest.raises(InterchangeError, match="FX,FY,CX,CY"):
        episodes.main([*source, "poses", "--intrinsics", "camera=1,2"])
    with pytest.raises(InterchangeError, match="one camera"):
        episodes.main([*source, "poses", "--intrinsics", "left=1,2,3,4"])
