"""Which number of a foreign LeRobot data set is which of ours: by common names, or as the user says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spatialbot_policy.action_space import ACTION_NAMES
from spatialbot_policy.errors import InterchangeError
from spatialbot_policy.interchange import lerobot_format as form
from spatialbot_policy.types import FloatArray

TERMINATE = form.TERMINATE
STATE_NAMES = (*form.POSE_NAMES, form.CLOSURE_NAME, *form.JOINT_NAMES)
OUR_NAMES = (*ACTION_NAMES, *STATE_NAMES)
# Only names that say that they are deltas: "x" in an action may well be a target.
_ACTION_ALIASES: Mapping[str, tuple[str, ...]] = {
    "dx": ("dx_m", "delta_x", "d_x", "world_vector_x"),
    "dy": ("dy_m", "delta_y", "d_y", "world_vector_y"),
    "dz": ("dz_m", "delta_z", "d_z", "world_vector_z"),
    "droll": ("droll_rad", "delta_roll", "d_roll", "rotation_delta_x"),
    "dpitch": ("dpitch_rad", "delta_pitch", "d_pitch", "rotation_delta_y"),
    "dyaw": ("dyaw_rad", "delta_yaw", "d_yaw", "rotation_delta_z"),
    "gripper": ("gripper_closure", "gripper", "gripper_closedness"),
}
_STATE_ALIASES: Mapping[str, tuple[str, ...]] = {
    "x_m": ("x", "ee_x", "tcp_x", "eef_x"),
    "y_m": ("y", "ee_y", "tcp_y", "eef_y"),
    "z_m": ("z", "ee_z", "tcp_z", "eef_z"),
    "qx": ("quat_x", "ee_qx", "rx_quat"),
    "qy": ("quat_y", "ee_qy", "ry_quat"),
    "qz": ("quat_z", "ee_qz", "rz_quat"),
    "qw": ("quat_w", "ee_qw", "rw_quat"),
    "gripper_closure": ("gripper", "gripper_position", "gripper_pos"),
} | {f"joint{number}_rad": (f"joint{number}", f"joint_{number}", f"q{number}") for number in range(1, 8)}

Place = tuple[str, int]
"""Feature and dimension."""


@dataclass(frozen=True)
class NameMap:
    """Where each of our numbers lies in the rows of a data set.

    Attributes:
        places: our name -> feature and dimension.
    """

    places: Mapping[str, Place]

    def has(self, names: Sequence[str]) -> bool:
        """Whether all of them are there."""
        return all(name in self.places for name in names)

    def take(self, row: Mapping[str, Any], names: Sequence[str]) -> FloatArray:
        """The values of these names in a row, in order."""
        return np.array([_value(row, self.places[name]) for name in names], dtype=np.float64)


def map_names(features: Mapping[str, Mapping[str, Any]], given: Mapping[str, str], root: str) -> NameMap:
    """Find our numbers among the features of a data set.

    Args:
        features: of `info.json`.
        given: "feature.dimension" (its name or number) -> our name, as the user says; wins over the names.
        root: data set for the message.

    Raises:
        InterchangeError: a mapping that names what is not there.
    """
    theirs = dict(_named(features))
    places: dict[str, Place] = {}
    for feature, aliases in ((form.ACTION, _ACTION_ALIASES), (form.STATE, _STATE_ALIASES)):
        for ours, others in aliases.items():
            found = [place for name, place in theirs.items() for other in (ours, *others)
                     if name == f"{feature}.{other}"]  # fmt: skip
            if found:
                places[ours] = found[0]
    for name, ours in given.items():
        if ours not in OUR_NAMES:
            raise InterchangeError(f"--map {name}={ours}: '{ours}' is none of {', '.join(OUR_NAMES)}")
        if name not in theirs:
            raise InterchangeError(f"--map {name}={ours}: {root} has {_list(theirs)}")
        places[ours] = theirs[name]
    return NameMap(places)


def missing_message(features: Mapping[str, Mapping[str, Any]], root: str) -> str:
    """What to say when neither actions nor poses were found."""
    return (
        f"{root}: neither the seven delta-pose actions ({', '.join(ACTION_NAMES)}) nor a tool pose "
        "with a gripper "
        f"({', '.join(form.POSE_NAMES)}, {form.CLOSURE_NAME}) is among its numbers "
        f"({_list(dict(_named(features)))}); "
        "say which is which, e.g. --map observation.state.0=x_m"
    )


def _named(features: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, Place]]:
    """Every number of every vector feature, by name where it has one and by place."""
    found: list[tuple[str, Place]] = []
    for feature, described in features.items():
        if described.get("dtype") not in ("float32", "float64") or len(described["shape"]) != 1:
            continue
        size = int(described["shape"][0])
        found += [(f"{feature}.{place}", (feature, place)) for place in range(size)]
        names = described.get("names")
        while isinstance(names, Mapping) and len(names) == 1:  # {"motors": [...]}
            names = next(iter(names.values()))
        if isinstance(names, Mapping) and len(names) == size:
            names = list(names)
        if isinstance(names, list) and len(names) == size:
            found += [(f"{feature}.{name}", (feature, place)) for place, name in enumerate(names)]
    return found


def _value(row: Mapping[str, Any], place: Place) -> float:
    value = row[place[0]]
    return float(value[place[1]] if isinstance(value, list | tuple | np.ndarray) else value)


def _list(theirs: Mapping[str, Place]) -> str:
    """The names, without the numbers where there are names."""
    named = [name for name in theirs if not name.rsplit(".", 1)[-1].isdigit()]
    return ", ".join(named or theirs) or "no numbers at all"
