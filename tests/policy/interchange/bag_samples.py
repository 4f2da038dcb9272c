"""Small rosbag2 recordings as other people make them: other names, compressed pictures, no actions."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import yaml
from rosbags.rosbag2 import Writer
from rosbags.rosbag2.enums import StoragePlugin

from spatialbot_policy.episodes.cdr import new, store, to_cdr
from spatialbot_policy.episodes.image_compression import encode_depth

WIDTH, HEIGHT = 24, 16
FRAME_NS = 33_333_333
START_NS = 1_700_000_000_000_000_000
LATE_NS = 2_000_000  # from header stamp to receipt
NAMES = {
    "/cam/rgb": "/camera/camera/color/image_raw",
    "/cam/depth": "/camera/camera/aligned_depth_to_color/image_raw",
    "/cam/info": "/camera/camera/color/camera_info",
    "/robot/joints": "/joint_states",
    "/robot/tool": "/spatialbot/ee_pose",
    "/hand/joints": "gripper",
}


@dataclass(frozen=True)
class Bag:
    """What a recording is like."""

    color: str = "rgb8"  # or "jpeg", "png"
    depth: str = "16UC1"  # or "32FC1", "compressedDepth", "none"
    frames: int = 31
    hand: bool = True
    tool: bool = True
    instruction: str | None = None
    storage: StoragePlugin = StoragePlugin.SQLITE3
    stamp_offset_ns: int = 0
    jump_at: int = -1
    unstamped: bool = False
    velocity: float | None = None  # of the arm's joints
    ours: bool = False  # the contract's own names


def color(step: int) -> np.ndarray:
    ramp = np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)) * 3 + step
    return np.stack([ramp, 255 - ramp, ramp // 2], axis=2).astype(np.uint8)


def depth(step: int) -> np.ndarray:
    return np.random.default_rng(step).integers(400, 1500, (HEIGHT, WIDTH)).astype(np.uint16)


def position(stamp_ns: int) -> np.ndarray:
    """The tool moves 0.2 m/s along x."""
    return np.array([0.4 + 0.2 * (stamp_ns - START_NS) / 1e9, 0.1, 0.3])


def header(stamp_ns: int):
    seconds, nanoseconds = divmod(stamp_ns, 10**9)
    stamp = new("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)
    return new("std_msgs/msg/Header", stamp=stamp, frame_id="x")


def image(stamp_ns: int, encoding: str, pixels: np.ndarray):
    data = np.ascontiguousarray(pixels).reshape(-1).view(np.uint8)
    return new(
        "sensor_msgs/msg/Image", header=header(stamp_ns), height=HEIGHT, width=WIDTH, encoding=encoding,
        is_bigendian=0, step=data.size // HEIGHT, data=data,
    )  # fmt: skip


def compressed(stamp_ns: int, name: str, data: bytes):
    pixels = np.frombuffer(data, np.uint8)
    return new("sensor_msgs/msg/CompressedImage", header=header(stamp_ns), format=name, data=pixels)


def color_message(stamp_ns: int, step: int, kind: str):
    if kind == "rgb8":
        return image(stamp_ns, kind, color(step))
    data = cv2.imencode(f".{kind}", cv2.cvtColor(color(step), cv2.COLOR_RGB2BGR))[1]
    return compressed(stamp_ns, f"rgb8; {kind} compressed bgr8", bytes(data))


def depth_message(stamp_ns: int, step: int, kind: str):
    if kind == "16UC1":
        return image(stamp_ns, kind, depth(step))
    if kind == "32FC1":
        metres = (depth(step) / 1000).astype(np.float32)
        metres[0, 0] = np.nan
        return image(stamp_ns, kind, metres)
    return compressed(stamp_ns, *encode_depth(depth(step), "png"))


def info_message(stamp_ns: int):
    matrix = np.array([30.0, 0, 12, 0, 30, 8, 0, 0, 1])
    roi = new("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    return new(
        "sensor_msgs/msg/CameraInfo", header=header(stamp_ns), height=HEIGHT, width=WIDTH,
        distortion_model="plumb_bob", d=np.zeros(5), k=matrix, r=np.eye(3).reshape(-1),
        p=np.zeros(12), binning_x=0, binning_y=0, roi=roi,
    )  # fmt: skip


def joint_message(stamp_ns: int, names: list[str], values: np.ndarray, velocity: float | None = None):
    none = np.zeros(0)
    speeds = none if velocity is None else np.full(len(values), velocity)
    return new(
        "sensor_msgs/msg/JointState", header=header(stamp_ns), name=names, position=values, velocity=speeds,
        effort=none,
    )  # fmt: skip


def tool_message(stamp_ns: int):
    x, y, z = position(stamp_ns).tolist()
    pose = new(
        "geometry_msgs/msg/Pose",
        position=new("geometry_msgs/msg/Point", x=x, y=y, z=z),
        orientation=new("geometry_msgs/msg/Quaternion", x=1.0, y=0.0, z=0.0, w=0.0),
    )
    return new("geometry_msgs/msg/PoseStamped", header=header(stamp_ns), pose=pose)


def messages(bag: Bag):
    """(receipt, topic, message) in the order of receipt."""
    found = []
    if bag.instruction:
        text = new("std_msgs/msg/String", data=bag.instruction)
        found.append((START_NS - 50_000_000, "/spatialbot/instruction", text))
    for step in range(bag.frames):
        now = START_NS + step * FRAME_NS
        stamp = 0 if bag.unstamped else now + bag.stamp_offset_ns
        if 0 <= bag.jump_at <= step:
            stamp += 20_000_000_000
        found.append((now + LATE_NS, "/cam/rgb", color_message(stamp, step, bag.color)))
        found.append((now + LATE_NS, "/cam/info", info_message(stamp)))
        if bag.depth != "none":
            found.append((now + LATE_NS, "/cam/depth", depth_message(stamp, step, bag.depth)))
        found.append((now + LATE_NS, "/diagnostics_text", new("std_msgs/msg/String", data="fine")))
    arm = [f"panda_joint{number}" for number in range(1, 8)]
    for tick in range(-2, bag.frames * 4):
        now = START_NS + tick * FRAME_NS // 4
        if bag.hand and tick > 0 and tick % 4 == 2:
            value = 0.04 if tick < bag.frames * 2 else 0.0
            found.append(
                (now, "/hand/joints", joint_message(now, ["panda_finger_joint1"], np.array([value])))
            )
        found.append(
            (now + 1000, "/robot/joints", joint_message(now, arm, np.linspace(0, 1, 7) + tick, bag.velocity))
        )
        if bag.tool:
            found.append((now + 1000, "/robot/tool", tool_message(now)))
    return sorted(found, key=lambda item: item[0])


def write(path: Path, bag: Bag | None = None) -> Path:
    """Write a recording; returns its directory."""
    bag = bag or Bag()
    with Writer(path, version=9, storage_plugin=bag.storage) as writer:
        connections = {}
        for log_ns, topic, message in messages(bag):
            name = NAMES.get(topic, topic) if bag.ours else topic
            name = "/hand/joints" if name == "gripper" else name
            if name not in connections:
                connections[name] = writer.add_connection(name, message.__msgtype__, typestore=store())
            writer.write(connections[name], log_ns, to_cdr(message))
    return path


def write_as_humble(path: Path, bag: Bag | None = None) -> Path:
    """The same as `ros2 bag record` of Humble leaves it: version 5, sqlite3, without message definitions."""
    path.mkdir(parents=True)
    rows, topics = [], {}
    for log_ns, topic, message in messages(bag or Bag()):
        known = topics.setdefault(topic, [len(topics) + 1, message.__msgtype__, 0])
        known[2] += 1
        rows.append((known[0], log_ns, to_cdr(message)))
    with closing(sqlite3.connect(path / "bag_0.db3")) as base:
        base.execute(
            "CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL, "
            "serialization_format TEXT NOT NULL, offered_qos_profiles TEXT NOT NULL)"
        )
        base.execute(
            "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, "
            "timestamp INTEGER NOT NULL, data BLOB NOT NULL)"
        )
        listed = [(number, name, kind, "cdr", "") for name, (number, kind, _) in topics.items()]
        base.executemany("INSERT INTO topics VALUES (?, ?, ?, ?, ?)", listed)
        base.executemany("INSERT INTO messages(topic_id, timestamp, data) VALUES (?, ?, ?)", rows)
        base.commit()
    counts = [
        {
            "topic_metadata": {
                "name": name, "type": kind, "serialization_format": "cdr", "offered_qos_profiles": ""
            },
            "message_count": count,
        }
        for name, (_, kind, count) in topics.items()
    ]  # fmt: skip
    span = {"nanoseconds": rows[-1][1] - rows[0][1]}, {"nanoseconds_since_epoch": rows[0][1]}
    facts = {
        "version": 5, "storage_identifier": "sqlite3", "duration": span[0], "starting_time": span[1],
        "message_count": len(rows), "topics_with_message_count": counts, "compression_format": "",
        "compression_mode": "", "relative_file_paths": ["bag_0.db3"],
        "files": [
            {"path": "bag_0.db3", "starting_time": span[1], "duration": span[0], "message_count": len(rows)}
        ],
    }  # fmt: skip
    (path / "metadata.yaml").write_text(yaml.safe_dump({"rosbag2_bagfile_information": facts}))
    return path
