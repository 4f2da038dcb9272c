"""Images on their way to the model: colour order, and the ways of bringing them to the model's size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spatialbot_policy.errors import FrameError
from spatialbot_policy.types import UInt8Array

Pixels = TypeVar("Pixels", bound=np.generic)

# ROS image encodings (sensor_msgs/image_encodings.hpp) -> channels, conversion to RGB
_TO_RGB: dict[str, tuple[int, int | None]] = {
    "rgb8": (3, None),
    "bgr8": (3, cv2.COLOR_BGR2RGB),
    "rgba8": (4, cv2.COLOR_RGBA2RGB),
    "bgra8": (4, cv2.COLOR_BGRA2RGB),
    "mono8": (1, cv2.COLOR_GRAY2RGB),
}


def to_rgb(image: NDArray[Any], encoding: str) -> UInt8Array:
    """Turn an image of a named ROS encoding into (H, W, 3) uint8 RGB.

    Args:
        image: (H, W, channels) uint8, or (H, W) for mono8.
        encoding: rgb8, bgr8, rgba8, bgra8 or mono8.

    Raises:
        FrameError: an unknown encoding, or an array that does not have its shape.
    """
    if encoding not in _TO_RGB:
        raise FrameError(
            f"colour encoding '{encoding}' is not supported; set the camera to one of {', '.join(_TO_RGB)}"
        )
    channels, conversion = _TO_RGB[encoding]
    found = 1 if image.ndim == 2 else image.shape[-1]
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or found != channels or image.size == 0:
        raise FrameError(
            f"an image of encoding '{encoding}' has {channels} uint8 channels, got {image.shape} "
            f"{image.dtype}; correct the encoding or the array"
        )
    if conversion is None:
        return image
    return np.asarray(cv2.cvtColor(image, conversion), dtype=np.uint8)


@dataclass(frozen=True)
class ResizePad:
    """Fit an image into width x height: aspect kept, centred on black; an image of that size passes as it is.

    Attributes:
        width: of the result, in pixels.
        height: of the result, in pixels.

    Raises:
        FrameError: a size below one pixel.
    """

    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise FrameError(f"cannot resize to {self.width} x {self.height}; both must be at least 1 pixel")

    def __call__(self, color: UInt8Array) -> UInt8Array:
        """Resize (H, W, 3) colour: area average where it shrinks, linear where it grows."""
        fitted = self._fitted(color)
        if fitted == (self.height, self.width) == color.shape[:2]:
            return color
        shrinks = fitted[0] < color.shape[0]
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        resized = np.asarray(cv2.resize(color, (fitted[1], fitted[0]), interpolation=method), dtype=np.uint8)
        return self._pad(resized)

    def nearest(self, depth: NDArray[Pixels]) -> NDArray[Pixels]:
        """Resize (H, W[, C]) depth by picking pixels: a mean of two depths is a surface nobody saw."""
        fitted = self._fitted(depth)
        if fitted == (self.height, self.width) == depth.shape[:2]:
            return depth
        return self._pad(_pick(depth, fitted))

    def _fitted(self, image: NDArray[Any]) -> tuple[int, int]:
        """Height and width that the image takes inside the result."""
        if image.ndim not in (2, 3) or image.size == 0:
            raise FrameError(f"an image to resize is a non-empty (H, W[, C]) array, got {image.shape}")
        height, width = image.shape[:2]
        if width * self.height >= height * self.width:
            return max(1, round(height * self.width / width)), self.width
        return self.height, max(1, round(width * self.height / height))

    def _pad(self, image: NDArray[Pixels]) -> NDArray[Pixels]:
        if image.shape[:2] == (self.height, self.width):
            return image
        padded = np.zeros((self.height, self.width, *image.shape[2:]), dtype=image.dtype)
        top, left = (self.height - image.shape[0]) // 2, (self.width - image.shape[1]) // 2
        padded[top : top + image.shape[0], left : left + image.shape[1]] = image
        return padded


@dataclass(frozen=True)
class Stretch:
    """Resize an image to width x height whatever its shape, as the authors' image processors do.

    Attributes:
        width: of the result, in pixels.
        height: of the result, in pixels.

    Raises:
        FrameError: a size below one pixel.
    """

    width: int
    height: int

    def __post_init__(self) -> None:
        ResizePad(self.width, self.height)  # refuses what is no size

    def __call__(self, color: UInt8Array) -> UInt8Array:
        """Resize (H, W, 3) colour: bicubic over the source pixels that a target pixel covers."""
        _check_color(color)
        if color.shape[:2] == (self.height, self.width):
            return color
        picture = Image.fromarray(np.ascontiguousarray(color))
        return np.array(picture.resize((self.width, self.height), Image.Resampling.BICUBIC))

    def nearest(self, depth: NDArray[Pixels]) -> NDArray[Pixels]:
        """Resize (H, W[, C]) depth by picking pixels."""
        if depth.ndim not in (2, 3) or depth.size == 0:
            raise FrameError(f"an image to resize is a non-empty (H, W[, C]) array, got {depth.shape}")
        return _pick(depth, (self.height, self.width))


@dataclass(frozen=True)
class PadSquare:
    """Pad an image to a square on both sides, then resize it: how the released checkpoints saw images.

    Depth images are padded with the same colour, as there, but resized by picking pixels.

    Attributes:
        width: of the result, in pixels.
        height: of the result, in pixels.
        fill: RGB of the padding; the released checkpoints take the mean of their image processor.

    Raises:
        FrameError: a size below one pixel, or a colour that is none.
    """

    width: int
    height: int
    fill: tuple[int, int, int] = (127, 127, 127)

    def __post_init__(self) -> None:
        ResizePad(self.width, self.height)
        if len(self.fill) != 3 or not all(0 <= value <= 255 for value in self.fill):
            raise FrameError(f"a padding colour is three values in 0..255, got {self.fill}")

    def __call__(self, color: UInt8Array) -> UInt8Array:
        """Pad and resize (H, W, 3) colour."""
        return Stretch(self.width, self.height)(self._square(color))

    def nearest(self, depth: UInt8Array) -> UInt8Array:
        """Pad an encoded (H, W, 3) depth image and resize it by picking pixels."""
        return Stretch(self.width, self.height).nearest(self._square(depth))

    def _square(self, image: UInt8Array) -> UInt8Array:
        _check_color(image)
        height, width = image.shape[:2]
        if height == width:
            return image
        side = max(height, width)
        square = np.full((side, side, 3), self.fill, dtype=np.uint8)
        top, left = (side - height) // 2, (side - width) // 2
        square[top : top + height, left : left + width] = image
        return square


def _pick(image: NDArray[Pixels], size: tuple[int, int]) -> NDArray[Pixels]:
    """Take the source pixel under the centre of each target pixel, in integers so that no edge is missed."""
    if image.shape[:2] == size:
        return image
    rows, columns = (
        (2 * np.arange(target) + 1) * source // (2 * target)
        for target, source in zip(size, image.shape[:2], strict=True)
    )
    return np.asarray(image.take(rows, axis=0).take(columns, axis=1))  # whole rows first: four times faster


def _check_color(image: NDArray[Any]) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise FrameError(
            f"an image to resize is a non-empty (H, W, 3) uint8 array, got {image.shape} {image.dtype}"
        )
