"""A checkpoint as a `Policy` in this process: one session on an engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from spatialbot_policy.config import PolicyConfig
from spatialbot_policy.errors import SpatialBotError
from spatialbot_policy.inference.engine import Engine
from spatialbot_policy.inference.settings import EngineSettings
from spatialbot_policy.model.checkpoint import Checkpoint
from spatialbot_policy.step_timing import StepTiming
from spatialbot_policy.types import ActionChunk, IntArray, Observation


class LocalPolicy:
    """Answers observations with actions, one control step at a time.

    Args:
        source: an engine, which several policies may share, or a checkpoint to make one of.

    Attributes:
        config: what the checkpoint was trained with.
        fingerprint: of the checkpoint, see `Engine`.
        timing: of the last answer.
    """

    def __init__(self, source: Engine | Checkpoint) -> None:
        self._engine = source if isinstance(source, Engine) else Engine(source)
        self._session = self._engine.new_session()
        self.config = self._engine.config
        self.fingerprint = self._engine.fingerprint
        self.timing = StepTiming()

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path,
        device: str = "cpu",
        expected: PolicyConfig | None = None,
        settings: EngineSettings | None = None,
    ) -> LocalPolicy:
        """Load a checkpoint directory.

        Args:
            path: of the directory.
            device: torch device; `settings` says it where they are given.
            expected: the robot's or simulator's own configuration, if it has one.
            settings: how to run it.

        Raises:
            CheckpointError: a file is missing or damaged, its parts disagree, it is not what `expected` asks
                for, or there is no such device.
        """
        return cls(Engine.from_checkpoint(path, settings or EngineSettings(device=device), expected))

    @property
    def gaps(self) -> int:
        """How often a pause in the stamps restarted the history since the last reset."""
        return self._session.gaps

    def reset(self) -> None:
        """Forget the history: a new episode begins."""
        self._session.reset()

    def act(self, observation: Observation) -> ActionChunk:
        """Answer one observation with one action.

        Raises:
            FrameError: a frame that must not reach the model; the history stays as it was.
            HistoryError: the stamp does not come after the last one; the history stays as it was.
            PromptError: an instruction that cannot be used.
            ActionError: the model's answer is not finite.
        """
        return self._answer(observation)[0]

    def predict_bins(self, observation: Observation) -> IntArray:
        """Answer one observation with the (dimensions,) bins behind `act`'s action; raises the same."""
        return self._answer(observation)[1]

    def another(self) -> LocalPolicy:
        """One more policy on the same engine, with a history of its own."""
        return LocalPolicy(self._engine)

    @staticmethod
    def act_together(asked: Sequence[tuple[LocalPolicy, Observation]]) -> list[ActionChunk | SpatialBotError]:
        """Answer one observation of each of several policies on one engine, in one batch.

        Returns:
            for each what `act` returns, or the error that it would raise.
        """
        engine = asked[0][0]._engine
        answers = engine.answer([(policy._session, observation) for policy, observation in asked])
        for (policy, _), answer in zip(asked, answers, strict=True):
            policy.timing = answer.timing
        return [answer.chunk or cast(SpatialBotError, answer.error) for answer in answers]

    def _answer(self, observation: Observation) -> tuple[ActionChunk, IntArray]:
        (answer,) = self._engine.answer([(self._session, observation)])
        self.timing = answer.timing
        return answer.result()
