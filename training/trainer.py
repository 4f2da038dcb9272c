"""A run: from a recipe to its checkpoint or adapter, on one process or many, resumed exactly where it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from spatialbot_policy.config import to_dict
from spatialbot_policy.model import SpatialBotForActionPrediction
from spatialbot_training.averaging import AveragedWeights
from spatialbot_training.batch_parts import BatchParts, share_out
from spatialbot_training.batches import Sampler
from spatialbot_training.callbacks import StepHooks
from spatialbot_training.distributed import Processes, join_processes, reshard, shard
from spatialbot_training.learner import Learner
from spatialbot_training.loop import Figures, Loop
from spatialbot_training.network import build_network
from spatialbot_training.parts import base_fingerprint, prepare_parts
from spatialbot_training.recipe import Recipe
from spatialbot_training.results import ResultWriter
from spatialbot_training.run_directory import STATE_FILE, RunDirectory, load_state
from spatialbot_training.run_sources import (
    Progress,
    episode_examples,
    open_conversations,
    open_episodes,
    run_data,
)
from spatialbot_training.state import RunState
from spatialbot_training.usage import Usage
from spatialbot_training.validation import Validation


class Trainer:
    """One run in one directory, from its recipe to its checkpoint or adapter.

    Args:
        recipe: what to train.
        out: the run's directory; a run that is there goes on if its recipe is the same.
        cache: where decoded episodes are kept.
        on_progress: told (what, done, total) while data is read and steps are taken.
        processes: those of the run; None joins whoever was started together with this one.

    Raises:
        CheckpointError: the directory holds a run of another recipe or of other data, or data, weights and
            recipe disagree.
        ConfigError: the network cannot be built as the recipe says.
        EpisodeError: there is nothing to learn from, or validation shares seeds with training.
        ConversationError: conversations that cannot be used.
    """

    def __init__(
        self,
        recipe: Recipe,
        out: Path,
        cache: Path,
        on_progress: Progress = lambda what, done, total: None,
        processes: Processes | None = None,
    ) -> None:
        self.recipe, self.out = recipe, out
        self._on_progress = on_progress
        self.processes = join_processes() if processes is None else processes
        self._directory = RunDirectory(out, recipe) if self.processes.main else None
        try:
            self._prepare(cache)
        except BaseException:
            self.close()
            raise

    def _prepare(self, cache: Path) -> None:
        """Open the data, build the network, and load the state that is there."""
        recipe = self.recipe
        self.episodes = open_episodes(recipe, cache, self._tell)
        sampler = None
        if self.episodes is not None:
            localise = recipe.schedule.localisation_steps > 0
            sampler = Sampler(self.episodes.train, recipe.data, recipe.schedule.seed, localise)
        torch.manual_seed(recipe.schedule.seed)
        corpus = [] if self.episodes is None else self.episodes.corpus()
        model, self.processor = build_network(recipe, corpus)
        base = base_fingerprint(model, recipe.parts)
        prepare_parts(model, recipe.parts, recipe.lora)
        if recipe.schedule.gradient_checkpointing:
            model.activation_checkpointing_enable({"use_reentrant": False})
        self._open_sources(sampler, model, cache)
        dimensions = 7 if recipe.policy is None else recipe.policy.action_space.dimensions
        self.learner = Learner(
            model, self.schedule.rotation_weight, dimensions, self.schedule.localisation_weight > 0,
            self.schedule.intention_weight > 0,
        )  # fmt: skip
        self._results = ResultWriter(recipe, self.processor, self.processes, base)
        self._build_loop(base)

    def _open_sources(
        self, sampler: Sampler | None, model: SpatialBotForActionPrediction, cache: Path
    ) -> None:
        """Everything that batches and validation are made of."""
        recipe, held_out = self.recipe, self.recipe.data.conversation_validation
        images_per_frame = model.config.vision_config.images_per_frame
        train, validation = episode_examples(
            recipe, self.episodes, model, self.processor, cache, self.processes.device, self._tell
        )
        conversations, asked = (
            open_conversations(recipe, sets, self.processor, images_per_frame, self._tell)
            for sets in (recipe.data.conversations, held_out)
        )
        names = [chosen.name for chosen in held_out]
        self.validation = Validation(self.processor, validation, dict(zip(names, asked, strict=True)))
        self.data = run_data(recipe, sampler, train, conversations)
        self.schedule = replace(recipe.schedule, steps=self.data.steps, epochs=0.0)
        self._sharing = share_out(
            self.data.sizes, self.schedule.micro_batch, self.processes.count, self.processes.index
        )

    def _build_loop(self, base: str) -> None:
        shard(self.learner, self.processes)
        hooks = StepHooks(lambda: self.step, self._after_step)
        self.loop = Loop(
            self.learner, self.schedule, self.processes, self._sharing.accumulation, self.out, [hooks],
            self.recipe.data.workers,
        )  # fmt: skip
        self.average = AveragedWeights(self.learner, self.schedule.ema_decay)
        self._state = RunState(self.learner, self.average, self.loop.optimizer, self.data.mark, base)
        self._usage = Usage(self.processes)
        self.step, self._end, self._running = 0, 0, False
        self._taken: list[Figures] = []
        self._sums: Figures = {}
        self._resume()

    def _tell(self, what: str, done: int, total: int) -> None:
        if self.processes.main:
            self._on_progress(what, done, total)

    @contextmanager
    def shipped(self) -> Iterator[Learner]:
        """The learner with the weights that ship: the averaged ones, or the last without averaging."""
        with self.average.applied():
            try:
                yield self.learner
            finally:
                reshard(self.learner)

    def run(self) -> Path:
        """Train to the end of the schedule.

        Returns:
            directory of the checkpoint, or of the adapter when not all parts are trained in full.

        Raises:
            CheckpointError: the gradient is not finite, or the run's files cannot be written.
        """
        result = self.out / self._results.name
        try:
            if self._directory is not None:
                self._directory.start_log(self.step)
            self._running = True
            self.take(self.schedule.steps - self.step)
            if self.processes.agree(not result.exists()):
                self.save_result(result)
        finally:
            self._running = False
            self.close()
        return result

    def take(self, steps: int) -> list[Figures]:
        """Take some steps; returns the losses and the gradient's norm of each.

        Raises:
            CheckpointError: a gradient is not finite; the weights stay as they were.
        """
        self._end = min(self.step + steps, self.schedule.steps)
        self._taken = []
        if self._end > self.step:
            parts = BatchParts(
                self.data.draws, self.data.sources, self.processor, self._sharing, (self.step, self._end),
                self.schedule.localisation_steps, self.schedule.seed,
            )  # fmt: skip
            self._usage.start()
            self.loop.take(parts, self.step)
        return self._taken

    def close(self) -> None:
        """Let another process go on with the run."""
        if self._directory is not None:
            self._directory.close()

    def _after_step(self) -> bool:
        """What is due after a step; returns whether it was the last for now."""
        self.step += 1
        self.average.update(self.step)
        figures = self.loop.figures()
        if self._running:
            self._usage.count(len(self.data.draws.picks(self.step - 1)))
            self._between_steps(figures)
        else:
            self._taken.append(figures)
        return self.step >= self._end

    def _between_steps(self, figures: Figures) -> None:
        schedule, last = self.schedule, self.step == self.schedule.steps
        for name, value in figures.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._tell("steps", self.step, schedule.steps)
        if self.step % schedule.log_every == 0:
            values = {name: value / schedule.log_every for name, value in self._sums.items()}
            self._record({**values, **self._usage.figures()})
            self._sums = {}
        if self.step % schedule.validate_every == 0 or last:
            self._validate()
            self.save_result(self.out / self._results.name)
        if schedule.keep_every and self.step % schedule.keep_every == 0:
            self.save_result(self.out / "checkpoints" / f"step-{self.step}")
        if self.step % schedule.save_every == 0 or last:
            self._save_state()

    def _record(self, values: Figures) -> None:
        if self._directory is not None:
            self._directory.record(self.step, values)
        self.loop.log(dict(values))

    def _validate(self) -> None:
        with self.shipped() as learner:
            found = self.validation.measure(learner)
        if not found.figures:
            return
        self._record({f"validation/{name}": value for name, value in found.figures.items()})
        if self._directory is not None:
            self._directory.record_predictions(self.step, found.samples)
            if self.episodes is not None:
                found.plot(self.episodes.pipeline.action_space, self.out / "open_loop.png")

    def save_result(self, target: Path) -> None:
        """Write what a run is for, with a summary of what it was trained on; all processes together."""
        with self.shipped() as learner:
            self._results.write(target, learner.model, self._summary())

    def _summary(self) -> dict[str, object]:
        policy = None if self.recipe.policy is None else replace(self.recipe.policy, training={})
        summary: dict[str, object] = {
            "step": self.step, "recipe": to_dict(replace(self.recipe, policy=policy))
        }  # fmt: skip
        return {**summary, **self.data.summary}

    def _save_state(self) -> None:
        values = self._state.gather(self.step, self._sums)
        if self._directory is not None:
            self._directory.save_state(values)

    def _resume(self) -> None:
        state = load_state(self.out)
        if state is not None:
            self.step, self._sums = self._state.restore(state, self.out / STATE_FILE)
