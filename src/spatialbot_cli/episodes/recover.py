"""`spatialbot episodes recover`: brings back what a crash left."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console

from spatialbot_cli.episodes.printing import DatasetPath
from spatialbot_policy.episode import recover


@dataclass(frozen=True)
class Recover:
    """Turn what a crash left (.partial folders) into episodes up to their last full step.

    Example: spatialbot episodes recover data/pick
    """

    dataset: DatasetPath
    """Folder of the data set."""

    def run(self, console: Console) -> int:
        """Recover and report each one; the status is 1 if something could not be recovered."""
        results = recover(self.dataset)
        for result in results:
            style = "green" if result.recovered else "yellow"
            text = f"{result.index:06d}: {result.message}"
            console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
        saved = sum(result.recovered for result in results)
        console.print(f"{saved} of {len(results)} recovered" if results else "nothing to recover")
        return 0 if saved == len(results) else 1
