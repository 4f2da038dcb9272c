"""policy_node on the graph: what lets it start, what it answers and when, and what it tells of itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, JointState
from tests.ros.nodes.policy_rig import (
    COLOR,
    DEPTH,
    HEIGHT,
    INSTRUCTION,
    PERIOD_S,
    START,
    STOP,
    WIDTH,
    PaperPolicy,
    PolicyRig,
    contract,
    stamps,
    step,
)

from spatialbot_policy.action_space import ActionSpace
from spatialbot_policy.config import CameraConfig
from spatialbot_policy.depth import DepthVariant
from spatialbot_policy.errors import CheckpointError, ConfigError
from spatialbot_policy.types import ActionChunk
from spatialbot_ros.convert.actions import to_action
from spatialbot_ros.convert.images import from_color, from_depth
from spatialbot_ros.nodes.policy_node import PolicyNode

PERIOD_NS = round(1e9 / 30)


@pytest.fixture
def rig(graph):
    return PolicyRig(graph)


def refused(rig: PolicyRig, reason: str) -> str:
    """Try to start; the response and the status name the reason."""
    response = rig.graph.call(START)
    assert not response.success and response.message.startswith(f"{reason}: "), response.message
    rig.graph.settle()
    assert (rig.reason, rig.active) == (reason, False)
    return str(response.message)


# --- starting


def test_it_starts_inactive_and_frames_alone_do_not_start_it(rig):
    rig.instruct()
    for _ in range(3):
        rig.frame()
        rig.pause()
    assert rig.reason == "not_started" and not rig.actions and not rig.policy.seen


def test_start_refuses_without_images_and_names_the_topic(rig):
    rig.instruct()
    assert f"{COLOR} has no publisher" in refused(rig, "topic_missing")
    rig.color()
    assert f"{DEPTH} has no publisher" in refused(rig, "topic_missing")


def test_start_refuses_images_that_stopped(rig):
    rig.instruct()
    rig.frame()
    rig.pause(3)
    assert COLOR in refused(rig, "color_stopped")
    rig.color()
    assert DEPTH in refused(rig, "depth_stopped")


def test_images_from_before_the_clock_was_set_back_are_not_fresh(rig):
    rig.instruct()
    rig.frame()
    rig.graph.set_time(rig.graph.now_ns - 2_000_000_000)
    refused(rig, "color_stopped")
    rig.frame()
    assert rig.graph.call(START).success


def test_start_refuses_images_that_do_not_pair(rig):
    rig.instruct()
    rig.color()
    rig.depth(stamp=rig.graph.now_ns - 15_000_000)
    refused(rig, "frames_skewed")


def test_start_refuses_invalid_depth(rig):
    rig.instruct()
    rig.color()
    rig.depth(value=0)
    refused(rig, "depth_invalid")


def test_start_refuses_an_encoding_that_is_no_colour(rig):
    rig.instruct()
    now_ns = rig.graph.now_ns
    rig.graph.publish(COLOR, from_depth(np.full((HEIGHT, WIDTH), 500, np.uint16), now_ns, "camera"))
    rig.depth()
    assert "16UC1" in refused(rig, "image_invalid")


def test_start_refuses_without_an_instruction(rig):
    rig.frame()
    assert "/spatialbot/instruction" in refused(rig, "instruction_missing")
    rig.instruct("  ")
    refused(rig, "instruction_missing")


@pytest.mark.parametrize(
    ("changes", "both"),
    [
        ({"rate_hz": 10.0}, "rate_hz: 10.0 != 30.0"),
        ({"depth_variant": DepthVariant.UINT24}, "depth_variant: uint24 != paper"),
        ({"depth_variant": None}, "depth_variant: none (colour only) != paper"),
        ({"action_space": ActionSpace(bins=51)}, "action_space.bins: 51 != 101"),
        (
            {"action_space": ActionSpace(translation_bound_m=0.02)},
            "action_space.translation_bound_m: 0.02 != 0.05",
        ),
        ({"action_space": ActionSpace(rotation_bound_rad=0.2)}, "rotation_bound_rad: 0.2 != 0.1"),
        ({"action_space": ActionSpace("delta_pose_terminate")}, "kind: delta_pose_terminate != delta_pose"),
        ({"cameras": (CameraConfig("wrist", 32, 32),)}, "cameras: wrist 32x32 != camera 32x32"),
    ],
)
def test_start_refuses_a_checkpoint_for_another_robot_and_names_both_values(graph, changes, both):
    rig = PolicyRig(graph, policy=PaperPolicy(contract(**changes)))
    rig.instruct()
    rig.frame()
    assert both in refused(rig, "checkpoint_mismatch")
    rig.pause()
    rig.frame()
    assert not rig.actions


def test_image_size_history_and_prompt_are_the_checkpoints_own(graph):
    policy = PaperPolicy(contract(cameras=(CameraConfig("camera", 336, 336),), history_length=2))
    PolicyRig(graph, policy=policy).start()


def test_a_policy_without_a_configuration_is_taken_at_its_word(graph):
    PolicyRig(graph, policy=PaperPolicy(None)).start()


def test_autostart_starts_once_when_everything_is_there_and_never_again(graph):
    rig = PolicyRig(graph, {"autostart": True})
    rig.frame()
    assert not rig.active
    rig.instruct()
    rig.pause()
    rig.frame()
    assert rig.active
    rig.pause()
    rig.follow(2)
    rig.pause(3)
    rig.expect_stop("color_stopped")


def test_autostart_takes_an_instruction_that_comes_after_the_frames(graph):
    rig = PolicyRig(graph, {"autostart": True})
    rig.frame()
    rig.instruct()
    assert rig.active


def test_a_picture_that_is_shown_again_and_again_counts_as_fresh(rig):
    """As in lock-step and replay, where time stands still until the policy starts."""
    shown = rig.graph.now_ns
    rig.instruct()
    rig.color(shown)
    rig.depth(shown, value=0)
    refused(rig, "depth_invalid")
    for _ in range(2):
        rig.frame(stamp=shown)
    assert rig.graph.call(START).success
    rig.expect_action(lambda: rig.frame(stamp=shown))


def test_stop_forgets_autostart(graph):
    rig = PolicyRig(graph, {"autostart": True})
    rig.instruct()
    assert graph.call(STOP).success
    rig.pause()
    rig.frame()
    assert rig.reason == "not_started"


def test_starting_twice_does_no_harm(rig):
    rig.start()
    rig.follow(2)
    assert rig.graph.call(START).success
    rig.pause()
    rig.follow(1)
    assert rig.policy.resets == 1


def test_the_instruction_can_be_a_parameter(graph):
    rig = PolicyRig(graph, {"instruction": INSTRUCTION})
    rig.frame()
    assert graph.call(START).success
    rig.pause()
    rig.follow(1)
    assert rig.policy.seen[0].instruction == INSTRUCTION


# --- answering


def test_each_frame_is_answered_by_an_action_with_its_stamp_and_the_very_same_values(rig):
    rig.start()
    taken = []
    for number in range(1, 6):
        taken.append(rig.graph.now_ns)
        action = rig.expect_action(rig.frame)
        vector, terminate = to_action(action)
        assert np.array_equal(vector, step(number).as_vector()) and not terminate
        rig.pause()
    assert stamps(rig.actions) == taken


def test_frames_from_before_the_start_are_not_answered(rig):
    rig.start()
    assert not rig.policy.seen
    rig.follow(1)
    assert [seen.stamp_ns for seen in rig.policy.seen] == [rig.graph.now_ns]


def test_every_start_resets_the_policy(rig):
    rig.start()
    rig.follow(3)
    assert rig.graph.call(STOP).success
    rig.pause()
    rig.frame()
    rig.restart()
    assert rig.policy.resets == 2 and len(rig.policy.seen) == 1


def test_an_episode_may_begin_again_at_the_same_stamps(rig):
    """As in simulation or replay: the clock goes back between two episodes."""
    rig.start()
    begin = rig.graph.now_ns
    rig.follow(3)
    assert rig.graph.call(STOP).success
    rig.graph.set_time(begin)
    rig.frame()
    assert rig.graph.call(START).success
    rig.expect_action(rig.frame)
    assert stamps(rig.actions)[-1] == begin


def test_a_camera_of_30_hz_and_a_policy_of_10_hz(graph):
    rig = PolicyRig(graph, {"robot.rate_hz": 10.0}, PaperPolicy(contract(rate_hz=10.0)))
    rig.start()
    begin = graph.now_ns
    for number in range(9):
        if number % 3 == 0:
            rig.expect_action(rig.frame)
        else:
            rig.frame()
        rig.pause()
    assert np.allclose((np.array(stamps(rig.actions)) - begin) / PERIOD_NS, [0, 3, 6], atol=0.01)


def test_of_the_observations_that_wait_only_the_newest_is_answered(graph):
    rig = PolicyRig(graph, {"late_after_periods": 10.0, "hung_after_periods": 20.0})
    rig.start()
    taken = [graph.now_ns]
    rig.hang()
    for _ in range(3):
        rig.pause()
        taken.append(graph.now_ns)
        rig.frame()
    rig.policy.may_answer.set()
    graph.until(lambda: len(rig.actions) == 2)
    graph.settle()
    assert stamps(rig.actions) == [taken[0], taken[3]]


def test_the_later_steps_of_a_chunk_follow_at_the_control_rate(graph):
    rig = PolicyRig(graph, {"late_after_periods": 10.0, "hung_after_periods": 20.0})
    rig.policy.make_chunk = lambda seen, number: ActionChunk(
        seen.stamp_ns, tuple(step(10 * number + place) for place in range(3))
    )
    rig.start()
    begin = graph.now_ns
    rig.expect_action(rig.frame)
    rig.policy.may_answer.clear()
    for _ in range(3):
        rig.pause()
        rig.frame()
    assert np.array_equal(stamps(rig.actions), begin + np.arange(3) * PERIOD_NS)
    values = [to_action(action)[0] for action in rig.actions]
    assert np.array_equal(values, [step(number).as_vector() for number in (10, 11, 12)])
    rig.policy.may_answer.set()


def test_when_the_task_is_done_the_last_action_goes_out_and_then_nothing(rig):
    rig.policy.make_chunk = lambda seen, number: ActionChunk(seen.stamp_ns, (step(number, number == 2),))
    rig.start()
    rig.follow(2)
    assert to_action(rig.actions[-1])[1] and rig.active
    rig.pause()
    rig.frame()
    rig.expect_stop("task_done")


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8"])
def test_the_policy_sees_the_images_as_they_were_taken(rig, encoding):
    rng = np.random.default_rng(0)
    color = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    depth = rng.integers(1, 2**16, (HEIGHT, WIDTH), dtype=np.uint16)

    def frame() -> None:
        rig.graph.publish(COLOR, from_color(color, rig.graph.now_ns, "camera", encoding))
        rig.graph.publish(DEPTH, from_depth(depth, rig.graph.now_ns, "camera"))

    rig.instruct()
    frame()
    assert rig.graph.call(START).success
    rig.pause()
    rig.expect_action(frame)
    seen = rig.policy.seen[0].frames["camera"]
    assert np.array_equal(seen.color, color) and np.array_equal(seen.depth_mm, depth)


def test_compressed_images_are_welcome(graph):
    rig = PolicyRig(graph, {"image_transport": "compressed"})
    color, depth = compressed_images(graph.now_ns)
    rig.instruct()
    for topic, message in ((f"{COLOR}/compressed", color), (f"{DEPTH}/compressedDepth", depth)):
        graph.publish(topic, message)
    assert graph.call(START).success
    rig.pause()
    color, depth = compressed_images(graph.now_ns)

    def frame() -> None:
        graph.publish(f"{COLOR}/compressed", color)
        graph.publish(f"{DEPTH}/compressedDepth", depth)

    rig.expect_action(frame)
    seen = rig.policy.seen[0].frames["camera"]
    assert (seen.color == 90).all() and (seen.depth_mm == 1500).all()


def compressed_images(stamp: int) -> tuple[CompressedImage, CompressedImage]:
    import struct
    from array import array

    import cv2

    from spatialbot_ros.convert.stamps import to_header

    color = cv2.imencode(".png", np.full((HEIGHT, WIDTH, 3), 90, np.uint8))[1].tobytes()
    depth = cv2.imencode(".png", np.full((HEIGHT, WIDTH), 1500, np.uint16))[1].tobytes()
    packed = struct.pack("<iff", 0, 0.0, 0.0) + depth
    header = to_header(stamp, "camera")
    return (
        CompressedImage(header=header, format="rgb8; png compressed bgr8", data=array("B", color)),
        CompressedImage(header=header, format="16UC1; compressedDepth png", data=array("B", packed)),
    )


def test_a_colour_camera_needs_no_depth(graph):
    policy = PaperPolicy(contract(depth_variant=None))
    rig = PolicyRig(graph, {"depth_topics": [""], "robot.depth_variant": "none"}, policy)
    rig.instruct()
    rig.color()
    assert graph.call(START).success
    rig.pause()
    rig.expect_action(rig.color)
    assert policy.seen[0].frames["camera"].depth_mm is None
    rig.pause(2)
    rig.expect_stop("color_stopped")


def test_depth_that_is_stamped_a_little_earlier_is_paired(rig):
    def frame() -> None:
        rig.color()
        rig.depth(stamp=rig.graph.now_ns - 8_000_000)

    rig.instruct()
    for _ in range(3):
        rig.pause()
        frame()
    assert rig.graph.call(START).success
    for _ in range(4):
        rig.pause()
        frame()
    rig.graph.until(lambda: rig.actions and stamps(rig.actions)[-1] == rig.graph.now_ns)
    assert rig.active


TWO = {
    "cameras": ["camera", "wrist"],
    "color_topics": [COLOR, "/wrist/color"],
    "depth_topics": [DEPTH, "/wrist/depth"],
}


@pytest.fixture
def two_cameras(graph):
    cameras = (CameraConfig("camera", 32, 32), CameraConfig("wrist", 32, 32))
    rig = PolicyRig(graph, TWO, PaperPolicy(contract(cameras=cameras)))

    def wrist(later_ns: int = 0) -> None:
        stamp = graph.now_ns - later_ns
        graph.publish("/wrist/color", from_color(np.zeros((HEIGHT, WIDTH, 3), np.uint8), stamp, "wrist"))
        graph.publish("/wrist/depth", from_depth(np.full((HEIGHT, WIDTH), 300, np.uint16), stamp, "wrist"))

    return rig, wrist


def both(rig: PolicyRig, wrist: Any, later_ns: int = 0) -> None:
    rig.frame()
    wrist(later_ns)


def test_two_cameras_make_one_observation(two_cameras):
    rig, wrist = two_cameras
    rig.instruct()
    rig.frame()
    assert "/wrist/color" in refused(rig, "topic_missing")
    wrist()
    rig.frame()
    assert rig.graph.call(START).success
    for _ in range(3):  # the first waits for a second frame: a nearer one might have come
        rig.pause()
        both(rig, wrist, 5_000_000)
    rig.graph.until(lambda: rig.actions and stamps(rig.actions)[-1] == rig.graph.now_ns)
    assert set(rig.policy.seen[0].frames) == {"camera", "wrist"}
    assert rig.active


def test_two_cameras_that_drift_apart_stop_the_policy(two_cameras):
    rig, wrist = two_cameras
    rig.instruct()
    both(rig, wrist)
    assert rig.graph.call(START).success
    rig.pause()
    rig.expect_action(lambda: both(rig, wrist))
    for _ in range(2):
        rig.pause()
        both(rig, wrist, 30_000_000)
    assert rig.reason == "frames_skewed" and "wrist" in rig.status.message


# --- what it tells of itself


def test_the_hook_sees_what_the_policy_sees(graph):
    hooked = []
    rig = PolicyRig(graph, on_observation=hooked.append)
    rig.start()
    rig.follow(3)
    assert [seen.stamp_ns for seen in hooked] == stamps(rig.actions)


def test_the_latency_of_each_stage_is_published_and_summed_up(rig):
    rig.start()
    rig.follow(3)
    rig.graph.until(lambda: len(rig.latencies) == 3)
    assert stamps(rig.latencies) == stamps(rig.actions)
    message = rig.latencies[-1]
    assert list(message.name) == ["transport", "pairing", "queue", "inference", "publish"]
    assert all(0 <= seconds < 10 for seconds in message.position)
    for _ in range(33):
        rig.graph.advance(PERIOD_S, PERIOD_S)
        rig.expect_action(rig.frame)
    rig.graph.until(lambda: len(rig.diagnostics[-1].status[0].values) > 1)
    values = {entry.key: entry.value for entry in rig.diagnostics[-1].status[0].values}
    assert values["reason"] == "" and values["instruction"] == INSTRUCTION
    assert values["camera colour"].startswith("30.0 Hz") and values["actions"].startswith("30.0 Hz")
    assert "p99" in values["latency inference"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"cameras": ["a", "a"]}, "'cameras'"),
        ({"color_topics": ["/a", "/b"]}, "'color_topics'.*one for each of 'cameras'"),
        ({"color_topics": [""]}, "'color_topics'"),
        ({"depth_topics": [""]}, "'depth_topics'.*'robot.depth_variant'"),
        ({"robot.depth_variant": "blue"}, "'robot.depth_variant'.*uint24, paper, released"),
        ({"robot.rate_hz": 0.0}, "'robot.rate_hz'.*0.1 .. 200"),
        ({"robot.bins": 100}, "bins must be odd"),
        ({"hung_after_periods": 1.0}, "'hung_after_periods'.*'late_after_periods'"),
        ({"image_transport": "zstd"}, "'image_transport'.*raw, compressed"),
        ({"camra_rate_hz": 30.0}, "unknown parameter 'camra_rate_hz'.*camera_rate_hz"),
    ],
)
def test_parameters_that_cannot_be_used_refuse_at_start(graph, parameters, message):
    with pytest.raises(ConfigError, match=message):
        PolicyNode(make_policy=lambda _: PaperPolicy(), parameter_overrides=graph.parameters(parameters))


def test_without_a_checkpoint_the_node_refuses_at_start(graph):
    with pytest.raises(ConfigError, match="'checkpoint' is empty"):
        PolicyNode(parameter_overrides=graph.parameters())


def test_a_checkpoint_that_is_none_refuses_at_start(graph, tmp_path):
    with pytest.raises(CheckpointError, match=str(tmp_path)):
        PolicyNode(parameter_overrides=graph.parameters({"checkpoint": str(tmp_path)}))


def test_the_shipped_checkpoint_answers(graph):
    """The default way to make a policy: the tiny model, on the default parameters."""
    parameters = {"checkpoint": "checkpoints/tiny", "late_after_periods": 100.0, "hung_after_periods": 200.0}
    actions = graph.record(JointState, "/spatialbot/action")
    node = graph.add(PolicyNode(parameter_overrides=graph.parameters(parameters)))
    rig = PolicyRig.__new__(PolicyRig)
    rig.graph, rig.actions, rig.node = graph, actions, node
    rig.instruct("pick up the red cup")
    rig.frame()
    response = graph.call(START)
    assert response.success, response.message
    rig.pause()
    rig.expect_action(rig.frame)
    vector, _ = to_action(actions[0])
    assert np.all(np.abs(vector[:3]) <= 0.05) and np.all(np.abs(vector[3:6]) <= 0.1)


def test_images_are_not_copied_on_their_way_to_the_policy(rig):
    """Colour is a view of the message's bytes."""
    rig.start()
    rig.follow(1)
    assert not rig.policy.seen[0].frames["camera"].color.flags.owndata
