"""The MCAP file of an episode: an append-only sink that survives a crash, and the strict reader of it."""

from __future__ import annotations

import os
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from types import TracebackType

from mcap.exceptions import McapError
from mcap.records import Attachment, Channel, Message, Schema
from mcap.stream_reader import StreamReader
from zstandard import ZstdError

from spatialbot_policy.episodes.cdr import schema_text
from spatialbot_policy.episodes.disk_reserve import DiskReserve
from spatialbot_policy.episodes.disk_sync import DiskSync
from spatialbot_policy.episodes.file_lock import FileLock
from spatialbot_policy.episodes.mcap_chunks import ChunkedFile
from spatialbot_policy.episodes.packed import PackedImage
from spatialbot_policy.episodes.topics import COMPRESSED_IMAGE, MAX_STAMP_NS, packed_topic, plain_topic
from spatialbot_policy.errors import EpisodeError

CHUNK_BYTES = 512 * 1024  # about half a second of 128 x 128 RGB-D at 10 Hz
FLUSH_S = 0.4
_RAW_CHUNK_BYTES = 2 * 1024 * 1024
_RAW_SYNC_S = 1.0
_RESERVE_BYTES = 512 * 1024
DAMAGE = (McapError, ZstdError, struct.error, ValueError, OverflowError, MemoryError, RuntimeError)


@dataclass(frozen=True)
class RawMessage:
    """One message as it lies in the file: log time in nanoseconds, and counter within its topic.

    Attributes:
        topic: name in the contract, also of a picture that lies compressed under another.
        data: CDR bytes; a `PackedImage` for a picture that lies compressed.
    """

    topic: str
    data: bytes
    log_time_ns: int
    sequence: int


