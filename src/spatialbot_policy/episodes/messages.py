"""Conversion between this project's types and ROS 2 messages in CDR, for episodes.

Messages are the standard ones of ROS 2 Humble (`cdr`). `image_encodings` turns their pixels into
colour and depth, `packed` opens compressed pictures.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from spatialbot_policy import image_encodings
from spatialbot_policy.action_space import ACTION_NAMES
from spatialbot_policy.episodes.cdr import from_cdr, new, new_image, to_cdr
from spatialbot_policy.episodes.packed import PackedImage, unpack
from spatialbot_policy.episodes.topics import (
    ARM_JOINTS,
    BASE_FRAME,
    CAMERA_INFO,
    FINGER_JOINT,
    FINGER_OPEN_M,
    JOINT_STATE,
    POSE,
    STRING,
    TERMINATE_NAME,
    TF_MESSAGE,
    CameraIntrinsics,
)
from spatialbot_policy.errors import EpisodeError, FrameError
from spatialbot_policy.image_encodings import EncodedImage
from spatialbot_policy.types import ActionStep, DepthArray, FloatArray, RgbdFrame, RobotState, UInt8Array


def decode(data: bytes, type_name: str, topic: str) -> Any:
    """Turn CDR bytes into a message object; array fields are views into `data`, a packed picture is opened.

    Raises:
        EpisodeError: the bytes are no message of this type.
    """
    return unpack(data, topic) if isinstance(data, PackedImage) else from_cdr(data, type_name, topic)


def _header(stamp_ns: int, frame_id: str) -> Any:
    seconds, nanoseconds = divmod(int(stamp_ns), 10**9)
    time = new("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)
    return new("std_msgs/msg/Header", stamp=time, frame_id=frame_id)


def stamp_of(message: Any) -> int:
    """Header stamp of a message in nanoseconds."""
    stamp = message.header.stamp
    return int(stamp.sec) * 10**9 + int(stamp.nanosec)


def encode_color(frame: RgbdFrame) -> bytes:
    """Image message (`rgb8`) of a frame's colour."""
    return _image(frame, image_encodings.encode_color(frame.color))


def encode_depth(frame: RgbdFrame, depth_mm: DepthArray) -> bytes:
    """Image message of a frame's depth: `16UC1` millimetres, or `32FC1` metres when a pixel needs more.

    Raises:
        EpisodeError: a pixel is farther than `MAX_DEPTH_MM`.
    """
    try:
        return _image(frame, image_encodings.encode_depth(depth_mm))
    except FrameError as error:
        raise EpisodeError(f"camera '{frame.camera}': {error}") from error


def _image(frame: RgbdFrame, image: EncodedImage) -> bytes:
    return to_cdr(new_image(_header(frame.stamp_ns, f"{frame.camera}_color_optical_frame"), image))


def decode_color(message: Any, topic: str) -> UInt8Array:
    """(H, W, 3) uint8 RGB of an Image message, as `image_encodings.decode_color` reads it.

    Raises:
        EpisodeError: an unknown encoding, or the image's size and its data disagree.
    """
    try:
        return image_encodings.decode_color(message)
    except FrameError as error:
        raise EpisodeError(f"{topic}: {error}") from error


def decode_depth(message: Any, topic: str) -> DepthArray:
    """(H, W) millimetres of an Image message, as `image_encodings.decode_depth` reads it.

    Raises:
        EpisodeError: another encoding, or size and data disagree.
    """
    try:
        return image_encodings.decode_depth(message)
    except FrameError as error:
        raise EpisodeError(f"{topic}: {error}") from error


def encode_camera_info(camera: str, stamp_ns: int, intrinsics: CameraIntrinsics) -> bytes:
    """CameraInfo message of an undistorted or `plumb_bob` camera."""
    # within an episode only the stamp differs: it follows the four bytes that head every CDR message
    message = bytearray(_camera_info_of_stamp_0(camera, intrinsics))
    message[4:12] = struct.pack("<iI", *divmod(stamp_ns, 10**9))
    return bytes(message)


@lru_cache(maxsize=64)
def _camera_info_of_stamp_0(camera: str, intrinsics: CameraIntrinsics) -> bytes:
    matrix = intrinsics.matrix
    roi = new("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    return to_cdr(
        new(
            CAMERA_INFO,
            header=_header(0, f"{camera}_color_optical_frame"),
            height=intrinsics.height,
            width=intrinsics.width,
            distortion_model="plumb_bob",
            d=np.array(intrinsics.distortion, dtype=np.float64),
            k=matrix.reshape(-1),
            r=np.eye(3).reshape(-1),
            p=np.hstack([matrix, np.zeros((3, 1))]).reshape(-1),
            binning_x=0,
            binning_y=0,
            roi=roi,
        )
    )


def decode_camera_info(message: Any) -> CameraIntrinsics:
    """Intrinsics of a CameraInfo message with the `plumb_bob` model."""
    matrix = np.asarray(message.k).reshape(3, 3)
    intrinsics = CameraIntrinsics.from_matrix(matrix, message.width, message.height)
    return replace(intrinsics, distortion=tuple(float(value) for value in message.d))


