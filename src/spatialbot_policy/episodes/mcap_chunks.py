"""Appends MCAP records in complete chunks: zstd at a level of our choice, flushed by size and by time.

The `mcap` library's own writer compresses at zstd's default level alone, which costs 0.4 of a core for the
colour of two cameras (`benchmarks/bench_recorder.py`); its record classes are used here for all but messages.
"""

from __future__ import annotations

import hashlib
import os
import struct
import time
import zlib
from collections.abc import Iterable
from io import FileIO
from typing import Any

import zstandard
from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import (
    Attachment,
    AttachmentIndex,
    Channel,
    ChunkIndex,
    DataEnd,
    Footer,
    Header,
    Message,
    Schema,
    Statistics,
    SummaryOffset,
)

from spatialbot_policy.episodes.mcap_chunk import ZSTD_LEVEL, McapChunk, chunk_bytes

MAGIC = b"\x89MCAP0\r\n"


class ChunkedFile:
    """The records of one MCAP file; whatever `write` hands to the system is whole.

    Memory does not grow with the messages: of each chunk about 150 bytes of index are kept.

    Args:
        file: unbuffered; empty, or with what `adopt` is told about.
        chunk_size: bytes at which a chunk is written.
        flush_s: age at which it is written although it is small.
    """

    def __init__(self, file: FileIO, chunk_size: int, flush_s: float) -> None:
        self._file = file
        self._chunk_size = chunk_size
        self._flush_s = flush_s
        self._zstd = zstandard.ZstdCompressor(level=ZSTD_LEVEL)
        self._hash = hashlib.sha256()
        self._chunk = McapChunk()
        self._adopted = McapChunk()
        self._indices = bytearray()
        self._attachments: list[AttachmentIndex] = []
        self._schemas: list[Schema] = []
        self._channels: list[Channel] = []
        self.counts: dict[int, int] = {}
        """Messages of each channel that are in the file."""
        self._chunks = 0
        self.span: tuple[int, int] | None = None
        """First and last log time in the file."""
        self.size = 0
        """Bytes that are whole in the file."""

    def start(self) -> None:
        """Write what every file begins with."""
        self._append(MAGIC, _bytes(Header(profile="ros2", library="spatialbot")))

    @property
    def checksum(self) -> str:
        """SHA-256 of what is in the file, of use unless records were adopted."""
        return self._hash.hexdigest()

    @property
    def summary_bytes(self) -> int:
        """About how much `finish` will write, the chunk in progress aside."""
        definitions = sum(len(schema.data) + 200 for schema in self._schemas) + 400 * len(self._channels)
        return len(self._indices) + definitions + 200 * len(self._attachments) + 1024

    def add_schema(self, name: str, data: bytes) -> int:
        """Define a message type; returns its number."""
        self._schemas.append(Schema(id=len(self._schemas) + 1, data=data, encoding="ros2msg", name=name))
        self._chunk.put(_bytes(self._schemas[-1]))
        return self._schemas[-1].id

    def add_channel(self, topic: str, schema: int) -> int:
        """Define a topic of a type; returns its number."""
        metadata = {"offered_qos_profiles": ""}
        channel = Channel(len(self._channels) + 1, topic, "cdr", metadata, schema)
        self._channels.append(channel)
        self._chunk.put(_bytes(channel))
        return channel.id

    def add_message(self, channel: int, sequence: int, log_ns: int, publish_ns: int, data: bytes) -> None:
        """Append a message to the chunk in progress, which is written when it is large or old."""
        chunk = self._chunk
        if not chunk.places:
            chunk.began_s = time.monotonic()
        chunk.put_message(channel, sequence, log_ns, publish_ns, data)
        if chunk.size >= self._chunk_size:
            self.flush()
        else:
            self.flush_old()

    def flush_old(self) -> None:
        """Write the chunk in progress if it is old."""
        if self._chunk.places and time.monotonic() - self._chunk.began_s >= self._flush_s:
            self.flush()

    def flush(self) -> None:
        """Write the chunk in progress, if it holds messages.

        Raises:
            OSError: it could not be written; the file ends with the chunk before it, and this one is lost.
        """
        chunk = self._chunk
        if not chunk.places:
            return
        self._chunk = McapChunk(chunk.buffer)
        head, packed = chunk.pack(self._zstd)
        offset = self.size
        self._append(head, packed, *chunk.index_records())
        self._register(chunk, offset, len(packed))

    def _register(self, chunk: McapChunk, offset: int, packed: int) -> None:
        """Note a chunk that lies at `offset` with its message indices behind it."""
        length = chunk_bytes(packed)
        offsets, at = chunk.index_offsets(offset + length)
        for channel, count in chunk.counts().items():
            self.counts[channel] = self.counts.get(channel, 0) + count
        index = ChunkIndex(
            chunk_length=length,
            chunk_start_offset=offset,
            compression="zstd",
            compressed_size=packed,
            message_end_time=chunk.end_ns,
            message_index_length=at - offset - length,
            message_index_offsets=offsets,
            message_start_time=chunk.start_ns,
            uncompressed_size=chunk.size,
        )
        self._indices += _bytes(index)
        self._chunks += 1
        first, last = self.span or (chunk.start_ns, chunk.end_ns)
        self.span = min(first, chunk.start_ns), max(last, chunk.end_ns)

    def adopt(self, offset: int, packed: int, records: Iterable[Schema | Channel | Message]) -> int:
        """Take over a chunk that lies in the file already, until `resume` goes on behind the last.

        Args:
            offset: of the chunk.
            packed: bytes of its compressed records.
            records: what it holds, in order.

        Returns:
            how many message indices belong behind it.
        """
        chunk = self._adopted = McapChunk()
        for record in records:
            if isinstance(record, Message):
                chunk.count_message(record.channel_id, record.log_time, len(record.data))
                continue
            chunk.size += len(_bytes(record))
            known: list[Any] = self._schemas if isinstance(record, Schema) else self._channels
            if all(other.id != record.id for other in known):
                known.append(record)
        self._register(chunk, offset, packed)
        return len(chunk.places)

    def adopt_attachment(self, offset: int, attachment: Attachment) -> None:
        """Take over an attachment that lies in the file already."""
        self._note_attachment(offset, len(_bytes(attachment)), attachment)

    def resume(self, size: int, indexed: bool) -> None:
        """Go on behind what was adopted.

        Args:
            size: where it ends in the file; the rest is cut off.
            indexed: whether the last chunk's message indices are there.
        """
        self._file.truncate(size)
        self._file.seek(size)
        self.size = size
        if not indexed:
            self._append(*self._adopted.index_records())

    def attach(self, name: str, media_type: str, data: bytes, log_ns: int) -> None:
        """Write a file within the file, behind the chunk in progress."""
        self.flush()
        attachment = Attachment(
            create_time=log_ns, log_time=log_ns, name=name, media_type=media_type, data=data
        )
        record, offset = _bytes(attachment), self.size
        self._append(record)
        self._note_attachment(offset, len(record), attachment)

    def _note_attachment(self, offset: int, length: int, attachment: Attachment) -> None:
        self._attachments.append(
            AttachmentIndex(
                offset=offset,
                length=length,
                log_time=attachment.log_time,
                create_time=attachment.create_time,
                data_size=len(attachment.data),
                name=attachment.name,
                media_type=attachment.media_type,
            )
        )

    def finish(self) -> None:
        """Write the chunk in progress and the summary, by which others find what they look for."""
        self.flush()
        end = _bytes(DataEnd(0))
        start = self.size + len(end)
        groups = {
            Opcode.SCHEMA: b"".join(map(_bytes, self._schemas)),
            Opcode.CHANNEL: b"".join(map(_bytes, self._channels)),
            Opcode.STATISTICS: _bytes(self._statistics()),
            Opcode.CHUNK_INDEX: bytes(self._indices),
            Opcode.ATTACHMENT_INDEX: b"".join(map(_bytes, self._attachments)),
        }
        offsets, at = b"", start
        for opcode, records in groups.items():
            if records:
                offsets += _bytes(SummaryOffset(opcode, at, len(records)))
            at += len(records)
        summary = b"".join(groups.values()) + offsets
        head = struct.pack("<BQQQ", Opcode.FOOTER, 20, start, at)
        crc = zlib.crc32(summary + head)
        footer = _bytes(Footer(summary_start=start, summary_offset_start=at, summary_crc=crc))
        self._append(end, summary, footer, MAGIC)

    def _statistics(self) -> Statistics:
        first, last = self.span or (0, 0)
        return Statistics(
            attachment_count=len(self._attachments),
            channel_count=len(self._channels),
            channel_message_counts=self.counts,
            chunk_count=self._chunks,
            message_count=sum(self.counts.values()),
            metadata_count=0,
            message_start_time=first,
            message_end_time=last,
            schema_count=len(self._schemas),
        )

    def _append(self, *parts: bytes) -> None:
        """Hand bytes to the system: all of them or, where the disk is full, none."""
        try:
            for part in parts:
                rest = memoryview(part)
                while rest:
                    rest = rest[self._file.write(rest) :]
        except OSError:
            self._file.seek(self.size)
            self._file.truncate()
            raise
        for part in parts:
            self._hash.update(part)
            self.size += len(part)

    def sync(self) -> None:
        """Bring what was written to the disk."""
        os.fsync(self._file.fileno())


def _bytes(record: Any) -> bytes:
    builder = RecordBuilder()
    record.write(builder)
    return bytes(builder.end())
