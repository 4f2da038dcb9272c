"""`spatialbot episodes merge`: brings several data sets together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from spatialbot_cli.episodes.printing import print_damaged, progress, tell
from spatialbot_policy.episodes.dataset_merge import merge


@dataclass(frozen=True)
class Merge:
    """Bring the episodes of data sets with the same contract into one folder, numbered anew.

    Example: spatialbot episodes merge data/monday data/tuesday --out data/week
    """

    datasets: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of data sets; they stay as they are."""

    out: Path
    """New folder, or a data set of the same contract to add to; an episode it has already is left out."""

    copy: bool = False
    """Copy the recordings, instead of sharing them as hard links where the file system can."""

    def run(self, console: Console) -> int:
        """Merge, and say what was brought; the status is 1 where an episode could not be read."""
        with progress(console, "merging") as report:
            merged = merge(self.datasets, self.out, not self.copy, report)
        left_out = f", {merged.doubles} were there already" if merged.doubles else ""
        tell(console, f"{merged.written} episodes brought to {self.out}{left_out}")
        print_damaged(console, merged.damaged)
        return 1 if merged.damaged else 0
