"""What a run leaves behind: a checkpoint of the whole network, or an adapter of what was trained of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from spatialbot_policy.model import SpatialBotForActionPrediction, SpatialBotProcessor, save_checkpoint
from spatialbot_training.adapter import AdapterConfig, save_adapter
from spatialbot_training.distributed import Processes, whole
from spatialbot_training.recipe import Recipe
from spatialbot_training.run_directory import ADAPTER, CHECKPOINT
from spatialbot_training.state import gather_weights


@dataclass(frozen=True)
class ResultWriter:
    """Writes results of a run.

    Attributes:
        recipe: of the run.
        processor: of the network.
        processes: that hold it together.
        base: fingerprint of the weights that are not trained.
    """

    recipe: Recipe
    processor: SpatialBotProcessor
    processes: Processes
    base: str

    @property
    def name(self) -> str:
        """What the result is called in the run's directory."""
        return CHECKPOINT if self.recipe.whole_result else ADAPTER

    def write(self, target: Path, model: SpatialBotForActionPrediction, summary: dict[str, object]) -> None:
        """Write the network as it is now; every process must take part.

        Args:
            target: directory, replaced in one step.
            model: with the weights that are to ship.
            summary: of data and recipe, for people.

        Raises:
            CheckpointError: it cannot be written.
        """
        if self.recipe.whole_result:
            full = self._whole_model(model)
            if full is not None:
                self._write_checkpoint(target, full, summary)
            return
        weights = gather_weights(model)
        if self.processes.main:
            config = AdapterConfig(self.recipe, self.base, summary)
            save_adapter(target, model, self.processor, config, weights)

    def _whole_model(self, model: SpatialBotForActionPrediction) -> SpatialBotForActionPrediction | None:
        """The network with all its weights here; None in processes that do not write."""
        if not self.processes.sharded:
            return model if self.processes.main else None
        state = {name: whole(value) for name, value in model.state_dict().items()}
        if not self.processes.main:
            return None
        with torch.device("meta"):
            full = SpatialBotForActionPrediction(model.config)
        full.load_state_dict(state, assign=True)
        full.tie_weights()
        return full

    def _write_checkpoint(
        self, target: Path, model: SpatialBotForActionPrediction, summary: dict[str, object]
    ) -> None:
        policy, conversation = self.recipe.policy, self.recipe.conversation
        save_checkpoint(
            target,
            model,
            self.processor,
            None if policy is None else replace(policy, training=summary),
            None if conversation is None else replace(conversation, source=summary),
        )
