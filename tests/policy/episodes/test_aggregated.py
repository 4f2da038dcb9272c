"""Which episodes teach: successes of whoever drove, and every step that an expert labelled for a policy."""

from __future__ import annotations

import pytest

from spatialbot_policy.episode import EpisodeInfo, Outcome
from spatialbot_policy.episodes.aggregated import AGGREGATED_KEY, driver_of, teaches

DRIVEN = {AGGREGATED_KEY: {"policy": "ab12", "policy_share": 0.8}}


def info(outcome: Outcome | None, **extra: object) -> EpisodeInfo:
    return EpisodeInfo("pick up the red cup", "pick", "Squares", 1, outcome=outcome, extra=extra)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (info(Outcome(success=True)), True),
        (info(Outcome(success=False, failure="dropped")), False),
        (info(Outcome(success=None, recovered=True)), False),
        (info(None), False),
        (info(Outcome(success=False, failure="dropped"), **DRIVEN), True),
        (info(Outcome(success=None, recovered=True), **DRIVEN), True),
    ],
)
def test_a_failure_teaches_only_where_an_expert_answered_it(found, expected):
    assert teaches(found) is expected


def test_the_driver_is_named_by_its_checkpoint():
    assert driver_of(info(None, **DRIVEN)) == "ab12"
    assert driver_of(info(None)) == driver_of(info(None, aggregated="by hand")) == ""
