"""Training and evaluation seeds never overlap, and a wrong list is refused with its mend."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spatialbot_policy.errors import TaskError
from spatialbot_sim.task.seeds import EVAL_SEEDS, TRAIN_SEEDS, evaluation_seeds, training_seeds

training = st.integers(TRAIN_SEEDS.start, TRAIN_SEEDS.stop - 1)
evaluation = st.integers(EVAL_SEEDS.start, EVAL_SEEDS.stop - 1)


def test_the_ranges_do_not_overlap():
    assert range(max(TRAIN_SEEDS.start, EVAL_SEEDS.start), min(TRAIN_SEEDS.stop, EVAL_SEEDS.stop)) == range(0)


@given(st.lists(training, unique=True), st.lists(evaluation, unique=True))
def test_a_list_of_the_right_kind_comes_back_in_its_order(train, evaluate):
    assert training_seeds(train) == tuple(train)
    assert evaluation_seeds(evaluate) == tuple(evaluate)


@given(st.lists(training, unique=True, max_size=4), evaluation)
def test_one_evaluation_seed_spoils_a_training_list(train, seed):
    with pytest.raises(TaskError, match=f"seed {seed} is not for training.*start the seed list at 0"):
        training_seeds([*train, seed])


@given(st.lists(evaluation, unique=True, max_size=4), training)
def test_one_training_seed_spoils_an_evaluation_list(evaluate, seed):
    with pytest.raises(TaskError, match=f"seed {seed} is not for evaluation.*at {EVAL_SEEDS.start}"):
        evaluation_seeds([*evaluate, seed])


@pytest.mark.parametrize("seed", [-1, EVAL_SEEDS.stop])
def test_a_seed_of_neither_range_is_refused(seed):
    for check in (training_seeds, evaluation_seeds):
        with pytest.raises(TaskError, match=f"seed {seed} "):
            check([seed])


def test_a_seed_named_twice_is_refused():
    with pytest.raises(TaskError, match="names a seed twice"):
        training_seeds([3, 4, 3])
