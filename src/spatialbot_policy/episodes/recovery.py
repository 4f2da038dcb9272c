"""Brings back what crashed recordings left: a `.partial` becomes an episode up to its last full step."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from spatialbot_policy.episodes.dataset import Dataset, episode_path, partial_path
from spatialbot_policy.episodes.finish import FileFacts, finish_episode, rename_into_place, writer_lock
from spatialbot_policy.episodes.info import INFO_FILE, MCAP_FILE, EpisodeInfo, Outcome
from spatialbot_policy.episodes.join import check_join, last_complete_step, required_topics
from spatialbot_policy.episodes.mcap_file import McapSink, read_attachments, read_messages
from spatialbot_policy.episodes.mcap_resume import complete_in_place
from spatialbot_policy.episodes.raw import count_raw_steps
from spatialbot_policy.episodes.survey import Survey, survey
from spatialbot_policy.episodes.topics import topic_types
from spatialbot_policy.errors import EpisodeError
from spatialbot_policy.provenance import sha256_of

_SALVAGED = "episode.recovered.mcap"


@dataclass(frozen=True)
class Recovery:
    """What became of one `.partial` directory.

    Attributes:
        index: index of the episode.
        recovered: it is an episode now; otherwise the directory was left as it is.
        steps: number of steps saved.
        message: what happened, for the user.
    """

    index: int
    recovered: bool
    steps: int
    message: str


def recover(directory: Path | str) -> list[Recovery]:
    """Recover every `.partial` of a data set; those another process is writing are left alone.

    An episode whose file was complete but not yet renamed keeps its outcome. Otherwise the outcome is
    `Outcome(None, recovered=True)`: a raw recording is completed in place behind its last complete chunk, of
    any other the messages of all complete chunks are copied up to the last full step.

    Raises:
        EpisodeError: the folder is no data set.
    """
    dataset = Dataset(directory)
    return [
        _recover_one(dataset.directory, index, dataset.info.depth_cameras) for index in dataset.partials()
    ]


def _recover_one(directory: Path, index: int, cameras: dict[str, bool]) -> Recovery:
    partial, final = partial_path(directory, index), episode_path(directory, index)
    if not (partial / INFO_FILE).exists():
        message = (
            f"left as it is: {partial} has no {INFO_FILE}, nothing was recorded; remove it, or collect again"
        )
        return Recovery(index, False, 0, message)
    try:
        info = EpisodeInfo.load(partial)
        with writer_lock(partial / MCAP_FILE):
            (partial / _SALVAGED).unlink(missing_ok=True)  # of a recovery that was itself cut off
            if info.committed and sha256_of(partial / MCAP_FILE) == info.checksum:
                rename_into_place(partial, final)
                return Recovery(index, True, info.steps, "was complete, only renamed")
            saved = _salvage(partial, final, info, cameras)
    except (EpisodeError, OSError) as error:
        return Recovery(index, False, 0, f"left as it is: {error}")
    return Recovery(index, True, saved.steps, f"recovered up to step {saved.steps}")


def _salvage(partial: Path, final: Path, info: EpisodeInfo, cameras: dict[str, bool]) -> EpisodeInfo:
    """Keep what makes whole steps, and give it the final name."""
    mcap = partial / MCAP_FILE
    types = topic_types(tuple(cameras))
    found = survey(mcap, types, cameras)
    if len(found.intrinsics) < len(cameras):
        raise EpisodeError(
            f"{mcap} has no readable camera info; remove {partial} or record the episode again"
        )
    keep = _complete_raw if info.join_tolerance_ns else _copy_steps
    return keep(partial, final, info, cameras, found)


def _complete_raw(
    partial: Path, final: Path, info: EpisodeInfo, cameras: dict[str, bool], found: Survey
) -> EpisodeInfo:
    """Complete a raw recording where it lies; it needs no cut, its steps are chosen when it is read."""
    mcap, types = partial / MCAP_FILE, topic_types(tuple(cameras))
    _raw_steps(found, info, cameras, mcap)  # refuses before anything is changed
    if complete_in_place(mcap, types, found.messages) != found.messages:
        found = survey(mcap, types, cameras)
    extra = {**info.extra, **found.clocks.facts()}
    if attachments := read_attachments(mcap):
        extra["attachments"] = sorted(attachments)
    log_ns = [stamp for stamps in found.stamps.values() for stamp in (stamps[0], stamps[-1])]
    facts = FileFacts(
        counts={topic: len(stamps) for topic, stamps in found.stamps.items()},
        start_ns=min(log_ns),
        end_ns=max(log_ns),
        checksum=sha256_of(mcap),
    )
    steps = _raw_steps(found, info, cameras, mcap)
    info = dataclasses.replace(info, extra=extra)
    return finish_episode(partial, final, info, facts, found.intrinsics, Outcome(None, recovered=True), steps)


def _raw_steps(found: Survey, info: EpisodeInfo, cameras: dict[str, bool], mcap: Path) -> int:
    return count_raw_steps(found.header_stamps, cameras, found.intrinsics, info.join_tolerance_ns, str(mcap))


def _copy_steps(
    partial: Path, final: Path, info: EpisodeInfo, cameras: dict[str, bool], found: Survey
) -> EpisodeInfo:
    """Copy the full steps into a new file, which replaces the old one when it is safe on disk."""
    mcap, copy = partial / MCAP_FILE, partial / _SALVAGED
    types = topic_types(tuple(cameras))
    last = last_complete_step(found.stamps)
    if last is None:
        raise EpisodeError(f"{mcap} has no complete step; remove {partial} or record the episode again")
    kept = {topic: [stamp for stamp in stamps if stamp <= last] for topic, stamps in found.stamps.items()}
    steps = check_join(kept, required_topics(cameras, info.kind), info.kind, str(mcap))
    with McapSink(copy, types) as sink:
        for message in islice(read_messages(mcap, types), found.messages):
            if message.log_time_ns <= last:
                sink.write(message.topic, message.log_time_ns, message.data)
        sink.finish()
        os.replace(copy, mcap)
        outcome = Outcome(None, recovered=True)
        return finish_episode(partial, final, info, sink, found.intrinsics, outcome, steps)
