"""Draws by weight: nothing is left out or comes again before its turn, and a step alone says its batch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest

from spatialbot_policy.errors import ConfigError
from spatialbot_training.collate import Pick
from spatialbot_training.examples import Example, FrameKey
from spatialbot_training.mixture import Mixture


@dataclass(frozen=True)
class Lengths:
    """A source of which only lengths are asked."""

    lengths: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.lengths)

    def length(self, index: int) -> int:
        return self.lengths[index]

    def example(self, index: int) -> Example:
        raise NotImplementedError

    def frame(self, key: FrameKey) -> tuple[np.ndarray, ...]:
        raise NotImplementedError

    def target(self, key: FrameKey) -> None:
        raise NotImplementedError


def source(count: int, seed: int = 0) -> Lengths:
    return Lengths(tuple(np.random.default_rng(seed).integers(20, 400, count).tolist()))


def drawn(mixture: Mixture, steps: range) -> list[Pick]:
    return [pick for step in steps for pick in mixture.picks(step)]


def test_without_weights_a_round_is_one_epoch() -> None:
    mixture = Mixture([source(40), source(24)], batch_size=8, seed=0)
    assert mixture.steps_per_round == 8
    for start in (0, 8, 16):
        picks = drawn(mixture, range(start, start + 8))
        assert Counter(picks) == Counter(Pick(0, i) for i in range(40)) + Counter(
            Pick(1, i) for i in range(24)
        )


def test_a_size_that_the_batch_does_not_divide_still_comes_whole_before_it_comes_again() -> None:
    mixture = Mixture([source(37)], batch_size=8, seed=1)
    assert mixture.steps_per_round == 5  # 40 units, three of them of the next pass
    times = Counter(drawn(mixture, range(5 * 37)))
    assert set(times.values()) == {40} and len(times) == 37
    first = Counter(drawn(mixture, range(5)))
    assert len(first) == 37 and max(first.values()) == 2


def test_weights_say_how_often_a_source_is_drawn() -> None:
    mixture = Mixture([source(100), source(20), source(50)], 10, seed=0, weights=[1, 3, 0])
    times = Counter(pick.source for pick in drawn(mixture, range(4 * mixture.steps_per_round)))
    assert times[1] / times[0] == pytest.approx(3, rel=0.05) and 2 not in times
    seen = Counter(pick for pick in drawn(mixture, range(mixture.steps_per_round)) if pick.source == 1)
    assert max(seen.values()) - min(seen.values()) <= 1 and len(seen) == 20


def test_a_step_alone_says_its_batch() -> None:
    sources, options = [source(90), source(30)], {"weights": [1.0, 2.0], "token_budget": 3000}
    one, same, other = (Mixture(sources, 8, seed, **options) for seed in (3, 3, 4))
    later = same.picks(71)
    picks = [one.picks(step) for step in range(80)]
    assert picks[71] == later and picks == [same.picks(step) for step in range(80)]
    assert picks != [other.picks(step) for step in range(80)]
    assert one.picks(2) == picks[2]  # back in an earlier round


def test_batches_are_of_similar_length() -> None:
    lengths = source(800, seed=5)
    mixture = Mixture([lengths], batch_size=16, seed=0)

    def padding(batches: list[list[int]]) -> float:
        return sum(max(batch) * len(batch) for batch in batches) / sum(map(sum, batches)) - 1

    packed = [[lengths.length(pick.index) for pick in mixture.picks(step)] for step in range(50)]
    order = np.random.default_rng(0).permutation(800).reshape(50, 16)
    at_random = [[lengths.length(index) for index in row] for row in order]
    assert padding(packed) < 0.05 < 0.5 < padding(at_random)
    means = [float(np.mean(batch)) for batch in packed]
    assert means != sorted(means)  # short and long batches come in turns


def test_a_batch_stays_within_its_tokens_with_the_padding() -> None:
    lengths, budget = source(300, seed=6), 1500
    mixture = Mixture([lengths], 16, seed=0, token_budget=budget)
    steps = range(mixture.steps_per_round)
    sizes = []
    for step in steps:
        batch = [lengths.length(pick.index) for pick in mixture.picks(step)]
        assert max(batch) * len(batch) <= budget
        sizes.append(len(batch))
    least, most = mixture.sizes
    assert 1 <= least <= min(sizes) < 6 and max(sizes) == most == 16
    assert len(set(drawn(mixture, steps))) == 300


def test_the_steps_of_a_stretch_stay_together() -> None:
    stretches = np.arange(40).reshape(10, 4)
    mixture = Mixture([source(40), source(10)], 5, seed=0, units={0: stretches})
    for step in range(mixture.steps_per_round):
        steps = [pick.index for pick in mixture.picks(step) if pick.source == 0]
        assert len(steps) % 4 == 0
        for start in range(0, len(steps), 4):
            assert steps[start] % 4 == 0 and np.all(np.diff(steps[start : start + 4]) == 1)
    assert {pick.index for pick in drawn(mixture, range(4)) if pick.source == 0} == set(range(40))


@pytest.mark.parametrize("seed", range(8))
def test_no_batch_is_smaller_than_promised(seed: int) -> None:
    """So that each process has its part: the last batch of a pool shares with the one before it."""
    sources = [source(530, seed), Lengths((350,) * 7)]
    mixture = Mixture(sources, 5, seed, token_budget=1700, weights=[3, 1])
    batches = [mixture.picks(step) for step in range(3 * mixture.steps_per_round)]
    least, most = mixture.sizes
    assert least == 2 and all(least <= len(batch) <= most for batch in batches)
    for batch in batches:
        assert max(sources[pick.source].length(pick.index) for pick in batch) * len(batch) <= 1700
    assert Mixture(sources, 5, seed).sizes == (5, 5)
    wide = Mixture([source(40)], 5, seed, units={0: np.arange(40).reshape(10, 4)})
    assert wide.sizes == (20, 20) and {len(wide.picks(step)) for step in range(10)} == {20}


@pytest.mark.parametrize(
    ("sources", "options", "message"),
    [
        ([], {}, "needs a source"),
        ([source(3)], {"batch_size": 0}, "batch size of at least 1"),
        ([source(3)], {"weights": [1, 2]}, "1 sources need as many weights"),
        ([source(3)], {"weights": [-1]}, "weights of 0 or more"),
        ([source(3)], {"weights": [float("nan")]}, "weights of 0 or more"),
        ([source(3), Lengths(())], {"weights": [1, 1]}, r"sources \[1\] that are empty"),
        ([Lengths((2000,))], {"token_budget": 1000}, "source 0 has a unit of 2000 tokens, beyond the budget"),
    ],
)
def test_a_mixture_that_draws_nothing_is_refused(
    sources: list[Lengths], options: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Mixture(sources, **{"batch_size": 4, "seed": 0, **options})
