"""Images on the wire: as they are, or fitted to the model and compressed; depth never loses a millimetre.

What it costs, measured on one core with 640 x 480 frames of the simulator, enlarged and with the noise of a
sensor (milliseconds to encode, to decode, bytes; `make bench` repeats it as bench_image_codecs):

    | image             | as it is | PNG, level 1           | zstd, level 1         | zstd of differences   |
    |-------------------|----------|------------------------|-----------------------|-----------------------|
    | colour, 640 x 480 | 921,600  | 19.51 / 5.90 / 487,342 | 1.19 / 0.55 / 512,655 | 1.30 / 2.46 / 427,011 |
    | depth, 640 x 480  | 614,400  | 10.81 / 3.70 / 174,278 | 1.92 / 0.62 / 199,326 | 2.02 / 2.29 / 179,805 |
    | colour, 128 x 128 | 49,152   | 0.36 / 0.12 / 2,610    | 0.17 / 0.03 / 2,088   | 0.30 / 0.13 / 1,919   |
    | depth, 128 x 128  | 32,768   | 0.17 / 0.13 / 1,629    | 0.03 / 0.02 / 1,462   | 0.05 / 0.18 / 1,297   |

So zstd without a filter in front: a tenth of PNG's time for about its size. Fitting to 128 x 128 takes
0.4 ms and leaves 18 times fewer bytes before anything is compressed: every way but `raw` fits first.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, cast

import cv2
import numpy as np
import zstandard
from numpy.typing import NDArray
from PIL import Image

from spatialbot_policy.config import PolicyConfig
from spatialbot_policy.depth import MAX_MM
from spatialbot_policy.errors import ConfigError, WireError
from spatialbot_policy.images import ResizePad
from spatialbot_policy.types import DepthArray, RgbdFrame

ImageArray = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.uint32]

CODECS = ("png", "jpeg", "zstd")
"""What `decode_image` understands beside plain arrays."""
MAX_IMAGE_BYTES = 64 * 1024 * 1024
JPEG_QUALITY = 90
_FIELDS = {"codec", "data", "shape", "dtype"}
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


class ImageMode(str, Enum):
    """How images travel; all but `raw` are fitted to the model's size first, as the pipeline would."""

    RAW = "raw"  # as the camera gave them
    FIT = "fit"
    ZSTD = "zstd"
    PNG = "png"  # for peers that know nothing else; depth of 32 bits goes as zstd
    JPEG = "jpeg"  # loses detail of the colour image, so it must be asked for by name; depth goes as zstd
    AUTO = "auto"  # `fit` or `zstd`, whichever the link answers faster

    def __str__(self) -> str:
        """The bare name."""
        return self.value


