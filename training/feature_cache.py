"""What a frozen tower sees in every step of a store, computed once; later runs map the array."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from spatialbot_policy.errors import EpisodeError
from spatialbot_policy.model.vision_tower import as_tower
from spatialbot_training.episode_cache import UNFINISHED, Progress, alone, reserve_array
from spatialbot_training.examples import EpisodeExamples
from spatialbot_training.tower_start import features_mark

_FORMAT = 1
_CHUNK = 64  # steps that the tower takes at once


def open_features(
    source: EpisodeExamples,
    tower: nn.Module,
    cache: Path,
    device: torch.device,
    on_progress: Progress = lambda done, total: None,
) -> np.ndarray:
    """Encode the frames of every step, or map what an earlier call encoded.

    Args:
        source: the steps, and how images are made of them.
        tower: frozen; it is left where and as it was.
        cache: directory for the array, beside the decoded episodes.
        device: to encode on.
        on_progress: called with (steps encoded, steps in all).

    Returns:
        (N, f, F) float32, of the f tower frames (one for each camera) of each of N steps; mapped, read only.

    Raises:
        EpisodeError: no room for the array, or it is damaged.
    """
    config: Any = tower.config
    frames = source.images_per_step // config.images_per_frame
    shape = (len(source), frames, config.frame_feature_size)
    place = cache / f"features-{source.store.fingerprint}-{_mark(source, tower)}.npy"
    if not place.is_file():
        try:
            with alone(cache):
                if not place.is_file():
                    _build(source, tower, place, shape, device, on_progress)
        except OSError as error:
            raise EpisodeError(
                f"cannot keep encoded frames in {cache}: {error}; make room, or give another --cache"
            ) from error
    return _load(place, shape)


def _mark(source: EpisodeExamples, tower: nn.Module) -> str:
    """Of the tower, and of the images that it is shown."""
    config = source.pipeline.config
    cameras = [(camera.name, camera.width, camera.height) for camera in config.cameras]
    depth = None if config.depth_variant is None else config.depth_variant.value
    facts = [_FORMAT, cameras, depth, features_mark(tower)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _load(place: Path, shape: tuple[int, ...]) -> np.ndarray:
    try:
        values = np.load(place, mmap_mode="r")
        if values.shape != shape or values.dtype != np.float32:
            raise ValueError(f"{values.dtype} {values.shape} instead of float32 {shape}")
    except (OSError, ValueError, EOFError) as error:
        raise EpisodeError(
            f"the encoded frames in {place} are damaged ({error}); remove the file, and they are encoded "
            "again"
        ) from error
    return np.asarray(values)


def _build(
    source: EpisodeExamples,
    tower: nn.Module,
    place: Path,
    shape: tuple[int, ...],
    device: torch.device,
    on_progress: Progress,
) -> None:
    """Encode every step into a file beside `place`, then give it its name."""
    home, training = next(tower.parameters()).device, tower.training
    with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=place.parent) as work:
        values = reserve_array(Path(work) / place.name, np.dtype(np.float32), shape)
        tower.eval().to(device)
        try:
            for start in range(0, len(source), _CHUNK):
                rows = range(start, min(start + _CHUNK, len(source)))
                values[rows.start : rows.stop] = _encode(source, rows, tower, device).reshape(-1, *shape[1:])
                on_progress(rows.stop, len(source))
        finally:
            tower.train(training).to(home)
        values.flush()
        os.replace(Path(work) / place.name, place)


@torch.no_grad()
def _encode(source: EpisodeExamples, rows: range, tower: nn.Module, device: torch.device) -> np.ndarray:
    """(tower frames, F) features of some steps, in float32 whatever precision the run has."""
    images = [image for row in rows for image in source.frame(row)]
    pixels = source.processor.stack_images(images).to(device)
    return np.asarray(as_tower(tower).frame_features(pixels).float().cpu().numpy())
