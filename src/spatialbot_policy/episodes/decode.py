"""From an episode's messages to values: one message at a time, and stacked by topic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from spatialbot_policy.episodes import messages, topics
from spatialbot_policy.errors import EpisodeError
from spatialbot_policy.types import FloatArray


def decode_one(topic: str, data: bytes, log_time_ns: int, types: Mapping[str, str]) -> tuple[int, Any]:
    """Header stamp (log time for types without a header) and value of one message."""
    message = messages.decode(data, types[topic], topic)
    if topic == topics.INSTRUCTION_TOPIC:
        return log_time_ns, str(message.data)
    if topic == topics.TF_TOPIC:
        return messages.decode_transforms(message, log_time_ns)
    stamp_ns = messages.stamp_of(message)
    if topic in (topics.ACTION_TOPIC, topics.EXECUTED_TOPIC):
        return stamp_ns, messages.decode_action(message, topic)
    if topic == topics.JOINTS_TOPIC:
        return stamp_ns, messages.decode_joints(message, topic)
    if topic == topics.POSE_TOPIC:
        return stamp_ns, messages.decode_pose(message)
    if types[topic] == topics.CAMERA_INFO:
        return stamp_ns, None
    is_depth = "aligned_depth_to_color" in topic
    return stamp_ns, messages.decode_depth(message, topic) if is_depth else messages.decode_color(
        message, topic
    )


def check_size(topic: str, shapes: set[tuple[int, ...]]) -> None:
    """Refuse images of more than one size.

    Raises:
        EpisodeError: there are several.
    """
    if len(shapes) > 1:
        raise EpisodeError(f"{topic}: the image size changes within the episode; record one size per episode")


def stack(decoded: Mapping[str, Mapping[int, Any]], topic: str) -> Any:
    """Stack the values of a joined topic; None when it has no messages."""
    values = list(decoded.get(topic, {}).values())
    check_size(topic, {value.shape for value in values})
    return np.stack(values) if values else None


def executed_rows(sent: Mapping[int, tuple[FloatArray, bool]], steps: list[int]) -> FloatArray | None:
    """(T, 7) what was sent at each step, rows of NaN where nothing was; None where nothing was at all."""
    if not sent:
        return None
    nothing = np.full(7, np.nan)
    return np.stack([sent[step][0] if step in sent else nothing for step in steps])


def transform_rows(
    written: Mapping[int, Mapping[str, FloatArray]], steps: list[int]
) -> dict[str, FloatArray]:
    """Frame to (T, 7) poses; rows of NaN at steps where a frame was not written."""
    names = dict.fromkeys(name for entry in written.values() for name in entry)
    poses = {name: np.full((len(steps), 7), np.nan) for name in names}
    for row, step in enumerate(steps):
        for name, pose in written.get(step, {}).items():
            poses[name][row] = pose
    return poses
