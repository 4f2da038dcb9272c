"""Reads one committed episode: joined observations and actions, or stacked arrays for training."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from spatialbot_policy.episodes import topics
from spatialbot_policy.episodes.decode import check_size, decode_one, executed_rows, stack, transform_rows
from spatialbot_policy.episodes.info import INFO_FILE, MCAP_FILE, EpisodeInfo
from spatialbot_policy.episodes.join import check_join, required_topics
from spatialbot_policy.episodes.mcap_file import read_messages
from spatialbot_policy.episodes.raw import Sources, align, check_instruction, header_stamp_ns
from spatialbot_policy.errors import EpisodeError
from spatialbot_policy.provenance import sha256_of
from spatialbot_policy.types import (
    ActionStep,
    DepthArray,
    FloatArray,
    Observation,
    RgbdFrame,
    RobotState,
    UInt8Array,
)


class EpisodeArrays(TypedDict):
    """An episode of T steps as stacked arrays; what was not recorded is None or, per camera, absent.

    Keys:
        stamps: (T,) int64 nanoseconds.
        instructions: T strings, the instruction that held at each step.
        color: camera to (T, H, W, 3) uint8 RGB.
        depth: camera to (T, H, W) uint16 millimetres (uint32 when a pixel needs it), 0 = invalid.
        tcp_pose: (T, 7) position in metres and quaternion x, y, z, w in the base frame.
        closure: (T,) gripper closure, 0 = open.
        joints: (T, 7) radians.
        actions: (T, 7) as `ActionStep.as_vector`.
        terminate: (T,) bool, the flag of `actions`.
        executed: (T, 7) what was really sent; rows of NaN where nothing was.
        transforms: frame to (T, 7) pose in the base frame; rows of NaN where a still lacks the frame.
    """

    stamps: NDArray[np.int64]
    instructions: list[str]
    color: dict[str, UInt8Array]
    depth: dict[str, DepthArray]
    tcp_pose: FloatArray | None
    closure: FloatArray | None
    joints: FloatArray | None
    actions: FloatArray | None
    terminate: NDArray[np.bool_] | None
    executed: FloatArray | None
    transforms: dict[str, FloatArray]


class EpisodeReader:
    """One committed episode. Opening reads `episode.json`; messages are decoded once, on demand."""

    def __init__(self, path: Path | str) -> None:
        """Open an episode's directory, such as `DATASET/episodes/000042`.

        Raises:
            EpisodeError: not an episode, not committed, of a newer schema, or `episode.mcap` has not the
                recorded size.
        """
        self.path = Path(path)
        self.info = EpisodeInfo.load(self.path)
        self._mcap = self.path / MCAP_FILE
        self._sent: Mapping[int, tuple[FloatArray, bool]] = {}
        if not self.info.committed or not self.info.intrinsics:
            raise EpisodeError(
                f"{self.path} was never committed; run 'spatialbot episodes recover "
                f"{self.path.parent.parent}'"
            )
        size = self._mcap.stat().st_size if self._mcap.exists() else -1
        if size != self.info.mcap_bytes:
            found = f"has {size} bytes" if size >= 0 else "is missing"
            raise EpisodeError(
                f"{self._mcap} {found}, {INFO_FILE} says {self.info.mcap_bytes}: truncated or foreign; copy "
                "the episode again from its source or remove its folder"
            )

    @property
    def cameras(self) -> tuple[str, ...]:
        """Camera names; the first one's stamps define the steps."""
        return tuple(self.info.intrinsics)

    def arrays(self) -> EpisodeArrays:
        """Stacked arrays of all steps, for the training cache; they share memory with this reader.

        Raises:
            EpisodeError: damaged or foreign messages, counts that disagree with `episode.json`, or a step
                that lacks a message, naming topic and stamp.
        """
        return self._arrays

    @cached_property
    def _arrays(self) -> EpisodeArrays:
        decoded = self._decode_raw() if self.info.join_tolerance_ns else self._decode_exact()
        steps = list(decoded[topics.color_topic(self.cameras[0])])
        color = {name: stack(decoded, topics.color_topic(name)) for name in self.cameras}
        depth = {name: stack(decoded, topics.depth_topic(name)) for name in self.cameras}
        joints = stack(decoded, topics.JOINTS_TOPIC)
        self._sent = decoded.get(topics.EXECUTED_TOPIC, {})
        commanded = list(decoded.get(topics.ACTION_TOPIC, {}).values())
        return EpisodeArrays(
            stamps=np.array(steps, dtype=np.int64),
            instructions=self._instructions(decoded[topics.INSTRUCTION_TOPIC], steps),
            color=color,
            depth={name: images for name, images in depth.items() if images is not None},
            tcp_pose=stack(decoded, topics.POSE_TOPIC),
            closure=None if joints is None else joints[:, 7],
            joints=None if joints is None else joints[:, :7],
            actions=np.stack([vector for vector, _ in commanded]) if commanded else None,
            terminate=np.array([flag for _, flag in commanded]) if commanded else None,
            executed=executed_rows(self._sent, steps),
            transforms=transform_rows(decoded.get(topics.TF_TOPIC, {}), steps),
        )

    def _instructions(self, written: Mapping[int, str], steps: list[int]) -> list[str]:
        """The instruction at each step: as somebody relabelled the episode, else as it was recorded."""
        if (text := self.info.relabelled_instruction) is not None:
            return [text] * len(steps)
        stamps, texts = list(written), list(written.values())
        return [texts[bisect.bisect_right(stamps, step) - 1] for step in steps]

    def step_stamps(self) -> list[int]:
        """Stamp of each step in nanoseconds, as `arrays` has them; no picture is decoded.

        Raises:
            EpisodeError: damaged messages, or counts that disagree with `episode.json`.
        """
        stamps, first = self._header_stamps(), topics.color_topic(self.cameras[0])
        return sorted(self._sources(stamps)[first]) if self.info.join_tolerance_ns else stamps.get(first, [])

    def sources(self) -> Sources:
        """Which messages make up each step, all instructions among them; no picture is decoded.

        Raises:
            EpisodeError: damaged messages, counts that disagree with `episode.json`, or an incomplete step.
        """
        stamps = self._header_stamps()
        if self.info.join_tolerance_ns:
            return self._sources(stamps)
        required = required_topics(self._depth_cameras(), self.info.kind)
        check_join(stamps, required, self.info.kind, str(self._mcap))
        return {topic: {stamp: stamp for stamp in values} for topic, values in stamps.items()}

    def _header_stamps(self) -> dict[str, list[int]]:
        types = topics.topic_types(self.cameras)
        stamps: dict[str, list[int]] = {}
        for message in read_messages(self._mcap, types):
            stamp_ns = header_stamp_ns(message.data, types[message.topic], message.log_time_ns)
            stamps.setdefault(message.topic, []).append(stamp_ns)
        self._check_counts({topic: len(values) for topic, values in stamps.items()})
        return stamps

    def _sources(self, stamps: Mapping[str, list[int]]) -> Sources:
        """Which messages of a raw recording make up its steps; all instructions are among them."""
        sources = align(stamps, self._depth_cameras(), self.info.join_tolerance_ns, str(self._mcap))
        check_instruction(stamps, min(sources[topics.color_topic(self.cameras[0])]), str(self._mcap))
        given = sorted(set(stamps[topics.INSTRUCTION_TOPIC]))
        sources[topics.INSTRUCTION_TOPIC] = {stamp: stamp for stamp in given}
        return sources

    def _depth_cameras(self) -> dict[str, bool]:
        return {name: topics.depth_topic(name) in self.info.counts for name in self.cameras}

    def _decode_exact(self) -> dict[str, dict[int, Any]]:
        """Decoded values by topic and step, which all messages of a step name in their headers."""
        types = topics.topic_types(self.cameras)
        decoded: dict[str, dict[int, Any]] = {}
        for message in read_messages(self._mcap, types):
            stamp_ns, value = decode_one(message.topic, message.data, message.log_time_ns, types)
            values = decoded.setdefault(message.topic, {})
            if stamp_ns in values:
                raise EpisodeError(f"{self._mcap}: {message.topic} has two messages at stamp {stamp_ns} ns")
            values[stamp_ns] = value
        stamps = {topic: list(values) for topic, values in decoded.items()}
        self._check_counts({topic: len(values) for topic, values in decoded.items()})
        required = required_topics(self._depth_cameras(), self.info.kind)
        check_join(stamps, required, self.info.kind, str(self._mcap))
        return decoded

    def _decode_raw(self) -> dict[str, dict[int, Any]]:
        """Decoded values by topic and step of a raw recording; what belongs to no step is not decoded."""
        types = topics.topic_types(self.cameras)
        sources = self._sources(self._header_stamps())
        wanted = {topic: set(chosen.values()) for topic, chosen in sources.items()}
        found: dict[str, dict[int, Any]] = {topic: {} for topic in sources}
        for message in read_messages(self._mcap, types):
            stamp_ns = header_stamp_ns(message.data, types[message.topic], message.log_time_ns)
            values = found.get(message.topic)
            if values is None or stamp_ns not in wanted[message.topic] or stamp_ns in values:
                continue
            values[stamp_ns] = decode_one(message.topic, message.data, message.log_time_ns, types)[1]
        decoded = {
            topic: {step: found[topic][stamp] for step, stamp in chosen.items()}
            for topic, chosen in sources.items()
        }
        # where a person drove, what was executed is what was commanded
        moved = decoded.get(topics.EXECUTED_TOPIC, {})
        decoded[topics.ACTION_TOPIC] = moved | decoded.get(topics.ACTION_TOPIC, {})
        return decoded

    def _check_counts(self, found: Mapping[str, int]) -> None:
        for topic in sorted(set(found) | set(self.info.counts)):
            if found.get(topic, 0) != self.info.counts.get(topic, 0):
                raise EpisodeError(
                    f"{self._mcap}: {topic} has {found.get(topic, 0)} messages, {INFO_FILE} says "
                    f"{self.info.counts.get(topic, 0)}; the file is damaged or foreign, copy the episode "
                    "again"
                )

    def frames(self, camera: str) -> Iterator[RgbdFrame]:
        """Frames of one camera in order.

        Raises:
            EpisodeError: the episode has no such camera.
        """
        if camera not in self.cameras:
            raise EpisodeError(f"{self.path} has no camera '{camera}'; it has {list(self.cameras)}")
        arrays = self.arrays()
        color, depth = arrays["color"][camera], arrays["depth"].get(camera)
        for step, stamp_ns in enumerate(arrays["stamps"].tolist()):
            yield RgbdFrame(camera, stamp_ns, color[step], None if depth is None else depth[step])

    def states(self) -> list[RobotState]:
        """Robot states in order; empty when none were recorded."""
        arrays = self.arrays()
        poses, closure, joints = arrays["tcp_pose"], arrays["closure"], arrays["joints"]
        if poses is None or closure is None or joints is None:
            return []
        return [
            RobotState(stamp_ns, pose[:3], pose[3:], float(grip), arm)
            for stamp_ns, pose, grip, arm in zip(
                arrays["stamps"].tolist(), poses, closure, joints, strict=True
            )
        ]

    def actions(self, executed: bool = False) -> list[tuple[int, ActionStep]]:
        """Observation stamp and action of each step; with `executed` what was sent, which may be less."""
        arrays = self.arrays()
        vectors, ends = arrays["actions"], arrays["terminate"]
        if executed:
            return [(stamp_ns, _step(vector, end)) for stamp_ns, (vector, end) in self._sent.items()]
        if vectors is None or ends is None:
            return []
        stamps = arrays["stamps"].tolist()
        return [
            (stamp_ns, _step(vector, bool(end)))
            for stamp_ns, vector, end in zip(stamps, vectors, ends, strict=True)
        ]

    def transforms(self) -> dict[str, FloatArray]:
        """Frame to (T, 7) pose in the base frame: metres, quaternion x, y, z, w; NaN where it lacks."""
        return self.arrays()["transforms"]

    def observations(self) -> list[Observation]:
        """One observation for each step, with the instruction that held at its stamp."""
        cameras = [list(self.frames(camera)) for camera in self.cameras]
        states = self.states()
        instructions = self.arrays()["instructions"]
        return [
            Observation(
                frames[0].stamp_ns,
                instructions[step],
                {frame.camera: frame for frame in frames},
                states[step] if states else None,
            )
            for step, frames in enumerate(zip(*cameras, strict=True))
        ]

    def verify(self) -> None:
        """Check the checksum, then counts, stamps and the join, and decode what the steps are made of.

        Memory holds one picture at a time, however long the episode is.

        Raises:
            EpisodeError: the first thing that is wrong.
        """
        checksum = sha256_of(self._mcap)
        if checksum != self.info.checksum:
            raise EpisodeError(
                f"{self._mcap} has SHA-256 {checksum}, {INFO_FILE} says {self.info.checksum}: it was "
                "changed or damaged; copy the episode again from its source or remove its folder"
            )
        first = topics.color_topic(self.cameras[0])
        if self.info.join_tolerance_ns:
            sources = self._sources(self._header_stamps())
            self._decode_all({topic: set(chosen.values()) for topic, chosen in sources.items()})
            steps = len(sources[first])
        else:
            stamps = self._decode_all(None)
            self._check_counts({topic: len(values) for topic, values in stamps.items()})
            required = required_topics(self._depth_cameras(), self.info.kind)
            steps = check_join(stamps, required, self.info.kind, str(self._mcap))
        if steps != self.info.steps:
            raise EpisodeError(
                f"{self._mcap} has {steps} steps, {INFO_FILE} says {self.info.steps}; copy it again"
            )

    def _decode_all(self, wanted: Mapping[str, set[int]] | None) -> dict[str, list[int]]:
        """Decode messages and let them go: those with the stamps wanted, or all; returns all stamps."""
        types, stamps = topics.topic_types(self.cameras), dict[str, list[int]]()
        sizes: dict[str, tuple[int, ...]] = {}
        for message in read_messages(self._mcap, types):
            topic = message.topic
            stamp_ns = header_stamp_ns(message.data, types[topic], message.log_time_ns)
            stamps.setdefault(topic, []).append(stamp_ns)
            if wanted is None or stamp_ns in wanted.get(topic, ()):
                value = decode_one(topic, message.data, message.log_time_ns, types)[1]
                shape = getattr(value, "shape", ())
                check_size(topic, {sizes.setdefault(topic, shape), shape})
        return stamps


def _step(vector: FloatArray, terminate: bool) -> ActionStep:
    return ActionStep(vector[:3], vector[3:6], float(vector[6]), terminate)
