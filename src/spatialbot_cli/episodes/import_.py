"""`spatialbot episodes import`: recordings and data sets of others as episodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console

from spatialbot_cli.episodes.printing import progress, tell
from spatialbot_policy.errors import InterchangeError
from spatialbot_policy.interchange.deltas import GripperConvention
from spatialbot_policy.interchange.loss_report import LossReport
from spatialbot_policy.interchange.rosbag_topics import read_map
from spatialbot_policy.interchange.selection import Progress

_ONLY: dict[str, tuple[str, ...]] = {
    "map": ("rosbag2", "lerobot"),
    "map_file": ("rosbag2", "lerobot"),
    "rate_hz": ("rosbag2", "poses"),
    "join_tolerance_ms": ("rosbag2",),
    "stamps": ("rosbag2",),
    "success": ("rosbag2",),
    "intrinsics": ("lerobot", "poses"),
}


@dataclass(frozen=True)
class Import:
    """Turn rosbag2 recordings, a LeRobot v3 data set or frames with pose files into episodes.

    Where no actions were recorded they are computed from the tool's poses, and reported on. What could not
    be carried over is printed, and kept as import_NAME.json in the data set.

    Example: spatialbot episodes import bags/monday --from rosbag2 --out data/monday
    --map /cam/rgb=/camera/camera/color/image_raw --instruction "pick up the red cup"
    """

    source: Annotated[Path, tyro.conf.Positional]
    """A rosbag2 folder or a folder of them, a LeRobot data set, or frames beside `end_effector_pose`."""

    from_: Annotated[Literal["rosbag2", "lerobot", "poses"], tyro.conf.arg(name="from")]
    """What it is."""

    out: Path
    """New folder, or a data set of the same contract to add to."""

    map: tuple[str, ...] = ()
    """THEIRS=OURS for each topic (rosbag2) or number (lerobot: action.0=dx) under another name."""

    map_file: Path | None = None
    """YAML file with lines `THEIRS: OURS`; --map wins."""

    instruction: str | None = None
    """The task in words, for a source that does not say it; a recording's own is replaced."""

    robot: str | None = None
    """Name of the robot."""

    gripper: Annotated[GripperConvention | None, tyro.conf.EnumChoicesFromValues] = None
    """What the gripper's numbers mean; if left out finger_m (rosbag2), closure (lerobot), width_m (poses)."""

    rate_hz: float | None = None
    """rosbag2, poses: control rate; 10 if left out."""

    join_tolerance_ms: float | None = None
    """rosbag2: how far from a picture the other messages of its step may lie; 50 if left out."""

    stamps: Literal["header", "receive"] | None = None
    """rosbag2: trust the headers' stamps, or the times of receipt where clocks disagree."""

    success: bool | None = None
    """rosbag2: the outcome, where somebody knows it."""

    intrinsics: tuple[str, ...] = ()
    """lerobot, poses: CAMERA=FX,FY,CX,CY in pixels; a camera without is marked as unknown."""

    translation_bound_m: float = 0.05
    """Largest step along an axis that the data set's actions hold; larger ones are clipped in training."""

    rotation_bound_rad: float = 0.1
    """Largest turn about an axis."""

    def run(self, console: Console) -> int:
        """Import, and say what was lost or assumed."""
        for name, sources in _ONLY.items():
            if getattr(self, name) not in (None, ()) and self.from_ not in sources:
                option = name.replace("_", "-")
                raise InterchangeError(f"--{option} belongs to --from {' or '.join(sources)}; leave it out")
        with progress(console, "importing") as report:
            losses = self._import()(report)
        tell(console, losses.to_text())
        tell(console, f"written: {self.out}")
        return 0

    def _import(self) -> Callable[[Progress], LossReport]:
        """The work as a function of what reports progress; only its own libraries are imported."""
        chosen: dict[str, Any] = {
            "action_space": {
                "kind": "delta_pose",
                "translation_bound_m": self.translation_bound_m,
                "rotation_bound_rad": self.rotation_bound_rad,
                "bins": 101,
            }
        }
        for name in ("instruction", "robot", "gripper", "rate_hz", "join_tolerance_ms", "success"):
            if getattr(self, name) is not None:
                chosen[name] = getattr(self, name)
        lenses = dict(_lens(text) for text in self.intrinsics)
        if self.from_ == "rosbag2":
            from spatialbot_policy.interchange.rosbag_import import RosbagOptions, import_rosbags

            names = read_map(self.map, self.map_file)
            bags = RosbagOptions(**chosen, names=names, by_receipt=self.stamps == "receive")
            return lambda report: import_rosbags(self.source, self.out, bags, report)
        if self.from_ == "lerobot":
            from spatialbot_policy.interchange.lerobot_foreign import LeRobotImportOptions
            from spatialbot_policy.interchange.lerobot_import import import_lerobot

            names = read_map(self.map, self.map_file)
            lerobot = LeRobotImportOptions(**chosen, names=names, intrinsics=lenses)
            return lambda report: import_lerobot(self.source, self.out, lerobot, report)
        from spatialbot_policy.interchange.pose_json_import import CAMERA, PoseOptions, import_poses

        if set(lenses) - {CAMERA}:
            raise InterchangeError(f"frames with poses have one camera: --intrinsics {CAMERA}=FX,FY,CX,CY")
        poses = PoseOptions(**chosen, intrinsics=lenses.get(CAMERA))
        return lambda report: import_poses(self.source, self.out, poses, report)


def _lens(text: str) -> tuple[str, tuple[float, float, float, float]]:
    name, _, numbers = text.partition("=")
    try:
        fx, fy, cx, cy = (float(number) for number in numbers.split(","))
    except ValueError as error:
        raise InterchangeError(f"--intrinsics {text} is not CAMERA=FX,FY,CX,CY in pixels") from error
    return name, (fx, fy, cx, cy)
