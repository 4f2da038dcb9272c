"""A foreign recording made uniform: joints under our names, the hand merged in, stamps as asked for."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import Reader, ReaderError

from spatialbot_policy.episodes import topics
from spatialbot_policy.episodes.cdr import from_cdr, to_cdr
from spatialbot_policy.episodes.packed import PackedImage
from spatialbot_policy.episodes.raw import header_stamp_ns
from spatialbot_policy.errors import InterchangeError
from spatialbot_policy.interchange.deltas import GripperConvention, closure_of
from spatialbot_policy.interchange.rosbag_topics import GRIPPER, BagTopic, TopicMap

_JUMP_NS = 500_000_000
_ARM = re.compile(r"(?P<prefix>.*?)joint_?(?P<number>[1-7])$")
_FINGER = re.compile(r".*finger_joint_?1$|.*finger_joint$")
_CONTRACT = (*topics.ARM_JOINTS, topics.FINGER_JOINT)
_DAMAGED = (ReaderError, OSError, ValueError, KeyError, struct.error, RuntimeError)


@dataclass(frozen=True)
class Arrival:
    """One message: our topic, when it was received, and its CDR bytes."""

    topic: str
    log_ns: int
    data: bytes


@dataclass
class StreamFaults:
    """What was found wrong with single messages, counted.

    Attributes:
        joints_without_hand: joint states before the hand's first one: its closure is not known then.
        no_arm: joint states that hold neither arm nor hand.
    """

    joints_without_hand: int = 0
    no_arm: int = 0


def bag_topics(path: Path) -> list[BagTopic]:
    """Topics of a rosbag2 directory, sqlite3 or mcap.

    Raises:
        InterchangeError: no rosbag2 recording, of a version that is not known, or damaged.
    """
    if path.suffix == ".bag":
        raise InterchangeError(f"{path} is a recording of ROS 1; run 'rosbags-convert --src {path}' first")
    try:
        with Reader(path) as reader:
            return [BagTopic(item.topic, item.msgtype, item.msgcount) for item in reader.connections]
    except _DAMAGED as error:
        raise InterchangeError(
            f"{path} cannot be opened as a rosbag2 recording ({error}); give the folder with metadata.yaml"
        ) from error


def is_jpeg(data: bytes, topic: str) -> bool:
    """Whether a compressed picture is one that has lost detail."""
    message: Any = from_cdr(data, topics.COMPRESSED_IMAGE, topic)
    return bytes(message.data[:2]) == b"\xff\xd8"


class BagStream:
    """Messages of a recording under our names, in the order of receipt; can be read several times.

    Args:
        path: rosbag2 directory.
        mapping: which topic is which.
        gripper: what the finger's position means.
        by_receipt: replace header stamps by times of receipt, for recordings whose clocks disagree.
    """

    def __init__(
        self, path: Path, mapping: TopicMap, gripper: GripperConvention, by_receipt: bool = False
    ) -> None:
        self.path, self._map, self._gripper, self._by_receipt = path, mapping, gripper, by_receipt
        self._types = {**topics.topic_types(mapping.cameras), GRIPPER: topics.JOINT_STATE}
        self.faults = StreamFaults()

    def __iter__(self) -> Iterator[Arrival]:
        """Read the recording once.

        Raises:
            InterchangeError: it is damaged.
        """
        self.faults, hand = StreamFaults(), _Hand(self._gripper, str(self.path))
        for name, type_name, log_ns, data in self._raw():
            target = self._map.targets[name]
            if type_name == topics.COMPRESSED_IMAGE:
                data = PackedImage(data)
            elif target in (topics.JOINTS_TOPIC, GRIPPER):
                merged = hand.merge(data, target == topics.JOINTS_TOPIC, name, self.faults)
                if merged is None:
                    continue
                data, target = merged, topics.JOINTS_TOPIC
            if self._by_receipt and self._types[target] not in (topics.STRING, topics.TF_MESSAGE):
                data = _restamp(data, log_ns)
            yield Arrival(target, log_ns, data)

    def _raw(self) -> Iterator[tuple[str, str, int, bytes]]:
        try:
            with Reader(self.path) as reader:
                wanted = [item for item in reader.connections if item.topic in self._map.targets]
                for connection, log_ns, data in reader.messages(connections=wanted):
                    yield connection.topic, connection.msgtype, log_ns, bytes(data)
        except InterchangeError:
            raise
        except _DAMAGED as error:
            raise InterchangeError(
                f"{self.path} is damaged ({type(error).__name__}: {error}); bring back a whole copy, "
                "or mend it "
                "with 'ros2 bag reindex'"
            ) from error

    def stamp_ns(self, arrival: Arrival) -> int:
        """Header stamp of a message."""
        return header_stamp_ns(arrival.data, self._types[arrival.topic], arrival.log_ns)


class ClockCheck:
    """Watches one topic's header stamps against the times of receipt."""

    def __init__(self, topic: str, where: str) -> None:
        self._topic, self._where = topic, where
        self._last: tuple[int, int] | None = None

    def see(self, stamp_ns: int, log_ns: int) -> None:
        """Take in one message.

        Raises:
            InterchangeError: the stamp is unset, goes back, or jumps against the time of receipt.
        """
        if stamp_ns <= 0:
            raise InterchangeError(
                f"{self._where}: {self._topic} has messages without a stamp; import it with --stamps receive"
            )
        if self._last is not None:
            step, waited = stamp_ns - self._last[0], log_ns - self._last[1]
            if step <= 0 or abs(step - waited) > _JUMP_NS + abs(waited):
                raise InterchangeError(
                    f"{self._where}: the clock of {self._topic} jumps from {self._last[0]} to "
                    f"{stamp_ns} ns within "
                    f"{waited / 1e9:.3f} s; cut the recording there, or import it with --stamps receive"
                )
        self._last = stamp_ns, log_ns


