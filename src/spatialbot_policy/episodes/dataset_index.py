"""The index of a data set: what its episodes say, in one file, so that a thousand of them list at once.

`DATASET/.index.jsonl` is a convenience that may be deleted at any time. A line of it holds for an episode
only while size and time of change of `episode.json` and `episode.mcap` are those it was made from; all else
is read anew. Where the folder cannot be written, listing works without it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spatialbot_policy.episodes.dataset import Dataset, episode_path
from spatialbot_policy.episodes.file_lock import FileLock
from spatialbot_policy.episodes.info import INFO_FILE, MCAP_FILE, EpisodeInfo
from spatialbot_policy.episodes.reader import EpisodeReader
from spatialbot_policy.episodes.stats import Bounds, EpisodeStatistics, bounds_of, scan_episode
from spatialbot_policy.errors import EpisodeError, SpatialBotError
from spatialbot_policy.parallel import each

INDEX_FILE = ".index.jsonl"
_LOCK_FILE = ".index.lock"
_FORMAT = 1
_SAVE_EVERY = 200  # episodes between two saves of a first pass, so that an interrupted one goes on
_log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
FileMark = tuple[int, int, int, int]
"""Size and time of change in ns of `episode.json`, then of `episode.mcap`."""


@dataclass(frozen=True)
class Entry:
    """One readable episode.

    Attributes:
        index: its number, by the name of its folder.
        info: what its `episode.json` says.
        mark: the files this was read from.
        statistics: None until they were asked for.
        problem: what `validate` found in these very files: "" for nothing, None when it has not looked.
    """

    index: int
    info: EpisodeInfo
    mark: FileMark
    statistics: EpisodeStatistics | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Listing:
    """All episodes of a data set.

    Attributes:
        entries: in the order of their numbers.
        damaged: number to what is wrong, for those that cannot be opened.
        foreign: names in `episodes/` that are no episodes.
    """

    entries: tuple[Entry, ...]
    damaged: Mapping[int, str]
    foreign: tuple[str, ...]

    def missing(self) -> list[int]:
        """Numbers below the highest that no folder has."""
        used = {entry.index for entry in self.entries} | set(self.damaged)
        return sorted(set(range(max(used, default=-1) + 1)) - used)


def list_episodes(
    dataset: Dataset,
    statistics: bool = False,
    jobs: int = 1,
    on_progress: Progress = lambda done, total: None,
) -> Listing:
    """List a data set by its index, which is brought up to date.

    Args:
        dataset: what to list.
        statistics: also scan the messages of episodes that were not yet scanned.
        jobs: processes for that.
        on_progress: called with (episodes scanned, episodes to scan).

    Returns:
        the listing; an episode whose messages cannot be scanned is among the damaged ones.
    """
    known = _load(dataset)
    entries: dict[int, Entry] = {}
    damaged: dict[int, str] = {}
    for index in dataset.indices():
        try:
            entries[index] = _current(dataset, index, known.get(index))
        except EpisodeError as error:
            damaged[index] = str(error)
    changed = entries != known
    if statistics:
        waiting = [entry for entry in entries.values() if entry.statistics is None]
        changed = changed or bool(waiting)
        for done, (index, found) in enumerate(_scan(dataset, waiting, jobs), start=1):
            if isinstance(found, str):
                damaged[index] = found
                del entries[index]
            else:
                entries[index] = dataclasses.replace(entries[index], statistics=found)
            on_progress(done, len(waiting))
            if done % _SAVE_EVERY == 0:
                _save(dataset, entries)
    if changed:
        _save(dataset, entries)
    return Listing(tuple(entries.values()), dict(sorted(damaged.items())), tuple(dataset.foreign()))


def note_problems(dataset: Dataset, problems: Mapping[int, str]) -> None:
    """Keep what `validate` found, "" for nothing, beside the files it holds for."""
    listing = list_episodes(dataset)
    entries = {
        entry.index: dataclasses.replace(entry, problem=problems.get(entry.index, entry.problem))
        for entry in listing.entries
    }
    _save(dataset, entries)


def _file_mark(path: Path) -> FileMark:
    """What identifies the state of an episode's files; zeros for a missing file, which no entry has."""
    values: list[int] = []
    for name in (INFO_FILE, MCAP_FILE):
        try:
            found = os.stat(path / name)
        except OSError:
            values += [0, 0]
        else:
            values += [found.st_size, found.st_mtime_ns]
    return values[0], values[1], values[2], values[3]