def encode_image(image: ImageArray, codec: str) -> dict[str, object]:
    """Compress an image for the wire.

    Args:
        image: (H, W, 3) uint8 RGB, or (H, W) uint16 or uint32 millimetres.
        codec: one of CODECS; jpeg is for colour, png for all but uint32.

    Returns:
        A map of `codec`, `data`, `shape` and `dtype`.

    Raises:
        WireError: a codec that cannot hold this image.
    """
    pixels = np.ascontiguousarray(image)
    if codec == "zstd":
        data = zstandard.ZstdCompressor(level=1).compress(cast(Any, pixels))
    elif codec == "png" and image.dtype != np.uint32:
        data = _opencv(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    elif codec == "jpeg" and image.ndim == 3:
        data = _opencv(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    else:
        raise WireError(
            f"codec '{codec}' cannot hold an image of {image.shape} {image.dtype}; use zstd, or one of "
            f"{', '.join(CODECS)} where it fits"
        )
    return {"codec": codec, "data": data, "shape": list(image.shape), "dtype": image.dtype.str}


def _opencv(ending: str, image: NDArray[Any], options: list[int]) -> bytes:
    ordered = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    return bytes(cv2.imencode(ending, ordered, options)[1])


def decode_image(value: object, name: str = "the image", max_bytes: int = MAX_IMAGE_BYTES) -> ImageArray:
    """Read an image from the wire: an array as it is, or the map that `encode_image` wrote.

    Args:
        value: what stood in the message.
        name: of the key, for the error message.
        max_bytes: the largest image, decoded; nothing larger is ever allocated.

    Returns:
        (H, W, 3) uint8 or (H, W) uint16 or uint32; it may be read-only.

    Raises:
        WireError: not an image, an unknown codec, damaged data, or one that is not as large as it says.
    """
    if isinstance(value, np.ndarray):
        return cast(ImageArray, value)
    if not isinstance(value, Mapping) or set(value) != _FIELDS or not isinstance(value["data"], bytes):
        raise WireError(f"{name} must be an array, or a map of {', '.join(sorted(_FIELDS))}")
    shape, dtype = _promised(value, name, max_bytes)
    codec, data = value["codec"], value["data"]
    try:
        if codec == "zstd":
            return _from_zstd(data, shape, dtype)
        if codec in ("png", "jpeg"):
            return _from_picture(data, str(codec), shape, dtype)
    except (*_DAMAGED, zstandard.ZstdError) as error:
        raise WireError(f"{name} is no {codec} image of {shape} {dtype}: {error}; send it again") from error
    raise WireError(f"{name} has the codec {codec!r}, known are {', '.join(CODECS)}; use one, or an array")


def _promised(value: Mapping[str, Any], name: str, max_bytes: int) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type that a map claims, once they are those of an image."""
    shape, kind = value["shape"], value["dtype"]
    color = kind == "|u1" and isinstance(shape, list) and len(shape) == 3 and shape[2] == 3
    depth = kind in ("<u2", "<u4") and isinstance(shape, list) and len(shape) == 2
    if not (color or depth) or not all(type(side) is int and side > 0 for side in shape):
        raise WireError(
            f"{name} is said to be {shape!r} {kind!r}; images are [H, W, 3] |u1, or [H, W] <u2 or <u4"
        )
    dtype = np.dtype(kind)
    if math.prod(shape) * dtype.itemsize > max_bytes:
        raise WireError(f"{name} of {shape} {kind} is larger than {max_bytes} bytes; send a smaller image")
    return tuple(shape), dtype


def _from_zstd(data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> ImageArray:
    expected = math.prod(shape) * dtype.itemsize
    content = zstandard.frame_content_size(data)
    if content != expected:
        raise ValueError(f"it holds {content} bytes instead of {expected}")
    plain = zstandard.ZstdDecompressor().decompress(data, max_output_size=expected, allow_extra_data=False)
    return cast(ImageArray, np.frombuffer(plain, dtype).reshape(shape))


def _from_picture(data: bytes, codec: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> ImageArray:
    """Decode a picture to its end or not at all; its header is compared before a pixel is allocated."""
    with Image.open(io.BytesIO(data), formats=[codec.upper()]) as picture:
        modes = ("RGB",) if len(shape) == 3 else ("I;16", "I")  # the latter before Pillow 11
        if picture.size != (shape[1], shape[0]) or picture.mode not in modes:
            raise ValueError(f"it is a picture of {picture.size} {picture.mode}")
        picture.load()
        return cast(ImageArray, np.asarray(picture).astype(dtype, copy=False))


@dataclass(frozen=True)
class WireImages:
    """Brings frames into the form they travel in.

    Attributes:
        mode: how they travel; not `auto`, which chooses among these.
        config: of the policy that will see them.

    Raises:
        ConfigError: the mode is `auto`.
    """

    mode: ImageMode
    config: PolicyConfig

    def __post_init__(self) -> None:
        if self.mode is ImageMode.AUTO:
            raise ConfigError("'auto' chooses between ways of sending images; name one of the others here")

    def frame(self, frame: RgbdFrame) -> RgbdFrame:
        """Fit a frame to the model's size, where that changes no input of the model and makes it smaller.

        A frame that the pipeline would refuse goes out as it is, so that it is refused for what it is.
        """
        size = next(((c.width, c.height) for c in self.config.cameras if c.name == frame.camera), None)
        if self.config.depth_variant is None:
            frame = replace(frame, depth_mm=None)
        height, width = frame.color.shape[:2]
        if self.mode is ImageMode.RAW or size is None or size[0] * size[1] >= width * height > 0:
            return frame
        fit, depth = ResizePad(*size), frame.depth_mm
        if depth is None:
            return replace(frame, color=fit(frame.color))
        fitted = cast(DepthArray, fit.nearest(cast(NDArray[Any], depth)))
        variant = self.config.depth_variant
        # The pipeline looks at the whole depth image for its range and for a valid pixel.
        if variant is not None and (depth.max(initial=0) > MAX_MM[variant] or not fitted.any()):
            return frame
        return replace(frame, color=fit(frame.color), depth_mm=fitted)

    def image(self, image: ImageArray) -> ImageArray | dict[str, object]:
        """An image as it stands in the message."""
        if self.mode in (ImageMode.RAW, ImageMode.FIT):
            return image
        is_color = image.ndim == 3
        plain = self.mode is ImageMode.ZSTD
        if plain or (self.mode is ImageMode.JPEG and not is_color) or image.dtype == np.uint32:
            return encode_image(image, "zstd")
        return encode_image(image, self.mode.value)


def plain_bytes(message: Mapping[str, object]) -> int:
    """Bytes that the images of an observation's message take uncompressed."""
    return sum(_plain_bytes(value) for value in message.values())


def _plain_bytes(value: object) -> int:
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, Mapping):
        return int(math.prod(value["shape"])) * np.dtype(value["dtype"]).itemsize
    return 0
