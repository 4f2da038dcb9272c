"""The topic contract of an episode: names, message types and the geometry that goes with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from spatialbot_policy.errors import EpisodeError
from spatialbot_policy.types import FloatArray

STRING = "std_msgs/msg/String"
IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
JOINT_STATE = "sensor_msgs/msg/JointState"
POSE = "geometry_msgs/msg/PoseStamped"
TF_MESSAGE = "tf2_msgs/msg/TFMessage"

INSTRUCTION_TOPIC = "/spatialbot/instruction"
ACTION_TOPIC = "/spatialbot/action"
EXECUTED_TOPIC = "/spatialbot/executed_action"
JOINTS_TOPIC = "/joint_states"
POSE_TOPIC = "/spatialbot/ee_pose"
TF_TOPIC = "/tf"
FIXED_TOPICS: Mapping[str, str] = {
    INSTRUCTION_TOPIC: STRING,
    ACTION_TOPIC: JOINT_STATE,
    EXECUTED_TOPIC: JOINT_STATE,
    JOINTS_TOPIC: JOINT_STATE,
    POSE_TOPIC: POSE,
    TF_TOPIC: TF_MESSAGE,
}

BASE_FRAME = "base"
ARM_JOINTS = tuple(f"fr3_joint{number}" for number in range(1, 8))
FINGER_JOINT = "fr3_finger_joint1"
FINGER_OPEN_M = 0.04  # travel of one finger of the Franka Hand: data sheet, 80 mm between both
TERMINATE_NAME = "terminate"
MAX_DEPTH_MM = 2**23  # beyond it a float32 in metres no longer tells neighbouring millimetres apart
MAX_STAMP_NS = 2**31 * 10**9  # builtin_interfaces/Time holds its seconds in an int32


@dataclass(frozen=True)
class CameraIntrinsics:
    """Pinhole camera of one colour stream, and of the depth aligned to it.

    Attributes:
        width, height: image size in pixels.
        fx, fy, cx, cy: focal lengths and principal point in pixels.
        distortion: the five `plumb_bob` coefficients k1, k2, t1, t2, k3.

    Raises:
        EpisodeError: a size is not positive or there are not five coefficients.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if self.width <= 0 or self.height <= 0 or len(self.distortion) != 5:
            raise EpisodeError(
                f"camera intrinsics need a positive size and five distortion coefficients, got {self.width} "
                f"x {self.height} and {len(self.distortion)}; pass the values of the camera's CameraInfo"
            )

    @classmethod
    def from_matrix(cls, matrix: FloatArray, width: int, height: int) -> CameraIntrinsics:
        """Build from the (3, 3) camera matrix K in pixels."""
        return cls(
            width,
            height,
            float(matrix[0, 0]),
            float(matrix[1, 1]),
            float(matrix[0, 2]),
            float(matrix[1, 2]),
        )

    @property
    def matrix(self) -> FloatArray:
        """(3, 3) camera matrix K in pixels."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])


def color_topic(camera: str) -> str:
    """Name the colour image topic of a camera."""
    return f"/camera/{camera}/color/image_raw"


def depth_topic(camera: str) -> str:
    """Name the topic of the depth image aligned to the colour image."""
    return f"/camera/{camera}/aligned_depth_to_color/image_raw"


def camera_info_topic(camera: str) -> str:
    """Name the topic of the colour camera's intrinsics."""
    return f"/camera/{camera}/color/camera_info"


SET_ASIDE = "/set_aside"
"""Ends the name of a topic under which an episode keeps messages that do not fit it; nobody reads them."""
_COLOR, _DEPTH = "/color/image_raw", "/aligned_depth_to_color/image_raw"
_PACKED = {f"{_COLOR}/compressed": _COLOR, f"{_DEPTH}/compressedDepth": _DEPTH}


def packed_topic(topic: str) -> str:
    """Name under which an episode holds a picture's topic compressed, that of image_transport."""
    return f"{topic}/compressedDepth" if topic.endswith(_DEPTH) else f"{topic}/compressed"


def plain_topic(topic: str) -> str:
    """Name of the picture's topic that a compressed one stands for; any other as it is."""
    for packed, plain in _PACKED.items():
        if topic.startswith("/camera/") and topic.endswith(packed):
            return topic.removesuffix(packed) + plain
    return topic


def topic_types(cameras: tuple[str, ...]) -> dict[str, str]:
    """Every topic that an episode with these cameras may hold, and its message type.

    Pictures may lie compressed in the file (`packed_topic`); they are read under the names given here.
    """
    topics = dict(FIXED_TOPICS)
    for camera in cameras:
        topics[color_topic(camera)] = IMAGE
        topics[depth_topic(camera)] = IMAGE
        topics[camera_info_topic(camera)] = CAMERA_INFO
    return topics
