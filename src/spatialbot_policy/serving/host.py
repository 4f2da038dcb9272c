"""What the server serves: one loaded checkpoint that gives every client a policy with its own history."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from spatialbot_policy.config import PolicyConfig
from spatialbot_policy.step_timing import StepTiming
from spatialbot_policy.types import Policy

if TYPE_CHECKING:
    from spatialbot_policy.inference.engine import Engine
    from spatialbot_policy.inference.settings import EngineSettings


class PolicyHost(Protocol):
    """One checkpoint for many clients; only the server's worker thread calls it and its policies."""

    @property
    def config(self) -> PolicyConfig:
        """What the policies promise."""

    @property
    def fingerprint(self) -> str:
        """Name of the weights: another one means other answers."""

    def new_policy(self) -> Policy:
        """Make a policy without a history."""


class EngineHost:
    """An engine, shared by all clients.

    Args:
        engine: with the checkpoint loaded.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def load(cls, checkpoint: str | Path, settings: EngineSettings) -> EngineHost:
        """Load a checkpoint directory.

        Raises:
            CheckpointError: a file is missing or damaged, or its parts disagree.
            ConfigError: settings that this machine cannot follow.
        """
        from spatialbot_policy.inference.engine import Engine  # torch takes seconds to import

        return cls(Engine.from_checkpoint(checkpoint, settings))

    def warm_up(self) -> None:
        """Let the engine answer a made-up observation, in the thread that will answer the others."""
        self._engine.warm_up()

    @property
    def config(self) -> PolicyConfig:
        """What the policies promise."""
        return self._engine.config

    @property
    def fingerprint(self) -> str:
        """Checksum over the checkpoint."""
        return self._engine.fingerprint

    def new_policy(self) -> Policy:
        """Make a policy without a history."""
        from spatialbot_policy.inference.local_policy import LocalPolicy

        return LocalPolicy(self._engine)


def stage_times(policy: Policy) -> Mapping[str, float]:
    """Milliseconds by stage of a policy's last answer; empty when it does not tell."""
    timing = getattr(policy, "timing", None)
    return timing.as_dict() if isinstance(timing, StepTiming) else {}
