"""Pictures of an episode: a contact sheet, colour above depth for each camera, and plots of its commands."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from spatialbot_policy.action_space import ACTION_NAMES
from spatialbot_policy.depth_picture import colourise
from spatialbot_policy.episode import EpisodeReader
from spatialbot_policy.episodes.pictures import sample_pictures
from spatialbot_policy.episodes.stats import Bounds, dimension_bounds, read_commands
from spatialbot_policy.errors import EpisodeError
from spatialbot_policy.types import UInt8Array


def contact_sheet(reader: EpisodeReader, columns: int) -> UInt8Array:
    """(H, W, 3) RGB: pictures spread evenly over the episode from left to right, cameras below each other.

    Raises:
        EpisodeError: the episode cannot be read.
    """
    if columns < 1:
        raise EpisodeError(f"a contact sheet needs at least one column, got {columns}; pass --columns 8")
    rows: list[UInt8Array] = []
    for pictures in sample_pictures(reader, columns).values():
        rows.append(np.concatenate(pictures.color, axis=1))
        if pictures.depth_mm is not None:
            rows.append(np.concatenate(colourise(pictures.depth_mm), axis=1))
    width = max(row.shape[1] for row in rows)
    return np.concatenate([np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in rows])


def write_contact_sheet(reader: EpisodeReader, path: Path, columns: int) -> tuple[int, int]:
    """Write a contact sheet as PNG.

    Returns:
        width and height of the picture in pixels.

    Raises:
        EpisodeError: the episode cannot be read, or the picture cannot be written there.
    """
    sheet = contact_sheet(reader, columns)
    encoded, data = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    if not encoded:
        raise EpisodeError(f"a picture of {sheet.shape} cannot be encoded as PNG; pass fewer --columns")
    try:
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise EpisodeError(f"{path} cannot be written ({error}); pass another --out") from error
    return sheet.shape[1], sheet.shape[0]


def write_action_plot(reader: EpisodeReader, bounds: Bounds, path: Path) -> int:
    """Write a PNG with one curve for each dimension of the commands over time, and their bounds.

    Returns:
        number of commands; with none, as in stills, nothing is written.

    Raises:
        EpisodeError: the episode cannot be read, or the picture cannot be written there.
    """
    stamps, vectors = read_commands(reader.path, reader.info)
    if len(stamps) == 0:
        return 0
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 8), layout="constrained")
    axes = figure.subplots(len(ACTION_NAMES), 1, sharex=True)
    seconds = (stamps - stamps[0]) / 1e9
    for axis, name, values, ends in zip(axes, ACTION_NAMES, vectors.T, dimension_bounds(bounds), strict=True):
        axis.step(seconds, values, where="post", linewidth=1)
        for end in ends:
            axis.axhline(end, color="0.8", linewidth=0.8, zorder=0)
        axis.set_ylabel(name)
    axes[-1].set_xlabel("seconds after the first command")
    try:
        figure.savefig(path, dpi=100)
    except OSError as error:
        raise EpisodeError(f"{path} cannot be written ({error}); pass another --out") from error
    return len(stamps)
