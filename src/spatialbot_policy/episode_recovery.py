"""Brings back what crashed recordings left: a `.partial` becomes an episode up to its last full step."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from spatialbot_policy import episode_messages as messages
from spatialbot_policy.dataset import Dataset, episode_path, partial_path
from spatialbot_policy.episode_file import McapSink, read_messages
from spatialbot_policy.episode_finish import finish_episode, rename_into_place
from spatialbot_policy.episode_info import INFO_FILE, MCAP_FILE, EpisodeInfo, Outcome
from spatialbot_policy.episode_join import check_join, last_complete_step, required_topics
from spatialbot_policy.episode_raw import count_raw_steps, header_stamp_ns
from spatialbot_policy.episode_topics import CAMERA_INFO, CameraIntrinsics, camera_info_topic, topic_types
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

    An episode whose file was complete but not yet renamed keeps its outcome. Otherwise the messages of all
    complete chunks are copied up to the last full step, and the outcome is `Outcome(None, recovered=True)`.

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
        with _locked(partial / MCAP_FILE):
            (partial / _SALVAGED).unlink(missing_ok=True)  # of a recovery that was itself cut off
            if info.committed and sha256_of(partial / MCAP_FILE) == info.checksum:
                rename_into_place(partial, final)
                return Recovery(index, True, info.steps, "was complete, only renamed")
            saved = _salvage(partial, final, info, cameras)
    except EpisodeError as error:
        return Recovery(index, False, 0, f"left as it is: {error}")
    return Recovery(index, True, saved.steps, f"recovered up to step {saved.steps}")


@contextmanager
def _locked(mcap: Path) -> Iterator[None]:
    """Hold the lock that the writer of this file would hold."""
    try:
        file = open(mcap, "rb")  # noqa: SIM115 - closed below
    except FileNotFoundError as error:
        raise EpisodeError(f"{mcap} is missing, nothing was recorded; remove the directory") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise EpisodeError(f"{mcap} is being written by another process; wait for it to end") from error
        yield


@dataclass
class _Survey:
    """What can be read of a cut-off file: log times and header stamps by topic, how many, the cameras."""

    stamps: dict[str, list[int]] = field(default_factory=dict)
    header_stamps: dict[str, list[int]] = field(default_factory=dict)
    messages: int = 0
    intrinsics: dict[str, CameraIntrinsics] = field(default_factory=dict)


def _survey(mcap: Path, types: dict[str, str], cameras: Iterable[str]) -> _Survey:
    survey = _Survey()
    names = {camera_info_topic(camera): camera for camera in cameras}
    try:
        for message in read_messages(mcap, types):
            stamps = survey.stamps.setdefault(message.topic, [])
            if message.sequence != len(stamps):
                break  # a chunk before this one is gone: what follows would leave a hole
            stamps.append(message.log_time_ns)
            header_ns = header_stamp_ns(message.data, types[message.topic], message.log_time_ns)
            survey.header_stamps.setdefault(message.topic, []).append(header_ns)
            survey.messages += 1
            camera = names.get(message.topic)
            if camera is not None and camera not in survey.intrinsics:
                info = messages.decode(message.data, CAMERA_INFO, message.topic)
                survey.intrinsics[camera] = messages.decode_camera_info(info)
    except EpisodeError:
        if not survey.messages:
            raise
    return survey


def _steps(survey: _Survey, info: EpisodeInfo, cameras: dict[str, bool], mcap: Path) -> tuple[int, int]:
    """Log time up to which messages are kept, and the number of steps among them."""
    if info.join_tolerance_ns:  # a raw recording needs no cut: its steps are chosen when it is read
        last = max(max(stamps) for stamps in survey.stamps.values())
        tolerance_ns = info.join_tolerance_ns
        return last, count_raw_steps(
            survey.header_stamps, cameras, survey.intrinsics, tolerance_ns, str(mcap)
        )
    complete = last_complete_step(survey.stamps)
    if complete is None:
        raise EpisodeError(f"{mcap} has no complete step; remove {mcap.parent} or record the episode again")
    kept = {
        topic: [stamp for stamp in stamps if stamp <= complete] for topic, stamps in survey.stamps.items()
    }
    return complete, check_join(kept, required_topics(cameras, info.kind), info.kind, str(mcap))


def _salvage(partial: Path, final: Path, info: EpisodeInfo, cameras: dict[str, bool]) -> EpisodeInfo:
    """Copy the full steps into a new file, which replaces the old one when it is safe on disk."""
    mcap, copy = partial / MCAP_FILE, partial / _SALVAGED
    types = topic_types(tuple(cameras))
    survey = _survey(mcap, types, cameras)
    last, steps = _steps(survey, info, cameras, mcap)
    intrinsics = {name: survey.intrinsics[name] for name in cameras if name in survey.intrinsics}
    if len(intrinsics) < len(cameras):
        raise EpisodeError(
            f"{mcap} has no readable camera info; remove {partial} or record the episode again"
        )
    with McapSink(copy, types) as sink:
        for message in islice(read_messages(mcap, types), survey.messages):
            if message.log_time_ns <= last:
                sink.write(message.topic, message.log_time_ns, message.data)
        sink.finish()
        os.replace(copy, mcap)
        return finish_episode(partial, final, info, sink, intrinsics, Outcome(None, recovered=True), steps)
