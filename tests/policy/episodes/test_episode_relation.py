"""Which spatial relation an episode is counted under."""

from __future__ import annotations

import dataclasses

import pytest
from tests.policy import episode_samples as samples

from spatialbot_policy.episodes.relation import NO_RELATION, RELATIONS, relation_of, relation_of_instruction


@pytest.mark.parametrize(
    ("text", "relation"),
    [
        ("pick up the leftmost blue box and put it on the right board", "left"),
        ("put the cup to the RIGHT of the plate", "right"),
        ("grasp the middle red box", "between"),
        ("place it between the cups", "between"),
        ("take the biggest cup", "larger"),
        ("take the smaller cup", "smaller"),
        ("the cup closest to the robot", "near"),
        ("put it next to the box", "near"),
        ("the farthest cup", "far"),
        ("put it in front of the box", "front"),
        ("move behind the box", "behind"),
        ("pick up the red cup", NO_RELATION),
        ("draw a bright thing", NO_RELATION),
    ],
)
def test_the_first_relation_word_counts(text, relation):
    assert relation_of_instruction(text) == relation
    assert relation in RELATIONS


def test_what_the_recorder_noted_wins():
    info = dataclasses.replace(samples.info(), instruction="the left cup", extra={"relation": " Upon "})
    assert relation_of(info) == "upon"
    assert relation_of(dataclasses.replace(info, extra={"relation": ""})) == "left"
    assert relation_of(dataclasses.replace(info, extra={"relation": 3})) == "left"
