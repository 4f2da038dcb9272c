"""`spatialbot episodes remove`: takes episodes out of a data set, into its trash."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro
from rich.console import Console

from spatialbot_cli.episodes.printing import DatasetPath, tell
from spatialbot_policy.episode import Dataset
from spatialbot_policy.episodes.trash import how_to_restore, set_aside
from spatialbot_policy.errors import EpisodeError


@dataclass(frozen=True)
class Remove:
    """Take episodes out of a data set; they lie in its .trash until somebody deletes that.

    Example: spatialbot episodes remove data/pick 3 17
    """

    dataset: DatasetPath
    """Folder of the data set."""

    index: Annotated[tuple[int, ...], tyro.conf.Positional]
    """Numbers of the episodes."""

    def run(self, console: Console) -> int:
        """Move them, and say how to bring each one back."""
        present = set(Dataset(self.dataset).indices())
        if missing := sorted(set(self.index) - present):
            raise EpisodeError(f"{self.dataset} has no episodes {missing}; nothing was removed")
        for index in dict.fromkeys(self.index):
            place = set_aside(self.dataset, index)
            command = how_to_restore(self.dataset, place.name)
            tell(console, f"{index:06d} is in the trash; to bring it back: {command}")
        return 0
