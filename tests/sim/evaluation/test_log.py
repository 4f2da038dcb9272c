"""Results survive a kill, and one directory holds one evaluation."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spatialbot_policy.errors import ConfigError
from spatialbot_sim.evaluation.log import Entry, EvaluationLog
from spatialbot_sim.evaluation.rollout import EpisodeResult

PLAN = {"task": "T", "episodes": {"pick": 3}, "max_steps": 100}


def entry(seed: int, error: str = "") -> Entry:
    done = EpisodeResult(
        seed, "pick", "take the cup", seed % 2 == 0, "" if seed % 2 == 0 else "timeout", 7, 0.5
    )
    return Entry("expert", "pick", seed, None if error else done, error)


def filled(out, *entries: Entry) -> EvaluationLog:
    log = EvaluationLog(out, PLAN)
    for item in entries:
        log.append(item)
    return log


def test_an_evaluation_goes_on_with_what_is_there(tmp_path):
    filled(tmp_path, entry(1), entry(2))
    again = EvaluationLog(tmp_path, PLAN)
    assert list(again.entries.values()) == [entry(1), entry(2)]
    assert again.finished == {("expert", "none", "pick", 1), ("expert", "none", "pick", 2)}


def test_one_scene_in_two_shifts_is_two_episodes(tmp_path):
    shifted = replace(entry(1), shift="light", commit="c0ffee")
    filled(tmp_path, entry(1), shifted)
    assert list(EvaluationLog(tmp_path, PLAN).entries.values()) == [entry(1), shifted]


def test_results_from_before_there_were_shifts_are_nominal(tmp_path):
    filled(tmp_path)
    old = {name: value for name, value in entry(1).to_json().items() if name not in ("shift", "commit")}
    (tmp_path / "results.jsonl").write_text(json.dumps(old) + "\n")
    assert list(EvaluationLog(tmp_path, PLAN).entries.values()) == [entry(1)]


def test_an_error_is_kept_but_tried_again_and_replaced(tmp_path):
    filled(tmp_path, entry(1, "worker died (exit code -9)"))
    again = EvaluationLog(tmp_path, PLAN)
    assert again.finished == set() and again.entries[entry(1).key].error
    again.append(entry(1))
    assert EvaluationLog(tmp_path, PLAN).entries == {entry(1).key: entry(1)}


@given(cut=st.integers(1, 60))
def test_a_line_cut_short_by_a_kill_is_taken_away(tmp_path_factory, cut):
    out = tmp_path_factory.mktemp("log")
    filled(out, entry(1), entry(2))
    results = out / "results.jsonl"
    results.write_bytes(results.read_bytes()[:-cut])
    log = EvaluationLog(out, PLAN)
    assert list(log.entries.values()) == [entry(1)]
    log.append(entry(3))
    assert list(EvaluationLog(out, PLAN).entries.values()) == [entry(1), entry(3)]


def test_another_plan_is_refused_and_named(tmp_path):
    filled(tmp_path, entry(1))
    before = (tmp_path / "plan.json").read_text()
    with pytest.raises(ConfigError, match="max_steps was 100 and now is 50; choose another --out"):
        EvaluationLog(tmp_path, PLAN | {"max_steps": 50})
    with pytest.raises(ConfigError, match=r"shifts was the default and now is \['all'\]"):
        EvaluationLog(tmp_path, PLAN | {"shifts": ("all",)})
    assert (tmp_path / "plan.json").read_text() == before
    assert len(EvaluationLog(tmp_path, PLAN).entries) == 1


def test_fresh_forgets_what_was_there(tmp_path):
    filled(tmp_path, entry(1))
    assert EvaluationLog(tmp_path, PLAN | {"max_steps": 50}, fresh=True).entries == {}


@pytest.mark.parametrize(
    "line", ["not json", "[]", '{"policy": "expert"}', '{"policy": "x", "seen": [], "a": 1}']
)
def test_a_foreign_line_is_named(tmp_path, line):
    filled(tmp_path, entry(1))
    with (tmp_path / "results.jsonl").open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(ConfigError, match="line 2 of .* is no result"):
        EvaluationLog(tmp_path, PLAN)


def test_results_without_their_plan_are_refused(tmp_path):
    filled(tmp_path, entry(1))
    (tmp_path / "plan.json").unlink()
    with pytest.raises(ConfigError, match="has no plan.json"):
        EvaluationLog(tmp_path, PLAN)


def test_a_damaged_plan_is_refused(tmp_path):
    filled(tmp_path, entry(1))
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(ConfigError, match="cannot read .*plan.json"):
        EvaluationLog(tmp_path, PLAN)


def test_entries_are_plain_json(tmp_path):
    assert json.loads(json.dumps(entry(2).to_json()))["success"] is True
