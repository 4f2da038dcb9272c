"""A picture as coloured half blocks, two pixels above each other in every character."""

from __future__ import annotations

import cv2
import numpy as np
from rich.text import Text

from spatialbot_policy.types import UInt8Array

_UPPER_HALF = "\N{UPPER HALF BLOCK}"


def terminal_picture(image: UInt8Array, columns: int) -> Text:
    """Fit an (H, W, 3) RGB picture into so many characters; one that is smaller stays as it is."""
    height, width = image.shape[:2]
    if width > columns:
        height, width = max(round(height * columns / width), 1), columns
        small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        image = np.asarray(small, dtype=np.uint8)
    if height % 2:
        image = np.concatenate([image, image[-1:]])
    text = Text(no_wrap=True)
    for upper, lower in zip(image[::2].tolist(), image[1::2].tolist(), strict=True):
        for above, below in zip(upper, lower, strict=True):
            text.append(_UPPER_HALF, style="rgb({},{},{}) on rgb({},{},{})".format(*above, *below))
        text.append("\n")
    return text
