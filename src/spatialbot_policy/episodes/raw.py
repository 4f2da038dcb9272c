"""Raw recordings: messages as they were received, their header stamps, and which of them make up a step."""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence

from spatialbot_policy.episodes.topics import (
    ACTION_TOPIC,
    EXECUTED_TOPIC,
    INSTRUCTION_TOPIC,
    JOINTS_TOPIC,
    POSE_TOPIC,
    STRING,
    TF_MESSAGE,
    TF_TOPIC,
    camera_info_topic,
    color_topic,
    depth_topic,
)
from spatialbot_policy.errors import EpisodeError

Sources = dict[str, dict[int, int]]
"""For each topic: stamp of a step -> header stamp of the message that belongs to it."""

_LITTLE_ENDIAN = 1
_HEADER = 4  # CDR begins with four bytes that say how the rest is written


def header_stamp_ns(data: bytes, type_name: str, log_ns: int) -> int:
    """Header stamp of a CDR message, read from its first bytes.

    Args:
        data: the message.
        type_name: its type; a String has no header, and a TFMessage the stamp of its first transform.
        log_ns: when it was received: the answer for a message without a header.

    Raises:
        EpisodeError: the message is too short.
    """
    order = "<" if len(data) > 1 and data[1] & _LITTLE_ENDIAN else ">"
    at = _HEADER
    try:
        if type_name == STRING:
            return log_ns
        if type_name == TF_MESSAGE:
            (count,) = struct.unpack_from(f"{order}I", data, at)
            if count == 0:
                return log_ns
            at += 4
        seconds, nanoseconds = struct.unpack_from(f"{order}iI", data, at)
    except struct.error as error:
        raise EpisodeError(f"a {type_name} of {len(data)} bytes is cut off; look at its publisher") from error
    return int(seconds) * 10**9 + int(nanoseconds)


def align(
    stamps: Mapping[str, Sequence[int]], cameras: Mapping[str, bool], tolerance_ns: int, where: str
) -> Sources:
    """Choose the messages of each step of a raw recording.

    A step is an executed action, or an action where nothing was executed, with the last picture of the first
    camera at or before it. Of every other stream it has the message nearest to that picture. An action of the
    policy carries its picture's stamp, so that there the choice is exact; a person's action has its own.

    Args:
        stamps: header stamps for each topic; any order, doubles do not matter.
        cameras: camera name to whether it delivers depth; the first one's pictures are the steps.
        tolerance_ns: how far a message may lie from the picture.
        where: file or directory for the message.

    Returns:
        for each topic the step's stamp (its picture's) to the stamp of its message; steps that lack one of
        the streams are left out, so that all joined topics have the same steps.

    Raises:
        EpisodeError: no step is complete; says which stream it is that lacks.
    """
    ordered = {topic: sorted(set(values)) for topic, values in stamps.items() if values}
    first = color_topic(next(iter(cameras)))
    moves = EXECUTED_TOPIC if EXECUTED_TOPIC in ordered else ACTION_TOPIC
    sources: Sources = {first: {}, moves: {}}
    for stamp in ordered.get(moves, ()):
        picture = _at_or_before(ordered.get(first, ()), stamp)
        if picture is not None and stamp - picture <= tolerance_ns:
            sources[first].setdefault(picture, picture)
            sources[moves].setdefault(picture, stamp)
    steps = sources[first]
    candidates = len(steps)
    lacking: dict[str, int] = {}
    for topic in _nearest_topics(cameras, ordered):
        sources[topic] = _near(ordered.get(topic, ()), steps, tolerance_ns)
        lacking[topic] = len(steps) - len(sources[topic])
    complete = set(steps).intersection(*(sources[topic] for topic in lacking)) if lacking else set(steps)
    if not complete:
        raise EpisodeError(_incomplete(where, moves, first, ordered, candidates, lacking))
    if moves == EXECUTED_TOPIC and ACTION_TOPIC in ordered:
        asked = set(ordered[ACTION_TOPIC])
        sources[ACTION_TOPIC] = {step: step for step in steps if step in asked}
    if TF_TOPIC in ordered:
        sources[TF_TOPIC] = _near(ordered[TF_TOPIC], steps, tolerance_ns)
    return {
        topic: {step: stamp for step, stamp in sorted(chosen.items()) if step in complete}
        for topic, chosen in sources.items()
    }


def count_raw_steps(
    stamps: Mapping[str, Sequence[int]],
    cameras: Mapping[str, bool],
    intrinsics: Mapping[str, object],
    tolerance_ns: int,
    where: str,
) -> int:
    """Check a raw recording and count its steps; `intrinsics` by camera, the rest as for `align`.

    Raises:
        EpisodeError: no complete step, or no instruction or CameraInfo for it.
    """
    missing = [camera_info_topic(camera) for camera in cameras if camera not in intrinsics]
    if missing:
        raise EpisodeError(
            f"{where}: no message on {', '.join(missing)}; the camera's driver publishes it beside the images"
        )
    steps = align(stamps, cameras, tolerance_ns, where)[color_topic(next(iter(cameras)))]
    check_instruction(stamps, min(steps), where)
    return len(steps)


def check_instruction(stamps: Mapping[str, Sequence[int]], first_step: int, where: str) -> None:
    """Refuse a recording whose first step has no instruction.

    Raises:
        EpisodeError: there is none at or before it.
    """
    instructions = stamps.get(INSTRUCTION_TOPIC)
    if not instructions or min(instructions) > first_step:
        raise EpisodeError(
            f"{where}: {INSTRUCTION_TOPIC} has no message at or before the first step ({first_step} ns); "
            "publish the instruction before the recording starts"
        )


def _nearest_topics(cameras: Mapping[str, bool], ordered: Mapping[str, Sequence[int]]) -> list[str]:
    names = list(cameras)
    topics = [color_topic(name) for name in names[1:]]
    topics += [depth_topic(name) for name, has_depth in cameras.items() if has_depth]
    return topics + [topic for topic in (JOINTS_TOPIC, POSE_TOPIC) if topic in ordered]


def _at_or_before(stamps: Sequence[int], stamp: int) -> int | None:
    place = bisect_right(stamps, stamp)
    return stamps[place - 1] if place else None


def _near(stamps: Sequence[int], steps: Iterable[int], tolerance_ns: int) -> dict[int, int]:
    """Step to the nearest of the stamps, for the steps that have one within the tolerance."""
    found = {}
    for step in steps:
        place = bisect_left(stamps, step)
        for stamp in sorted(stamps[max(place - 1, 0) : place + 1], key=lambda value: abs(value - step)):
            if abs(stamp - step) <= tolerance_ns:
                found[step] = stamp
                break
    return found


def _incomplete(
    where: str,
    moves: str,
    first: str,
    ordered: Mapping[str, Sequence[int]],
    candidates: int,
    lacking: Mapping[str, int],
) -> str:
    if candidates == 0:
        counts = ", ".join(f"{topic} has {len(ordered.get(topic, ()))} messages" for topic in (first, moves))
        return (
            f"{where}: no action belongs to a picture ({counts}); record while the policy or a person moves "
            "the arm, with one clock for all (use_sim_time)"
        )
    worst = max(lacking, key=lambda topic: lacking[topic])
    return (
        f"{where}: no step is complete: {worst} lacks near {lacking[worst]} of {candidates} pictures; check "
        "its publisher and its stamps"
    )
