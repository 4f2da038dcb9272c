"""Live warnings: each begins once, ends once, and the episode keeps when it stood."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from rclpy.serialization import serialize_message
from tests.ros.logic.test_image_look import wire

from spatialbot_ros.logic.recording_warnings import LiveWarning, WarningLog, WarningSettings
from spatialbot_ros.logic.stream_watch import Kind, StreamWatch

SECOND = 1_000_000_000
START = 1000 * SECOND
KINDS = {"/color": Kind.COLOR, "/depth": Kind.DEPTH, "/pose": Kind.POSE, "/tf": Kind.OTHER}
SETTINGS = WarningSettings(frozen_frames=5, still_s=2.0)


def plain(value: int) -> Callable[[int], np.ndarray]:
    """Pictures of one colour."""
    return lambda step: np.full((48, 64, 3), value, np.uint8)


class Streams:
    """A robot at 10 Hz, whose streams a test spoils."""

    def __init__(self, settings: WarningSettings = SETTINGS) -> None:
        demands = dict.fromkeys(("/color", "/depth", "/pose"), (5.0, 0.5))
        self.watch = StreamWatch(settings, KINDS, demands)
        self.now_ns, self.steps = START, 0
        self.color: Callable[[int], np.ndarray] = lambda step: np.random.default_rng(step).integers(
            60, 200, (48, 64, 3), np.uint8
        )
        self.depth: Callable[[int], np.ndarray] = lambda step: np.random.default_rng(step).integers(
            500, 900, (48, 64), np.uint16
        )
        self.x_m: Callable[[int], float] = lambda step: 0.01 * step
        self.silent: set[str] = set()
        self.late_ns = 0
        self.told: list[str] = []

    def run(self, seconds: float, rate_hz: float = 10.0) -> set[str]:
        """Let time pass; names of the warnings at its end."""
        for _ in range(round(seconds * rate_hz)):
            self.now_ns += round(SECOND / rate_hz)
            self.steps += 1
            pose = PoseStamped()
            pose.pose.position.x, pose.pose.orientation.w = float(self.x_m(self.steps)), 1.0
            messages = {
                "/color": wire(self.color(self.steps), "rgb8"),
                "/depth": wire(self.depth(self.steps), "16UC1"),
                "/pose": bytes(serialize_message(pose)),
            }
            for topic, data in messages.items():
                if topic not in self.silent:
                    self.told.append(self.watch.take(topic, self.now_ns, self.now_ns - self.late_ns, data))
        return {item.name for item in self.watch.warnings(self.now_ns, recording=True)}


def test_a_sound_recording_has_no_warning():
    streams = Streams()
    assert streams.run(8.0) == set() and not any(streams.told)


@pytest.mark.parametrize(
    ("spoil", "name", "topic"),
    [
        (lambda s: s.silent.add("/depth"), "silent", "/depth"),
        (lambda s: setattr(s, "depth", lambda step: np.zeros((48, 64), np.uint16)), "depth_holes", "/depth"),
        (
            lambda s: setattr(s, "color", plain(255)),
            "clipped",
            "/color",
        ),
        (lambda s: setattr(s, "color", plain(0)), "clipped", "/color"),
        (lambda s: setattr(s, "color", plain(90)), "frozen", "/color"),
        (lambda s: setattr(s, "x_m", lambda step: 0.5), "arm_still", ""),
        (lambda s: setattr(s, "late_ns", 5 * SECOND), "clock", "/color"),
        (lambda s: setattr(s, "late_ns", -5 * SECOND), "clock", "/pose"),
    ],
)
def test_each_fault_has_its_warning_and_it_goes_with_the_fault(spoil, name, topic):
    streams = Streams()
    streams.run(1.0)
    sound = {key: getattr(streams, key) for key in ("color", "depth", "x_m", "late_ns")}
    spoil(streams)
    assert name in streams.run(3.0)
    found = [item for item in streams.watch.warnings(streams.now_ns, recording=True) if item.name == name]
    assert topic in {item.topic for item in found} and all(len(item.detail) > 20 for item in found)
    for key, value in sound.items():
        setattr(streams, key, value)
    streams.silent.clear()
    assert name not in streams.run(4.0)


def test_a_slow_topic_is_told_with_both_rates():
    streams = Streams()
    assert streams.run(9.0, rate_hz=3.0) == {"slow"}
    streams = Streams(dataclasses.replace(SETTINGS, camera_hz=8.0, frozen_frames=0))
    streams.run(10.0, rate_hz=6.0)
    found = list(streams.watch.warnings(streams.now_ns, recording=True))
    assert {item.topic for item in found} == {"/color", "/depth"}
    assert all("6.0 Hz of 8 Hz" in item.detail for item in found)


def test_an_arm_that_stands_still_is_told_only_while_recording():
    streams = Streams()
    streams.x_m = lambda step: 0.5
    streams.run(3.0)
    assert not list(streams.watch.warnings(streams.now_ns, recording=False))
    streams.watch.begin_episode(streams.now_ns)
    assert not list(streams.watch.warnings(streams.now_ns, recording=True)), "counted from the start on"


def test_a_picture_of_another_size_and_a_clock_that_jumps_back_end_a_recording():
    streams = Streams()
    streams.run(1.0)
    streams.depth = lambda step: np.ones((60, 80), np.uint16)
    streams.run(0.1)
    assert [told for told in streams.told if told] == [
        "/depth: the picture changed from 64 x 48 16UC1 to 80 x 60 16UC1; let nobody reconfigure the camera"
    ]
    streams.told.clear()
    streams.late_ns = 2 * SECOND
    streams.run(0.2)
    assert ["jumped back by 1.90 s" in told for told in streams.told if told] == [True] * 3


def test_an_unreadable_message_is_a_warning_not_a_crash():
    streams = Streams()
    streams.run(1.0)
    assert streams.watch.take("/color", streams.now_ns, streams.now_ns, b"\0\1\0\0short") == ""
    assert "broken" in {item.name for item in streams.watch.warnings(streams.now_ns, False)}


def test_every_warning_can_be_switched_off():
    off = WarningSettings(
        hole_share=0.0,
        clipped_share=0.0,
        frozen_frames=0,
        still_s=0.0,
        clock_s=0.0,
        disk_gb=0.0,
        queue_share=0.0,
    )
    streams = Streams(off)
    streams.color = plain(0)
    streams.depth = lambda step: np.zeros((48, 64), np.uint16)
    streams.x_m, streams.late_ns = (lambda step: 0.5), 99 * SECOND
    assert streams.run(10.0) == set()


HOLES = LiveWarning("depth_holes", "/depth", "60 % of the pixels have no depth")


def test_a_warning_begins_once_and_is_over_after_a_second_without_it():
    log = WarningLog()
    changes = []
    for tenth in range(40):
        present = [dataclasses.replace(HOLES, detail=f"{tenth} %")] if tenth % 5 == 0 and tenth < 20 else []
        changes += [(tenth, change.began) for change in log.update(present, START + tenth * SECOND // 10)]
    assert changes == [(0, True), (26, False)]
    assert log.standing == ()


def test_the_episode_keeps_when_warnings_stood():
    log = WarningLog()
    log.update([HOLES], START)
    log.begin_episode(START + SECOND)
    log.update([HOLES], START + 2 * SECOND)
    log.update([], START + 4 * SECOND)
    log.update([LiveWarning("disk_low", "", "1 GB")], START + 5 * SECOND)
    spans = log.end_episode(START + 6 * SECOND)
    assert [(span["name"], span["from_s"], span["to_s"]) for span in spans] == [
        ("depth_holes", 0.0, 1.0),
        ("disk_low", 4.0, 5.0),
    ]
    log.begin_episode(START + 9 * SECOND)
    log.update([], START + 12 * SECOND)
    assert [span["name"] for span in log.end_episode(START + 12 * SECOND)] == ["disk_low"]
