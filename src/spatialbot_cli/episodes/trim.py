"""`spatialbot episodes trim`: cuts an episode to some of its steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro
from rich.console import Console

from spatialbot_cli.episodes.printing import DatasetPath, EpisodeNumber, tell
from spatialbot_policy.episode import Dataset
from spatialbot_policy.episodes.trash import how_to_restore, trashed
from spatialbot_policy.episodes.trim import trim


@dataclass(frozen=True)
class Trim:
    """Cut an episode to the steps between two places; the whole one is kept.

    Example: spatialbot episodes trim data/pick 42 --from 1.5s --to 80
    """

    dataset: DatasetPath
    """Folder of the data set."""

    index: EpisodeNumber
    """Number of the episode."""

    start: Annotated[str | None, tyro.conf.arg(name="from")] = None
    """First step to keep: its number as 12, or seconds after the first step as 1.5s."""

    end: Annotated[str | None, tyro.conf.arg(name="to")] = None
    """Last step to keep, in the same way."""

    replace: bool = False
    """Give the new episode the number of the whole one, which goes to the data set's .trash."""

    def run(self, console: Console) -> int:
        """Write the new episode, and say where both are."""
        dataset = Dataset(self.dataset)
        before = set(trashed(self.dataset))
        old = dataset.episode(self.index).info.steps
        info = trim(dataset, self.index, self.start, self.end, self.replace)
        tell(console, f"episode {info.index} has {info.steps} of the {old} steps of episode {self.index}")
        for name in sorted(set(trashed(self.dataset)) - before):
            command = how_to_restore(self.dataset, name)
            tell(console, f"the whole one is in the trash; to bring it back: {command}")
        return 0
