"""`spatialbot episodes report`: a data set as one page for the browser."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from spatialbot_cli.episodes.printing import DatasetPath, default_jobs, progress, tell
from spatialbot_policy.episode import Dataset
from spatialbot_policy.episodes.dataset_index import list_episodes
from spatialbot_policy.episodes.dataset_report import write_report


@dataclass(frozen=True)
class Report:
    """Write one HTML file with statistics and a section for each episode; it needs no network.

    Example: spatialbot episodes report data/pick --out pick.html
    """

    dataset: DatasetPath
    """Folder of the data set."""

    out: Path | None = None
    """The file; by default <name of the data set>.html in the current folder."""

    thumbnails: int = 100
    """Episodes with pictures and curves, spread evenly over the data set; each takes some 50 kB."""

    def run(self, console: Console) -> int:
        """Write it; damaged episodes are named on the page, and make the status 1."""
        dataset = Dataset(self.dataset)
        out = self.out or Path(f"{self.dataset.resolve().name}.html")
        with progress(console, "reading messages") as report:
            listing = list_episodes(dataset, True, default_jobs(), report)
        with progress(console, "drawing") as report:
            size = write_report(dataset, listing, out, self.thumbnails, report)
        tell(console, f"{len(listing.entries)} episodes: {out} ({size / 1e6:.1f} MB)")
        return 1 if listing.damaged else 0
