"""Failures by kind: how many, which to film, and what a replay may change."""

from __future__ import annotations

from pathlib import Path

import pytest

from spatialbot_sim.evaluation.failures import failure_kinds, to_film, with_film
from spatialbot_sim.evaluation.log import Entry
from spatialbot_sim.evaluation.plan import EvaluationPlan
from spatialbot_sim.evaluation.rollout import EpisodeResult
from spatialbot_sim.task.seeds import EVAL_SEEDS

FIRST = EVAL_SEEDS.start
PLAN = EvaluationPlan(
    "a", Path("out"), {"pick": 9, "size": 9}, baselines=("do-nothing",), shifts=("none", "all"), video=1
)


def entry(
    number: int, failure: str, shift: str = "none", family: str = "pick", policy: str = "a", strip: str = ""
) -> Entry:
    seed = FIRST + number
    result = EpisodeResult(seed, family, "take it", not failure, failure, 9, 0.1, ("lifted",), "", strip)
    return Entry(policy, family, seed, result, shift=shift)


ENTRIES = [
    entry(0, "dropped", "all"),
    entry(1, "dropped"),
    entry(2, "dropped"),
    entry(0, "never_lifted", "all"),
    entry(3, "", family="size"),
    entry(4, "dropped", family="size"),
    entry(0, "never_lifted", policy="do-nothing"),
    Entry("a", "pick", FIRST + 8, None, "broken"),
]


def test_failures_are_sorted_and_counted_by_shift():
    found = [(item.policy, item.family, item.kind, item.counts) for item in failure_kinds(PLAN, ENTRIES)]
    assert found == [
        ("a", "pick", "dropped", {"none": 2, "all": 1}),
        ("a", "pick", "never_lifted", {"all": 1}),
        ("a", "size", "dropped", {"none": 1}),
        ("do-nothing", "pick", "never_lifted", {"none": 1}),
    ]


def films(plan: EvaluationPlan, entries: list[Entry]) -> list[tuple[str, str, int]]:
    jobs = to_film(plan, entries)
    assert all(job.film for job in jobs)
    return [(job.family, job.shift, job.seed - FIRST) for job in jobs]


def test_the_first_failure_of_each_kind_is_filmed_the_nominal_scenes_before_the_others():
    assert films(PLAN, ENTRIES) == [("pick", "none", 1), ("pick", "all", 0), ("size", "none", 4)]


@pytest.mark.parametrize(("video", "asked", "count"), [(0, None, 0), (0, 1, 3), (1, 0, 0), (1, 2, 4)])
def test_without_films_there_are_none_unless_they_are_asked_for(video, asked, count):
    values = vars(PLAN) | {"video": video, "film_failures": asked}
    assert len(films(EvaluationPlan(**values), ENTRIES)) == count


def test_a_kind_that_has_its_film_gets_no_other():
    filmed = [
        entry(1, "dropped", strip="strip.png") if item == entry(1, "dropped") else item for item in ENTRIES
    ]
    assert ("pick", "none", 1) not in films(PLAN, filmed) and len(films(PLAN, filmed)) == 2


def test_a_replay_gives_its_film_and_never_the_result():
    before = entry(1, "dropped")
    again = EpisodeResult(before.seed, "pick", "take it", False, "dropped", 9, 3.0, ("lifted",), "v", "s")
    same = with_film(before, again).result
    assert (same.video, same.filmstrip, same.replayed, same.seconds) == ("v", "s", "", 0.1)
    other = EpisodeResult(before.seed, "pick", "take it", True, "", 7, 3.0, ("lifted",), "v", "s")
    result = with_film(before, other).result
    assert (result.success, result.failure, result.steps) == (False, "dropped", 9)
    assert result.replayed == "success after 7 steps"
