"""Every fault of cameras, policy and operator: a named stop within two frame periods, and no restart."""

from __future__ import annotations

import numpy as np
import pytest
from tests.ros.nodes.policy_rig import COLOR, DEPTH, PERIOD_S, TWO_PERIODS_S, PolicyRig, step

from spatialbot_policy.errors import FrameError, HistoryError
from spatialbot_policy.types import ActionChunk

MS = 1_000_000


@pytest.fixture
def rig(graph):
    made = PolicyRig(graph)
    made.start()
    made.follow(3)
    yield made
    made.policy.may_answer.set()


def during_two_periods(rig: PolicyRig, each_period=lambda: None) -> None:
    """Two frame periods, beginning with the next frame's time minus one period: the last frame was now."""
    rig.graph.advance(PERIOD_S, PERIOD_S / 8)
    each_period()
    rig.graph.advance(TWO_PERIODS_S - PERIOD_S, PERIOD_S / 8)
    each_period()


def test_camera_stops(rig):
    during_two_periods(rig)
    assert COLOR in rig.status.message
    rig.expect_stop("color_stopped")
    rig.restart()


def test_colour_stops_but_depth_goes_on(rig):
    during_two_periods(rig, rig.depth)
    assert COLOR in rig.status.message
    rig.expect_stop("color_stopped")


def test_depth_stops_but_colour_goes_on(rig):
    during_two_periods(rig, rig.color)
    assert DEPTH in rig.status.message
    rig.expect_stop("depth_stopped")
    rig.restart()


def test_stamps_skew(rig):
    def skewed() -> None:
        rig.color()
        rig.depth(stamp=rig.graph.now_ns - 15 * MS)

    during_two_periods(rig, skewed)
    rig.expect_stop("frames_skewed")
    rig.restart()


def test_an_old_frame(graph):
    rig = PolicyRig(graph, {"max_frame_age_ms": 25.0})
    rig.start()
    rig.follow(2)
    taken = rig.graph.now_ns + 1
    rig.pause()
    rig.frame(stamp=taken)
    assert "33.3 ms old" in rig.status.message
    rig.expect_stop("frame_stale")


def test_a_frame_from_the_future(rig):
    rig.pause()
    rig.frame(stamp=rig.graph.now_ns + 50 * MS)
    rig.expect_stop("frame_stale")


def test_a_stamp_that_is_not_set(rig):
    rig.pause()
    rig.frame(stamp=0)
    rig.expect_stop("stamp_invalid")


def test_stamps_go_back(rig):
    rig.pause()
    rig.frame(stamp=rig.graph.now_ns - 5_000 * MS)
    assert "went back by 5.0 s" in rig.status.message
    rig.expect_stop("stamp_invalid")
    rig.restart()


def test_the_encoding_changes(rig):
    rig.pause()
    rig.color(encoding="bgr8")
    assert "from 24 x 16 rgb8 to 24 x 16 bgr8" in rig.status.message
    rig.expect_stop("frame_changed")
    rig.restart()


def test_the_depth_encoding_changes(rig):
    rig.pause()
    rig.depth(value=100_000)
    assert "from 24 x 16 16UC1 to 24 x 16 32FC1" in rig.status.message
    rig.expect_stop("frame_changed")


def test_the_size_changes(rig):
    rig.pause()
    rig.frame(width=48)
    assert "from 24 x 16 rgb8 to 48 x 16 rgb8" in rig.status.message
    rig.expect_stop("frame_changed")


def test_a_changed_camera_is_welcome_after_a_new_start(rig):
    rig.pause()
    rig.frame(width=48)
    assert rig.reason == "frame_changed"
    rig.pause()
    rig.frame(width=48)
    assert rig.graph.call("/spatialbot/policy/start").success
    rig.pause()
    rig.expect_action(lambda: rig.frame(width=48))


def test_an_image_whose_data_is_cut_off(rig):
    from spatialbot_ros.convert.images import from_color

    rig.pause()
    rig.depth()
    message = from_color(np.zeros((16, 24, 3), np.uint8), rig.graph.now_ns, "camera")
    message.data = message.data[:100]
    rig.graph.publish(COLOR, message)
    rig.expect_stop("image_invalid")


def test_depth_is_all_invalid(rig):
    rig.pause()
    rig.color()
    rig.depth(value=0)
    assert DEPTH in rig.status.message
    rig.expect_stop("depth_invalid")
    rig.restart()


