"""A few pictures of an episode, spread evenly: found by the file's own index, so that little is decoded."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from mcap.exceptions import McapError
from mcap.reader import SeekingReader
from mcap.records import Chunk, Message, MessageIndex
from mcap.stream_reader import StreamReader, breakup_chunk

from spatialbot_policy.episodes import topics
from spatialbot_policy.episodes.decode import decode_one
from spatialbot_policy.episodes.info import MCAP_FILE
from spatialbot_policy.episodes.packed import PackedImage
from spatialbot_policy.episodes.reader import EpisodeReader
from spatialbot_policy.errors import EpisodeError
from spatialbot_policy.types import DepthArray, UInt8Array


@dataclass(frozen=True)
class Pictures:
    """Pictures of one camera.

    Attributes:
        color: (n, H, W, 3) uint8 RGB.
        depth_mm: (n, H, W) millimetres of the messages nearest in time; None without depth.
    """

    color: UInt8Array
    depth_mm: DepthArray | None


def sample_pictures(reader: EpisodeReader, count: int) -> dict[str, Pictures]:
    """At most `count` pictures of each camera, the first and the last among them.

    Raises:
        EpisodeError: the file is damaged, or a camera has no picture.
    """

    def spread(total: int) -> list[int]:
        rows = np.linspace(0, total - 1, min(count, total)).round().astype(int)
        return [int(row) for row in np.unique(rows)]

    return _read(reader, spread)


def read_pictures(reader: EpisodeReader, rows: Sequence[int]) -> dict[str, Pictures]:
    """The pictures of each camera with these numbers, counted from 0 in the order of their log times.

    Raises:
        EpisodeError: the file is damaged, or a camera has fewer pictures.
    """
    return _read(reader, lambda total: rows)


def _read(reader: EpisodeReader, choose: Callable[[int], Sequence[int]]) -> dict[str, Pictures]:
    path = reader.path / MCAP_FILE
    types = topics.topic_types(reader.cameras)
    try:
        with open(path, "rb") as file:
            finder = _Finder(file)
            found = {}
            for camera in reader.cameras:
                color = finder.channel(topics.color_topic(camera))
                if color is None:
                    raise EpisodeError(f"{path} has no picture of camera '{camera}'; see 'episodes validate'")
                times = finder.times(color)
                wanted = [times[row] for row in choose(len(times))]
                depth = finder.channel(topics.depth_topic(camera))
                found[camera] = Pictures(
                    color=np.stack(finder.decode(color, wanted, types)),
                    depth_mm=None
                    if depth is None
                    else np.stack(finder.decode(depth, finder.near(depth, wanted), types)),
                )
            return found
    except EpisodeError:
        raise
    except (OSError, McapError, ValueError, IndexError) as error:
        raise EpisodeError(f"{path} cannot be read ({error}); see 'spatialbot episodes validate'") from error


class _Finder:
    """Messages of one file by channel and log time, through the index that ends the file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        summary = SeekingReader(file).get_summary()
        if summary is None:
            raise McapError("the file has no index: it was not finished")
        self._channels = summary.channels
        self._chunks = summary.chunk_indexes
        self._loaded: tuple[int, list[Message]] = (-1, [])

    def channel(self, topic: str) -> int | None:
        """Number of the channel of a topic, or of its compressed form; None where there is none."""
        found = [
            number for number, channel in self._channels.items() if topics.plain_topic(channel.topic) == topic
        ]
        return found[0] if found else None

    def times(self, channel: int) -> list[int]:
        """Log times of a channel's messages, ascending."""
        return sorted(time for _, times in self._index(channel) for time in times)

    def near(self, channel: int, wanted: Iterable[int]) -> list[int]:
        """For each time the nearest one of a channel."""
        times = self.times(channel)
        nearest = []
        for time in wanted:
            place = bisect.bisect_left(times, time)
            around = times[max(place - 1, 0) : place + 1]
            nearest.append(min(around, key=lambda other: abs(other - time)))
        return nearest

    def decode(self, channel: int, wanted: Iterable[int], types: dict[str, str]) -> list[Any]:
        """The pictures of a channel at these times."""
        places = {time: offset for offset, times in self._index(channel) for time in times}
        name = self._channels[channel].topic
        topic = topics.plain_topic(name)
        pictures = []
        for time in wanted:
            data = self._message(channel, time, places[time])
            packed = data if name == topic else PackedImage(data)
            pictures.append(decode_one(topic, packed, time, types)[1])
        return pictures

    def _index(self, channel: int) -> Iterable[tuple[int, list[int]]]:
        """Start of each chunk that holds messages of a channel, and their log times."""
        for chunk in self._chunks:
            offset = chunk.message_index_offsets.get(channel)
            if offset is not None:
                self._file.seek(offset)
                record = next(StreamReader(self._file, skip_magic=True).records)
                if isinstance(record, MessageIndex):
                    yield chunk.chunk_start_offset, [time for time, _ in record.records]

    def _message(self, channel: int, time: int, offset: int) -> bytes:
        if self._loaded[0] != offset:
            self._file.seek(offset)
            chunk = next(StreamReader(self._file, skip_magic=True, emit_chunks=True).records)
            if not isinstance(chunk, Chunk):
                raise McapError("its index points to no chunk")
            records = breakup_chunk(chunk, validate_crc=True)
            self._loaded = (offset, [record for record in records if isinstance(record, Message)])
        for message in self._loaded[1]:
            if (message.channel_id, message.log_time) == (channel, time):
                return message.data
        raise McapError("its index names a message that is not there")
