"""`spatialbot episodes`: the verbs that filter, draw, count and change data sets."""

from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser
from importlib.util import find_spec

import cv2
import numpy as np
import pytest
from tests.policy import episode_samples as samples

from spatialbot_cli import episodes
from spatialbot_cli.episodes import view
from spatialbot_cli.episodes.printing import ranges, sparkline
from spatialbot_cli.terminal_picture import terminal_picture
from spatialbot_policy.episode import Dataset, DatasetCamera, DatasetConfig, EpisodeWriter
from spatialbot_policy.errors import EpisodeError
from spatialbot_policy.types import RgbdFrame

DAY_NS = 86_400 * 10**9


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def data_set(tmp_path):
    directory = tmp_path / "data"
    samples.dataset(directory)
    kinds = (
        ("the left cup", None, {}),
        ("the left box", "dropped", {"note": "wet"}),
        ("the big cup", "timeout", {}),
    )
    for index, (text, failure, extra) in enumerate(kinds):
        info = dataclasses.replace(samples.info(seed=index), instruction=text, extra=extra)
        with EpisodeWriter(directory, index, info) as writer:
            for step in range(4 + index):
                stamp_ns = samples.stamp(step) + index * DAY_NS
                writer.write_frame(samples.frame(step, stamp_ns=stamp_ns), samples.intrinsics())
                writer.write_state(samples.state(step, stamp_ns))
                writer.write_action(stamp_ns, samples.action(step))
            writer.commit({"success": failure is None, "failure": failure})
    return directory


@pytest.fixture
def run(capsys):
    def run(*arguments) -> str:
        status = episodes.main([str(argument) for argument in arguments])
        out = capsys.readouterr().out
        assert status == 0, out
        return out

    return run


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (("--relation", "left"), 2),
        (("--relation", "larger"), 1),
        (("--outcome", "failure"), 2),
        (("--outcome", "timeout"), 1),
        (("--outcome", "success", "--relation", "larger"), 0),
        (("--text", "CUP"), 2),
        (("--text", "wet"), 1),
        (("--since", "2023-11-15"), 2),
        (("--since", "2023-11-15", "--until", "2023-11-15"), 1),
        (("--mark", "no depth"), 0),
    ],
)
def test_list_filters(data_set, run, options, count):
    assert f"{count} episodes (" in run("list", data_set, *options)


def test_list_sorts(data_set, run):
    out = run("list", data_set, "--sort", "steps", "--reverse")
    assert out.index("big cup") < out.index("left box") < out.index("left cup")


def test_list_refuses_what_is_no_day(data_set):
    with pytest.raises(EpisodeError, match="write it as 2026-03-31"):
        episodes.main(["list", str(data_set), "--since", "yesterday"])


def test_list_marks_what_is_missing_and_foreign(data_set, tmp_path, run):
    config = DatasetConfig("fr3", (DatasetCamera("camera", 24, 16, depth=False),))
    colour = Dataset.create(tmp_path / "colour", config)
    with EpisodeWriter(colour.directory, 3, samples.info()) as writer:
        frame = samples.frame(0)
        writer.write_frame(RgbdFrame("camera", frame.stamp_ns, frame.color, None), samples.intrinsics())
        writer.write_action(frame.stamp_ns, samples.action(0))
        writer.commit({"success": True})
    (colour.directory / "episodes/old stuff").mkdir()
    out = run("list", colour.directory)
    assert "no depth" in out and "numbers without an episode: 0-2" in out and "left alone: old stuff" in out
    run("show", colour.directory, 3, "--out", tmp_path / "sheet.png")
    assert cv2.imread(str(tmp_path / "sheet.png")).shape == (16, 24, 3)


def test_validate_marks_damaged_episodes_in_the_list(data_set, capsys, run):
    path = data_set / "episodes/000001/episode.mcap"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    assert episodes.main(["validate", str(data_set)]) == 1
    capsys.readouterr()
    assert "1 episodes" in run("list", data_set, "--mark", "damaged")


@pytest.mark.slow  # a second process starts
def test_validate_in_several_processes_finds_the_same(data_set, capsys):
    for index in range(3, 10):
        samples.record(data_set, index)
    (data_set / "episodes/000004/episode.mcap").write_bytes(b"")
    assert episodes.main(["validate", str(data_set), "--jobs", "2"]) == 1
    out = capsys.readouterr().out
    assert "9 of 10 episodes are good" in out and "000004:" in out


def test_show_draws_commands_and_in_the_terminal(data_set, tmp_path, run):
    out = run("show", data_set, 1, "--out", tmp_path / "sheet.png", "--terminal", "yes")
    assert "plots of 5 commands" in out and "note" in out and "dyaw" in out
    assert "\N{UPPER HALF BLOCK}" in out
    assert cv2.imread(str(tmp_path / "sheet_actions.png")) is not None


def test_a_picture_in_the_terminal_keeps_its_colours():
    image = np.zeros((3, 2, 3), np.uint8)
    image[0, 0], image[1, 0] = (255, 0, 0), (0, 255, 0)
    text = terminal_picture(image, 10)
    assert text.plain == "\N{UPPER HALF BLOCK}" * 2 + "\n" + "\N{UPPER HALF BLOCK}" * 2 + "\n"
    assert str(text.spans[0].style) == "rgb(255,0,0) on rgb(0,255,0)"
    small = terminal_picture(np.zeros((100, 200, 3), np.uint8), 20)
    assert [len(line) for line in small.plain.splitlines()] == [20] * 5


