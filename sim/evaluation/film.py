"""Films of episodes: the scene beside what the policy sees of it, as MP4 and as a strip of pictures."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import av
import cv2
import numpy as np

from spatialbot_policy.depth_picture import colourise
from spatialbot_policy.types import Observation, UInt8Array

SIDE = 384
BAR = 52
STRIP_PICTURES = 6
HOLD_SECONDS = 1.2
GREEN, RED, WHITE = (110, 220, 120), (250, 110, 100), (235, 235, 235)


@dataclass
class Film:
    """Collects the pictures of one episode."""

    _scenes: list[UInt8Array] = field(default_factory=list)
    _observations: list[Observation] = field(default_factory=list)

    def add(self, scene: UInt8Array, observation: Observation) -> None:
        """Add one moment: the (H, W, 3) view from outside, and the observation made then."""
        self._scenes.append(_fit(scene, SIDE, SIDE))
        self._observations.append(observation)

    def pictures(self) -> list[UInt8Array]:
        """Each moment as one (SIDE, SIDE + SIDE / 2 a camera, 3) picture: scene, then colour above depth."""
        columns = [np.stack(self._scenes)]
        for camera in self._observations[0].frames:
            frames = [observation.frames[camera] for observation in self._observations]
            tiles = [np.stack([_fit(frame.color, SIDE // 2, SIDE // 2) for frame in frames])]
            depths = [frame.depth_mm for frame in frames if frame.depth_mm is not None]
            if len(depths) == len(frames):
                # one scale for the whole film, so that the colours do not flicker
                pictures = colourise(np.stack(depths).astype(np.uint32))
                tiles.append(np.stack([_fit(picture, SIDE // 2, SIDE // 2, False) for picture in pictures]))
            column = np.concatenate(tiles, axis=1)
            columns.append(np.pad(column, ((0, 0), (0, SIDE - column.shape[1]), (0, 0), (0, 0))))
        return list(np.concatenate(columns, axis=2))

    def write_video(self, path: Path, instruction: str, outcome: str, success: bool, rate_hz: float) -> None:
        """Write the film in real time over its instruction; the outcome stands on the held last picture."""
        pictures = self.pictures()
        frames = [_with_text(picture, instruction) for picture in pictures]
        last = _with_text(pictures[-1], instruction, outcome, GREEN if success else RED)
        write_mp4(path, [*frames[:-1], *[last] * round(HOLD_SECONDS * rate_hz)], rate_hz)

    def write_strip(self, path: Path) -> None:
        """Write a PNG with STRIP_PICTURES moments in two rows, the first and the last among them."""
        pictures = self.pictures()
        chosen = np.linspace(0, len(pictures) - 1, STRIP_PICTURES).round().astype(int)
        height, width = (side // 2 for side in pictures[0].shape[:2])
        tiles = [np.pad(_fit(pictures[index], width, height), ((0, 4), (0, 6), (0, 0))) for index in chosen]
        half = STRIP_PICTURES // 2
        rows = [np.concatenate(tiles[:half], axis=1), np.concatenate(tiles[half:], axis=1)]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_picture(np.concatenate(rows), ".png"))


def encode_picture(picture: UInt8Array, suffix: str) -> bytes:
    """An RGB picture as the bytes of a ".png" or ".jpg" file."""
    options = [cv2.IMWRITE_JPEG_QUALITY, 85] if suffix == ".jpg" else []
    _, data = cv2.imencode(suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)
    return bytes(data.tobytes())


def write_mp4(path: Path, frames: Iterable[UInt8Array], rate_hz: float) -> None:
    """Write (H, W, 3) RGB frames as H.264 in the pixel format that browsers play; H and W even."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        options = {"crf": "26", "preset": "veryfast"}
        stream = container.add_stream("libx264", rate=round(rate_hz), options=options)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        for index, frame in enumerate(frames):
            if index == 0:
                stream.height, stream.width = frame.shape[:2]
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def read_mp4(path: Path) -> Iterator[UInt8Array]:
    """The frames of a film, (H, W, 3) RGB each."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24")


def join_mp4(paths: Iterable[Path], out: Path, rate_hz: float) -> None:
    """Write films of one size after each other into one."""
    write_mp4(out, (frame for path in paths for frame in read_mp4(path)), rate_hz)


def _fit(picture: UInt8Array, width: int, height: int, smooth: bool = True) -> UInt8Array:
    if picture.shape[:2] == (height, width):
        return picture
    shrinks = picture.shape[0] > height
    method = (cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC) if smooth else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(picture, (width, height), interpolation=method), dtype=np.uint8)


def _with_text(
    picture: UInt8Array, instruction: str, outcome: str = "", color: tuple[int, int, int] = WHITE
) -> UInt8Array:
    """The picture with a bar under it: the instruction in two lines at most, and the outcome at its top."""
    bar = np.full((BAR, picture.shape[1], 3), 28, np.uint8)
    for number, line in enumerate(textwrap.wrap(instruction, picture.shape[1] // 8)[:2]):
        _write(bar, line, (10, 21 + 20 * number), 0.47, WHITE)
    result = np.concatenate([picture, bar])
    if outcome:
        cv2.rectangle(result, (0, 0), (SIDE - 1, 33), (28, 28, 28), -1)
        _write(result, outcome, (10, 23), 0.6, color)
    return result


def _write(
    picture: UInt8Array, text: str, place: tuple[int, int], size: float, color: tuple[int, int, int]
) -> None:
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, color, 1, cv2.LINE_AA)
