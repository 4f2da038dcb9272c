"""`spatialbot import` and `spatialbot export`: there and back, and what they say when they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.policy.model.released_samples import make_released, write_merged, write_tower

from spatialbot_cli import main as cli


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    released = make_released()
    return write_merged(tmp_path / "released", released), write_tower(tmp_path / "tower", released)


def test_import_and_export_there_and_back(
    places: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, tower = places
    ours, back = tmp_path / "ours", tmp_path / "back"
    assert cli.main(["import", str(source), "--out", str(ours), "--vision-tower", str(tower)]) == 0
    said = capsys.readouterr().out
    assert "added: lm_head.bias = 0" in said and f"spatialbot ask --checkpoint {ours}" in said
    assert cli.main(["export", str(ours), "--layout", "released", "--out", str(back)]) == 0
    assert "left out: lm_head.bias, which is 0" in capsys.readouterr().out
    before, after = load_file(source / "model.safetensors"), load_file(back / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_pickle_is_refused_with_the_option_that_allows_it(
    places: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, tower = places
    pickled = source / "pytorch_model.bin"
    torch.save(load_file(source / "model.safetensors"), pickled)
    (source / "model.safetensors").unlink()
    command = ["import", str(source), "--out", str(tmp_path / "ours"), "--vision-tower", str(tower)]
    assert cli.main(command) == 2
    assert f"--allow-pickle {pickled}" in capsys.readouterr().err
    assert cli.main([*command, "--allow-pickle", str(pickled)]) == 0


def test_an_unknown_tower_is_named(
    places: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["import", str(places[0]), "--out", str(tmp_path / "ours")]) == 2
    assert "'someone/siglip-small'" in capsys.readouterr().err


def test_a_directory_without_config_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "phi"}))
    assert cli.main(["import", str(tmp_path), "--out", str(tmp_path / "ours")]) == 2
    assert "its model_type is 'phi'" in capsys.readouterr().err
    assert cli.main(["import", str(tmp_path / "absent"), "--out", str(tmp_path / "ours")]) == 2
    assert "absent" in capsys.readouterr().err
