"""Examples: tokens, labels and the frames they look at; and the steps of episodes as such examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np

from spatialbot_policy.model import SpatialBotProcessor
from spatialbot_policy.model.processor import ActionForm
from spatialbot_policy.pipeline import Pipeline
from spatialbot_policy.types import FloatArray, UInt8Array
from spatialbot_training.frame_store import FrameStore

FrameKey = int | tuple[str, ...]
"""What names a frame within its source; the keys of one source can be put in order."""


@dataclass(frozen=True)
class Example:
    """One prompt with its answers.

    Attributes:
        input_ids: the whole text, with an image token for each token of each image.
        labels: as many; -100 everywhere but on the answers and their end tokens.
        frames: what the image tokens show, in reading order; a frame may be there several times.
        weight: of this example's losses against those of others.
        meant: (5,) places that the words mean, as `meant_places` gives them; None where nobody says.
    """

    input_ids: tuple[int, ...]
    labels: tuple[int, ...]
    frames: tuple[FrameKey, ...]
    weight: float = 1.0
    meant: FloatArray | None = None


class FrameFeatures(NamedTuple):
    """What a frozen tower gives for some frames of a source.

    Attributes:
        values: (K, f, F) float32, of the f tower frames (one for each camera) of each of K frames.
        images: that each of the K frames has.
    """

    values: np.ndarray
    images: int


class ExampleSource(Protocol):
    """Where examples come from; what it gives depends on the number alone, so that a run resumes exactly."""

    def __len__(self) -> int:
        """Number of examples."""

    def example(self, index: int) -> Example:
        """One example, its images not yet read."""

    def frame(self, key: FrameKey) -> tuple[UInt8Array, ...]:
        """The images of one frame, (H, W, 3) uint8 at the model's size."""

    def features(self, keys: Sequence[FrameKey]) -> FrameFeatures | None:
        """What the tower gives for frames, where it is known already; None where they are to be encoded."""

    def target(self, key: FrameKey) -> FloatArray | None:
        """(A,) localisation answers of one frame; None where there are none."""

    def length(self, index: int) -> int:
        """Tokens of one example, to pack batches of similar length."""


@dataclass(frozen=True)
class EpisodeExamples:
    """Every step of a store: its history's images, the robot prompt, and the recorded action.

    Attributes:
        store: the steps; a row is an example's number, and the key of the frames of all cameras of a step.
        pipeline: writes prompts and prepares images, as in serving.
        processor: turns both into tokens.
        weight: of these examples' losses.
        encoded: (N, f, F) float32 features of every step by a frozen tower, see `open_features`; None where
            the tower runs in training.
        newest_only: fill each history with its newest frame, where only frames and no actions are asked for.
    """

    store: FrameStore
    pipeline: Pipeline
    processor: SpatialBotProcessor
    weight: float = 1.0
    encoded: np.ndarray | None = None
    newest_only: bool = False

    def __len__(self) -> int:
        """Number of steps."""
        return len(self.store)

    def example(self, index: int) -> Example:
        """The step of a row, asked for its action."""
        store = self.store
        filled = self._form(store.instructions[index]).filled(self._tokens[index].tolist())
        history = store.history[index].tolist()
        if self.newest_only:
            history = [index] * len(history)
        meant = None if store.meant is None else store.meant[index]
        return Example(filled.input_ids, filled.labels, tuple(history), self.weight, meant)

    @cached_property
    def _tokens(self) -> np.ndarray:
        """(N, dimensions) ids of the action tokens of every step."""
        bins = self.pipeline.action_space.encode_vectors(self.store.actions, self.store.terminate)
        return self.processor.action_tokens(bins)

    @cached_property
    def _forms(self) -> dict[str, ActionForm]:
        return {}

    def _form(self, instruction: str) -> ActionForm:
        """The tokens around an action, made once for each distinct instruction."""
        if instruction not in self._forms:
            question, config = self.pipeline.question(instruction), self.pipeline.config
            dimensions = config.action_space.dimensions
            self._forms[instruction] = self.processor.action_form(question, dimensions, config.prompt)
        return self._forms[instruction]

    def features(self, keys: Sequence[FrameKey]) -> FrameFeatures | None:
        """What the frozen tower gave for these rows, if it was asked beforehand."""
        if self.encoded is None:
            return None
        return FrameFeatures(self.encoded[[_row(key) for key in keys]], self.images_per_step)

    @property
    def images_per_step(self) -> int:
        """Images of all cameras of a step, depth images counted."""
        config = self.pipeline.config
        return len(config.cameras) * (1 if config.depth_variant is None else 2)

    def frame(self, key: FrameKey) -> tuple[UInt8Array, ...]:
        """The images of a row: by camera, colour before depth."""
        return self.store.images(_row(key), self.pipeline)

    def target(self, key: FrameKey) -> FloatArray | None:
        """Where tool and objects are in a row, in the units of `localisation_targets`."""
        return np.asarray(self.store.targets[_row(key)])

    def length(self, index: int) -> int:
        """Tokens of the prompt and the answer."""
        return len(self._form(self.store.instructions[index]).encoded.input_ids)

    def prompt(self, index: int) -> str:
        """The prompt of a row."""
        return self.pipeline.prompt(self.store.instructions[index])


def newest_only(source: ExampleSource) -> ExampleSource:
    """The same source with each step's own frame alone, for batches that only ask where things are."""
    return replace(source, newest_only=True) if isinstance(source, EpisodeExamples) else source


def _row(key: FrameKey) -> int:
    if not isinstance(key, int):
        raise TypeError(f"the frames of episodes are named by their row, got {key!r}")
    return key
