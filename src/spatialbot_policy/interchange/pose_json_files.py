"""The released SpatialQA-E layout on disk: an episode's folders, and strict reading of its pose files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from spatialbot_policy.errors import InterchangeError
from spatialbot_policy.interchange.deltas import check_pose
from spatialbot_policy.types import FloatArray

POSES = "end_effector_pose"
COLOR_FOLDERS = ("rgb", "color", "image", "images")
DEPTH_FOLDERS = ("depth", "depth_image", "depths")
_COLOR_ENDS, _DEPTH_ENDS = (".png", ".jpg", ".jpeg"), (".png",)
_NUMBER = re.compile(r"(\d+)")
_POSITION = ("position", "translation", "xyz")
_QUATERNION = ("orientation", "quaternion", "rotation")
_MATRIX = ("O_T_EE", "pose", "transform", "matrix")
_GRIPPER = ("gripper", "gripper_width", "gripper_state", "width")
_STAMP = ("timestamp", "time", "stamp")


@dataclass(frozen=True)
class PoseFrame:
    """The files of one frame.

    Attributes:
        number: that all of them carry in their names.
        pose, color: paths.
        depth: path; None for an episode without depth.
    """

    number: int
    pose: Path
    color: Path
    depth: Path | None


@dataclass(frozen=True)
class PoseRecord:
    """What one pose file says.

    Attributes:
        pose: (7,) metres and quaternion x, y, z, w of the tool in the base frame.
        gripper: value as it stands there; None where the file has none.
        stamp_s: seconds; None where the file has none.
    """

    pose: FloatArray
    gripper: float | None
    stamp_s: float | None


def episodes_in(source: Path) -> list[Path]:
    """The episode folders that a path names: itself, or those inside it at any depth.

    Raises:
        InterchangeError: there is none.
    """
    if (source / POSES).is_dir():
        return [source]
    found = sorted(path.parent for path in source.rglob(POSES) if path.is_dir()) if source.is_dir() else []
    if not found:
        raise InterchangeError(
            f"{source} holds no folder '{POSES}'; an episode has {POSES}/*.json beside its images"
        )
    return found


def frames_of(episode: Path) -> list[PoseFrame]:
    """The frames of an episode, in the order of the numbers in their names.

    Raises:
        InterchangeError: a frame lacks a file, two files have one number, or a name has none.
    """
    poses = _numbered(episode / POSES, (".json",))
    colors = _numbered(_folder(episode, COLOR_FOLDERS), _COLOR_ENDS)
    depth_folder = next((episode / name for name in DEPTH_FOLDERS if (episode / name).is_dir()), None)
    depths = None if depth_folder is None else _numbered(depth_folder, _DEPTH_ENDS)
    for name, other in (("colour image", colors), ("depth image", depths)):
        if other is not None and (odd := sorted(set(poses) ^ set(other))):
            where = poses[odd[0]] if odd[0] in poses else other[odd[0]]
            what = f"a {name}" if odd[0] in poses else f"a file in {POSES}"
            raise InterchangeError(
                f"{where} has no partner: frame {odd[0]} lacks {what}; restore or remove it"
            )
    return [
        PoseFrame(number, poses[number], colors[number], None if depths is None else depths[number])
        for number in sorted(poses)
    ]


def _folder(episode: Path, names: Sequence[str]) -> Path:
    for name in names:
        if (episode / name).is_dir():
            return episode / name
    raise InterchangeError(f"{episode} has none of the folders {', '.join(names)}; rename its colour images'")


def _numbered(folder: Path, ends: tuple[str, ...]) -> dict[int, Path]:
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in ends:
            continue
        numbers = _NUMBER.findall(path.stem)
        if not numbers:
            raise InterchangeError(f"{path} has no number in its name; frames are put in order by it")
        number = int(numbers[-1])
        if number in found:
            raise InterchangeError(f"{found[number]} and {path} have the same number; remove one of them")
        found[number] = path
    if not found:
        raise InterchangeError(f"{folder} holds no {', '.join(ends)} files")
    return found


def read_pose(path: Path) -> PoseRecord:
    """Read one pose file.

    Accepted are an object with a position in metres and a quaternion (a list x, y, z, w, or an object with
    these keys), an object or a bare list with a 4 x 4 matrix, row by row or as the 16 numbers of libfranka's
    `O_T_EE`, which go column by column; and a bare list of 7 numbers, position and quaternion.

    Raises:
        InterchangeError: another form, a matrix that is no rotation, or values that are not finite; names
            the file.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InterchangeError(f"{path} cannot be read as JSON ({error}); restore it") from error
    record: Mapping[str, Any] = data if isinstance(data, dict) else {"pose": data}
    try:
        pose = _pose(record, path)
        gripper, stamp = _number(record, _GRIPPER, path), _number(record, _STAMP, path)
    except (TypeError, ValueError) as error:
        if isinstance(error, InterchangeError):
            raise
        raise InterchangeError(f"{path}: {error}; numbers are expected there") from error
    check_pose(pose, str(path))
    return PoseRecord(pose, gripper, stamp)


def _pose(record: Mapping[str, Any], path: Path) -> FloatArray:
    position, turn = _first(record, _POSITION), _first(record, _QUATERNION)
    if position is not None and turn is not None:
        return np.concatenate([_values(position, "xyz", path), _values(turn, "xyzw", path)])
    whole = _first(record, _MATRIX)
    if isinstance(whole, Mapping):
        return _pose(whole, path)
    values = np.array(whole, dtype=np.float64) if whole is not None else np.zeros(0)
    if values.shape == (7,):
        return values
    if values.shape == (16,):
        values = values.reshape(4, 4).T
    if values.shape == (4, 4):
        return _from_matrix(values, path)
    raise InterchangeError(
        f"{path} holds {sorted(record)} and no pose in a known form: 'position' and 'orientation' (x, "
        "y, z, w), "
        "a 4 x 4 'pose', or 16 numbers 'O_T_EE'"
    )


def _values(value: Any, names: str, path: Path) -> FloatArray:
    if isinstance(value, Mapping):
        missing = [name for name in names if name not in value]
        if missing:
            raise InterchangeError(f"{path}: {sorted(value)} lacks {missing}")
        value = [value[name] for name in names]
    found = np.array(value, dtype=np.float64)
    if found.shape != (len(names),):
        raise InterchangeError(f"{path}: {value} must be the {len(names)} numbers {', '.join(names)}")
    return found


def _from_matrix(matrix: FloatArray, path: Path) -> FloatArray:
    turn = matrix[:3, :3]
    if not np.allclose(matrix[3], [0, 0, 0, 1], atol=1e-6) or not np.allclose(
        turn @ turn.T, np.eye(3), atol=1e-3
    ):
        raise InterchangeError(
            f"{path}: the 4 x 4 numbers are no pose (last row {matrix[3]}); a list of 16 goes column "
            "by column"
        )
    return np.concatenate([matrix[:3, 3], Rotation.from_matrix(turn).as_quat()])


def _first(record: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((record[name] for name in names if name in record), None)


def _number(record: Mapping[str, Any], names: Sequence[str], path: Path) -> float | None:
    value = _first(record, names)
    if value is None:
        return None
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, bool):
        return float(value)
    if not isinstance(value, int | float) or not np.isfinite(value):
        raise InterchangeError(f"{path}: {value!r} is no number")
    return float(value)