class McapSink:
    """Appends messages to a new MCAP file in chunks, under an exclusive lock.

    Each finished chunk is handed to the operating system at once, after half a second at the latest while
    messages come (`flush_old` where they may pause): a killed process loses no more. With `sync_s` a power
    cut loses little more either. Messages are numbered within their topic, which tells recovery about a lost
    chunk.

    A disk that is full ends the file, not the episode: what was written stays, `cut_off` says why it ends,
    and `finish` has room kept for it.

    Args:
        path: must not exist.
        topics: that may be written, with their types.
        raw: log times are times of receipt: they may repeat. Otherwise they are stamps, which must increase.
        chunk_bytes: size of a chunk.
        sync_s: how often what was written is brought to the disk; None leaves that to the system until the
            file is finished.
    """

    def __init__(
        self,
        path: Path,
        topics: Mapping[str, str],
        *,
        raw: bool = False,
        chunk_bytes: int = CHUNK_BYTES,
        sync_s: float | None = None,
    ) -> None:
        self._file = open_file(path)
        self._lock = FileLock(path, make=False)
        self._reserve = DiskReserve(path.parent, _RESERVE_BYTES)
        self._chunks = ChunkedFile(self._file, chunk_bytes, FLUSH_S)
        self._chunks.start()
        self._raw = raw
        self._sync = None if sync_s is None else DiskSync(self._file.fileno(), sync_s)
        self._types = dict(topics)
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, int] = {}
        self._finished = False
        self._latest: dict[str, int] = {}
        self._sequences: Counter[str] = Counter()
        self.cut_off = ""
        """Why nothing more can be written; "" while it can."""

    @classmethod
    def for_raw(cls, path: Path, topics: Mapping[str, str]) -> McapSink:
        """A file for messages as they are received: large chunks, and on the disk every second."""
        return cls(path, topics, raw=True, chunk_bytes=_RAW_CHUNK_BYTES, sync_s=_RAW_SYNC_S)

    def write(self, topic: str, stamp_ns: int, data: bytes) -> None:
        """Append one message; a `PackedImage` under the name of compressed pictures.

        Raises:
            EpisodeError: the topic's stamp does not increase, or ROS time cannot hold it, or the disk is
                full.
        """
        if self.cut_off:
            raise EpisodeError(self.cut_off)
        if not 0 <= stamp_ns < MAX_STAMP_NS:
            raise EpisodeError(
                f"{topic}: stamp {stamp_ns} ns is no ROS time; give nanoseconds from 0 to 2^31 s"
            )
        latest = self._latest.get(topic)
        if latest is not None and stamp_ns <= latest and not self._raw:
            raise EpisodeError(
                f"{topic}: stamp {stamp_ns} ns does not come after {latest} ns; write each topic in the "
                "order of its stamps and once per stamp"
            )
        self._latest[topic] = stamp_ns
        name = packed_topic(topic) if isinstance(data, PackedImage) else topic
        channel = self._channels[name] if name in self._channels else self._register(name, topic)
        sequence = self._sequences[topic]
        self._sequences[topic] += 1
        with self._ending_where_the_disk_does():
            self._chunks.add_message(channel, sequence, stamp_ns, stamp_ns, data)
            self._keep_up()

    def _register(self, name: str, topic: str) -> int:
        type_name = self._types[topic] if name == topic else COMPRESSED_IMAGE
        if type_name not in self._schemas:
            self._schemas[type_name] = self._chunks.add_schema(type_name, schema_text(type_name))
        self._channels[name] = self._chunks.add_channel(name, self._schemas[type_name])
        return self._channels[name]

    def attach(self, name: str, media_type: str, data: bytes, log_ns: int) -> None:
        """Put a file into the file.

        Raises:
            EpisodeError: the disk is full.
        """
        if self.cut_off:
            raise EpisodeError(self.cut_off)
        with self._ending_where_the_disk_does():
            self._chunks.attach(name, media_type, data, log_ns)

    def flush_old(self) -> None:
        """Hand over the chunk in progress if it has waited; for pauses between messages.

        Raises:
            EpisodeError: the disk is full.
        """
        if not self.cut_off and not self._finished:
            with self._ending_where_the_disk_does():
                self._chunks.flush_old()
                self._keep_up()

    def _keep_up(self) -> None:
        """Keep room for the summary, and bring to the disk what has waited."""
        self._reserve.grow(_RESERVE_BYTES + self._chunks.summary_bytes)
        if self._sync is not None:
            self._sync.poke()

    @contextmanager
    def _ending_where_the_disk_does(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.cut_off = (
                f"{self._file.name} ends at {self._chunks.size} bytes: {error.strerror or error}; make room "
                "on the disk or record onto another one"
            )
            raise EpisodeError(self.cut_off) from error

    @property
    def counts(self) -> Counter[str]:
        """Messages by topic; of a file that was cut off, those that are in it."""
        if not self.cut_off:
            return Counter(self._sequences)
        found: Counter[str] = Counter()
        for name, channel in self._channels.items():
            found[plain_topic(name)] += self._chunks.counts.get(channel, 0)
        return Counter({topic: count for topic, count in found.items() if count})

    @property
    def start_ns(self) -> int | None:
        """First log time; None of an empty file."""
        return None if (span := self._chunks.span) is None else span[0]

    @property
    def end_ns(self) -> int | None:
        """Last log time; None of an empty file."""
        return None if (span := self._chunks.span) is None else span[1]

    @property
    def checksum(self) -> str:
        """SHA-256 of what was written."""
        return self._chunks.checksum

    @property
    def closed(self) -> bool:
        """Whether the file was finished and the lock given back."""
        return self._file.closed

    def flush(self) -> None:
        """Hand over the chunk in progress; a full disk is told by `cut_off`."""
        if not self.cut_off and not self._finished:
            with suppress(EpisodeError), self._ending_where_the_disk_does():
                self._chunks.flush()

    def finish(self) -> None:
        """Write the last chunk and the summary, and bring all of it to the disk; the lock stays.

        Raises:
            OSError: not even the summary could be written; the `.partial` can be recovered.
        """
        if self._finished:
            return
        self.flush()
        self._finished = True
        self._reserve.free()
        self._chunks.finish()
        self._chunks.sync()

    def close(self) -> None:
        """Close the file, which gives the lock back."""
        self._reserve.free()
        if self._sync is not None:
            self._sync.wait()
        self._file.close()
        self._lock.release()

    def __enter__(self) -> McapSink:
        """Return the sink itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()


def open_file(path: Path) -> FileIO:
    """A new file whose writes go to the system at once."""
    return FileIO(path, "x+")


def read_messages(path: Path, topics: Mapping[str, str]) -> Iterator[RawMessage]:
    """Read the messages of the given topics in file order, checking each chunk's CRC; others are skipped.

    Pictures that lie compressed come under their own topic, as `PackedImage`.

    Raises:
        EpisodeError: where the file is truncated or damaged, after the messages of all complete chunks
            before that place; or a topic has another type or encoding than the contract says.
    """
    schemas: dict[int, Schema] = {}
    channels: dict[int, tuple[str, type[bytes]]] = {}
    try:
        limit = path.stat().st_size
        with open(path, "rb") as file:
            reader = StreamReader(file, validate_crcs=True, record_size_limit=limit)
            for record in reader.records:
                if isinstance(record, Message):
                    if (found := channels.get(record.channel_id)) is not None:
                        topic, kind = found
                        data = kind(record.data) if kind is not bytes else record.data
                        yield RawMessage(topic, data, record.log_time, record.sequence)
                elif isinstance(record, Schema):
                    schemas[record.id] = record
                elif isinstance(record, Channel) and (topic := plain_topic(record.topic)) in topics:
                    packed = topic != record.topic
                    wanted = COMPRESSED_IMAGE if packed else topics[topic]
                    _check_channel(record, schemas.get(record.schema_id), wanted, path)
                    channels[record.id] = topic, PackedImage if packed else bytes
    except EpisodeError:
        raise
    except FileNotFoundError as error:
        raise EpisodeError(f"{path} is missing; restore it or remove the episode") from error
    except DAMAGE as error:
        raise EpisodeError(
            f"{path} is truncated or damaged ({type(error).__name__}: {error}); copy it again from its "
            "source, or record the episode again"
        ) from error


def read_attachments(path: Path) -> dict[str, bytes]:
    """Files within the file, by name; of two with one name the later.

    Raises:
        EpisodeError: the file is truncated or damaged, or is missing.
    """
    found = {}
    try:
        with open(path, "rb") as file:
            for record in StreamReader(file, emit_chunks=True).records:
                if isinstance(record, Attachment):
                    found[record.name] = record.data
    except (*DAMAGE, OSError) as error:
        raise EpisodeError(
            f"{path} cannot be read to its end ({type(error).__name__}: {error}); see 'spatialbot episodes "
            "validate'"
        ) from error
    return found


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
