"""Copies an MCAP file with a choice of its messages; schemas and attached files come along whole."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mcap.records import Attachment, Channel, Message, Schema
from mcap.stream_reader import StreamReader

from spatialbot_policy.episodes.mcap_chunks import ChunkedFile
from spatialbot_policy.episodes.mcap_file import CHUNK_BYTES, RawMessage, open_file
from spatialbot_policy.episodes.topics import plain_topic

Choose = Callable[[RawMessage, str], int | None]
"""Message and its type -> log time in ns under which it is kept; None leaves it out."""


@dataclass(frozen=True)
class Rewritten:
    """What was written.

    Attributes:
        counts: messages by topic as the file names it.
        start_ns: first log time; None without a message.
        end_ns: last log time.
        bytes: size of the file.
        checksum: its SHA-256.
    """

    counts: Counter[str]
    start_ns: int | None
    end_ns: int | None
    bytes: int
    checksum: str


def rewrite(source: Path, target: Path, choose: Choose) -> Rewritten:
    """Write a new file with the messages chosen, in the order of the old one, numbered anew by topic.

    Args:
        source: a complete file of an episode; its messages' bytes are kept as they are.
        target: must not exist.
        choose: decides on each message.

    Raises:
        McapError: the source is damaged.
        OSError: the target cannot be written.
    """
    with open(source, "rb") as file, open_file(target) as out:
        chunks = ChunkedFile(out, CHUNK_BYTES, flush_s=math.inf)
        chunks.start()
        counts = _copy(file, chunks, choose)
        chunks.finish()
        chunks.sync()
        start_ns, end_ns = chunks.span or (None, None)
        return Rewritten(counts, start_ns, end_ns, chunks.size, chunks.checksum)


def _copy(file: BinaryIO, chunks: ChunkedFile, choose: Choose) -> Counter[str]:
    counts: Counter[str] = Counter()
    schemas: dict[int, tuple[Schema, int]] = {}
    channels: dict[int, tuple[Channel, int]] = {}
    for record in StreamReader(file, validate_crcs=True).records:
        if isinstance(record, Schema) and record.id not in schemas:
            schemas[record.id] = (record, chunks.add_schema(record.name, record.data))
        elif isinstance(record, Channel) and record.id not in channels:
            channels[record.id] = (record, chunks.add_channel(record.topic, schemas[record.schema_id][1]))
        elif isinstance(record, Message):
            channel, number = channels[record.channel_id]
            topic = plain_topic(channel.topic)  # a picture's messages are counted under its own name
            raw = RawMessage(topic, record.data, record.log_time, record.sequence)
            log_ns = choose(raw, schemas[channel.schema_id][0].name)
            if log_ns is not None:
                publish_ns = log_ns if log_ns != record.log_time else record.publish_time
                chunks.add_message(number, counts[topic], log_ns, publish_ns, record.data)
                counts[topic] += 1
        elif isinstance(record, Attachment):
            chunks.attach(record.name, record.media_type, record.data, record.log_time)
    return counts
