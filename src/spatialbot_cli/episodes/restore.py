"""`spatialbot episodes restore`: brings episodes back from the trash of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro
from rich.console import Console

from spatialbot_cli.episodes.printing import DatasetPath, tell
from spatialbot_policy.episode import Dataset
from spatialbot_policy.episodes.trash import restore, trashed


@dataclass(frozen=True)
class Restore:
    """Bring an episode back from the trash, under its old number where that is free; without a name list it.

    Example: spatialbot episodes restore data/pick 000042
    """

    dataset: DatasetPath
    """Folder of the data set."""

    name: Annotated[str | None, tyro.conf.Positional] = None
    """Name of the episode in the trash."""

    def run(self, console: Console) -> int:
        """Bring it back and say under which number, or list what there is."""
        dataset = Dataset(self.dataset)
        if self.name is None:
            tell(console, "\n".join(trashed(self.dataset)) or "the trash is empty")
            return 0
        tell(console, f"{self.name} is episode {restore(dataset, self.name)} again")
        return 0
