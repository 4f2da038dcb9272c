"""Which topic of a foreign recording is which of the contract: by name, or as the user maps them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from spatialbot_policy.episodes import topics
from spatialbot_policy.errors import InterchangeError

_PACKED_ENDS = ("/compressedDepth", "/compressed")
GRIPPER = "gripper"
"""Target for a JointState that holds the hand's fingers alone."""


@dataclass(frozen=True)
class BagTopic:
    """A topic of a recording: its name, its type and how many messages it has."""

    name: str
    type_name: str
    count: int


@dataclass(frozen=True)
class TopicMap:
    """What is taken from a recording.

    Attributes:
        targets: topic of the recording -> topic of the contract, or `GRIPPER`.
        cameras: in the order in which they were mapped; the first one's pictures make the steps.
        unused: topics that are left out.
    """

    targets: Mapping[str, str]
    cameras: tuple[str, ...]
    unused: tuple[BagTopic, ...]

    def source_of(self, target: str) -> str | None:
        """Topic of the recording behind one of the contract."""
        return next((name for name, ours in self.targets.items() if ours == target), None)

    def has(self, target: str) -> bool:
        """Whether a topic of the contract is served."""
        return target in self.targets.values()


def read_map(pairs: Sequence[str], file: Path | None = None) -> dict[str, str]:
    """Take a mapping from options and from a YAML file of `/theirs: /ours`; options win.

    Raises:
        InterchangeError: a pair without '=', or a file that is no such mapping.
    """
    found: dict[str, str] = {}
    if file is not None:
        try:
            data = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise InterchangeError(f"the mapping {file} cannot be read ({error})") from error
        if not isinstance(data, dict) or not all(
            isinstance(item, str) for pair in data.items() for item in pair
        ):
            raise InterchangeError(f"{file} must hold lines such as '/theirs: /ours'")
        found |= data
    for pair in pairs:
        theirs, equals, ours = pair.partition("=")
        if not (equals and theirs and ours):
            raise InterchangeError(
                f"--map {pair} is not THEIRS=OURS, e.g. --map /cam/rgb=/camera/camera/color/image_raw"
            )
        found[theirs] = ours
    return found


def map_topics(found: Sequence[BagTopic], given: Mapping[str, str], where: str) -> TopicMap:
    """Decide what each topic of a recording is.

    Args:
        found: the recording's topics.
        given: theirs -> ours, as the user says.
        where: recording for messages.

    Raises:
        InterchangeError: a mapping from or to what does not exist, a topic with two types or one of another
            type than the contract's, or no colour camera; the message lists the recording's topics.
    """
    by_name: dict[str, BagTopic] = {}
    for topic in found:
        if topic.name in by_name and by_name[topic.name].type_name != topic.type_name:
            raise InterchangeError(
                f"{where}: {topic.name} changes its type from {by_name[topic.name].type_name} to "
                f"{topic.type_name}; cut the recording there (ros2 bag convert) and import the parts"
            )
        count = topic.count + (by_name[topic.name].count if topic.name in by_name else 0)
        by_name[topic.name] = BagTopic(topic.name, topic.type_name, count)
    absent = [name for name in given if name not in by_name]
    if absent:
        raise InterchangeError(f"{where}: --map names {absent[0]}, which it does not have; {_listing(found)}")
    targets = {name: ours for name, ours in given.items() if by_name[name].count}
    for name, topic in by_name.items():
        guess = _guess(name, by_name)
        if topic.count and name not in given and guess is not None and guess not in targets.values():
            targets[name] = guess
    cameras = tuple(dict.fromkeys(camera for ours in targets.values() if (camera := _camera(ours))))
    _check(targets, by_name, cameras, found, where)
    unused = tuple(topic for name, topic in by_name.items() if name not in targets)
    return TopicMap(targets, cameras, unused)


def _guess(name: str, by_name: Mapping[str, BagTopic]) -> str | None:
    """The contract's topic of the same name; a compressed picture only where there is no plain one."""
    plain = name
    for end in _PACKED_ENDS:
        plain = plain.removesuffix(end)
    if plain != name and plain in by_name and by_name[plain].count:
        return None
    if plain in topics.FIXED_TOPICS and plain == name:
        return plain
    camera = _camera_of_any(plain)
    return plain if camera and plain in topics.topic_types((camera,)) else None


def _camera(ours: str) -> str | None:
    """Camera whose colour a topic of the contract is."""
    parts = ours.split("/")
    return parts[2] if len(parts) == 5 and ours == topics.color_topic(parts[2]) else None


def _camera_of_any(ours: str) -> str | None:
    parts = ours.split("/")
    return parts[2] if len(parts) == 5 and parts[1] == "camera" else None


def _check(
    targets: Mapping[str, str],
    by_name: Mapping[str, BagTopic],
    cameras: tuple[str, ...],
    found: Sequence[BagTopic],
    where: str,
) -> None:
    if not cameras:
        example = topics.color_topic("camera")
        raise InterchangeError(
            f"{where}: no colour camera among its topics; say which it is, e.g. --map /theirs={example}. "
            + _listing(found)
        )
    known = {**topics.topic_types(cameras), GRIPPER: topics.JOINT_STATE}
    served: dict[str, str] = {}
    for name, ours in targets.items():
        if ours not in known:
            raise InterchangeError(
                f"{where}: --map {name}={ours}: that is no topic of the contract: {', '.join(known)}"
            )
        if ours in served:
            raise InterchangeError(
                f"{where}: {served[ours]} and {name} are both mapped to {ours}; leave one out"
            )
        served[ours] = name
        wanted, is_type = known[ours], by_name[name].type_name
        if is_type != wanted and not (wanted == topics.IMAGE and is_type == topics.COMPRESSED_IMAGE):
            raise InterchangeError(
                f"{where}: {name} is {is_type}, {ours} is {wanted}; map another topic to it. "
                f"{_listing(found)}"
            )
    lacking = [camera for camera in cameras if topics.camera_info_topic(camera) not in served]
    if lacking:
        raise InterchangeError(
            f"{where}: camera '{lacking[0]}' has no CameraInfo; give it with --map "
            f"/theirs={topics.camera_info_topic(lacking[0])}. {_listing(found)}"
        )


def _listing(found: Sequence[BagTopic]) -> str:
    rows = [f"{topic.name} ({topic.type_name}, {topic.count})" for topic in found]
    return f"It has {', '.join(rows) or 'no topics'}"
