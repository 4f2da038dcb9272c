"""Perturbations: reproducible, of the strength they say, gentle while something is held."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spatialbot_policy.types import ActionStep
from spatialbot_sim.experts.perturbation import Perturbation

seeds = st.integers(0, 10**9)
OPEN = ActionStep(np.array([0.01, -0.02, 0.03]), np.array([0.0, 0.05, -0.05]), 0.0)
CLOSED = ActionStep(OPEN.translation_m, OPEN.rotation_rad, 1.0)


def disturbances(perturbation: Perturbation, action: ActionStep, steps: int) -> np.ndarray:
    """(steps, 6) what is added to the translation and the rotation."""
    return np.array([(perturbation(action).as_vector() - action.as_vector())[:6] for _ in range(steps)])


@given(seeds)
def test_the_same_generator_disturbs_alike(seed):
    first, second = (Perturbation(np.random.default_rng(seed)) for _ in range(2))
    assert np.array_equal(disturbances(first, OPEN, 30), disturbances(second, OPEN, 30))


@given(seeds, st.sampled_from([OPEN, CLOSED]))
def test_the_gripper_and_the_expert_s_own_action_are_left_alone(seed, action):
    before = action.as_vector().copy()
    perturbation = Perturbation(np.random.default_rng(seed))
    assert all(perturbation(action).gripper_closure == action.gripper_closure for _ in range(30))
    assert np.array_equal(action.as_vector(), before)


@given(seeds)
def test_level_zero_leaves_the_expert_in_peace(seed):
    perturbation = Perturbation(np.random.default_rng(seed), levels_m=(0.0,))
    assert not disturbances(perturbation, OPEN, 50).any()


@pytest.mark.parametrize("level_m", [0.004, 0.014])
def test_noise_has_the_level_it_says_and_a_rotation_twice_that(level_m):
    perturbation = Perturbation(np.random.default_rng(0), levels_m=(level_m,), push_rate=0.0)
    noise = disturbances(perturbation, OPEN, 4000)
    assert np.allclose(noise[:, :3].std(axis=0), level_m, rtol=0.05)
    assert np.allclose(noise[:, 3:].std(axis=0), 2.0 * level_m, rtol=0.05)
    assert np.allclose(noise.mean(axis=0), 0.0, atol=level_m / 8)


def test_noise_is_weaker_while_the_gripper_is_closed():
    def strength(action: ActionStep) -> float:
        perturbation = Perturbation(np.random.default_rng(0), levels_m=(0.01,), push_rate=0.0)
        return float(disturbances(perturbation, action, 2000)[:, :3].std())

    assert strength(CLOSED) == pytest.approx(0.3 * strength(OPEN))


@given(seeds)
def test_a_push_lasts_three_steps_in_one_direction(seed):
    perturbation = Perturbation(np.random.default_rng(seed), levels_m=(1e-9,), push_rate=0.1)
    pushes = disturbances(perturbation, OPEN, 120)[:, :3]
    lengths = np.linalg.norm(pushes, axis=1)
    assert ((lengths < 1e-6) | (np.abs(lengths - 0.03) < 1e-6)).all()
    pushed = lengths > 0.01
    starts = np.flatnonzero(pushed & ~np.concatenate([[False], pushed[:-1]]))
    for start in starts[starts < 117]:
        assert pushed[start : start + 3].all()
        assert np.ptp(pushes[start : start + 3], axis=0).max() < 1e-6


def test_every_level_occurs_over_episodes():
    strengths = [
        disturbances(Perturbation(np.random.default_rng(seed), push_rate=0.0), OPEN, 200)[:, :3].std()
        for seed in range(60)
    ]
    for level_m in Perturbation.levels_m:
        assert any(abs(strength - level_m) < 0.1 * level_m + 1e-9 for strength in strengths)