def _current(dataset: Dataset, index: int, known: Entry | None) -> Entry:
    """The known entry where the files are still those; otherwise what they say now.

    Raises:
        EpisodeError: the episode cannot be opened.
    """
    path = episode_path(dataset.directory, index)
    mark = _file_mark(path)  # before reading: a change in between makes the entry outdated, not wrong
    if known is not None and known.mark == mark:
        return known
    info = EpisodeReader(path).info
    # another label does not change the messages
    statistics = known.statistics if known is not None and known.mark[2:] == mark[2:] else None
    return Entry(index, info, mark, statistics)


def _scan(dataset: Dataset, entries: list[Entry], jobs: int) -> Iterator[tuple[int, EpisodeStatistics | str]]:
    bounds = bounds_of(dataset.info.action_space)
    work = [(episode_path(dataset.directory, entry.index), entry.info, bounds) for entry in entries]
    numbers = [entry.index for entry in entries]
    yield from zip(numbers, each(_scan_one, work, jobs), strict=True)


def _scan_one(work: tuple[Path, EpisodeInfo, Bounds]) -> EpisodeStatistics | str:
    try:
        return scan_episode(*work)
    except SpatialBotError as error:
        return str(error)


def _head(dataset: Dataset, body: bytes) -> dict[str, object]:
    """First line: what the other lines depend on, and their checksum."""
    bounds = list(bounds_of(dataset.info.action_space))
    return {"format": _FORMAT, "bounds": bounds, "sha256": hashlib.sha256(body).hexdigest()}


def _load(dataset: Dataset) -> dict[int, Entry]:
    """Entries of the index file; none where it is missing, damaged or of another version."""
    try:
        head, _, body = (dataset.directory / INDEX_FILE).read_bytes().partition(b"\n")
        if json.loads(head) != _head(dataset, body):
            return {}
        entries = (_parse(json.loads(line)) for line in body.splitlines())
        return {entry.index: entry for entry in entries}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if not isinstance(error, FileNotFoundError):
            _log.info("%s is made anew: %s", dataset.directory / INDEX_FILE, error)
        return {}


def _parse(data: Mapping[str, Any]) -> Entry:
    size, changed, mcap_size, mcap_changed = data["mark"]
    return Entry(
        index=data["index"],
        info=EpisodeInfo.parse(data["info"], Path(INDEX_FILE)),
        mark=(size, changed, mcap_size, mcap_changed),
        statistics=None if data["statistics"] is None else EpisodeStatistics.from_dict(data["statistics"]),
        problem=data["problem"],
    )


def _line(entry: Entry) -> str:
    # `to_json` knows how to write what `extra` may hold
    data = {
        "index": entry.index,
        "mark": entry.mark,
        "problem": entry.problem,
        "statistics": None if entry.statistics is None else entry.statistics.to_dict(),
    }
    return f'{json.dumps(data)[:-1]}, "info": {json.dumps(json.loads(entry.info.to_json()))}}}'


def _save(dataset: Dataset, entries: Mapping[int, Entry]) -> None:
    """Replace the index file in one step; what another process found meanwhile is kept."""
    path = dataset.directory / INDEX_FILE
    temporary = path.with_name(f"{INDEX_FILE}.{os.getpid()}")
    try:
        with FileLock(dataset.directory / _LOCK_FILE):
            body = "\n".join(_line(entry) for entry in _merged(entries, _load(dataset))).encode()
            head = json.dumps(_head(dataset, body)).encode()
            try:
                temporary.write_bytes(head + b"\n" + body)
                os.replace(temporary, path)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    temporary.unlink()
    except OSError as error:
        _log.info("%s cannot be kept (%s); the next listing reads all episodes again", path, error)


def _merged(ours: Mapping[int, Entry], stored: Mapping[int, Entry]) -> Iterable[Entry]:
    for index, entry in sorted(ours.items()):
        other = stored.get(index)
        if other is not None and other.mark == entry.mark:
            entry = dataclasses.replace(
                entry,
                statistics=entry.statistics or other.statistics,
                problem=other.problem if entry.problem is None else entry.problem,
            )
        yield entry
