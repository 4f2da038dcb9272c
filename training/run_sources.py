"""Opens what a recipe learns from: episodes, conversations, and the draws over them."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from spatialbot_policy.errors import EpisodeError
from spatialbot_policy.model import SpatialBotForActionPrediction, SpatialBotProcessor
from spatialbot_policy.pipeline import Pipeline, build_pipeline
from spatialbot_training.batches import RunDraws, Sampler, windows
from spatialbot_training.conversation_data import ConversationExamples, ConversationOptions
from spatialbot_training.data_config import ConversationSet
from spatialbot_training.episode_cache import open_store
from spatialbot_training.examples import EpisodeExamples, ExampleSource
from spatialbot_training.feature_cache import open_features
from spatialbot_training.frame_store import FrameStore
from spatialbot_training.mixture import Mixture
from spatialbot_training.recipe import Recipe

_log = logging.getLogger(__name__)
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Episodes:
    """The episodes of a run, and how the policy sees them.

    Attributes:
        pipeline: the policy's own.
        train: to learn from.
        validation: held out; None when the recipe names none.
    """

    pipeline: Pipeline
    train: FrameStore
    validation: FrameStore | None

    def corpus(self) -> list[str]:
        """Every prompt of the training data once, for a tokenizer."""
        return sorted({self.pipeline.prompt(text) for text in set(self.train.instructions)})


def open_episodes(recipe: Recipe, cache: Path, on_progress: Progress) -> Episodes | None:
    """Decode the recipe's episodes, or map what is decoded already; None without any.

    Raises:
        EpisodeError: no usable episode, or validation shares seeds with training.
        CheckpointError: a data set and the recipe's policy disagree.
    """
    data, policy = recipe.data, recipe.policy
    if policy is None or not data.train:
        return None

    def show(done: int, total: int) -> None:
        on_progress("decoding episodes", done, total)

    train = open_store(data.train, policy, cache, show)
    validation = open_store(data.validation, policy, cache, show) if data.validation else None
    if validation is not None:
        _check_apart(train, validation)
    return Episodes(build_pipeline(policy), train, validation)


def episode_examples(
    recipe: Recipe,
    episodes: Episodes | None,
    model: SpatialBotForActionPrediction,
    processor: SpatialBotProcessor,
    cache: Path,
    device: torch.device,
    on_progress: Progress,
) -> tuple[EpisodeExamples | None, EpisodeExamples | None]:
    """The steps to learn from and those held out, encoded beforehand where the recipe says so.

    Raises:
        EpisodeError: no room for what the tower sees, or damaged files of it.
    """
    if episodes is None:
        return None, None

    def show(done: int, total: int) -> None:
        on_progress("encoding frames", done, total)

    def examples(store: FrameStore | None) -> EpisodeExamples | None:
        if store is None:
            return None
        source = EpisodeExamples(store, episodes.pipeline, processor)
        if not recipe.data.cache_features:
            return source
        return replace(source, encoded=open_features(source, model.vision_tower, cache, device, show))

    return examples(episodes.train), examples(episodes.validation)


def open_conversations(
    recipe: Recipe,
    sets: tuple[ConversationSet, ...],
    processor: SpatialBotProcessor,
    images_per_frame: int,
    on_progress: Progress,
) -> list[ConversationExamples]:
    """Check the recipe's files of conversations; what is left out of them is logged.

    Raises:
        ConversationError: an entry that cannot be used, unless the recipe skips such.
    """
    data, config = recipe.data, recipe.conversation
    if config is None:
        return []
    found = []
    for chosen in sets:
        options = ConversationOptions(
            folder=chosen.images,
            images_per_frame=images_per_frame,
            max_length=data.max_length,
            captions=data.captions,
            skip_bad=data.skip_bad,
        )
        name = chosen.name

        def show(done: int, total: int, name: str = name) -> None:
            on_progress(f"checking {name}", done, total)

        examples = ConversationExamples(chosen.file, config, processor, options, show)
        if examples.skipped:
            _log.warning("%s", examples.skipped_report())
        found.append(examples)
    return found


@dataclass(frozen=True)
class RunData:
    """What batches are made of.

    Attributes:
        sources: the episodes first, if there are any, then each file of conversations.
        draws: which examples a step's batch holds.
        steps: of the run; the schedule's, or those of its epochs.
        sizes: examples of the smallest and the largest batch.
        mark: of this selection of data; another one has another.
        summary: of the data, for people.
    """

    sources: tuple[ExampleSource, ...]
    draws: RunDraws
    steps: int
    sizes: tuple[int, int]
    mark: str
    summary: dict[str, object]


def run_data(
    recipe: Recipe,
    sampler: Sampler | None,
    episodes: EpisodeExamples | None,
    conversations: list[ConversationExamples],
) -> RunData:
    """Put the sources and the draws over them together.

    Raises:
        ConfigError: a mixture that draws from an empty source.
    """
    data, schedule = recipe.data, recipe.schedule
    sources: list[ExampleSource] = [*([episodes] if episodes is not None else []), *conversations]
    mixture, steps = None, schedule.steps
    if data.batch:
        units: dict[int, np.ndarray] = {}
        if episodes is not None:
            units[0] = windows(episodes.store, data.window_steps)
        budget = data.token_budget or None
        mixture = Mixture(sources, data.batch, schedule.seed, data.weights, budget, units)
        if schedule.epochs:
            steps = schedule.localisation_steps + math.ceil(schedule.epochs * mixture.steps_per_round)
    draws = RunDraws(sampler, mixture, schedule.localisation_steps)
    store = None if episodes is None else episodes.store
    summary = {**_episode_summary(store), **_conversation_summary(recipe, conversations)}
    mark = _mark(store, conversations)
    return RunData(tuple(sources), draws, steps, _sizes(recipe, mixture), mark, summary)


def _mark(store: FrameStore | None, conversations: list[ConversationExamples]) -> str:
    """The episodes' fingerprint, and of each file how long its conversations are."""
    marks = [] if store is None else [store.fingerprint]
    for source in conversations:
        lengths = np.array([source.length(index) for index in range(len(source))])
        marks.append(hashlib.sha256(lengths.tobytes()).hexdigest()[:16])
    return "+".join(marks)


