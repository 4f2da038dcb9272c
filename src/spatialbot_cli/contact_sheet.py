"""A picture of an episode: steps from left to right, for each camera a colour row and a depth row."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from spatialbot_policy.depth_picture import colourise
from spatialbot_policy.episode import EpisodeReader
from spatialbot_policy.errors import EpisodeError
from spatialbot_policy.types import UInt8Array


def write_contact_sheet(reader: EpisodeReader, path: Path, columns: int) -> tuple[int, int]:
    """Write a PNG with evenly spread steps of an episode.

    Returns:
        width and height of the picture in pixels.

    Raises:
        EpisodeError: the episode cannot be read, or the picture cannot be written there.
    """
    if columns < 1:
        raise EpisodeError(f"a contact sheet needs at least one column, got {columns}; pass --columns 8")
    arrays = reader.arrays()
    steps = len(arrays["stamps"])
    chosen = np.unique(np.linspace(0, steps - 1, min(columns, steps)).round().astype(int))
    rows: list[UInt8Array] = []
    for camera, color in arrays["color"].items():
        rows.append(np.concatenate(color[chosen], axis=1))
        if camera in arrays["depth"]:
            rows.append(np.concatenate(colourise(arrays["depth"][camera][chosen]), axis=1))
    width = max(row.shape[1] for row in rows)
    sheet = np.concatenate([np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in rows])
    encoded, data = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    if not encoded:
        raise EpisodeError(f"a picture of {sheet.shape} cannot be encoded as PNG; pass fewer --columns")
    try:
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise EpisodeError(f"{path} cannot be written ({error}); pass another --out") from error
    return width, len(sheet)
