"""Takes a saved episode out of a data set without deleting it: it moves to DATASET/.trash, and back."""

from __future__ import annotations

import os
from pathlib import Path

from spatialbot_policy.episodes.copying import renumber
from spatialbot_policy.episodes.dataset import Dataset, episode_path
from spatialbot_policy.episodes.info import EpisodeInfo
from spatialbot_policy.episodes.mcap_file import sync_directory
from spatialbot_policy.errors import EpisodeError

TRASH = ".trash"


def set_aside(directory: Path | str, index: int) -> Path:
    """Move an episode to the trash, durably; its index is free again. Moving it back undoes this.

    Args:
        directory: of the data set.
        index: of a saved episode.

    Returns:
        where it is now: DATASET/.trash/000042, or 000042-2 where that name is taken.

    Raises:
        EpisodeError: there is no such episode.
        OSError: it cannot be moved; it is where it was.
    """
    source = episode_path(Path(directory), index)
    if not source.is_dir():
        raise EpisodeError(f"{source} is not there; 'spatialbot episodes list {directory}' shows what is")
    trash = Path(directory) / TRASH
    trash.mkdir(exist_ok=True)
    place, number = trash / source.name, 1
    while place.exists():
        number += 1
        place = trash / f"{source.name}-{number}"
    os.rename(source, place)
    sync_directory(trash)
    sync_directory(source.parent)
    return place


def trashed(directory: Path | str) -> list[str]:
    """Names of the episodes in the trash of a data set."""
    trash = Path(directory) / TRASH
    return sorted(path.name for path in trash.iterdir() if path.is_dir()) if trash.is_dir() else []


def how_to_restore(directory: Path | str, name: str) -> str:
    """The command that brings an episode back from the trash, by its name there."""
    return f"spatialbot episodes restore {directory} {name}"


def restore(dataset: Dataset, name: str) -> int:
    """Bring an episode back from the trash, under its old number where that is free, else under the next.

    Returns:
        its number.

    Raises:
        EpisodeError: the trash holds no such episode, or it is damaged.
        OSError: it cannot be moved; it is where it was.
    """
    held = trashed(dataset.directory)
    if name not in held:
        raise EpisodeError(
            f"{dataset.directory / TRASH} has no '{name}'; it holds {', '.join(held) or 'nothing'}"
        )
    source = dataset.directory / TRASH / name
    old = EpisodeInfo.load(source).index
    index = dataset.free_index() if old is None or episode_path(dataset.directory, old).exists() else old
    renumber(source, dataset.directory, index)
    return index
