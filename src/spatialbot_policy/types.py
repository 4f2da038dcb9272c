"""The values that cross every boundary of the stack: frames, observations and actions, with their units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from spatialbot_policy.errors import ActionError, FrameError

UInt8Array = NDArray[np.uint8]
DepthArray = NDArray[np.uint16] | NDArray[np.uint32]
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class RgbdFrame:
    """One colour image and, unless the camera has none, the depth image aligned to it.

    Attributes:
        camera: name of the camera as the policy's configuration lists it.
        stamp_ns: header stamp in nanoseconds.
        color: (H, W, 3) uint8, RGB.
        depth_mm: (H, W) uint16 or uint32 millimetres, 0 = invalid; None for a colour camera.

    Raises:
        FrameError: the arrays have another type or shape, or disagree in size.
    """

    camera: str
    stamp_ns: int
    color: UInt8Array
    depth_mm: DepthArray | None = None

    def __post_init__(self) -> None:
        if self.color.dtype != np.uint8 or self.color.ndim != 3 or self.color.shape[2] != 3:
            raise FrameError(
                f"camera '{self.camera}': colour must be (H, W, 3) uint8 RGB, "
                f"got {self.color.shape} {self.color.dtype}; convert it before building a frame"
            )
        depth = self.depth_mm
        if depth is None:
            return
        if depth.dtype not in (np.uint16, np.uint32) or depth.ndim != 2:
            raise FrameError(
                f"camera '{self.camera}': depth must be (H, W) uint16 or uint32 millimetres, got "
                f"{depth.shape} {depth.dtype}; use spatialbot_policy.depth.to_millimetres for float metres"
            )
        if depth.shape != self.color.shape[:2]:
            raise FrameError(
                f"camera '{self.camera}': depth {depth.shape} and colour {self.color.shape[:2]} disagree; "
                "align the depth to the colour image (realsense2_camera: align_depth.enable:=true)"
            )


@dataclass(frozen=True)
class RobotState:
    """What the robot reports of itself.

    Attributes:
        stamp_ns: header stamp in nanoseconds.
        tcp_position_m: (3,) tool centre point in the robot base frame.
        tcp_quaternion_xyzw: (4,) orientation of the tool in the base frame.
        gripper_closure: 0 = fully open, 1 = fully closed (measured).
        joint_positions_rad: (7,) arm joints.
    """

    stamp_ns: int
    tcp_position_m: FloatArray
    tcp_quaternion_xyzw: FloatArray
    gripper_closure: float
    joint_positions_rad: FloatArray


@dataclass(frozen=True)
class Observation:
    """Everything the policy may look at in one control step.

    Attributes:
        stamp_ns: stamp of the step: that of the colour image of the first camera.
        instruction: the task in words, e.g. "pick up the red cup and put it on the left board".
        frames: one frame for each camera name.
        state: robot state at the stamp, where it is known.
    """

    stamp_ns: int
    instruction: str
    frames: Mapping[str, RgbdFrame]
    state: RobotState | None = None


@dataclass(frozen=True)
class ActionStep:
    """One delta-pose command, relative to the measured tool pose at the step's own time.

    Attributes:
        translation_m: (3,) in the robot base frame.
        rotation_rad: (3,) roll, pitch, yaw about base-aligned axes.
        gripper_closure: 1 = closed, 0 = open.
        terminate: the RT-X variant's flag: the task is done.

    Raises:
        ActionError: a width is wrong or a value is not finite.
    """

    translation_m: FloatArray
    rotation_rad: FloatArray
    gripper_closure: float
    terminate: bool = False

    def __post_init__(self) -> None:
        if self.translation_m.shape != (3,) or self.rotation_rad.shape != (3,):
            raise ActionError(
                f"an action has 3 translations and 3 rotations, got shapes "
                f"{self.translation_m.shape} and {self.rotation_rad.shape}"
            )
        if not np.all(np.isfinite(self.as_vector())):
            raise ActionError(f"an action must be finite, got {self.as_vector()}")

    def as_vector(self) -> FloatArray:
        """(7,) dx, dy, dz in metres, droll, dpitch, dyaw in radians, gripper closure."""
        return np.concatenate([self.translation_m, self.rotation_rad, [self.gripper_closure]])


@dataclass(frozen=True)
class ActionChunk:
    """The policy's answer: one or more steps, one control period apart.

    The first step is for the observation's own stamp, step k for k periods later. Each is relative to the
    tool pose that is measured at its own time, not to the pose in the observation nor to where the step
    before it was to lead: `policy_node` sends a step when its time has come, stamped with that time, and
    `arm_node` adds it to the pose it measured at that stamp. So a chunk leads to the sum of its steps only
    where the arm keeps up; it never jumps to make good what the guard has shortened.

    Attributes:
        observation_stamp_ns: of the observation that is answered.
        steps: in the order of time.
    """

    observation_stamp_ns: int
    steps: tuple[ActionStep, ...]


class Policy(Protocol):
    """Anything that maps observations to actions: a checkpoint here, or a server elsewhere."""

    def reset(self) -> None:
        """Forget the history: a new episode begins."""

    def act(self, observation: Observation) -> ActionChunk:
        """Answer one observation; the policy keeps its own history."""
