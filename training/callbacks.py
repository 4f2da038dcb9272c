"""The Trainer's hooks: where a run begins, and what it does after each step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class StepHooks(TrainerCallback):
    """Lets a run count its own steps: it may go on from a saved one, and stop before the schedule's end.

    Args:
        first_step: asked when training begins, for the number of steps that were taken before.
        after_step: called after each step; returns whether to stop.
    """

    def __init__(self, first_step: Callable[[], int], after_step: Callable[[], bool]) -> None:
        self._first_step, self._after_step = first_step, after_step

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take over the number of steps."""
        state.global_step = self._first_step()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Let the run do what is due."""
        control.should_training_stop = self._after_step() or control.should_training_stop
        return control
