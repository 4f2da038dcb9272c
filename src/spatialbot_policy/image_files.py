"""Image files for conversations: decoded whole or refused, depth told from colour, fitted to the model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image

from spatialbot_policy import depth
from spatialbot_policy.conversation import image_fit
from spatialbot_policy.conversation_config import ConversationConfig
from spatialbot_policy.depth import DepthVariant
from spatialbot_policy.errors import ConversationError, FrameError
from spatialbot_policy.types import DepthArray, UInt8Array

_DEPTH_MODES = ("I", "I;16", "I;16B", "I;16L", "F")  # one channel; floating point is metres
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


def read_picture(path: str | Path) -> UInt8Array | DepthArray:
    """Decode an image file as what it is.

    Returns:
        (H, W, 3) uint8 RGB, or (H, W) uint16 or uint32 millimetres for one channel of 16 bits or more
        (whole numbers are millimetres, floating point is metres).
        Eight grey bits are a photograph: they could not hold millimetres.

    Raises:
        ConversationError: no such file, one that cannot be decoded to its end, or depth that is none.
    """
    try:
        with Image.open(path) as image:
            image.load()
            if image.mode in _DEPTH_MODES:
                return depth.to_millimetres(np.asarray(image))
            return np.array(image.convert("RGB"))
    except FileNotFoundError as error:
        raise ConversationError(
            f"there is no image {path}; check the path and the folder of images"
        ) from error
    except FrameError as error:
        raise ConversationError(f"{path}: {error}") from error
    except _DAMAGED as error:
        raise ConversationError(
            f"the image {path} cannot be decoded ({error}); bring back a whole copy, or leave it out"
        ) from error


def read_depth(path: str | Path) -> DepthArray:
    """Decode a file that is known to be a depth image: millimetres in one channel, or in 24 bits of RGB.

    Raises:
        ConversationError: as `read_picture`, or an 8-bit picture, which has lost its unit.
    """
    try:
        with Image.open(path) as image:
            mode = image.mode
    except _DAMAGED:
        mode = ""  # read_picture says what is wrong
    picture = read_picture(path)
    if picture.ndim == 2:
        return cast(DepthArray, picture)
    if mode != "RGB":
        raise ConversationError(
            f"{path} has 8 bits a pixel and is no depth image; give millimetres as a 16-bit PNG, or as the "
            "24-bit number of an RGB PNG"
        )
    return depth.decode(np.asarray(picture, dtype=np.uint8), DepthVariant.UINT24)


@dataclass(frozen=True)
class ConversationImages:
    """Brings colour and depth images to the form that a checkpoint converses with.

    Attributes:
        config: image size, padding and depth variant.
    """

    config: ConversationConfig

    def read(self, path: str | Path) -> UInt8Array:
        """The model's image of a file, colour or depth as `read_picture` finds it.

        Raises:
            ConversationError: a file that cannot be used; the message names it.
        """
        return self.prepare(read_picture(path), str(path))

    def prepare(self, picture: UInt8Array | DepthArray, name: str = "the image") -> UInt8Array:
        """The model's image of (H, W, 3) colour or of (H, W) millimetres: (height, width, 3) uint8.

        Raises:
            ConversationError: depth for a model without, out of its encoding's range, or invalid everywhere.
        """
        fit, variant = image_fit(self.config), self.config.depth_variant
        if picture.ndim == 3:
            return fit(np.asarray(picture, dtype=np.uint8))
        if variant is None:
            raise ConversationError(
                f"{name} is a depth image, and this checkpoint sees colour alone; leave it out"
            )
        if not picture.any():
            raise ConversationError(
                f"{name}: the depth is invalid (0) everywhere; leave it out or record it again"
            )
        try:
            # before any resize: a mean of two depths is a surface nobody saw
            return fit.nearest(depth.encode(cast(DepthArray, picture), variant))
        except FrameError as error:
            raise ConversationError(f"{name}: {error}") from error