def test_invalid_depth_is_seen_in_a_frame_that_is_no_control_step(graph):
    """At 10 Hz control and 30 Hz camera two frames of three go unused, but none unseen."""
    from tests.ros.nodes.policy_rig import PaperPolicy, contract

    rig = PolicyRig(graph, {"robot.rate_hz": 10.0}, PaperPolicy(contract(rate_hz=10.0)))
    rig.start()
    rig.follow(1)
    rig.pause()
    rig.color()
    rig.depth(value=0)
    rig.expect_stop("depth_invalid")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("out of memory"), "policy_error"),
        (FrameError("no such camera"), "image_invalid"),
        (HistoryError("runs backwards"), "stamp_invalid"),
    ],
)
def test_policy_raises(rig, error, reason):
    rig.policy.error = error
    rig.pause()
    rig.frame()
    rig.graph.until(lambda: not rig.active)
    assert str(error) in rig.status.message
    rig.expect_stop(reason)
    rig.policy.error = None
    rig.restart()


@pytest.mark.parametrize(
    "answer",
    [None, "an action", ActionChunk(0, ()), ActionChunk(5, (step(1),))],
    ids=["nothing", "a text", "no step", "of another stamp"],
)
def test_policy_answers_nonsense(rig, answer):
    rig.policy.make_chunk = lambda observation, number: answer
    rig.pause()
    rig.frame()
    rig.graph.until(lambda: not rig.active)
    rig.expect_stop("policy_error")


def keep_frames_coming(rig: PolicyRig, periods: int) -> None:
    for _ in range(periods):
        rig.pause()
        rig.frame()


def test_policy_hangs(rig):
    rig.pause()
    rig.hang()
    keep_frames_coming(rig, 2)
    assert rig.reason == "policy_hung"
    response = rig.graph.call("/spatialbot/policy/start")
    assert not response.success and response.message.startswith("policy_hung")
    rig.expect_stop("policy_hung")
    rig.restart()


def test_policy_answers_late(rig):
    rig.pause()
    rig.hang()
    rig.pause()
    rig.frame()
    rig.graph.advance(0.55 * PERIOD_S, 0.001)
    assert rig.active
    rig.policy.may_answer.set()
    rig.graph.until(lambda: not rig.active)
    rig.expect_stop("policy_late")


def test_an_answer_that_comes_after_the_stop_is_not_published(rig):
    rig.pause()
    rig.hang()
    assert rig.graph.call("/spatialbot/policy/stop").success
    before = len(rig.actions)
    rig.policy.may_answer.set()
    rig.pause()
    assert len(rig.actions) == before
    rig.frame()
    rig.restart()
    assert len(rig.actions) == before + 1


def test_instruction_changes_in_mid_episode(rig):
    rig.instruct("put the blue cup on the left board")
    assert "blue cup" in rig.status.message
    rig.expect_stop("instruction_changed")
    rig.restart()
    assert rig.policy.seen[-1].instruction == "put the blue cup on the left board"


def test_the_same_instruction_again_is_no_change(rig):
    rig.instruct()
    rig.pause()
    rig.follow(1)
    assert rig.active


def test_the_camera_node_is_killed(graph):
    """Its publishers vanish with it."""
    from rclpy.node import Node
    from rclpy.qos import QoSProfile
    from sensor_msgs.msg import Image

    from spatialbot_ros.convert.images import from_color, from_depth

    rig = PolicyRig(graph)
    camera = graph.add(Node("camera", parameter_overrides=graph.parameters()))
    outputs = [camera.create_publisher(Image, topic, QoSProfile(depth=5)) for topic in (COLOR, DEPTH)]

    def frame() -> None:
        outputs[0].publish(from_color(np.zeros((16, 24, 3), np.uint8), graph.now_ns, "camera"))
        outputs[1].publish(from_depth(np.full((16, 24), 900, np.uint16), graph.now_ns, "camera"))
        graph.settle()

    rig.instruct()
    graph.until(lambda: all(output.get_subscription_count() for output in outputs))
    frame()
    assert graph.call("/spatialbot/policy/start").success
    rig.pause()
    rig.expect_action(frame)
    graph.remove(camera)
    during_two_periods(rig)
    rig.expect_stop("color_stopped")


def test_a_policy_node_that_was_killed_does_not_go_on_by_itself(graph):
    rig = PolicyRig(graph)
    rig.start()
    rig.follow(2)
    graph.remove(rig.node)
    before = len(rig.actions)
    rig.pause()
    rig.frame()
    born_again = PolicyRig(graph)
    assert born_again.reason == "not_started"
    born_again.pause()
    born_again.frame()
    graph.settle()
    assert len(rig.actions) == before and not born_again.actions


def test_shutdown_says_so_and_is_silent_after(rig):
    rig.pause()
    rig.hang()
    rig.policy.may_answer.set()
    rig.node.close()
    rig.graph.settle()
    rig.expect_stop("shutdown")
