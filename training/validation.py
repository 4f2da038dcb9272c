"""Validation between steps: open-loop errors, losses of conversations, and samples of what the model says."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from spatialbot_policy.action_space import ACTION_NAMES, ActionSpace
from spatialbot_policy.model import SpatialBotProcessor
from spatialbot_policy.model.loss import IGNORE
from spatialbot_training.collate import Pick, collate
from spatialbot_training.conversation_data import ConversationExamples
from spatialbot_training.examples import EpisodeExamples
from spatialbot_training.learner import Learner
from spatialbot_training.open_loop import OpenLoopExample, demo_rows, plot_open_loop, validate

_CONVERSATIONS, _SAMPLES, _ANSWER_TOKENS = 64, 3, 48
Sample = dict[str, str]


@dataclass(frozen=True)
class Findings:
    """What validation found.

    Attributes:
        figures: by name.
        samples: what the model says beside what it should say.
        example: actions to plot.
    """

    figures: dict[str, float] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    example: OpenLoopExample | None = None

    def plot(self, space: ActionSpace, path: Path) -> None:
        """Draw the example, if there is one."""
        if self.example is not None:
            plot_open_loop(self.example, space, path)


@dataclass(frozen=True)
class Validation:
    """What is held out.

    Attributes:
        processor: of the model.
        episodes: recorded steps; None without any.
        conversations: by name.
    """

    processor: SpatialBotProcessor
    episodes: EpisodeExamples | None = None
    conversations: dict[str, ConversationExamples] = field(default_factory=dict)

    def measure(self, learner: Learner) -> Findings:
        """Ask the learner everything; it is left in evaluation mode. Every process must do so together."""
        learner.eval()
        figures: dict[str, float] = {}
        samples: list[Sample] = []
        example = None
        if self.episodes is not None:
            figures, example = validate(learner, self.episodes)
            samples = _action_samples(self.episodes, example)
        for name, source in self.conversations.items():
            loss, told = _converse(learner, source, self.processor)
            figures[f"{name}/loss"] = loss
            samples += told
        return Findings(figures, samples, example)


def _action_samples(source: EpisodeExamples, example: OpenLoopExample) -> list[Sample]:
    rows = demo_rows(source.store)
    if not len(rows):
        return []
    chosen = np.unique(np.linspace(0, len(rows) - 1, _SAMPLES).astype(int))
    return [
        {
            "prompt": source.prompt(int(rows[place])),
            "wanted": _action_text(example.recorded[place]),
            "said": _action_text(example.predicted[place]),
        }
        for place in chosen
    ]


def _action_text(action: np.ndarray) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in zip(ACTION_NAMES, action, strict=False))


@torch.no_grad()
def _converse(
    learner: Learner, source: ConversationExamples, processor: SpatialBotProcessor
) -> tuple[float, list[Sample]]:
    """Mean loss of the first conversations, and what the model answers in some of them."""
    device = next(learner.parameters()).device
    losses, weights, samples = [], [], []
    for index in range(min(_CONVERSATIONS, len(source))):
        batch = collate([Pick(0, index)], [source], processor).to(device)
        weights.append(learner.totals(batch).answers)
        losses.append(float(learner(batch)[0]) * weights[-1])
        if index < _SAMPLES:
            ids, labels = batch.inputs["input_ids"][0], batch.inputs["labels"][0]
            start = int((labels != IGNORE).nonzero()[0])
            said = learner.say(batch, ids[None, :start], _ANSWER_TOKENS)[0]
            wanted = ids[start:][labels[start:] != IGNORE]
            samples.append({"prompt": _text(processor, ids[:start]), "wanted": _text(processor, wanted),
                            "said": _text(processor, said)})  # fmt: skip
    return sum(losses) / max(sum(weights), 1e-12), samples


def _text(processor: SpatialBotProcessor, ids: torch.Tensor) -> str:
    """Readable text: the tokens of images, of which there are hundreds, are left out."""
    kept = [int(value) for value in ids if int(value) != processor.tokenizer.image_token_id]
    return str(processor.tokenizer.decode(kept)).strip()