class _Hand:
    """Joint states as the contract has them: seven arm joints and one finger in each message."""

    def __init__(self, convention: GripperConvention, where: str) -> None:
        self._convention, self._where = convention, where
        self._finger_m: float | None = None

    def merge(self, data: bytes, carries_arm: bool, topic: str, faults: StreamFaults) -> bytes | None:
        """The message with our names and the last known finger; None for one that is not passed on."""
        message: Any = from_cdr(data, topics.JOINT_STATE, topic)
        values = dict(zip(message.name, np.asarray(message.position, dtype=np.float64), strict=False))
        for name, value in values.items():
            if _FINGER.match(name) or not carries_arm:
                closure = closure_of(float(value), self._convention, f"{self._where}, {topic}, {name}")
                self._finger_m = (1.0 - closure) * topics.FINGER_OPEN_M
                break
        if not carries_arm:
            return None
        if self._convention is GripperConvention.FINGER_M and set(_CONTRACT) <= set(values):
            return data  # as the contract has it: every byte stays
        arm = _arm_places(list(message.name))
        if arm is None:
            faults.no_arm += 0 if any(_FINGER.match(name) for name in values) else 1
            return None
        if self._finger_m is None:
            faults.joints_without_hand += 1
            return None
        finger = {"position": self._finger_m}  # its velocity and effort are not those of this message
        for field in ("position", "velocity", "effort"):
            numbers = np.asarray(getattr(message, field), dtype=np.float64)
            if len(numbers) == len(message.name):
                setattr(message, field, np.append(numbers[arm], finger.get(field, np.nan)))
        message.name = list(_CONTRACT)
        return to_cdr(message)


def _arm_places(names: list[str]) -> list[int] | None:
    """Where joints 1 to 7 stand among the names, whatever is before their number."""
    found = {
        int(match["number"]): place
        for place, name in enumerate(names)
        if (match := _ARM.match(name)) and not _FINGER.match(name)
    }
    return [found[number] for number in range(1, 8)] if len(found) == 7 else None


def _restamp(data: bytes, log_ns: int) -> bytes:
    order = "<" if data[1] & 1 else ">"
    stamped = data[:4] + struct.pack(f"{order}iI", *divmod(log_ns, 10**9)) + data[12:]
    return PackedImage(stamped) if isinstance(data, PackedImage) else stamped
