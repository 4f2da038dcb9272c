"""Pixels to PNG and back, for every exported image: colour in 8 bits, millimetres in 16, encoded depth."""

from __future__ import annotations

from enum import Enum
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from spatialbot_policy import depth
from spatialbot_policy.depth import DepthVariant
from spatialbot_policy.errors import FrameError, InterchangeError
from spatialbot_policy.types import DepthArray, UInt8Array

_LEVEL = [cv2.IMWRITE_PNG_COMPRESSION, 3]


class DepthForm(str, Enum):
    """How an exported depth image holds millimetres; all are lossless within their range."""

    MILLIMETRES = "millimetres"  # one channel of 16 bits, up to 65535 mm: each reader encodes it as it needs
    PAPER = "paper"  # three channels as the paper's equations 1-3, up to 131071 mm
    RELEASED = "released"  # three channels as the released checkpoints, up to 65535 mm
    UINT24 = "uint24"  # three channels, the plain 24-bit number, up to 16777215 mm

    def __str__(self) -> str:
        """The bare name."""
        return self.value


def color_png(color: UInt8Array) -> bytes:
    """PNG of (H, W, 3) RGB."""
    return _encode(cv2.cvtColor(color, cv2.COLOR_RGB2BGR))


def depth_png(depth_mm: DepthArray, form: DepthForm) -> bytes:
    """PNG of (H, W) millimetres.

    Raises:
        InterchangeError: a pixel is farther than the form holds.
    """
    if form is DepthForm.MILLIMETRES:
        deepest = int(depth_mm.max(initial=0))
        if deepest > np.iinfo(np.uint16).max:
            raise InterchangeError(
                f"a depth of {deepest} mm does not fit 16 bits; choose --depth paper (up to 131071 mm) or "
                "--depth uint24"
            )
        return _encode(depth_mm.astype(np.uint16, copy=False))
    try:
        encoded = depth.encode(depth_mm, DepthVariant(form.value))
    except FrameError as error:
        raise InterchangeError(f"{error}; or choose --depth uint24, which holds any") from error
    return _encode(cv2.cvtColor(encoded, cv2.COLOR_RGB2BGR))


def read_color(data: bytes, name: str) -> UInt8Array:
    """(H, W, 3) RGB of a compressed picture, PNG or JPEG.

    Raises:
        InterchangeError: it cannot be decoded.
    """
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if len(data) else None
    if image is None:
        raise InterchangeError(f"{name} cannot be decoded as an image; bring back a whole copy")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def read_depth_png(data: bytes, form: DepthForm, name: str) -> DepthArray:
    """(H, W) millimetres of a PNG that `depth_png` or a camera driver wrote.

    Returns:
        uint16, or uint32 where a pixel needs more.

    Raises:
        InterchangeError: it cannot be decoded, or has another form.
    """
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if len(data) else None
    if image is None:
        raise InterchangeError(f"{name} cannot be decoded as a depth image; bring back a whole copy")
    if form is DepthForm.MILLIMETRES:
        if image.dtype != np.uint16 or image.ndim != 2:
            raise InterchangeError(
                f"{name} is {image.dtype} {image.shape}, not one channel of 16 bits; a depth image holds "
                "millimetres, a picture of depth in 8 bits has lost its unit"
            )
        return cast(DepthArray, image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise InterchangeError(f"{name} is {image.dtype} {image.shape}, not depth in the form '{form}'")
    try:
        rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)
        return narrow(depth.decode(rgb, DepthVariant(form.value)))
    except FrameError as error:
        raise InterchangeError(f"{name}: {error}") from error


def narrow(depth_mm: DepthArray) -> DepthArray:
    """The same millimetres as uint16 where they fit, as episodes hold them."""
    if depth_mm.dtype == np.uint32 and int(depth_mm.max(initial=0)) <= np.iinfo(np.uint16).max:
        return depth_mm.astype(np.uint16)
    return depth_mm


def _encode(image: NDArray[Any]) -> bytes:
    done, data = cv2.imencode(".png", image, _LEVEL)
    if not done:
        raise InterchangeError(f"an image of {image.shape} {image.dtype} cannot be written as PNG")
    return bytes(data)
