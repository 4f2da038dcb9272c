"""The last moments of an episode's directory: completed and renamed, or removed."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from spatialbot_policy.episodes.file_lock import FileLock
from spatialbot_policy.episodes.info import INFO_FILE, MCAP_FILE, EpisodeInfo, Outcome
from spatialbot_policy.episodes.mcap_file import McapSink, sync_directory
from spatialbot_policy.episodes.topics import SET_ASIDE, CameraIntrinsics
from spatialbot_policy.errors import EpisodeError


@dataclass(frozen=True)
class FileFacts:
    """What a finished file holds, as `McapSink` tells it: counts, first and last log time, SHA-256."""

    counts: Mapping[str, int]
    start_ns: int | None
    end_ns: int | None
    checksum: str


def finish_episode(
    partial: Path,
    final: Path,
    info: EpisodeInfo,
    sink: McapSink | FileFacts,
    intrinsics: Mapping[str, CameraIntrinsics],
    outcome: Outcome,
    steps: int,
) -> EpisodeInfo:
    """Complete `episode.json` of a finished file and give the directory its final name.

    Raises:
        EpisodeError: it cannot be written, or the name is taken.
    """
    counts = {topic: count for topic, count in sorted(sink.counts.items()) if not topic.endswith(SET_ASIDE)}
    complete = dataclasses.replace(
        info,
        outcome=outcome,
        counts=counts,
        steps=steps,
        start_ns=sink.start_ns,
        end_ns=sink.end_ns,
        intrinsics=dict(intrinsics),
        mcap_bytes=(partial / MCAP_FILE).stat().st_size,
        checksum=sink.checksum,
    )
    complete.save(partial)
    rename_into_place(partial, final)
    return complete


def rename_into_place(partial: Path, final: Path) -> None:
    """Give a complete `.partial` its final name, durably; an episode that is there is never replaced."""
    sync_directory(partial)
    if final.exists():
        raise EpisodeError(f"{final} exists; {partial} was kept, rename it to a free index")
    os.rename(partial, final)
    sync_directory(final.parent)


def remove_abandoned(partial: Path, info: EpisodeInfo) -> None:
    """Remove a crashed worker's `.partial` of the same scene; refuse one of another scene or in use."""
    mcap = partial / MCAP_FILE
    if (partial / INFO_FILE).exists():
        found = EpisodeInfo.load(partial)
        if (found.seed, found.task, found.family) != (info.seed, info.task, info.family):
            raise EpisodeError(
                f"{partial} holds seed {found.seed} of {found.task}/{found.family}, not seed {info.seed} of "
                f"{info.task}/{info.family}; take another index, one is never used for two scenes"
            )
    if not mcap.exists():
        remove_partial(partial)
        return
    with writer_lock(mcap):
        remove_partial(partial)


def writer_lock(mcap: Path) -> FileLock:
    """Hold the lock that the writer of this file would hold.

    Raises:
        EpisodeError: another process writes it, or it cannot be opened.
    """
    try:
        return FileLock(
            mcap,
            make=False,
            busy=lambda text: EpisodeError(f"{mcap} is being written by another process; wait for it to end"),
        )
    except FileNotFoundError as error:
        raise EpisodeError(f"{mcap} is missing, nothing was recorded; remove the directory") from error
    except OSError as error:
        raise EpisodeError(f"{mcap} cannot be opened ({error.strerror}); see to its permissions") from error


def remove_partial(partial: Path) -> None:
    """Remove a `.partial` directory, its `episode.json` last: it says whose index this is."""
    for path in sorted(partial.iterdir(), key=lambda path: path.name == INFO_FILE):
        path.unlink()
    partial.rmdir()
