"""Brings several data sets of one contract together in one folder, numbered anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spatialbot_policy.episodes.copying import copy_episode
from spatialbot_policy.episodes.dataset import DATASET_FILE, Dataset, contract_differences
from spatialbot_policy.episodes.dataset_index import Progress, list_episodes
from spatialbot_policy.errors import EpisodeError


@dataclass(frozen=True)
class Merged:
    """What became of the episodes.

    Attributes:
        written: how many were brought over.
        doubles: how many the target had already, by their checksum.
        damaged: what could not be opened; it stays where it is.
    """

    written: int
    doubles: int
    damaged: tuple[str, ...]


def merge(
    sources: Sequence[Path],
    out: Path,
    link: bool = True,
    on_progress: Progress = lambda done, total: None,
) -> Merged:
    """Bring all episodes of the sources into `out`, in their order; the sources stay as they are.

    An episode whose recording `out` has already is left out, so that a merge can be run again.

    Args:
        sources: folders of data sets.
        out: a new folder, or a data set of the same contract.
        link: share the files of messages as hard links where the file system can.
        on_progress: called with (episodes looked at, episodes in all).

    Raises:
        EpisodeError: contracts that differ, saying where; a data set merged into itself or twice; no room.
    """
    datasets = [Dataset(source) for source in sources]
    folders = [dataset.directory.resolve() for dataset in datasets]
    if out.resolve() in folders:
        raise EpisodeError(f"{out} would be merged into itself; give another --out")
    if not datasets or len(set(folders)) < len(folders):
        raise EpisodeError("merge needs data sets, each of them once")
    against = Dataset(out) if (out / DATASET_FILE).exists() else datasets[0]
    for dataset in datasets:
        if differing := contract_differences(against.info, dataset.info):
            raise EpisodeError(
                f"{dataset.directory} has another contract than {against.directory} "
                f"({'; '.join(differing)}); merge data sets of one robot, its cameras and actions"
            )
    target = Dataset.create(out, datasets[0].info)
    return _bring(datasets, target, link, on_progress)


def _bring(datasets: Sequence[Dataset], target: Dataset, link: bool, on_progress: Progress) -> Merged:
    present = {entry.info.checksum for entry in list_episodes(target).entries}
    listings = [list_episodes(dataset) for dataset in datasets]
    total = sum(len(listing.entries) for listing in listings)
    done = written = 0
    for dataset, listing in zip(datasets, listings, strict=True):
        for entry in listing.entries:
            if entry.info.checksum not in present:
                origin = {"dataset": dataset.directory.resolve().name, "index": entry.index}
                copy_episode(dataset.episode(entry.index), target, link, {"copied_from": origin})
                present.add(entry.info.checksum)
                written += 1
            done += 1
            on_progress(done, total)
    damaged = tuple(reason for listing in listings for reason in listing.damaged.values())
    return Merged(written, total - written, damaged)
