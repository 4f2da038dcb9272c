"""`spatialbot episodes`: what the verbs print, write and return."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from tests.policy import episode_samples as samples

from spatialbot_cli import episodes
from spatialbot_policy.depth_picture import colourise
from spatialbot_policy.episode import Dataset, EpisodeInfo, EpisodeWriter
from spatialbot_policy.errors import EpisodeError


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")


@pytest.fixture
def data_set(tmp_path):
    directory = tmp_path / "data"
    for index in (0, 1):
        samples.record(directory, index, steps=5)
    with EpisodeWriter(directory, 7, samples.info()) as writer:
        samples.write_step(writer, 0)
    return directory


def damage(directory, index: int) -> None:
    path = directory / f"episodes/{index:06d}/episode.mcap"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def test_list(data_set, capsys):
    assert episodes.main(["list", str(data_set)]) == 0
    out = capsys.readouterr().out
    assert out.count("pick up the red cup") == 2
    assert "2 episodes (2 success), 10 steps" in out
    assert "not committed: [7]" in out and "spatialbot episodes recover" in out


def test_brackets_in_an_instruction_are_printed(data_set, capsys):
    with EpisodeWriter(data_set, 2, EpisodeInfo("pick the [red] cup", "pick", "T", 1)) as writer:
        samples.write_step(writer, 0)
        writer.commit({"success": False, "failure": "wrong_object"})
    episodes.main(["list", str(data_set)])
    episodes.main(["show", str(data_set), "2", "--out", str(data_set / "sheet.png")])
    out = capsys.readouterr().out
    assert out.count("pick the [red] cup") == 2 and out.count("wrong_object") == 3


def test_list_limits_and_filters(data_set, capsys):
    assert episodes.main(["list", str(data_set), "--limit", "1"]) == 0
    assert "1 more" in capsys.readouterr().out
    assert episodes.main(["list", str(data_set), "--family", "size"]) == 0
    assert "0 episodes (none)" in capsys.readouterr().out


def test_list_names_damaged_episodes(data_set, capsys):
    (data_set / "episodes/000001/episode.json").write_text("{")
    assert episodes.main(["list", str(data_set)]) == 1
    out = capsys.readouterr().out
    assert "damaged:" in out and "1 episodes" in out


def test_show_writes_a_contact_sheet(data_set, tmp_path, capsys):
    picture = tmp_path / "sheet.png"
    assert episodes.main(["show", str(data_set), "1", "--out", str(picture), "--columns", "3"]) == 0
    out = capsys.readouterr().out
    assert "pick up the red cup" in out and "/joint_states" in out and str(picture) in out
    image = cv2.cvtColor(cv2.imread(str(picture)), cv2.COLOR_BGR2RGB)
    assert image.shape == (2 * 16, 3 * 24, 3)
    for column, step in enumerate((0, 2, 4)):
        np.testing.assert_array_equal(image[:16, column * 24 : (column + 1) * 24], samples.frame(step).color)


def test_show_errors(data_set, tmp_path):
    with pytest.raises(EpisodeError, match="no episode 5"):
        episodes.main(["show", str(data_set), "5"])
    with pytest.raises(EpisodeError, match="at least one column"):
        episodes.main(["show", str(data_set), "0", "--columns", "0"])
    with pytest.raises(EpisodeError, match="cannot be written"):
        episodes.main(["show", str(data_set), "0", "--out", str(tmp_path / "none/sheet.png")])


def test_depth_pictures_mark_near_far_and_invalid():
    depth = np.full((1, 1, 100), 1000, np.uint16)
    depth[0, 0, :40], depth[0, 0, 0] = 300, 0
    picture = colourise(depth)[0, 0]
    assert picture[0].tolist() == [0, 0, 0]
    near, far = picture[1].astype(int), picture[99].astype(int)
    assert near[0] > near[2] and far[2] > far[0]
    assert not colourise(np.zeros((1, 2, 2), np.uint16)).any()


def test_validate(data_set, capsys):
    assert episodes.main(["validate", str(data_set)]) == 0
    assert "2 of 2 episodes are good" in capsys.readouterr().out
    damage(data_set, 1)
    assert episodes.main(["validate", str(data_set)]) == 1
    out = capsys.readouterr().out
    assert "000001:" in out and "changed or damaged" in out and "1 of 2 episodes are good" in out
    assert episodes.main(["validate", str(data_set), "--index", "0"]) == 0


def test_recover(data_set, capsys):
    assert episodes.main(["recover", str(data_set)]) == 0
    assert "000007: recovered up to step 1" in capsys.readouterr().out
    assert Dataset(data_set).indices() == [0, 1, 7]
    assert episodes.main(["recover", str(data_set)]) == 0
    assert "nothing to recover" in capsys.readouterr().out
    (data_set / "episodes/000009.partial").mkdir()
    assert episodes.main(["recover", str(data_set)]) == 1
    out = capsys.readouterr().out
    assert "left as it is" in out and "nothing was recorded; remove it" in out


def test_help_and_usage(capsys):
    assert episodes.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(verb in out for verb in ("list", "show", "validate", "recover"))
    assert episodes.main(["validate", "--help"]) == 0
    assert "Example: spatialbot episodes validate" in " ".join(capsys.readouterr().out.split())
    assert episodes.main(["destroy"]) == 2
    assert episodes.main([]) == 2


def test_a_negative_limit_is_refused(data_set):
    with pytest.raises(EpisodeError, match="give 0 for all"):
        episodes.main(["list", str(data_set), "--limit", "-1"])


def test_topics_are_readable_whole_on_a_narrow_terminal(data_set, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    episodes.main(["show", str(data_set), "0", "--out", str(tmp_path / "sheet.png")])
    assert "\N{HORIZONTAL ELLIPSIS}" not in capsys.readouterr().out