def encode_instruction(text: str) -> bytes:
    """String message; its stamp is the log time, for the type has no header."""
    return to_cdr(new(STRING, data=text))


def _named_vector(stamp_ns: int, names: tuple[str, ...], values: FloatArray) -> bytes:
    none = np.zeros(0)
    fields = {"name": list(names), "position": values.astype(np.float64), "velocity": none, "effort": none}
    return to_cdr(new(JOINT_STATE, header=_header(stamp_ns, BASE_FRAME), **fields))


def encode_action(stamp_ns: int, action: ActionStep) -> bytes:
    """JointState as a named vector: `dx..dyaw, gripper`, and `terminate` only where the flag is set."""
    if not action.terminate:
        return _named_vector(stamp_ns, ACTION_NAMES, action.as_vector())
    return _named_vector(stamp_ns, (*ACTION_NAMES, TERMINATE_NAME), np.append(action.as_vector(), 1.0))


def decode_action(message: Any, topic: str) -> tuple[FloatArray, bool]:
    """(7,) action vector and the terminate flag; the order of the names in the message does not matter."""
    values = _by_name(message, topic, ACTION_NAMES)
    names = list(message.name)
    terminate = TERMINATE_NAME in names and bool(message.position[names.index(TERMINATE_NAME)] > 0.5)
    return values, terminate


def _by_name(message: Any, topic: str, wanted: tuple[str, ...]) -> FloatArray:
    names = message.name
    positions: FloatArray = message.position
    if len(names) != len(positions):
        raise EpisodeError(f"{topic}: {len(names)} names and {len(positions)} values; the message is damaged")
    if tuple(names[: len(wanted)]) == wanted:
        return positions[: len(wanted)]
    missing = [name for name in wanted if name not in names]
    if missing:
        raise EpisodeError(
            f"{topic}: the names {missing} are missing, got {list(names)}; record a robot with these names"
        )
    return np.array([positions[names.index(name)] for name in wanted])


def encode_state(state: RobotState) -> tuple[bytes, bytes]:
    """JointState (arm joints and one finger) and PoseStamped (tool in the base frame)."""
    opening_m = (1.0 - state.gripper_closure) * FINGER_OPEN_M
    joints = np.append(state.joint_positions_rad, opening_m)
    position, orientation = _vectors(state.tcp_position_m, state.tcp_quaternion_xyzw)
    pose = new(
        "geometry_msgs/msg/Pose",
        position=new("geometry_msgs/msg/Point", **position),
        orientation=orientation,
    )
    stamped = new(POSE, header=_header(state.stamp_ns, BASE_FRAME), pose=pose)
    return _named_vector(state.stamp_ns, (*ARM_JOINTS, FINGER_JOINT), joints), to_cdr(stamped)


def decode_joints(message: Any, topic: str) -> FloatArray:
    """(8,) the seven arm joints in radians and the gripper's closure."""
    values = _by_name(message, topic, (*ARM_JOINTS, FINGER_JOINT)).copy()
    values[7] = 1.0 - values[7] / FINGER_OPEN_M
    return values


def decode_pose(message: Any) -> FloatArray:
    """(7,) position in metres and quaternion x, y, z, w of a PoseStamped."""
    return _seven(message.pose.position, message.pose.orientation)


def encode_transforms(stamp_ns: int, transforms: Mapping[str, tuple[FloatArray, FloatArray]]) -> bytes:
    """TFMessage with one transform from the base frame to each named frame."""
    return to_cdr(
        new(
            TF_MESSAGE,
            transforms=[
                new(
                    "geometry_msgs/msg/TransformStamped",
                    header=_header(stamp_ns, BASE_FRAME),
                    child_frame_id=name,
                    transform=_transform(position, quaternion),
                )
                for name, (position, quaternion) in transforms.items()
            ],
        )
    )


def decode_transforms(message: Any, log_time_ns: int) -> tuple[int, dict[str, FloatArray]]:
    """Stamp of a TFMessage's first transform, the log time when it has none, and (7,) pose for each frame."""
    poses = {
        item.child_frame_id: _seven(item.transform.translation, item.transform.rotation)
        for item in message.transforms
    }
    return stamp_of(message.transforms[0]) if poses else log_time_ns, poses


def _transform(position: FloatArray, quaternion: FloatArray) -> Any:
    translation, rotation = _vectors(position, quaternion)
    vector = new("geometry_msgs/msg/Vector3", **translation)
    return new("geometry_msgs/msg/Transform", translation=vector, rotation=rotation)


def _vectors(position: FloatArray, quaternion: FloatArray) -> tuple[dict[str, float], Any]:
    x, y, z = (float(value) for value in position)
    qx, qy, qz, qw = (float(value) for value in quaternion)
    return {"x": x, "y": y, "z": z}, new("geometry_msgs/msg/Quaternion", x=qx, y=qy, z=qz, w=qw)


def _seven(position: Any, orientation: Any) -> FloatArray:
    o = orientation
    return np.array([position.x, position.y, position.z, o.x, o.y, o.z, o.w])