def _episode_summary(store: FrameStore | None) -> dict[str, object]:
    if store is None:
        return {}
    families = sorted({f"{task}/{family}" if family else task for task, family, _ in store.seeds})
    seeds = [seed for _, _, seed in store.seeds if seed is not None]
    return {
        "episodes": len(store.seeds),
        "frames": len(store),
        "stills": int(np.count_nonzero(store.stills)),
        "tasks": families,
        "seed_min": min(seeds, default=None),
        "seed_max": max(seeds, default=None),
    }


def _conversation_summary(recipe: Recipe, conversations: list[ConversationExamples]) -> dict[str, object]:
    if not conversations:
        return {}
    named = zip(recipe.data.conversations, conversations, strict=True)
    return {"conversations": {chosen.name: len(source) for chosen, source in named}}


def _sizes(recipe: Recipe, mixture: Mixture | None) -> tuple[int, int]:
    data = recipe.data
    if mixture is not None:
        smallest, largest = mixture.sizes
    else:
        smallest = largest = data.stills_per_batch + data.windows_per_batch * data.window_steps
    if recipe.schedule.localisation_steps:
        return min(smallest, data.localisation_batch), max(largest, data.localisation_batch)
    return smallest, largest


def _check_apart(train: FrameStore, validation: FrameStore) -> None:
    shared = {entry for entry in train.seeds if entry[2] is not None} & set(validation.seeds)
    if shared:
        task, family, seed = sorted(shared)[0]
        raise EpisodeError(
            f"seed {seed} of {task}/{family} is in training and in validation; collect the validation "
            "episodes with another --first-seed"
        )
