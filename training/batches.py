"""Which examples each step's batch holds: a pure function of the seed and the step's number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spatialbot_policy.errors import EpisodeError
from spatialbot_training.collate import Pick
from spatialbot_training.data_config import DataConfig
from spatialbot_training.frame_store import FrameStore
from spatialbot_training.localisation import NAMES, SCALE_M
from spatialbot_training.mixture import Mixture

UNDECIDED_M = 0.06
_SAME_PLACE_M = 0.02
_LEFTMOST, _RIGHTMOST = (
    [NAMES.index(f"object_{place}_{axis}") for axis in "xy"] for place in ("leftmost", "rightmost")
)


class Sampler:
    """Which steps a batch holds: stills, and stretches of demonstrations.

    Args:
        store: where the steps are.
        config: how many of each.
        seed: together with a step's number it says which.
        localise: whether batches of the localisation phase will be asked for.

    Raises:
        EpisodeError: the store lacks stills, or demonstrations of `window_steps`, that batches are made of.
    """

    def __init__(self, store: FrameStore, config: DataConfig, seed: int, localise: bool = False) -> None:
        self._config, self._seed = config, seed
        self._stills, self._demos = np.flatnonzero(store.stills), np.flatnonzero(~store.stills)
        self._starts = window_starts(store, config.window_steps)
        reading = np.where(undecided(store), config.reading_weight, 1.0)
        self._still_weights = _cumulative(reading[self._stills])
        approach = np.where(store.actions[self._starts, 6] < 0.5, config.approach_weight, 1.0)
        self._start_weights = _cumulative(approach * reading[self._starts])
        stills = config.stills_per_batch if config.draws_episodes else 0
        stills += config.stills_per_localisation_batch if localise else 0
        if stills and not len(self._stills):
            raise EpisodeError(
                "the recipe asks for stills, and the data sets hold none; collect some with "
                "'spatialbot collect --stills N', or set data.stills_per_batch and "
                "schedule.localisation_steps to 0"
            )
        if config.windows_per_batch and config.draws_episodes and not len(self._starts):
            raise EpisodeError(
                f"no demonstration is {config.window_steps} steps long; collect some, or set "
                "data.windows_per_batch to 0"
            )
        if localise and config.demonstrations_per_localisation_batch and not len(self._demos):
            raise EpisodeError(
                "the data sets hold no demonstration; collect some, or set "
                "data.demonstrations_per_localisation_batch to 0"
            )

    def rows(self, step: int, localise: bool = False) -> np.ndarray:
        """(B,) rows of the batch of a step; `localise` in the localisation phase."""
        rng = np.random.default_rng([self._seed, step])
        config = self._config
        parts = []
        if localise:
            for rows, count in (
                (self._stills, config.stills_per_localisation_batch),
                (self._demos, config.demonstrations_per_localisation_batch),
            ):
                parts += [rng.choice(rows, count)] if count else []
            return np.concatenate(parts)
        if config.stills_per_batch:
            parts.append(self._stills[_draw(rng, self._still_weights, config.stills_per_batch)])
        if config.windows_per_batch:
            starts = self._starts[_draw(rng, self._start_weights, config.windows_per_batch)]
            parts.append((starts[:, None] + np.arange(config.window_steps)).ravel())
        return np.concatenate(parts)


@dataclass(frozen=True)
class RunDraws:
    """The batches of a run: single steps in the localisation phase, then the recipe's own.

    Attributes:
        sampler: of the episodes, source 0; None when the recipe has none.
        mixture: draws after the localisation phase; None for the sampler's stills and stretches.
        localisation_steps: first steps of the run.
    """

    sampler: Sampler | None
    mixture: Mixture | None
    localisation_steps: int

    def picks(self, step: int) -> tuple[Pick, ...]:
        """The whole batch of a step."""
        localise = step < self.localisation_steps
        if self.mixture is not None and not localise:
            return self.mixture.picks(step - self.localisation_steps)
        if self.sampler is None:
            raise EpisodeError("a run without episodes draws from a mixture; set data.batch")
        return tuple(Pick(0, int(row)) for row in self.sampler.rows(step, localise))


def undecided(store: FrameStore) -> np.ndarray:
    """(N,) bool: steps at which only the words say what is meant.

    The tool is more than UNDECIDED_M from the target, horizontally, and the scene has several objects. False
    where a recording does not say.
    """
    if store.meant is None:
        return np.zeros(len(store), dtype=bool)
    away = np.linalg.norm(store.meant[:, :2], axis=1) * SCALE_M > UNDECIDED_M
    left, right = (store.targets[:, places] for places in (_LEFTMOST, _RIGHTMOST))
    several = np.linalg.norm(left - right, axis=1) * SCALE_M > _SAME_PLACE_M
    return np.asarray(away & several)  # NaN compares as False


def _cumulative(weights: np.ndarray) -> np.ndarray:
    """(N,) weights -> the (N,) ends of their shares of [0, 1)."""
    return np.cumsum(weights) / weights.sum() if len(weights) else weights


def _draw(rng: np.random.Generator, ends: np.ndarray, count: int) -> np.ndarray:
    """(count,) indices, each as likely as its share."""
    return np.minimum(np.searchsorted(ends, rng.random(count)), len(ends) - 1)


def window_starts(store: FrameStore, window_steps: int) -> np.ndarray:
    """Steps of demonstrations from which a window fits before the episode ends."""
    demos = np.flatnonzero(~store.stills)
    ends = np.searchsorted(store.episode, store.episode[demos], side="right")
    return demos[demos + window_steps <= ends]


def windows(store: FrameStore, window_steps: int) -> np.ndarray:
    """(U, window_steps) stretches that cover all demonstrations, to be drawn as units of a mixture."""
    starts = window_starts(store, window_steps)
    first = np.searchsorted(store.episode, store.episode[starts])
    last = np.searchsorted(store.episode, store.episode[starts], side="right") - window_steps
    chosen = starts[((starts - first) % window_steps == 0) | (starts == last)]
    return chosen[:, None] + np.arange(window_steps)
