"""The last moments of an episode's directory: completed and renamed, or removed."""

from __future__ import annotations

import dataclasses
import fcntl
import os
from collections.abc import Mapping
from pathlib import Path

from spatialbot_policy.episode_file import McapSink, sync_directory
from spatialbot_policy.episode_info import INFO_FILE, MCAP_FILE, EpisodeInfo, Outcome
from spatialbot_policy.episode_topics import CameraIntrinsics
from spatialbot_policy.errors import EpisodeError
from spatialbot_policy.provenance import sha256_of


def finish_episode(
    partial: Path,
    final: Path,
    info: EpisodeInfo,
    sink: McapSink,
    intrinsics: Mapping[str, CameraIntrinsics],
    outcome: Outcome,
    steps: int,
) -> EpisodeInfo:
    """Complete `episode.json` of a finished file and give the directory its final name."""
    mcap = partial / MCAP_FILE
    complete = dataclasses.replace(
        info,
        outcome=outcome,
        counts=dict(sorted(sink.counts.items())),
        steps=steps,
        start_ns=sink.start_ns,
        end_ns=sink.end_ns,
        intrinsics=dict(intrinsics),
        mcap_bytes=mcap.stat().st_size,
        checksum=sha256_of(mcap),
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
    with open(mcap, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise EpisodeError(
                f"{partial} is being written by another process; wait for it to end"
            ) from error
        remove_partial(partial)


def remove_partial(partial: Path) -> None:
    """Remove a `.partial` directory, its `episode.json` last: it says whose index this is."""
    for path in sorted(partial.iterdir(), key=lambda path: path.name == INFO_FILE):
        path.unlink()
    partial.rmdir()
