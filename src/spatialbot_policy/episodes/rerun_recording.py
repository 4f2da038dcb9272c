"""An episode as a rerun recording, to look at it in time: pictures, depth, poses, commands, instruction."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from spatialbot_policy.action_space import ACTION_NAMES
from spatialbot_policy.episodes import topics
from spatialbot_policy.episodes.decode import decode_one
from spatialbot_policy.episodes.info import MCAP_FILE
from spatialbot_policy.episodes.mcap_file import read_messages
from spatialbot_policy.episodes.reader import EpisodeReader
from spatialbot_policy.errors import EpisodeError

_JPEG_QUALITY = 90
_MILLIMETRES = 1000.0  # depth units in a metre


def write_rerun(reader: EpisodeReader, path: Path) -> int:
    """Write every message of an episode, one at a time, at the time of its header.

    Args:
        reader: the episode.
        path: of the `.rrd` file; replaced if it is there.

    Returns:
        number of messages.

    Raises:
        ModuleNotFoundError: rerun is not installed.
        EpisodeError: the episode is damaged, or the file cannot be written.
    """
    import rerun

    stream: Any = rerun.RecordingStream(
        "spatialbot", recording_id=f"{reader.path.parent.parent.name}-{reader.path.name}"
    )
    try:
        path.touch()  # rerun itself would only log that it cannot
        stream.save(path)
    except OSError as error:
        raise EpisodeError(f"{path} cannot be written ({error}); pass another --out") from error
    for camera, view in reader.info.intrinsics.items():
        pinhole = rerun.Pinhole(image_from_camera=view.matrix, width=view.width, height=view.height)
        stream.log(f"cameras/{camera}", pinhole, static=True)
    types, count = topics.topic_types(reader.cameras), 0
    for message in read_messages(reader.path / MCAP_FILE, types):
        stamp_ns, value = decode_one(message.topic, message.data, message.log_time_ns, types)
        stream.set_time("time", timestamp=np.datetime64(stamp_ns, "ns"))
        for name, item in _items(rerun, message.topic, value).items():
            stream.log(name, item)
        count += 1
    stream.disconnect()
    return count


def _items(rerun: Any, topic: str, value: Any) -> Mapping[str, Any]:
    """Where one decoded message goes in the recording, and as what."""
    parts = topic.split("/")
    if topic == topics.INSTRUCTION_TOPIC:
        return {"instruction": rerun.TextLog(value)}
    if topic in (topics.ACTION_TOPIC, topics.EXECUTED_TOPIC):
        kind = "asked" if topic == topics.ACTION_TOPIC else "executed"
        names = (f"actions/{name}/{kind}" for name in ACTION_NAMES)
        return {name: rerun.Scalars([number]) for name, number in zip(names, value[0], strict=True)}
    if topic == topics.JOINTS_TOPIC:
        return {f"joints/{joint}": rerun.Scalars([number]) for joint, number in enumerate(value, start=1)}
    if topic == topics.POSE_TOPIC:
        return {"robot/tool": _pose(rerun, value)}
    if topic == topics.TF_TOPIC:
        return {f"robot/{name}": _pose(rerun, pose) for name, pose in value.items()}
    if value is None:  # camera info: the same all the time
        return {}
    if "aligned_depth_to_color" in parts:
        return {f"cameras/{parts[2]}/depth": rerun.DepthImage(value, meter=_MILLIMETRES)}
    return {f"cameras/{parts[2]}/color": rerun.Image(value).compress(jpeg_quality=_JPEG_QUALITY)}


def _pose(rerun: Any, pose: Any) -> Any:
    return rerun.Transform3D(translation=pose[:3], quaternion=rerun.Quaternion(xyzw=pose[3:]))
