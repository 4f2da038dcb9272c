"""The training loop: transformers' Trainer, given parts of batches and losses that add up over them."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch
import transformers
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from transformers.integrations import is_wandb_available

from spatialbot_policy.errors import CheckpointError
from spatialbot_training.batch_parts import BatchParts, Part
from spatialbot_training.distributed import Processes
from spatialbot_training.learner import Learner, Totals
from spatialbot_training.schedule import ScheduleConfig, build_optimizer, rate_factor

Figures = dict[str, float]


class Loop(transformers.Trainer):
    """Takes steps of a learner; what happens between them is up to the callbacks.

    Args:
        learner: the network and its losses.
        schedule: of the run.
        processes: that take part.
        accumulation: parts of a batch that each process takes in turn.
        out: the run's directory; nothing is written there.
        callbacks: transformers' hooks.
        workers: processes that prepare parts of batches.
    """

    loss_is_scaled_for_ga = True  # by the totals over all parts
    optimizer: Any

    def __init__(
        self,
        learner: Learner,
        schedule: ScheduleConfig,
        processes: Processes,
        accumulation: int,
        out: Path,
        callbacks: list[transformers.TrainerCallback],
        workers: int = 0,
    ) -> None:
        self._schedule, self._processes, self._workers = schedule, processes, workers
        arguments = _arguments(schedule, processes, accumulation, out, workers)
        super().__init__(model=learner, args=arguments, callbacks=callbacks)
        self.remove_callback(transformers.PrinterCallback)
        self.learner = learner
        self.first_step = 0
        self._parts: BatchParts | None = None
        self._totals = Totals(1.0, 1.0, 1.0)
        self._sums = [0.0] * len(self._totals)
        self._norm = 0.0
        self.create_optimizer()

    def take(self, parts: BatchParts, first_step: int) -> None:
        """Take the steps of these parts, the first of which has the number `first_step`."""
        self._parts, self.first_step = parts, first_step
        self.train()

    def figures(self) -> Figures:
        """Losses and gradient's norm of the step just taken, over all processes."""
        answer, where, meant = self._processes.sum(self._sums)
        figures = {"loss/answer": answer}
        if self.learner.head is not None:
            figures["loss/localisation"] = where
        if self.learner.intention is not None:
            figures["loss/intention"] = meant
        return {**figures, "grad_norm": self._norm}

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """AdamW over what is trained."""
        if self.optimizer is None:
            self.optimizer = build_optimizer(self.learner, self._schedule)
        return cast(torch.optim.Optimizer, self.optimizer)

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> LambdaLR:
        """The rates of the schedule, from the first step on."""
        first, schedule = self.first_step, self._schedule
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] = group["rate"] * schedule.learning_rate
        self.lr_scheduler = LambdaLR(self.optimizer, lambda taken: rate_factor(first + taken, schedule))
        return self.lr_scheduler

    def get_train_dataloader(self) -> DataLoader[Part]:
        """This process's parts, in order; they are cut already, so accelerate has nothing to share out."""
        if self._parts is None:
            raise RuntimeError("the loop has no batches; call take() instead of train()")
        return DataLoader(
            self._parts,
            batch_size=None,
            collate_fn=_unchanged,
            num_workers=self._workers,
            persistent_workers=self._workers > 0,
        )

    def get_batch_samples(
        self, epoch_iterator: Iterator[Part], num_batches: int, device: torch.device
    ) -> tuple[list[Part], None]:
        """The parts of one step, and the totals of its whole batch over all processes."""
        parts = [part for _, part in zip(range(num_batches), epoch_iterator, strict=False)]
        own = [self.learner.totals(part.batch, part.localise_only) for part in parts]
        sums = self._processes.sum([sum(column) for column in zip(*own, strict=True)])
        self._totals, self._sums = Totals(*sums), [0.0] * len(sums)
        return parts, None

    def _prepare_inputs(self, inputs: Any) -> Part:
        return Part(inputs.batch.to(self.args.device), inputs.localise_only, inputs.seed)

    def compute_loss(
        self, model: nn.Module, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        """This part's share of the loss."""
        # dropout, where a recipe asks for it, is a function of seed, step and part as the batch is
        torch.manual_seed(inputs.seed)
        with torch.autocast(self.args.device.type, torch.bfloat16, enabled=self._schedule.bf16):
            losses = model(inputs.batch, inputs.localise_only, self._totals)
        weights = (1.0, self._schedule.localisation_weight, self._schedule.intention_weight)
        total = torch.zeros_like(losses[0])
        for place, (value, weight) in enumerate(zip(losses, weights, strict=False)):
            self._sums[place] += float(value.detach())
            total = total + weight * value
        # processes average their gradients, and the totals are over all of them
        return total * self._processes.count

    def floating_point_ops(self, inputs: Any) -> int:
        """Not counted: the estimate that transformers makes knows nothing of image tokens gathered twice."""
        return 0

    def _clip_grad_norm(self, model: nn.Module) -> Tensor:
        """Clip the gradient, and refuse one that is not finite: the weights stay as they were."""
        norm = super()._clip_grad_norm(model)
        self._norm = float(getattr(norm, "full_tensor", lambda: norm)())
        if not math.isfinite(self._norm):
            step = self.state.global_step
            raise CheckpointError(
                f"the gradient at step {step} is not finite; lower schedule.learning_rate in the recipe and "
                f"train into another --out (what is saved in {self.args.output_dir} stays as it was)"
            )
        return norm


def _unchanged(part: Any) -> Any:
    return part


def _arguments(
    schedule: ScheduleConfig, processes: Processes, accumulation: int, out: Path, workers: int
) -> transformers.TrainingArguments:
    """What the Trainer is to do; logs, checkpoints and validation are the run's own."""
    return transformers.TrainingArguments(
        output_dir=str(out),
        max_steps=schedule.steps,
        max_grad_norm=schedule.clip_norm,
        gradient_accumulation_steps=accumulation,
        # the phase that leaves the language model out
        ddp_find_unused_parameters=schedule.localisation_steps > 0,
        # sharded gradients of several parts would be as large as the whole model's
        accelerator_config={"gradient_accumulation_kwargs": {"sync_each_batch": processes.sharded}},
        remove_unused_columns=False,
        seed=schedule.seed,
        use_cpu=processes.device.type == "cpu",
        disable_tqdm=True,
        save_strategy="no",
        eval_strategy="no",
        logging_strategy="no",
        report_to=["wandb"] if is_wandb_available() and os.environ.get("WANDB_PROJECT") else [],
        logging_nan_inf_filter=False,
        dataloader_num_workers=workers,
    )
