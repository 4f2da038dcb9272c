"""One chunk of an MCAP file: records that are compressed together, and where its messages begin."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

import zstandard
from mcap.opcode import Opcode

ZSTD_LEVEL = 1
_MESSAGE = struct.Struct("<BQHIQQ")  # opcode, length; channel, sequence, log time, publish time
_CHUNK = struct.Struct("<BQQQQII4sQ")  # opcode, length; start, end, size, CRC, "zstd", compressed size
_INDEX = struct.Struct("<BQHI")  # opcode, length; channel, bytes of the pairs of log time and offset
_PAIR = struct.Struct("<QQ")
_PREFIX = 9  # opcode and length, which the length does not count


def chunk_bytes(packed: int) -> int:
    """Bytes of a chunk's record, with so many of compressed records."""
    return _CHUNK.size + packed


@dataclass
class McapChunk:
    """The chunk in progress.

    Attributes:
        buffer: its records, used again for the next chunk: memory taken anew for megabytes costs more than
            to fill it.
        size: bytes of the buffer that are filled.
        began_s: when its first message came, on whatever clock the caller has.
        places: for each channel the log time and offset of its messages, as a message index holds them.
        start_ns, end_ns: first and last log time.
    """

    buffer: bytearray = field(default_factory=bytearray)
    size: int = 0
    began_s: float = 0.0
    places: dict[int, bytearray] = field(default_factory=dict)
    start_ns: int = 0
    end_ns: int = 0

    def put(self, record: bytes) -> None:
        """Append a record or a part of one."""
        end = self.size + len(record)
        if end > len(self.buffer):
            self.buffer.extend(bytes(end - len(self.buffer)))
        self.buffer[self.size : end] = record
        self.size = end

    def put_message(self, channel: int, sequence: int, log_ns: int, publish_ns: int, data: bytes) -> None:
        """Append a message."""
        self._place(channel, log_ns)
        length = _MESSAGE.size - _PREFIX + len(data)
        self.put(_MESSAGE.pack(Opcode.MESSAGE, length, channel, sequence, log_ns, publish_ns))
        self.put(data)

    def count_message(self, channel: int, log_ns: int, size: int) -> None:
        """Note a message of `size` bytes of data without keeping it."""
        self._place(channel, log_ns)
        self.size += _MESSAGE.size + size

    def _place(self, channel: int, log_ns: int) -> None:
        self.start_ns = min(self.start_ns, log_ns) if self.places else log_ns
        self.end_ns = max(self.end_ns, log_ns)
        self.places.setdefault(channel, bytearray()).extend(_PAIR.pack(log_ns, self.size))

    def pack(self, compressor: zstandard.ZstdCompressor) -> tuple[bytes, bytes]:
        """Head and compressed records, as the file holds them."""
        with memoryview(self.buffer)[: self.size] as data:
            packed, crc = compressor.compress(data), zlib.crc32(data)
        length, times = chunk_bytes(len(packed)) - _PREFIX, (self.start_ns, self.end_ns)
        head = _CHUNK.pack(Opcode.CHUNK, length, *times, self.size, crc, 4, b"zstd", len(packed))
        return head, packed

    def index_records(self) -> list[bytes]:
        """The message indices that follow the chunk, one for each channel."""
        return [
            _INDEX.pack(Opcode.MESSAGE_INDEX, 6 + len(pairs), channel, len(pairs)) + bytes(pairs)
            for channel, pairs in self.places.items()
        ]

    def index_offsets(self, start: int) -> tuple[dict[int, int], int]:
        """Where each channel's index lies when they begin at `start`, and where they end."""
        offsets = {}
        for channel, pairs in self.places.items():
            offsets[channel] = start
            start += _INDEX.size + len(pairs)
        return offsets, start

    def counts(self) -> dict[int, int]:
        """Messages by channel."""
        return {channel: len(pairs) // _PAIR.size for channel, pairs in self.places.items()}
