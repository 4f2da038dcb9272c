"""Colour video of LeRobot data sets: H.264, read back while it is written, so that its loss is known."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from spatialbot_policy.errors import InterchangeError
from spatialbot_policy.types import UInt8Array

CODEC, PIXELS = "libx264", "yuv420p"  # what every player and decoding library reads
GROUP = 2  # as lerobot writes it: a training sample is two frames away from a key frame at most


@dataclass
class VideoLoss:
    """How far a video is from what it was made of, in decibels over all channels (8-bit peak).

    Attributes:
        frames: compared.
        worst_db: of one frame.
        squared_error: mean over all frames.
    """

    frames: int = 0
    worst_db: float = math.inf
    squared_error: float = 0.0

    def add(self, original: UInt8Array, decoded: UInt8Array) -> None:
        """Compare one frame."""
        error = float(np.mean((original.astype(np.int32) - decoded.astype(np.int32)) ** 2))
        self.worst_db = min(self.worst_db, psnr_db(error))
        self.squared_error = (self.squared_error * self.frames + error) / (self.frames + 1)
        self.frames += 1

    def merge(self, other: VideoLoss) -> None:
        """Take in the comparison of another file."""
        total = self.frames + other.frames
        if total:
            both = self.squared_error * self.frames + other.squared_error * other.frames
            self.squared_error = both / total
        self.worst_db, self.frames = min(self.worst_db, other.worst_db), total

    @property
    def mean_db(self) -> float:
        """Of all frames together."""
        return psnr_db(self.squared_error)


def psnr_db(mean_squared_error: float) -> float:
    """Peak signal-to-noise ratio of 8-bit images; infinite where nothing differs."""
    return 10 * math.log10(255**2 / mean_squared_error) if mean_squared_error > 0 else math.inf


class VideoWriter:
    """One video file; every packet is decoded again and compared with its frame.

    Args:
        path: to create.
        width, height: of the frames; both even, as the pixel format needs.
        fps: frames a second.
        quality: constant rate factor, 0 (best) to 51.

    Raises:
        InterchangeError: an odd size, or a machine whose libraries cannot write H.264.
    """

    def __init__(self, path: Path, width: int, height: int, fps: int, quality: int) -> None:
        if width % 2 or height % 2:
            raise InterchangeError(
                f"video needs an even width and height, the images are {width} x {height}; export with "
                "--color image"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.loss, self.count, self._fps = path, VideoLoss(), 0, fps
        self._originals: deque[UInt8Array] = deque()
        self._file: Any = av.open(str(path), "w")
        try:
            self._stream: Any = self._file.add_stream(CODEC, rate=fps)
        except (av.FFmpegError, ValueError) as error:
            self._file.close()
            raise InterchangeError(
                f"this machine's libraries cannot write {CODEC} ({error}); install the 'av' wheel, or export "
                "with --color image"
            ) from error
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, PIXELS
        self._stream.options = {"crf": str(quality), "g": str(GROUP), "bf": "0", "preset": "medium"}
        self._stream.codec_context.thread_count = 1
        self._stream.codec_context.time_base = Fraction(1, fps)
        self._decoder: Any = None

    def write(self, color: UInt8Array) -> None:
        """Append (H, W, 3) RGB."""
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(color), format="rgb24")
        frame.pts, frame.time_base = self.count, Fraction(1, self._fps)
        self.count += 1
        self._originals.append(color)
        for packet in self._stream.encode(frame):
            self._take(packet)

    def _take(self, packet: Any) -> None:
        if self._decoder is None:
            self._decoder = av.CodecContext.create("h264", "r")
            self._decoder.extradata = self._stream.codec_context.extradata
        self._compare(self._decoder.decode(packet))
        self._file.mux(packet)

    def _compare(self, frames: list[Any]) -> None:
        for frame in frames:
            self.loss.add(self._originals.popleft(), frame.to_ndarray(format="rgb24"))

    def close(self) -> None:
        """Finish the file.

        Raises:
            InterchangeError: fewer frames came back than were written.
        """
        if self._file is None:
            return
        for packet in self._stream.encode(None):
            self._take(packet)
        if self._decoder is not None:
            self._compare(self._decoder.decode(None))
        self._file.close()
        self._file = None
        if self._originals:
            raise InterchangeError(
                f"{self.path} lost {len(self._originals)} frames when it was encoded; export with "
                "--color image"
            )

    @property
    def bytes_written(self) -> int:
        """Size of the file so far."""
        return self.path.stat().st_size if self.path.exists() else 0


def read_frames(path: Path, start_s: float, count: int) -> Iterator[UInt8Array]:
    """Decode `count` frames of a video from a time on, one after the other.

    Raises:
        InterchangeError: the file cannot be decoded, or ends too early.
    """
    given = 0
    try:
        with av.open(str(path)) as file:
            stream: Any = file.streams.video[0]
            half = 0.5 / float(stream.average_rate)
            if start_s > 0:
                file.seek(int(start_s / stream.time_base), stream=stream)
            for frame in file.decode(stream):
                if given == count:
                    return
                if float(frame.pts * stream.time_base) < start_s - half:
                    continue
                given += 1
                yield np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
    except (av.FFmpegError, OSError, IndexError) as error:
        raise InterchangeError(f"{path} cannot be decoded ({error}); bring back a whole copy") from error
    if given < count:
        raise InterchangeError(
            f"{path} ends {count - given} frames before the {count} that meta/episodes promises from "
            f"{start_s:g} s on; bring back a whole copy"
        )
