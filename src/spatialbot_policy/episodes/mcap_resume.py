"""Completes a file that was cut off, in place: what is whole stays where it is and gets its summary."""

from __future__ import annotations

import logging
from collections.abc import Collection
from io import FileIO
from pathlib import Path

from mcap.records import Attachment, Channel, Chunk, DataEnd, Message, MessageIndex, Schema
from mcap.stream_reader import StreamReader, breakup_chunk

from spatialbot_policy.episodes.mcap_chunk import chunk_bytes
from spatialbot_policy.episodes.mcap_chunks import ChunkedFile
from spatialbot_policy.episodes.mcap_file import CHUNK_BYTES, DAMAGE, FLUSH_S
from spatialbot_policy.episodes.topics import plain_topic
from spatialbot_policy.errors import EpisodeError

_log = logging.getLogger(__name__)


def complete_in_place(path: Path, topics: Collection[str], messages: int) -> int:
    """Cut a file behind its last whole chunk and write its summary.

    No second copy is made: a recording of minutes has gigabytes, and the disk may be full.

    Args:
        path: of a file of which a beginning can be read.
        topics: whose messages count.
        messages: chunks with more than these are cut off, too: they lie behind a hole.

    Returns:
        how many of the messages are left.

    Raises:
        EpisodeError: nothing of it is whole, or it cannot be written.
    """
    try:
        with FileIO(path, "r+") as file:
            chunks = ChunkedFile(file, CHUNK_BYTES, FLUSH_S)
            kept = _Adoption(chunks, topics).read(path, messages)
            chunks.finish()
            chunks.sync()
    except OSError as error:
        raise EpisodeError(
            f"{path} cannot be completed ({error.strerror}); make room, or see to the permission to write"
        ) from error
    return kept


class _Adoption:
    """Walks through a file's records and hands them to the new writer."""

    def __init__(self, chunks: ChunkedFile, topics: Collection[str]) -> None:
        self._chunks = chunks
        self._topics = topics
        self._channels: set[int] = set()
        self._indices = 0

    def read(self, path: Path, messages: int) -> int:
        """Adopt what is whole and counts; returns the number of messages."""
        kept = end = chunk_end = 0
        try:
            with open(path, "rb") as file:
                for record in StreamReader(file, emit_chunks=True, record_size_limit=None).records:
                    if isinstance(record, DataEnd):
                        break
                    start, end_of_record = end, file.tell()
                    if isinstance(record, Chunk):
                        start = end_of_record - chunk_bytes(len(record.data))
                        found = self._adopt(record, start, messages - kept)
                        if found is None:
                            break
                        kept += found
                        chunk_end = end_of_record
                    elif isinstance(record, Attachment):
                        self._chunks.adopt_attachment(start, record)
                    self._indices -= isinstance(record, MessageIndex)
                    end = end_of_record
        except DAMAGE as error:
            _log.info("%s is whole up to byte %d (%s)", path, end, error)
        if not chunk_end:
            raise EpisodeError(f"{path} has no whole chunk; remove {path.parent} or record the episode again")
        indexed = self._indices == 0
        self._chunks.resume(end if indexed else chunk_end, indexed)
        return kept

    def _adopt(self, chunk: Chunk, offset: int, room: int) -> int | None:
        """Number of messages of a chunk that was adopted; None for one that does not count any more."""
        records = breakup_chunk(chunk, validate_crc=True)
        self._channels |= {
            record.id
            for record in records
            if isinstance(record, Channel) and plain_topic(record.topic) in self._topics
        }
        found = sum(isinstance(record, Message) and record.channel_id in self._channels for record in records)
        if found > room:
            return None
        known = [record for record in records if isinstance(record, Schema | Channel | Message)]
        self._indices = self._chunks.adopt(offset, len(chunk.data), known)
        return found
