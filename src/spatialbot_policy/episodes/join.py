"""Which messages make up one step: the exact join of an episode's topics by header stamp."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from spatialbot_policy.episodes.topics import (
    ACTION_TOPIC,
    EXECUTED_TOPIC,
    INSTRUCTION_TOPIC,
    camera_info_topic,
    color_topic,
    depth_topic,
)
from spatialbot_policy.errors import EpisodeError

STILLS_SPACING_NS = 10 * 10**9  # wider than any gap a history may bridge

# The guard may refuse to send an action, and an instruction holds until the next: not in every step.
_NOT_IN_EVERY_STEP = (EXECUTED_TOPIC, INSTRUCTION_TOPIC)


def required_topics(cameras: Mapping[str, bool], kind: str) -> tuple[str, ...]:
    """Topics an episode cannot lack: colour and camera info, depth if a camera has it, a demo's actions.

    `cameras` maps a camera's name to whether it delivers depth. The first topic is the first
    camera's colour, which defines the steps.
    """
    color = [color_topic(camera) for camera in cameras]
    depth = [depth_topic(camera) for camera, has_depth in cameras.items() if has_depth]
    info = [camera_info_topic(camera) for camera in cameras]
    return (*color, *info, *depth, *([ACTION_TOPIC] if kind == "demo" else []))


def check_join(stamps: Mapping[str, Sequence[int]], required: Sequence[str], kind: str, where: str) -> int:
    """Check that every step of an episode is complete.

    Args:
        stamps: header stamps in nanoseconds for each topic, in file order.
        required: as `required_topics` says; all other topics that have messages are joined as well.
        kind: "demo" or "stills".
        where: file or directory for the message.

    Returns:
        the number of steps.

    Raises:
        EpisodeError: no step at all, stamps that do not increase, or a step without a message of some topic.
    """
    for topic, values in stamps.items():
        for before, after in zip(values, values[1:], strict=False):
            if after <= before:
                raise EpisodeError(
                    f"{where}: {topic} goes from stamp {before} to {after} ns; record it again"
                )
    first = required[0]
    missing = [topic for topic in required if not stamps.get(topic)]
    if missing:
        raise EpisodeError(
            f"{where}: no messages on {missing}; not an episode of this project, or nothing was recorded"
        )
    steps = set(stamps[first])
    for topic in _joined(stamps):
        _compare(steps, set(stamps[topic]), first, topic, where)
    alone = set(stamps.get(EXECUTED_TOPIC, ())) - steps
    if alone:
        raise EpisodeError(_partnerless(EXECUTED_TOPIC, min(alone), first, where))
    if kind == "stills":
        _check_spacing(stamps[first], where)
    instructions = stamps.get(INSTRUCTION_TOPIC)
    if not instructions or instructions[0] > stamps[first][0]:
        raise EpisodeError(
            f"{where}: {INSTRUCTION_TOPIC} has no message at or before the first step ({stamps[first][0]} "
            "ns); write the instruction first"
        )
    return len(steps)


def last_complete_step(stamps: Mapping[str, Sequence[int]]) -> int | None:
    """Stamp of the last step that has a message of every topic seen so far; None when there is none."""
    joined = _joined(stamps)
    if not joined:
        return None
    complete = set.intersection(*(set(stamps[topic]) for topic in joined))
    return max(complete, default=None)


def _joined(stamps: Mapping[str, Sequence[int]]) -> list[str]:
    """Topics that have a message in every step of a good episode."""
    return [topic for topic, values in stamps.items() if values and topic not in _NOT_IN_EVERY_STEP]


def _check_spacing(steps: Sequence[int], where: str) -> None:
    for before, after in zip(steps, steps[1:], strict=False):
        if after - before < STILLS_SPACING_NS:
            raise EpisodeError(
                f"{where}: stills at {before} and {after} ns are closer than {STILLS_SPACING_NS} ns, so a "
                "history could join two scenes; space their stamps wider"
            )


def _compare(steps: set[int], found: set[int], first: str, topic: str, where: str) -> None:
    if missing := steps - found:
        raise EpisodeError(_partnerless(first, min(missing), topic, where))
    if alone := found - steps:
        raise EpisodeError(_partnerless(topic, min(alone), first, where))


def _partnerless(topic: str, stamp_ns: int, partner: str, where: str) -> str:
    return (
        f"{where}: {topic} at stamp {stamp_ns} ns has no partner on {partner}; give all messages of one "
        "step the stamp of its observation"
    )
