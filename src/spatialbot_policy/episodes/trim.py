"""Cuts an episode to some of its steps: a new episode, whose messages are those of the old one."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mcap.exceptions import McapError

from spatialbot_policy.episodes import topics
from spatialbot_policy.episodes.copying import claim_free, renumber
from spatialbot_policy.episodes.dataset import Dataset, episode_path
from spatialbot_policy.episodes.finish import rename_into_place
from spatialbot_policy.episodes.info import MCAP_FILE, EpisodeInfo
from spatialbot_policy.episodes.mcap_file import RawMessage, read_messages
from spatialbot_policy.episodes.mcap_rewrite import rewrite
from spatialbot_policy.episodes.raw import header_stamp_ns
from spatialbot_policy.episodes.reader import EpisodeReader
from spatialbot_policy.episodes.trash import set_aside
from spatialbot_policy.errors import EpisodeError

# Said once for the whole episode, whenever that was.
_STANDING = ("/tf_static", "/robot_description")
_PLACE = re.compile(r"(\d+)|(\d+(?:\.\d*)?|\.\d+)s")


def parse_place(text: str, stamps: Sequence[int], what: str) -> float:
    """A place in an episode as stamp in ns: "12" is step 12, "1.5s" one and a half seconds after the first.

    Raises:
        EpisodeError: it is neither.
    """
    found = _PLACE.fullmatch(text.strip())
    if found is None:
        raise EpisodeError(
            f"{what} '{text}' is no place in an episode; give a step as 12, or seconds as 1.5s"
        )
    if found[2] is not None:
        return stamps[0] + float(found[2]) * 1e9
    step = int(found[1])
    return stamps[step] if step < len(stamps) else float("inf")


def trim(dataset: Dataset, index: int, start: str | None, end: str | None, replace: bool) -> EpisodeInfo:
    """Write the steps of an episode from one place to another, both included, as a new episode.

    Args:
        dataset: of the episode.
        index: of the episode.
        start: place of the first step, as `parse_place` reads it; None for the episode's own.
        end: place of the last step.
        replace: give the new episode the old one's number, which goes to the trash.

    Returns:
        the facts of the new episode.

    Raises:
        EpisodeError: no step or every step is between them, or the data set cannot be written.
    """
    reader = dataset.episode(index)
    stamps = reader.step_stamps()
    low = stamps[0] if start is None else parse_place(start, stamps, "--from")
    high = stamps[-1] if end is None else parse_place(end, stamps, "--to")
    kept = [stamp for stamp in stamps if low <= stamp <= high]
    seconds = (stamps[-1] - stamps[0]) / 1e9
    extent = f"{reader.path} has steps 0 to {len(stamps) - 1}, over {seconds:.2f}s"
    if not kept:
        raise EpisodeError(f"nothing is left from {start or 'the start'} to {end or 'the end'}: {extent}")
    if len(kept) == len(stamps):
        raise EpisodeError(f"nothing is cut from {start or 'the start'} to {end or 'the end'}: {extent}")
    info = _write(dataset, reader, stamps, kept)
    if replace and info.index is not None:
        set_aside(dataset.directory, index)
        renumber(episode_path(dataset.directory, info.index), dataset.directory, index)
        return dataclasses.replace(info, index=index)
    return info


def _write(dataset: Dataset, reader: EpisodeReader, stamps: list[int], kept: list[int]) -> EpisodeInfo:
    old = reader.info
    first = stamps.index(kept[0])
    origin = {"index": old.index, "checksum": old.checksum, "steps": [first, first + len(kept) - 1]}
    with claim_free(dataset) as (index, partial):
        target = partial / MCAP_FILE
        try:
            written = rewrite(reader.path / MCAP_FILE, target, _Window.of(reader, kept).choose)
            counts = Counter({topics.plain_topic(name): count for name, count in written.counts.items()})
            info = dataclasses.replace(
                old,
                index=index,
                extra={**old.extra, "trimmed_from": origin},
                counts={topic: counts[topic] for topic in old.counts if counts[topic]},
                steps=len(kept),
                start_ns=written.start_ns,
                end_ns=written.end_ns,
                mcap_bytes=written.bytes,
                checksum=written.checksum,
            )
            info.save(partial)
        except (OSError, McapError) as error:
            raise EpisodeError(f"{reader.path} cannot be trimmed ({error}); nothing was changed") from error
        if EpisodeReader(partial).step_stamps() != kept:
            raise EpisodeError(f"{reader.path} cannot be trimmed there: other steps would come of it")
        rename_into_place(partial, episode_path(dataset.directory, index))
    return info


@dataclass
class _Window:
    """Which messages belong to a run of steps, and the instruction that holds at its start."""

    first_ns: int
    last_ns: int
    tolerance_ns: int
    pictures: tuple[str, ...]
    types: dict[str, str]
    opening: tuple[int, int] | None
    """Log time and sequence of the instruction that was given before the first step."""

    @classmethod
    def of(cls, reader: EpisodeReader, kept: list[int]) -> _Window:
        first, instruction = reader.cameras[0], topics.INSTRUCTION_TOPIC
        opening = None
        for message in read_messages(reader.path / MCAP_FILE, {instruction: topics.STRING}):
            if message.log_time_ns <= kept[0]:
                opening = (message.log_time_ns, message.sequence)
        return cls(
            first_ns=kept[0],
            last_ns=kept[-1],
            tolerance_ns=reader.info.join_tolerance_ns,
            pictures=(topics.color_topic(first), topics.camera_info_topic(first)),
            types=topics.topic_types(reader.cameras),
            opening=opening,
        )

    def choose(self, message: RawMessage, type_name: str) -> int | None:
        """Log time under which a message is kept; None for one outside."""
        log_ns, topic = message.log_time_ns, topics.plain_topic(message.topic)
        if topic in _STANDING:
            return log_ns
        if topic == topics.INSTRUCTION_TOPIC and (log_ns, message.sequence) == self.opening:
            return self.first_ns
        stamp_ns = header_stamp_ns(message.data, type_name, log_ns) if topic in self.types else log_ns
        return log_ns if self._low(topic) <= stamp_ns <= self._high(topic) else None

    def _low(self, topic: str) -> int:
        # a picture or command before the first step would make a step of its own
        own = (*self.pictures, topics.ACTION_TOPIC, topics.EXECUTED_TOPIC, topics.INSTRUCTION_TOPIC)
        return self.first_ns if topic in own else self.first_ns - self.tolerance_ns

    def _high(self, topic: str) -> int:
        return self.last_ns if topic in self.pictures else self.last_ns + self.tolerance_ns
