"""What an episode is about beside its messages: description, fixed transforms, software, settings."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import yaml
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import String
from tf2_msgs.msg import TFMessage

from spatialbot_policy.provenance import git_commit, machine, software_version, versions
from spatialbot_ros.nodes.recorder_parameters import RecorderParameters

DESCRIPTION, STATIC = "robot_description.urdf", "tf_static.json"
SETTINGS, SOFTWARE = "recorder.yaml", "software.json"

Attachment = tuple[str, str, bytes]
"""Name, media type and content."""


class RecordingContext:
    """Listens for what is said once, at a robot's start, and gives it to each episode.

    Args:
        node: the recorder.
        values: names of the topics; "" leaves one out.
    """

    def __init__(self, node: Node, values: RecorderParameters) -> None:
        self._description = ""
        self._static: dict[str, dict[str, object]] = {}
        # several nodes publish fixed transforms, each its own
        latched = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        for topic, kind, callback in (
            (values.description_topic, String, self._on_description),
            (values.static_transforms_topic, TFMessage, self._on_static),
        ):
            if topic:
                node.create_subscription(kind, topic, callback, latched)

    def _on_description(self, message: String) -> None:
        self._description = message.data

    def _on_static(self, message: TFMessage) -> None:
        for item in message.transforms:
            self._static[item.child_frame_id] = _transform(item)

    def attachments(self, values: RecorderParameters) -> Iterator[Attachment]:
        """What is known now.

        Args:
            values: the recorder's present parameters.
        """
        if self._description:
            yield DESCRIPTION, "application/xml", self._description.encode()
        if self._static:
            frames = [self._static[child] for child in sorted(self._static)]
            yield STATIC, "application/json", json.dumps(frames, indent=2).encode()
        settings = json.loads(json.dumps(dataclasses.asdict(values)))
        yield SETTINGS, "application/yaml", yaml.safe_dump(settings, sort_keys=False).encode()
        yield SOFTWARE, "application/json", json.dumps(_software(), indent=2).encode()


def _transform(item: Any) -> dict[str, object]:
    at, turn = item.transform.translation, item.transform.rotation
    return {
        "parent": item.header.frame_id,
        "child": item.child_frame_id,
        "translation_m": [at.x, at.y, at.z],
        "rotation_xyzw": [turn.x, turn.y, turn.z, turn.w],
    }


def _software() -> dict[str, object]:
    return {
        "spatialbot": software_version(),
        "git_commit": git_commit(),
        "packages": versions(),
        "machine": machine(),
        "ros_distro": os.environ.get("ROS_DISTRO"),
        "arguments": sys.argv,
    }
