"""Examples: tokens, labels and the frames they look at; and the steps of episodes as such examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from spatialbot_policy.model import SpatialBotProcessor
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
    """

    input_ids: tuple[int, ...]
    labels: tuple[int, ...]
    frames: tuple[FrameKey, ...]
    weight: float = 1.0


class ExampleSource(Protocol):
    """Where examples come from; what it gives depends on the number alone, so that a run resumes exactly."""

    def __len__(self) -> int:
        """Number of examples."""

    def example(self, index: int) -> Example:
        """One example, its images not yet read."""

    def frame(self, key: FrameKey) -> tuple[UInt8Array, ...]:
        """The images of one frame, (H, W, 3) uint8 at the model's size."""

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
    """

    store: FrameStore
    pipeline: Pipeline
    processor: SpatialBotProcessor
    weight: float = 1.0

    def __len__(self) -> int:
        """Number of steps."""
        return len(self.store)

    def example(self, index: int) -> Example:
        """The step of a row, asked for its action."""
        store = self.store
        ends = None if store.terminate is None else store.terminate[index : index + 1]
        bins = self.pipeline.action_space.encode_vectors(store.actions[index : index + 1], ends)
        question = self.pipeline.question(store.instructions[index])
        encoded = self.processor.encode_action(question, bins[0], self.pipeline.config.prompt)
        history = tuple(int(row) for row in store.history[index])
        return Example(encoded.input_ids, encoded.labels, history, self.weight)

    def frame(self, key: FrameKey) -> tuple[UInt8Array, ...]:
        """The images of a row: by camera, colour before depth."""
        return self.store.images(_row(key), self.pipeline)

    def target(self, key: FrameKey) -> FloatArray | None:
        """Where tool and objects are in a row, in the units of `localisation_targets`."""
        return np.asarray(self.store.targets[_row(key)])

    def length(self, index: int) -> int:
        """Tokens of the prompt and the answer."""
        return len(self.example(index).input_ids)

    def prompt(self, index: int) -> str:
        """The prompt of a row."""
        return self.pipeline.prompt(self.store.instructions[index])


def _row(key: FrameKey) -> int:
    if not isinstance(key, int):
        raise TypeError(f"the frames of episodes are named by their row, got {key!r}")
    return key
