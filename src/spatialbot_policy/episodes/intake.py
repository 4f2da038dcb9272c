"""What happens to a message that was received before it is written: looked at, packed, never lost."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from typing import Any

from spatialbot_policy.episodes import messages, topics
from spatialbot_policy.episodes.dataset import DatasetCamera
from spatialbot_policy.episodes.marks import ClockMarks
from spatialbot_policy.episodes.packed import PackedImage, pack_color, pack_depth, unpack
from spatialbot_policy.episodes.raw import header_stamp_ns
from spatialbot_policy.episodes.topics import CameraIntrinsics
from spatialbot_policy.errors import EpisodeError, FrameError
from spatialbot_policy.image_head import image_head

_BODY = 12  # bytes of a CDR message before its header's frame: four of its own, eight of the stamp
_FORMS = 64  # of a topic whose messages all differ in length, later ones are always decoded


def pack(cameras: Mapping[str, DatasetCamera], topic: str, data: bytes) -> bytes:
    """A message as the contract wants it in the file: pictures compressed where it says so.

    One that came compressed stays as it is: packing it again would lose twice.

    Raises:
        EpisodeError: the picture cannot be read.
    """
    if isinstance(data, PackedImage):
        return data
    for name, camera in cameras.items():
        if topic == topics.color_topic(name) and camera.color_encoding == "jpeg":
            return PackedImage(pack_color(data, topic, camera.jpeg_quality))
        if topic == topics.depth_topic(name) and camera.depth_encoding != "raw":
            packed = pack_depth(data, topic, camera.depth_encoding)
            return data if packed is None else PackedImage(packed)
    return data


class RawIntake:
    """Looks at the messages of a raw recording as they come.

    A message that does not fit the episode, such as a picture of another size, is kept under a name of its
    own (`SET_ASIDE`), so that the rest can be read. Only the first of a topic is refused.

    Args:
        cameras: of the contract.

    Attributes:
        stamps: header stamps by topic.
        intrinsics: of the cameras whose info came.
    """

    def __init__(self, cameras: Mapping[str, DatasetCamera]) -> None:
        self._cameras = cameras
        self._types = topics.topic_types(tuple(cameras))
        self._infos = {topics.camera_info_topic(name): name for name in cameras}
        self._images: dict[str, tuple[DatasetCamera, Callable[[Any, str], object]]] = {}
        for name, camera in cameras.items():
            self._images[topics.color_topic(name)] = camera, messages.decode_color
            self._images[topics.depth_topic(name)] = camera, messages.decode_depth
        self._clocks = ClockMarks()
        self._shift_ns = 0
        self._log_ns: dict[str, int] = {}
        self._forms: dict[str, set[tuple[int, str]]] = {}
        self._calibrations: dict[str, bytes] = {}
        self._aside: dict[str, dict[str, object]] = {}
        self.stamps: dict[str, array[int]] = {}
        self.intrinsics: dict[str, CameraIntrinsics] = {}

    def take(self, topic: str, log_ns: int, data: bytes) -> tuple[str, int, bytes]:
        """Name, log time and bytes under which a message is written.

        Raises:
            EpisodeError: the topic is not in the contract, or its first message is not what it says.
        """
        if topic not in self._types:
            raise EpisodeError(f"{topic} is not in the topic contract: {', '.join(self._types)}")
        log_ns = self._log_time(topic, log_ns)
        try:
            stamp_ns = header_stamp_ns(data, self._types[topic], log_ns)
            self._check(topic, data)
            packed = pack(self._cameras, topic, data)
        except (EpisodeError, FrameError) as error:
            if topic not in self.stamps:
                raise
            self._set_aside(topic, log_ns, str(error))
            return topic + topics.SET_ASIDE, log_ns, data
        self._clocks.look(topic, stamp_ns, log_ns)
        self.stamps.setdefault(topic, array("q")).append(stamp_ns)
        return topic, log_ns, packed

    def facts(self) -> dict[str, object]:
        """What is odd about the recording, for `extra`."""
        return {**self._clocks.facts(), **({"set_aside": self._aside} if self._aside else {})}

    def _log_time(self, topic: str, log_ns: int) -> int:
        """Time of receipt that never runs backwards: when the clock is set back, ours goes on from there."""
        self._shift_ns += self._clocks.receive(log_ns)
        log_ns += self._shift_ns
        latest_ns = self._log_ns.get(topic, log_ns - 1)
        self._log_ns[topic] = max(log_ns, latest_ns + 1)  # two messages of a burst may share their time
        return self._log_ns[topic]

    def _check(self, topic: str, data: bytes) -> None:
        """Refuse what a reader of the episode could not use; costs microseconds for what is as before."""
        if topic in self._infos:
            self._check_calibration(topic, data)
        encoding = self._check_size(topic, data) if topic in self._images else ""
        known = self._forms.setdefault(topic, set())
        if (len(data), encoding) in known:
            return
        message = messages.decode(data, self._types[topic], topic)
        if topic == topics.JOINTS_TOPIC:
            messages.decode_joints(message, topic)
        elif topic in (topics.ACTION_TOPIC, topics.EXECUTED_TOPIC):
            messages.decode_action(message, topic)
        elif topic in self._images:
            self._images[topic][1](message, topic)
        if len(known) < _FORMS:
            known.add((len(data), encoding))

    def _check_size(self, topic: str, data: bytes) -> str:
        """Refuse a picture of another size; returns its encoding."""
        width, height, encoding = image_form(data, topic)
        camera = self._images[topic][0]
        if (width, height) != (camera.width, camera.height):
            raise EpisodeError(
                f"{topic} is {width} x {height}, the data set says {camera}; set the camera accordingly or "
                "record into another data set"
            )
        return encoding

    def _check_calibration(self, topic: str, data: bytes) -> None:
        first = self._calibrations.setdefault(topic, data[_BODY:])
        if data[_BODY:] != first:
            raise EpisodeError(f"{topic}: the calibration changes within the episode; the first one holds")
        if self._infos[topic] not in self.intrinsics:
            message = messages.decode(data, topics.CAMERA_INFO, topic)
            self.intrinsics[self._infos[topic]] = messages.decode_camera_info(message)

    def _set_aside(self, topic: str, log_ns: int, why: str) -> None:
        facts = self._aside.setdefault(topic, {"messages": 0, "first_ns": log_ns, "why": why})
        facts["messages"] = int(str(facts["messages"])) + 1


def image_form(data: bytes, topic: str) -> tuple[int, int, str]:
    """Width, height and encoding of an Image message, read from its head.

    Raises:
        EpisodeError: the message is cut off, has fewer pixels than it says, or is a compressed one that
            cannot be read.
    """
    if isinstance(data, PackedImage):
        image = unpack(data, topic)
        return int(image.width), int(image.height), str(image.encoding)
    try:
        return image_head(data).form
    except FrameError as error:
        raise EpisodeError(f"{topic}: {error}") from error
