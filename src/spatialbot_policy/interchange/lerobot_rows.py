"""From a row of a LeRobot data set to the parts of a step: frames, state and actions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spatialbot_policy.episode import DatasetCamera
from spatialbot_policy.errors import InterchangeError
from spatialbot_policy.interchange import lerobot_format as form
from spatialbot_policy.interchange.deltas import GripperConvention, closure_of
from spatialbot_policy.interchange.image_bytes import DepthForm, read_depth_png
from spatialbot_policy.interchange.lerobot_names import NameMap
from spatialbot_policy.interchange.lerobot_source import LeRobotSource
from spatialbot_policy.types import ActionStep, DepthArray, FloatArray, RgbdFrame

COLOR_PREFIX = "observation.images."
State = dict[str, Any]
"""Fields of a `Step`: "tool_pose", "closure" and "joints_rad", as far as they are there."""


@dataclass(frozen=True)
class SourceCamera:
    """A camera of the data set: its features, and how its depth is coded."""

    name: str
    color: str
    depth: str | None = None
    depth_form: DepthForm = DepthForm.PAPER


class SourceImages:
    """Turns the image features of a row into frames."""

    def __init__(self, source: LeRobotSource) -> None:
        self._source = source
        pictures = {
            key: item for key, item in source.features.items() if item.get("dtype") in ("image", "video")
        }
        depths = {key: item for key, item in pictures.items() if "depth.encoding" in (item.get("info") or {})}
        self.cameras = [
            _camera(key, depths.get(f"{key}_depth"), source.root) for key in pictures if key not in depths
        ]
        self.unread = [key for key in depths if key.removesuffix("_depth") not in pictures]
        if not self.cameras:
            raise InterchangeError(
                f"{source.root} has no images among {list(source.features)}; an episode needs a camera"
            )

    def contract(self) -> tuple[DatasetCamera, ...]:
        """The cameras as `dataset.yaml` lists them."""
        found = []
        for camera in self.cameras:
            height, width = self._source.features[camera.color]["shape"][:2]
            found.append(DatasetCamera(camera.name, int(width), int(height), camera.depth is not None))
        return tuple(found)

    def frames(self, row: Mapping[str, Any], stamp_ns: int, where: str) -> dict[str, RgbdFrame]:
        """The frames of a row."""
        return {
            camera.name: RgbdFrame(
                camera.name,
                stamp_ns,
                self._source.color(camera.color, row, where),
                self._depth(camera, row, where),
            )
            for camera in self.cameras
        }

    def _depth(self, camera: SourceCamera, row: Mapping[str, Any], where: str) -> DepthArray | None:
        if camera.depth is None:
            return None
        data = self._source.image_bytes(row[camera.depth], where)
        return read_depth_png(data, camera.depth_form, f"{where}, {camera.depth}")


def _camera(key: str, depth: Mapping[str, Any] | None, root: Path) -> SourceCamera:
    name = re.sub(r"[^A-Za-z0-9_]", "_", key.removeprefix(COLOR_PREFIX))
    if depth is None:
        return SourceCamera(name, key)
    try:
        return SourceCamera(name, key, f"{key}_depth", DepthForm(depth["info"]["depth.encoding"]))
    except ValueError as error:
        raise InterchangeError(f"{root}: {key}_depth has an unknown depth encoding ({error})") from error


def action_of(vector: FloatArray, terminate: bool) -> ActionStep:
    """The action of a (7,) vector."""
    return ActionStep(vector[:3], vector[3:6], float(vector[6]), terminate)


def executed_of(value: object) -> ActionStep | None:
    """The executed action of eight numbers, the last its terminate flag; None for NaN: nothing was sent."""
    if value is None:
        return None
    vector = np.asarray(value, dtype=np.float64)
    return None if np.isnan(vector).any() else action_of(vector[:7], bool(vector[7]))


def state_of(row: Mapping[str, Any], names: NameMap, gripper: GripperConvention | None, where: str) -> State:
    """Tool pose, closure and joints of a row, as far as they are there; None takes a closure as it stands."""
    state: State = {}
    if names.has(form.POSE_NAMES):
        state["tool_pose"] = names.take(row, form.POSE_NAMES)
    if names.has((form.CLOSURE_NAME,)):
        value = float(names.take(row, (form.CLOSURE_NAME,))[0])
        state["closure"] = value if gripper is None else closure_of(value, gripper, where)
    if names.has(form.JOINT_NAMES):
        state["joints_rad"] = names.take(row, form.JOINT_NAMES)
    return state
