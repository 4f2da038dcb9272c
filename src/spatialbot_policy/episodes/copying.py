"""Brings a committed episode into a data set under another number: claimed, linked or copied, renamed."""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from spatialbot_policy.episodes.dataset import Dataset, episode_path, partial_path
from spatialbot_policy.episodes.finish import remove_partial, rename_into_place
from spatialbot_policy.episodes.info import INFO_FILE, EpisodeInfo
from spatialbot_policy.episodes.reader import EpisodeReader
from spatialbot_policy.errors import EpisodeError

# Where hard links do not work: another file system, one without them, or too many of one file.
_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK)


@contextmanager
def claim_free(dataset: Dataset) -> Iterator[tuple[int, Path]]:
    """Claim the next free number of a data set; yields it with its `.partial`, removed after an error.

    Raises:
        EpisodeError: the data set cannot be written.
    """
    while True:
        index = dataset.free_index()
        partial = partial_path(dataset.directory, index)
        try:
            partial.mkdir(parents=True)
        except FileExistsError:
            continue  # another process was faster
        except OSError as error:
            raise EpisodeError(
                f"{dataset.directory} cannot be written ({error}); set permissions, or work on a copy of it "
                "('spatialbot episodes merge DATASET --out COPY')"
            ) from error
        break
    try:
        yield index, partial
    except BaseException:
        if partial.is_dir():
            remove_partial(partial)
        raise


def copy_episode(
    reader: EpisodeReader, dataset: Dataset, link: bool = True, facts: Mapping[str, object] | None = None
) -> EpisodeInfo:
    """Bring an episode into another data set of the same contract; messages stay as they are.

    Args:
        reader: the episode, which is not changed.
        dataset: where it goes, under the next free number.
        link: share the file of messages as a hard link where the file system can; else it is copied.
        facts: added to `extra`.

    Returns:
        the facts of the new episode.

    Raises:
        EpisodeError: the data set cannot be written, or is full.
    """
    with claim_free(dataset) as (index, partial):
        extra = {**reader.info.extra, **(facts or {})}
        info = dataclasses.replace(reader.info, index=index, extra=extra)
        try:
            for source in sorted(reader.path.iterdir()):
                if source.is_file() and source.name != INFO_FILE and not source.name.startswith("."):
                    _place(source, partial / source.name, link)
            info.save(partial)
        except OSError as error:
            raise EpisodeError(
                f"{reader.path} cannot be brought to {dataset.directory} ({error}); make room, run it again"
            ) from error
        rename_into_place(partial, episode_path(dataset.directory, index))
    return info


def _place(source: Path, target: Path, link: bool) -> None:
    if link:
        try:
            os.link(source, target)
            return
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
    shutil.copy2(source, target)
    with open(target, "rb") as file:
        os.fsync(file.fileno())


def renumber(source: Path, directory: Path, index: int) -> None:
    """Move a committed episode, wherever it lies on this file system, to a free number of a data set.

    Raises:
        EpisodeError: the number is taken.
        OSError: the folder cannot be written.
    """
    target = episode_path(directory, index)
    if target.exists():
        raise EpisodeError(f"{target} exists; nothing was moved")
    info = EpisodeInfo.load(source)
    if info.index != index:
        dataclasses.replace(info, index=index).save(source)
    rename_into_place(source, target)