def test_lines_and_ranges():
    assert sparkline([0.0, 0.5, 1.0, 9.0], 0.0, 1.0) == " \N{LOWER HALF BLOCK}\N{FULL BLOCK}\N{FULL BLOCK}"
    assert sparkline([1.0], 1.0, 1.0) == " "
    assert ranges([0, 1, 2, 5, 7, 8]) == "0-2, 5, 7-8" and ranges([]) == ""


def test_stats(data_set, run):
    out = run("stats", data_set)
    assert "3 episodes, 15 steps" in out and "dropped" in out and "larger" in out and "dyaw" in out
    found = json.loads(run("stats", data_set, "--json"))
    assert found["relations"] == {"left": 2, "larger": 1} and found["damaged"] == []
    assert [item["name"] for item in found["dimensions"]][-1] == "gripper"


class Page(HTMLParser):
    """What a page holds."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_report_is_one_page_without_the_network(data_set, tmp_path, run):
    info = dataclasses.replace(samples.info(), instruction="<script>alert(1)</script>")
    with EpisodeWriter(data_set, 3, info) as writer:
        samples.write_step(writer, 0)
        writer.commit({"success": True})
    out = tmp_path / "page.html"
    assert "4 episodes" in run("report", data_set, "--out", out)
    text = out.read_text()
    page = Page(text)
    assert len(page.all("details")) == 4 and len(page.all("img")) == 8 and len(page.all("script")) == 1
    assert all(image["src"].startswith("data:image/jpeg;base64,") for image in page.all("img"))
    assert not re.search(r"(src|href)=\"?(https?:)?//|@import|url\(", text)
    size = out.stat().st_size
    run("report", data_set, "--out", out, "--thumbnails", "1")
    assert len(Page(out.read_text()).all("img")) == 2 and out.stat().st_size < size
    run("report", data_set, "--out", out, "--thumbnails", "0")
    assert not Page(out.read_text()).all("img")


def test_report_names_damaged_episodes(data_set, tmp_path, capsys):
    (data_set / "episodes/000001/episode.json").write_text("{")
    assert episodes.main(["report", str(data_set), "--out", str(tmp_path / "page.html")]) == 1
    assert "cannot be read" in (tmp_path / "page.html").read_text()
    with pytest.raises(EpisodeError, match="cannot be written"):
        episodes.main(["report", str(data_set), "--out", str(tmp_path / "none/page.html")])


def test_view_says_what_opens_the_file(data_set, run, monkeypatch):
    monkeypatch.setattr(view, "find_spec", lambda name: None)
    out = run("view", data_set, 1)
    assert "pip install -e '.[viz]'" in out and "000001/episode.mcap opens in Foxglove" in out


@pytest.mark.skipif(find_spec("rerun") is None, reason="rerun is not installed")
def test_view_writes_a_recording(data_set, tmp_path, run):
    out = run("view", data_set, 1, "--out", tmp_path / "episode.rrd", "--window", "no")
    counts = Dataset(data_set).episode(1).info.counts
    assert f"{sum(counts.values())} messages" in out
    assert (tmp_path / "episode.rrd").read_bytes()[:4] == b"RRF2"


def test_trim_remove_and_restore(data_set, run):
    out = run("trim", data_set, 2, "--from", 1, "--to", "0.2s")
    assert "episode 3 has 2 of the 6 steps of episode 2" in out
    out = run("trim", data_set, 2, "--from", 4, "--replace")
    assert "episode 2 has 2 of the 6 steps" in out and f"restore {data_set} 000002" in out
    assert "episode 4 again" in run("restore", data_set, "000002")
    assert "000001 is in the trash" in run("remove", data_set, 1)
    assert run("restore", data_set) == "000001\n"
    assert "episode 1 again" in run("restore", data_set, "000001")
    assert Dataset(data_set).indices() == [0, 1, 2, 3, 4]
    with pytest.raises(EpisodeError, match=r"no episodes \[9\]; nothing was removed"):
        episodes.main(["remove", str(data_set), "0", "9"])


def test_relabel(data_set, run):
    out = run("relabel", data_set, 0, 1, "--failure", "slipped", "--note", "cup was wet")
    assert out.count("slipped") == 2 and "note: cup was wet" in out
    assert "relabelled" in run("list", data_set, "--outcome", "slipped")
    assert "dropped" in run("show", data_set, 1, "--out", data_set / "sheet.png")
    for options, reason in (
        ((), "needs --instruction"),
        (("--outcome", "success", "--failure", "x"), "contradicts"),
        (("--instruction", ""), "needs an instruction"),
    ):
        with pytest.raises(EpisodeError, match=reason):
            episodes.main(["relabel", str(data_set), "0", *options])


def test_split_and_merge(data_set, tmp_path, run):
    out = run("split", data_set, "--train", tmp_path / "t", "--val", tmp_path / "v", "--share", 0.34)
    assert "2 episodes in" in out and "1 in" in out
    assert "3 episodes brought" in run("merge", tmp_path / "t", tmp_path / "v", "--out", tmp_path / "all")
    assert "3 were there already" in run("merge", data_set, "--out", tmp_path / "all", "--copy")


@pytest.mark.parametrize("verb", episodes.VERBS)
def test_every_verb_has_help_with_an_example(verb, capsys):
    assert episodes.main([verb, "--help"]) == 0
    assert f"Example: spatialbot episodes {verb}" in " ".join(capsys.readouterr().out.split())
