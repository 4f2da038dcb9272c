"""`spatialbot episodes split`: divides a data set for training and validation."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from spatialbot_cli.episodes.printing import DatasetPath, progress, tell
from spatialbot_policy.episode import Dataset
from spatialbot_policy.episodes.dataset_index import list_episodes
from spatialbot_policy.episodes.dataset_split import BALANCES, split


@dataclass(frozen=True)
class Split:
    """Divide a data set in two new ones with the same mixture; episodes of one scene stay together.

    Example: spatialbot episodes split data/pick --train data/pick-train --val data/pick-val --share 0.1
    """

    dataset: DatasetPath
    """Folder of the data set; it stays as it is."""

    train: Path
    """New folder for the larger half."""

    val: Path
    """New folder for the other one."""

    share: float = 0.1
    """Share of the episodes for validation."""

    balance: Literal["relation", "instruction", "family", "none"] = "relation"
    """What both halves have in the same mixture."""

    seed: int = 0
    """Seed of the choice; the same one chooses the same episodes."""

    copy: bool = False
    """Copy the recordings, instead of sharing them as hard links where the file system can."""

    def run(self, console: Console) -> int:
        """Write both and print how they are mixed."""
        dataset = Dataset(self.dataset)
        with progress(console, "dividing") as report:
            chosen = split(
                dataset, self.train, self.val, self.share, self.balance, self.seed, not self.copy, report
            )
        entries = {entry.index: entry for entry in list_episodes(dataset).entries}
        kind = BALANCES[self.balance]
        counts = [Counter(kind(entries[index]) for index in half) for half in (chosen.train, chosen.val)]
        table = Table(self.balance, "train", "val")
        for name in sorted(counts[0] | counts[1]):
            table.add_row(escape(name or "all"), str(counts[0][name]), str(counts[1][name]))
        console.print(table)
        tell(console, f"{len(chosen.train)} episodes in {self.train}, {len(chosen.val)} in {self.val}")
        return 0
