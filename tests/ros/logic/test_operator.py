"""The operator's view and keys, without a terminal."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spatialbot_ros.logic.operator_keys import OPERATOR_HELP, WORD_KEYS, OperatorKeys, Order
from spatialbot_ros.logic.operator_view import OperatorView, lines_between, rings
from spatialbot_ros.logic.teleop_keyboard import COMMAND_KEYS

VIEW = OperatorView(
    state="recording",
    episode="4",
    instruction='put "it" left',
    task="left",
    relation="left",
    elapsed_s=3,
    max_length_s=60.0,
    progress="3/20",
    total="5/40",
    relations={"left": "3/20", "right": "2/20"},
    suggestion="right",
    warnings=("disk_low: 4.0 GB are free",),
    told="episode 4",
    answers=7,
)


@given(st.text(), st.booleans(), st.integers(0, 99), st.dictionaries(st.text(), st.text()))
def test_a_view_survives_the_way_over_the_topic(text, flag, number, relations):
    view = replace(
        VIEW, instruction=text, refused=flag, elapsed_s=number, relations=relations, warnings=(text, "x")
    )
    values = view.to_values()
    assert all(isinstance(value, str) for value in values.values())
    assert OperatorView.from_values({**values, "of_a_later_version": "1"}) == view


def test_lines_tell_each_change_once():
    assert lines_between(None, VIEW) == [
        'instruction: "put "it" left"  (task left, left: 3/20)',
        "episode 4",
        "RECORDING episode 4, 3 s of 60",
        "episodes 5/40: left 3/20, right 2/20; most behind: right",
        "warning: disk_low: 4.0 GB are free",
    ]
    assert lines_between(VIEW, VIEW) == []
    assert lines_between(VIEW, replace(VIEW, elapsed_s=4, warnings=("disk_low: 3.9 GB are free",))) == []
    after = replace(VIEW, state="review", label="success", warnings=(), told="no", refused=True, answers=8)
    assert lines_between(VIEW, after) == [
        "refused: no",
        "review of episode 4, 3 s of 60, success: save or discard",
        "over: disk_low",
    ]
    counting = replace(VIEW, state="countdown", countdown_s=3)
    assert lines_between(counting, replace(counting, countdown_s=2)) == ["2 ..."]


def test_the_bell_rings_when_a_recording_starts_and_ends():
    idle = replace(VIEW, state="idle")
    assert rings(idle, VIEW) and rings(VIEW, idle)
    assert not rings(None, VIEW) and not rings(VIEW, replace(VIEW, elapsed_s=9))
    assert not rings(idle, replace(VIEW, state="countdown"))


def pressed(keys: OperatorKeys, text: str) -> list[Order]:
    return [order for order in map(keys.press, text) if order is not None]


@pytest.mark.parametrize(("key", "verb"), COMMAND_KEYS.items())
def test_a_key_is_its_verb(key, verb):
    assert pressed(OperatorKeys(), key) == [Order(verb)]


@pytest.mark.parametrize(("key", "verb"), WORD_KEYS.items())
def test_words_follow_their_key_and_are_no_verbs_themselves(key, verb):
    keys = OperatorKeys()
    assert pressed(keys, f"{key}1 chy") == [] and keys.prompt == f"{verb}: 1 chy_"
    assert pressed(keys, "\x7fe\n") == [Order(verb, "1 che")]
    assert keys.prompt == "" and pressed(keys, "1") == [Order("start")]


def test_words_can_be_dropped_and_empty_ones_are_none():
    keys = OperatorKeys()
    assert pressed(keys, "mwrong\x1b") == [] and keys.prompt == ""
    assert pressed(keys, "m  \r") == [] and keys.prompt == ""
    assert pressed(keys, "zQ?") == []


def test_every_key_is_in_the_help_and_means_one_thing():
    assert not set(WORD_KEYS) & set(COMMAND_KEYS)
    assert {*WORD_KEYS, *COMMAND_KEYS} <= set(OPERATOR_HELP.split())
