"""`spatialbot episodes relabel`: changes what an episode says about itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Annotated, Literal

import tyro
from rich.console import Console

from spatialbot_cli.episodes.printing import DatasetPath, tell
from spatialbot_policy.episode import Dataset, Outcome
from spatialbot_policy.episodes.dataset import episode_path
from spatialbot_policy.episodes.labels import Labels, outcome_word, relabel
from spatialbot_policy.errors import EpisodeError

_SUCCESS = {"success": True, "failure": False, "unknown": None}


@dataclass(frozen=True)
class Relabel:
    """Change instruction, outcome or note of episodes; the recording stays, older labels are kept.

    Example: spatialbot episodes relabel data/pick 42 --outcome failure --failure dropped --note "wet cup"
    """

    dataset: DatasetPath
    """Folder of the data set."""

    index: Annotated[tuple[int, ...], tyro.conf.Positional]
    """Numbers of the episodes."""

    instruction: str | None = None
    """The task in words, for all steps of the episode."""

    outcome: Literal["success", "failure", "unknown"] | None = None
    """How it ended."""

    failure: str | None = None
    """The kind of failure, e.g. dropped, wrong_object, timeout."""

    note: str | None = None
    """Free text; "" removes it."""

    relation: str | None = None
    """The spatial relation it counts under; "" for the one that the instruction names."""

    def run(self, console: Console) -> int:
        """Change them one after the other, and say what they are now."""
        labels = Labels(self.instruction, self._outcome(), self.note, self.relation)
        if labels == Labels():
            raise EpisodeError("relabel needs --instruction, --outcome, --failure, --note or --relation")
        if not self.index:
            raise EpisodeError("relabel needs the numbers of episodes; 'episodes list' shows them")
        dataset = Dataset(self.dataset)
        when = datetime.now(timezone.utc).isoformat(timespec="seconds")
        for index in self.index:
            info = relabel(episode_path(dataset.directory, index), labels, when)
            note = f", note: {info.extra['note']}" if "note" in info.extra else ""
            tell(console, f"{index:06d}: {outcome_word(info)}, {info.instruction}{note}")
        return 0

    def _outcome(self) -> Outcome | None:
        if self.failure is not None and self.outcome in ("success", "unknown"):
            raise EpisodeError(f"--failure {self.failure} contradicts --outcome {self.outcome}; give one")
        if self.failure is not None:
            return Outcome(False, self.failure)
        return None if self.outcome is None else Outcome(_SUCCESS[self.outcome])
