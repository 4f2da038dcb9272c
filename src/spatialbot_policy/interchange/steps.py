"""An episode step by step: what each step holds, read in one stream without keeping the episode in memory."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from spatialbot_policy.episodes import topics
from spatialbot_policy.episodes.decode import decode_one
from spatialbot_policy.episodes.info import MCAP_FILE
from spatialbot_policy.episodes.mcap_file import read_messages
from spatialbot_policy.episodes.raw import Sources, header_stamp_ns
from spatialbot_policy.episodes.reader import EpisodeReader
from spatialbot_policy.errors import EpisodeError
from spatialbot_policy.types import ActionStep, FloatArray, RgbdFrame


@dataclass(frozen=True)
class Step:
    """One step of an episode; what was not recorded is None or absent.

    Attributes:
        stamp_ns: of the first camera's picture.
        instruction: the one that held then.
        frames: one for each camera.
        tool_pose: (7,) metres and quaternion x, y, z, w in the base frame.
        closure: of the gripper, 0 = open.
        joints_rad: (7,).
        action: the one commanded.
        executed: the one really sent; None where nothing was.
        transforms: frame to (7,) pose in the base frame.
    """

    stamp_ns: int
    instruction: str
    frames: Mapping[str, RgbdFrame]
    tool_pose: FloatArray | None = None
    closure: float | None = None
    joints_rad: FloatArray | None = None
    action: ActionStep | None = None
    executed: ActionStep | None = None
    transforms: Mapping[str, FloatArray] = field(default_factory=dict)


class EpisodeSteps:
    """The steps of one committed episode, decoded one after the other.

    The first pass reads headers only and joins the topics as `EpisodeReader` does; iterating then decodes
    what a step needs and lets it go with its step, so that memory does not grow with the episode's length.

    Raises:
        EpisodeError: as `EpisodeReader.sources`, and while iterating a message that cannot be decoded.
    """

    def __init__(self, reader: EpisodeReader) -> None:
        self.info, self.cameras, self._reader = reader.info, reader.cameras, reader
        self._mcap = reader.path / MCAP_FILE
        self._types = topics.topic_types(reader.cameras)

    @cached_property
    def _sources(self) -> Sources:
        """For each topic the messages of the steps; of the instructions those that hold at each."""
        sources = dict(self._reader.sources())
        given = sorted(sources.pop(topics.INSTRUCTION_TOPIC))
        steps = sources[topics.color_topic(self.cameras[0])]
        sources[topics.INSTRUCTION_TOPIC] = {
            step: given[bisect.bisect_right(given, step) - 1] for step in steps
        }
        return sources

    @property
    def stamps(self) -> list[int]:
        """Stamps of the steps in nanoseconds, in order."""
        return sorted(self._sources[topics.color_topic(self.cameras[0])])

    def __len__(self) -> int:
        """Number of steps."""
        return len(self.stamps)

    def __iter__(self) -> Iterator[Step]:
        """Decode the steps in order."""
        sources, waiting = self._sources, self.stamps[::-1]
        wanted = {topic: frozenset(chosen.values()) for topic, chosen in sources.items()}
        held: dict[str, dict[int, Any]] = {topic: {} for topic in sources}
        for message in read_messages(self._mcap, self._types):
            topic = message.topic
            if topic not in held:
                continue
            stamp_ns = header_stamp_ns(message.data, self._types[topic], message.log_time_ns)
            if stamp_ns in held[topic] or stamp_ns not in wanted[topic]:
                continue
            held[topic][stamp_ns] = decode_one(topic, message.data, message.log_time_ns, self._types)[1]
            while waiting and (found := _complete(sources, held, waiting[-1])) is not None:
                yield self._step(waiting.pop(), found)
                _forget(sources, held, waiting[-1] if waiting else None)
        if waiting:
            raise EpisodeError(
                f"{self._mcap}: the step at {waiting[-1]} ns is not complete; see 'spatialbot episodes "
                "validate'"
            )

    def _step(self, stamp_ns: int, found: Mapping[str, Any]) -> Step:
        frames = {
            name: RgbdFrame(
                name, stamp_ns, found[topics.color_topic(name)], found.get(topics.depth_topic(name))
            )
            for name in self.cameras
        }
        joints = found.get(topics.JOINTS_TOPIC)
        executed = _action(found.get(topics.EXECUTED_TOPIC))
        action = _action(found.get(topics.ACTION_TOPIC))
        if action is None and self.info.join_tolerance_ns:
            action = executed  # where a person drove, what was executed is what was commanded
        return Step(
            stamp_ns,
            self.info.relabelled_instruction or str(found[topics.INSTRUCTION_TOPIC]),
            frames,
            tool_pose=found.get(topics.POSE_TOPIC),
            closure=None if joints is None else float(joints[7]),
            joints_rad=None if joints is None else joints[:7],
            action=action,
            executed=executed,
            transforms=found.get(topics.TF_TOPIC, {}),
        )


def _complete(sources: Sources, held: Mapping[str, Mapping[int, Any]], step: int) -> dict[str, Any] | None:
    """Values of a step by topic, once all of them were read."""
    found = {}
    for topic, chosen in sources.items():
        if step in chosen:
            if chosen[step] not in held[topic]:
                return None
            found[topic] = held[topic][chosen[step]]
    return found


def _forget(sources: Sources, held: dict[str, dict[int, Any]], step: int | None) -> None:
    """Let go of what no later step needs: sources rise with the steps."""
    for topic, values in held.items():
        if step is None:
            values.clear()
        elif step in sources[topic]:
            for stamp in [stamp for stamp in values if stamp < sources[topic][step]]:
                del values[stamp]


def _action(value: tuple[FloatArray, bool] | None) -> ActionStep | None:
    if value is None:
        return None
    vector, terminate = value
    vector = np.asarray(vector, dtype=np.float64)
    return ActionStep(vector[:3], vector[3:6], float(vector[6]), terminate)
