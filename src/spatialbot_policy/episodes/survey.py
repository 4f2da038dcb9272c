"""What can be read of an episode's file, complete or cut off."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from spatialbot_policy.episodes import messages
from spatialbot_policy.episodes.marks import ClockMarks
from spatialbot_policy.episodes.mcap_file import read_messages
from spatialbot_policy.episodes.raw import header_stamp_ns
from spatialbot_policy.episodes.topics import CAMERA_INFO, CameraIntrinsics, camera_info_topic
from spatialbot_policy.errors import EpisodeError


@dataclass
class Survey:
    """The messages of a file up to where it is damaged, or a chunk is missing.

    Attributes:
        stamps: log times by topic.
        header_stamps: header stamps by topic.
        messages: how many.
        intrinsics: of the cameras whose info was found.
        clocks: what is odd about their stamps.
    """

    stamps: dict[str, list[int]] = field(default_factory=dict)
    header_stamps: dict[str, list[int]] = field(default_factory=dict)
    messages: int = 0
    intrinsics: dict[str, CameraIntrinsics] = field(default_factory=dict)
    clocks: ClockMarks = field(default_factory=ClockMarks)


def survey(mcap: Path, types: Mapping[str, str], cameras: Iterable[str]) -> Survey:
    """Read what can be read.

    Raises:
        EpisodeError: not even one message.
    """
    found = Survey()
    names = {camera_info_topic(camera): camera for camera in cameras}
    try:
        for message in read_messages(mcap, types):
            stamps = found.stamps.setdefault(message.topic, [])
            if message.sequence != len(stamps):
                break  # a chunk before this one is gone: what follows would leave a hole
            stamps.append(message.log_time_ns)
            header_ns = header_stamp_ns(message.data, types[message.topic], message.log_time_ns)
            found.header_stamps.setdefault(message.topic, []).append(header_ns)
            found.clocks.look(message.topic, header_ns, message.log_time_ns)
            found.messages += 1
            camera = names.get(message.topic)
            if camera is not None and camera not in found.intrinsics:
                info = messages.decode(message.data, CAMERA_INFO, message.topic)
                found.intrinsics[camera] = messages.decode_camera_info(info)
    except EpisodeError:
        if not found.messages:
            raise
    return found
