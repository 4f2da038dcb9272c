"""An episode as beats: the messages up to a frame's last, raw CDR in the order of the recording."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spatialbot_policy.episode import EpisodeReader
from spatialbot_policy.episodes.info import MCAP_FILE
from spatialbot_policy.episodes.mcap_file import RawMessage, read_messages
from spatialbot_policy.episodes.raw import header_stamp_ns
from spatialbot_policy.episodes.topics import color_topic, depth_topic, topic_types
from spatialbot_policy.errors import ConfigError, EpisodeError
from spatialbot_policy.types import RgbdFrame
from spatialbot_ros.logic.observation_builder import ObservationBuilder
from spatialbot_ros.logic.rgbd_pairing import RgbdPairing

_PIXEL = np.zeros((1, 1, 3), np.uint8)


@dataclass(frozen=True)
class Beat:
    """Messages that are played together.

    Attributes:
        messages: in the order of the file.
        clock_ns: time at which the last of them was recorded.
        frame_ns: stamp of the observation that they complete; None at the end of a recording.
    """

    messages: tuple[RawMessage, ...]
    clock_ns: int
    frame_ns: int | None


class _Join:
    """Says when policy_node has an observation: the same pairing as there, on stamps without images."""

    def __init__(self, cameras: tuple[str, ...], pair_ns: int, camera_ns: int, topics: set[str]) -> None:
        self._cameras = {name(camera): camera for camera in cameras for name in (color_topic, depth_topic)}
        self._pairing: dict[str, RgbdPairing[None, None]] = {
            camera: RgbdPairing(pair_ns) for camera in cameras if depth_topic(camera) in topics
        }
        self._builder = ObservationBuilder(cameras, camera_ns)

    def push(self, topic: str, stamp_ns: int) -> int | None:
        """Take an image; return the stamp of the observation that it completes."""
        camera = self._cameras.get(topic)
        if camera is None:
            return None
        pairing = self._pairing.get(camera)
        if pairing is not None:
            push = pairing.push_color if topic == color_topic(camera) else pairing.push_depth
            pair = push(stamp_ns, None)
            if pair is None:
                return None
            stamp_ns = pair.stamp_ns
        observation = self._builder.push_frame(RgbdFrame(camera, stamp_ns, _PIXEL), "")
        return None if observation is None else observation.stamp_ns


class ReplayEpisode:
    """One committed episode of a trajectory, ready to be played.

    Args:
        path: the episode's directory.
        pair_tolerance_ns, camera_tolerance_ns: as in policy_node.

    Attributes:
        cameras: their names.
        topics: those recorded, and their types.
        frames: how many observations it holds.

    Raises:
        EpisodeError: it is no episode, never was committed, or is damaged.
        ConfigError: it is a collection of stills, which no clock runs through.
    """

    def __init__(self, path: str | Path, pair_tolerance_ns: int = 0, camera_tolerance_ns: int = 0) -> None:
        self._path = Path(path)
        self._tolerances = pair_tolerance_ns, camera_tolerance_ns
        reader = EpisodeReader(self._path)
        if reader.info.kind != "demo":
            raise ConfigError(f"parameter 'episode' is {path}, a collection of stills; give a trajectory")
        self.cameras = reader.cameras
        self.topics = {
            topic: kind for topic, kind in topic_types(self.cameras).items() if topic in reader.info.counts
        }
        self.frames = sum(beat.frame_ns is not None for beat in self.beats())  # reads, and so checks, all
        if not self.frames:
            raise EpisodeError(
                f"{path} has no complete frame of {', '.join(self.cameras)}; nothing to replay"
            )

    def beats(self) -> Iterator[Beat]:
        """The episode from its beginning.

        A beat ends when an observation is complete and the log time moves on.

        Raises:
            EpisodeError: the file is damaged.
        """
        join = _Join(self.cameras, *self._tolerances, set(self.topics))
        held: list[RawMessage] = []
        frame_ns: int | None = None
        clock_ns = 0
        for message in read_messages(self._path / MCAP_FILE, self.topics):
            if frame_ns is not None and message.log_time_ns > clock_ns:
                yield Beat(tuple(held), clock_ns, frame_ns)
                held, frame_ns = [], None
            held.append(message)
            clock_ns = max(clock_ns, message.log_time_ns)
            stamp_ns = header_stamp_ns(message.data, self.topics[message.topic], message.log_time_ns)
            complete_ns = join.push(message.topic, stamp_ns)
            frame_ns = frame_ns if complete_ns is None else complete_ns
        if held:
            yield Beat(tuple(held), clock_ns, frame_ns)
