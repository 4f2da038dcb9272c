"""The MCAP file of an episode: an append-only sink that survives a crash, and the strict reader of it."""

from __future__ import annotations

import fcntl
import os
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from mcap.exceptions import McapError
from mcap.records import Channel, Message, Schema
from mcap.stream_reader import StreamReader
from mcap.writer import CompressionType, Writer
from zstandard import ZstdError

from spatialbot_policy.episode_messages import schema_text
from spatialbot_policy.episode_topics import MAX_STAMP_NS
from spatialbot_policy.errors import EpisodeError

CHUNK_BYTES = 512 * 1024  # about half a second of 128 x 128 RGB-D at 10 Hz: what a crash can lose
_DAMAGE = (McapError, ZstdError, struct.error, ValueError, OverflowError, MemoryError, RuntimeError)


@dataclass(frozen=True)
class RawMessage:
    """One message as it lies in the file: CDR bytes, log time in nanoseconds, counter within its topic."""

    topic: str
    data: bytes
    log_time_ns: int
    sequence: int


class McapSink:
    """Appends messages to a new MCAP file in small chunks, under an exclusive lock.

    Each finished chunk is handed to the operating system at once, so that a killed process loses only the
    chunk in progress. Messages are numbered within their topic, which tells recovery about a lost chunk.
    """

    def __init__(self, path: Path, topics: Mapping[str, str]) -> None:
        """Create `path`, which must not exist, for the topics given with their types."""
        self._file = open(path, "xb")  # noqa: SIM115 - lives as long as the sink
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._writer: Any = Writer(self._file, chunk_size=CHUNK_BYTES, compression=CompressionType.ZSTD)
        self._writer.start(profile="ros2", library="spatialbot")
        self._types = dict(topics)
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, int] = {}
        self._finished = False
        self._latest: dict[str, int] = {}
        self.counts: Counter[str] = Counter()
        self.start_ns: int | None = None
        self.end_ns: int | None = None

    def write(self, topic: str, stamp_ns: int, data: bytes) -> None:
        """Append one message.

        Raises:
            EpisodeError: the topic's stamp does not increase, or ROS time cannot hold it.
        """
        if not 0 <= stamp_ns < MAX_STAMP_NS:
            raise EpisodeError(
                f"{topic}: stamp {stamp_ns} ns is no ROS time; give nanoseconds from 0 to 2^31 s"
            )
        latest = self._latest.get(topic)
        if latest is not None and stamp_ns <= latest:
            raise EpisodeError(
                f"{topic}: stamp {stamp_ns} ns does not come after {latest} ns; write each topic in the "
                "order of its stamps and once per stamp"
            )
        channel = self._channels[topic] if topic in self._channels else self._register(topic)
        self._writer.add_message(channel, stamp_ns, data, stamp_ns, self.counts[topic])
        self._file.flush()
        self._latest[topic] = stamp_ns
        self.counts[topic] += 1
        self.start_ns = stamp_ns if self.start_ns is None else min(self.start_ns, stamp_ns)
        self.end_ns = stamp_ns if self.end_ns is None else max(self.end_ns, stamp_ns)

    def _register(self, topic: str) -> int:
        type_name = self._types[topic]
        if type_name not in self._schemas:
            self._schemas[type_name] = self._writer.register_schema(
                type_name, "ros2msg", schema_text(type_name)
            )
        schema = self._schemas[type_name]
        self._channels[topic] = self._writer.register_channel(
            topic, "cdr", schema, metadata={"offered_qos_profiles": ""}
        )
        return self._channels[topic]

    @property
    def closed(self) -> bool:
        """Whether the file was finished and the lock given back."""
        return self._file.closed

    def finish(self) -> None:
        """Write the last chunk and the summary, and bring all of it to the disk; the lock stays."""
        if self._finished:
            return
        self._finished = True
        self._writer.finish()
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file, which gives the lock back."""
        self._file.close()

    def __enter__(self) -> McapSink:
        """Return the sink itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()


def read_messages(path: Path, topics: Mapping[str, str]) -> Iterator[RawMessage]:
    """Read the messages of the given topics in file order, checking each chunk's CRC; others are skipped.

    Raises:
        EpisodeError: where the file is truncated or damaged, after the messages of all complete chunks
            before that place; or a topic has another type or encoding than the contract says.
    """
    schemas: dict[int, Schema] = {}
    channels: dict[int, str] = {}
    try:
        limit = path.stat().st_size
        with open(path, "rb") as file:
            reader = StreamReader(file, validate_crcs=True, record_size_limit=limit)
            for record in reader.records:
                if isinstance(record, Message):
                    topic = channels.get(record.channel_id)
                    if topic is not None:
                        yield RawMessage(topic, record.data, record.log_time, record.sequence)
                elif isinstance(record, Schema):
                    schemas[record.id] = record
                elif isinstance(record, Channel) and record.topic in topics:
                    _check_channel(record, schemas.get(record.schema_id), topics[record.topic], path)
                    channels[record.id] = record.topic
    except EpisodeError:
        raise
    except FileNotFoundError as error:
        raise EpisodeError(f"{path} is missing; restore it or remove the episode") from error
    except _DAMAGE as error:
        raise EpisodeError(
            f"{path} is truncated or damaged ({type(error).__name__}: {error}); copy it again from its "
            "source, or record the episode again"
        ) from error


def _check_channel(channel: Channel, schema: Schema | None, wanted: str, path: Path) -> None:
    name = schema.name if schema is not None else "no schema"
    if name != wanted or channel.message_encoding != "cdr":
        raise EpisodeError(
            f"{path} is a foreign recording: topic {channel.topic} is {name} as "
            f"'{channel.message_encoding}', an episode has {wanted} as 'cdr'; remap the topic when recording"
        )


def sync_directory(path: Path) -> None:
    """Bring a directory's entries to the disk, so that a rename in it outlives a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
