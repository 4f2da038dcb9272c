"""Figures of an evaluation: errors stand apart, policies are compared on the scenes that both finished."""

from __future__ import annotations

import pytest

from spatialbot_sim.evaluation.comparison import compare, compare_all, outcomes_of
from spatialbot_sim.evaluation.failures import failure_kinds
from spatialbot_sim.evaluation.log import Entry
from spatialbot_sim.evaluation.outcome import outcome
from spatialbot_sim.evaluation.plan import EvaluationPlan
from spatialbot_sim.evaluation.report import write_html
from spatialbot_sim.evaluation.rollout import EpisodeResult
from spatialbot_sim.evaluation.statistics import PairedCounts
from spatialbot_sim.evaluation.summary import ALL, summarise
from spatialbot_sim.evaluation.tables import all_tables, success_table, to_markdown

KINDS = {"s": "", "t": "timeout", "d": "dropped", "w": "wrong_object"}


def entries(policy: str, family: str, ends: str, shift: str = "none") -> list[Entry]:
    """One entry for each letter: s success, e error, the others failures."""
    made = []
    for seed, end in enumerate(ends):
        result = EpisodeResult(seed, family, "take <it>", end == "s", KINDS.get(end, ""), 10 + seed, 1.0)
        failed = end == "e"
        error = "Traceback\nRuntimeError: <gone>" if failed else ""
        made.append(Entry(policy, family, seed, None if failed else result, error, shift))
    return made


def test_errors_are_neither_failures_nor_successes():
    (summary,) = summarise(entries("a", "pick", "sstdte"), "Task")
    assert (summary.episodes, summary.successes, summary.errors) == (5, 2, 1)
    assert summary.rate == pytest.approx(0.4) and summary.mean_steps == pytest.approx(10.5)
    assert summary.failures == {"timeout": 2, "dropped": 1}
    assert summary.interval[0] < 0.4 < summary.interval[1]


def test_nothing_but_errors_has_no_rate():
    (summary,) = summarise(entries("a", "pick", "ee"), "Task")
    assert summary.rate is None and summary.interval == (0.0, 1.0)
    assert success_table([summary]).rows[0][3:5] == ("-", "0.0 to 100.0 %")


def test_several_families_have_a_sum_and_a_task_without_families_its_own_name():
    both = summarise(entries("a", "pick", "st") + entries("a", "size", "ss"), "Task")
    assert [(item.family, item.successes, item.episodes) for item in both] == [
        ("pick", 1, 2),
        ("size", 2, 2),
        (ALL, 3, 4),
    ]
    assert [item.family for item in summarise(entries("a", "", "s"), "Task")] == ["Task"]


def test_only_scenes_that_both_finished_are_compared():
    played = entries("a", "pick", "sstes") + entries("b", "pick", "stset")
    found = compare(outcomes_of(played, "Task"), ("a", "none"), ("b", "none"))
    assert found.families == {"pick": PairedCounts(1, 2, 1, 0)} and found.mean.difference == 0.25


def test_a_shift_is_compared_with_the_nominal_scenes_of_the_same_seeds(tmp_path):
    played = entries("a", "pick", "sssst") + entries("a", "pick", "sset", "light")
    played += entries("a", "size", "ssts") + entries("a", "size", "tttt", "light")
    played += entries("a", "pick", "tttt", "all") + entries("a", "size", "tttt", "all")
    plan = EvaluationPlan("a", tmp_path, {"pick": 5, "size": 4}, shifts=("none", "light", "all"))
    compared = compare_all(plan, played)
    light, everything = compared.drops
    assert light.families["pick"] == PairedCounts(2, 1, 0, 0)  # without the error and the fifth scene
    assert light.mean.difference == pytest.approx((1 / 3 + 3 / 4) / 2)
    assert everything.mean.difference == pytest.approx((1 + 3 / 4) / 2)
    (single,) = compared.mean_drops
    assert single.shifts == ("light",) and single.mean == light.mean
    text = to_markdown("a", all_tables(summarise(played, "Task"), compared, []), {})
    assert "| policy | family | none | light | all | single shifts |" in text
    assert "| a | pick | 80 % (38 to 96) | 67 % (21 to 94) | 0 % (0 to 49) |  |" in text
    assert "| a | mean drop |  | +54.2 (" in text
    assert "| a | light | size | 0/4 |" in text


def test_shifts_without_the_nominal_scenes_have_no_drop(tmp_path):
    plan = EvaluationPlan("a", tmp_path, {"pick": 2}, shifts=("light", "all"))
    compared = compare_all(plan, entries("a", "pick", "st", "light") + entries("a", "pick", "st", "all"))
    assert compared.drops == () and compared.mean_drops == ()


def test_the_reports_hold_the_figures_and_escape_what_they_quote(tmp_path):
    played = entries("a", "pick", "sste") + entries("b", "pick", "tttt")
    plan = EvaluationPlan("a", tmp_path, {"pick": 4}, against="b")
    failures = failure_kinds(plan, played)
    tables = all_tables(summarise(played, "Task"), compare_all(plan, played), failures)
    text = to_markdown("a against b", tables, {"seeds": "0 to 3"})
    assert "| a | pick | 2/3 | 67 % | 20.8 to 93.9 % | 10 | timeout 1 | 1 |" in text
    assert "| pick | 0 | 2 | 0 | 1 | +67 points | 0.5 |" in text
    assert "| b | pick | timeout | 4 |" in text
    page = write_html(tmp_path, "<title>", tables, failures, played, {"seeds": "0 to 3"}).read_text()
    assert "&lt;title&gt;" in page and "<title><" not in page
    assert "20.8 to 93.9 %" in page and "+67 points" in page


def test_an_outcome_in_words():
    success, drop, error = entries("a", "pick", "sde")
    assert outcome(success) == "success in 10 steps"
    assert outcome(drop) == "failed after 11 steps: dropped"
    assert outcome(error) == "error: RuntimeError: <gone>"
