"""Replay: a recorded episode through the graph gives the policy what it gets offline, bit by bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import String
from tests.ros.harness import START_NS
from tests.ros.nodes.policy_rig import COLOR, LATCHED, START, PaperPolicy, one_step, stamps

from spatialbot_policy.config import CameraConfig, PolicyConfig
from spatialbot_policy.depth import DepthVariant
from spatialbot_policy.episode import (
    CameraIntrinsics,
    Dataset,
    DatasetCamera,
    DatasetConfig,
    EpisodeInfo,
    EpisodeReader,
    EpisodeWriter,
)
from spatialbot_policy.errors import ConfigError, EpisodeError
from spatialbot_policy.history import History
from spatialbot_policy.pipeline import ModelInputs, build_pipeline
from spatialbot_policy.types import ActionChunk, ActionStep, Observation, RgbdFrame, RobotState
from spatialbot_ros.convert.actions import to_action
from spatialbot_ros.nodes.policy_node import PolicyNode
from spatialbot_ros.nodes.replay_node import ReplayNode

INSTRUCTION = "put the red cup on the left board"
CONFIG = PolicyConfig((CameraConfig("camera", 96, 96),), depth_variant=DepthVariant.PAPER)
POLICY = {
    "camera_rate_hz": 10.0,
    "image_reliability": "reliable",
    "max_frame_lead_ms": 1000.0,  # a real middleware does not keep the order of clock and images
    "late_after_periods": 50.0,  # the clock moves with the frames, not with the policy
    "hung_after_periods": 50.0,
}


def image(rng: np.random.Generator, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    color = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    depth = rng.integers(0, 2**16, (height, width), dtype=np.uint16)
    return color, depth


def record(
    directory: Path,
    width: int = 128,
    height: int = 128,
    steps: int = 6,
    period_ns: int = 100_000_000,
    cameras: tuple[str, ...] = ("camera",),
    stamps_ns: list[int] | None = None,
) -> Path:
    """An episode that begins at the harness's time; its images are noise."""
    contract = DatasetConfig("fr3", tuple(DatasetCamera(name, width, height) for name in cameras))
    Dataset.create(directory, contract)
    rng = np.random.default_rng(width)
    intrinsics = CameraIntrinsics(width, height, 100.0, 100.0, width / 2, height / 2)
    with EpisodeWriter(directory, 0, EpisodeInfo(INSTRUCTION, "pick", "test", 1)) as writer:
        for number in range(steps):
            stamp = START_NS + number * period_ns if stamps_ns is None else stamps_ns[number]
            for name in cameras:
                writer.write_frame(RgbdFrame(name, stamp, *image(rng, width, height)), intrinsics)
            pose = np.array([0.4, 0.0, 0.3]), np.array([1.0, 0.0, 0.0, 0.0])
            writer.write_state(RobotState(stamp, *pose, 0.0, np.zeros(7)))
            action = ActionStep(rng.normal(size=3), rng.normal(size=3), 0.0)
            writer.write_action(stamp, action)
            writer.write_action(stamp, action, executed=True)
        writer.commit({"success": True})
    return writer.path


class PipelinePolicy:
    """Keeps what the model would have got: the shared pipeline on the shared history."""

    def __init__(self, config: PolicyConfig = CONFIG) -> None:
        self.config = config
        self._pipeline = build_pipeline(config)
        self._history = History(config.history_length, config.max_gap_ns)
        self.inputs: list[ModelInputs] = []

    def reset(self) -> None:
        self._history.reset()
        self.inputs.clear()

    def act(self, observation: Observation) -> ActionChunk:
        self.inputs.append(self._pipeline(self._history.push(observation)))
        return one_step(observation, len(self.inputs))


def offline(path: Path, config: PolicyConfig = CONFIG) -> list[ModelInputs]:
    """What training and evaluation make of the episode."""
    policy = PipelinePolicy(config)
    for observation in EpisodeReader(path).observations():
        policy.act(observation)
    return policy.inputs


def same(live: list[ModelInputs], recorded: list[ModelInputs]) -> None:
    assert len(live) == len(recorded)
    for ours, theirs in zip(live, recorded, strict=True):
        assert ours.prompt == theirs.prompt
        assert len(ours.images) == len(theirs.images)
        for left, right in zip(ours.images, theirs.images, strict=True):
            assert left.dtype == right.dtype and np.array_equal(left, right)


class Replay:
    """A policy_node and a replay_node that plays an episode for it."""

    def __init__(self, graph: Any, path: Path, policy: Any, replay: Any = None, node: Any = None) -> None:
        self.graph, self.policy = graph, policy
        self.actions = graph.record(JointState, "/spatialbot/action")
        self.recorded = graph.record(JointState, "/spatialbot/recorded_action")
        self.statuses = graph.record(DiagnosticStatus, "/spatialbot/replay/status", LATCHED)
        overrides = graph.parameters(POLICY | (node or {}))
        self.policy_node = graph.add(PolicyNode(make_policy=lambda _: policy, parameter_overrides=overrides))
        parameters = {"episode": str(path), "lockstep": True} | (replay or {})
        self.node = graph.add(ReplayNode(parameter_overrides=graph.parameters(parameters)))

    def start(self) -> None:
        """Call start until the first frame is there."""
        self.graph.until(lambda: self.graph.call(START).success)

    def play(self) -> str:
        """Until it ends; the last status."""
        self.graph.until(lambda: self.reason not in ("not_started", ""), 60.0)
        return str(self.statuses[-1].message)

    @property
    def reason(self) -> str:
        return str(self.statuses[-1].values[0].value)


@pytest.mark.parametrize(("width", "height"), [(640, 480), (128, 128)])
def test_a_replayed_episode_gives_the_same_model_inputs_as_offline(graph, tmp_path, width, height):
    path = record(tmp_path, width, height)
    replay = Replay(graph, path, PipelinePolicy())
    replay.start()
    assert "played 6 of 6 frames, got 6 actions" in replay.play()
    same(replay.policy.inputs, offline(path))


def test_two_cameras_and_a_pause_that_restarts_the_history(graph, tmp_path):
    cameras = ("camera", "wrist")
    config = PolicyConfig(
        tuple(CameraConfig(name, 64, 48) for name in cameras), depth_variant=DepthVariant.UINT24
    )
    times = [START_NS + 100_000_000 * number for number in (0, 1, 2, 9, 10)]
    path = record(tmp_path, 64, 48, 5, cameras=cameras, stamps_ns=times)
    node = {
        "cameras": list(cameras),
        "color_topics": [f"/camera/{name}/color/image_raw" for name in cameras],
        "depth_topics": [f"/camera/{name}/aligned_depth_to_color/image_raw" for name in cameras],
        "robot.depth_variant": "uint24",
        "frame_timeout_periods": 20.0,
    }
    replay = Replay(graph, path, PipelinePolicy(config), node=node)
    replay.start()
    replay.play()
    same(replay.policy.inputs, offline(path, config))


def test_of_a_faster_recording_every_third_frame_is_a_step(graph, tmp_path):
    path = record(tmp_path, 24, 16, 10, period_ns=33_333_333)
    node = {"camera_rate_hz": 30.0, "late_after_periods": 500.0, "hung_after_periods": 500.0}
    replay = Replay(graph, path, PaperPolicy(CONFIG), {"camera_rate_hz": 30.0}, node)
    replay.start()
    assert "played 10 of 10 frames, got 4 actions" in replay.play()
    assert stamps(replay.actions) == [START_NS + 33_333_333 * number for number in (0, 3, 6, 9)]


def test_recorded_actions_go_to_their_own_topics_only(graph, tmp_path):
    path = record(tmp_path, 24, 16)
    executed = graph.record(JointState, "/spatialbot/executed_action")
    replay = Replay(graph, path, PaperPolicy(CONFIG))
    replay.start()
    replay.play()
    assert len(replay.actions) == 6 and not executed
    wanted = dict(EpisodeReader(path).actions())
    assert set(stamps(replay.recorded)) == set(wanted)
    for stamp, message in zip(stamps(replay.recorded), replay.recorded, strict=True):
        assert np.array_equal(to_action(message)[0], wanted[stamp].as_vector())


def test_every_other_topic_is_played_as_it_was_recorded(graph, tmp_path):
    path = record(tmp_path, 24, 16)
    color = graph.record(Image, COLOR)
    info = graph.record(CameraInfo, "/camera/camera/color/camera_info")
    joints = graph.record(JointState, "/joint_states")
    replay = Replay(graph, path, PaperPolicy(CONFIG))
    replay.start()
    replay.play()
    instruction = graph.record(String, "/spatialbot/instruction", LATCHED)
    graph.until(lambda: instruction)  # who comes late hears it too
    assert instruction[0].data == INSTRUCTION
    for messages in (color, info, joints):
        assert sorted(set(stamps(messages))) == [START_NS + number * 100_000_000 for number in range(6)]


def test_at_a_rate_the_clock_runs_without_waiting(graph, tmp_path):
    path = record(tmp_path, 24, 16)
    color = graph.record(Image, COLOR)
    patient = {"max_frame_age_ms": 5000.0, "frame_timeout_periods": 50.0}  # this machine may be busy
    replay = Replay(graph, path, PaperPolicy(CONFIG), {"lockstep": False, "rate": 5.0}, patient)
    replay.start()
    assert "played 6 of 6 frames" in replay.play()
    assert sorted(set(stamps(color))) == [START_NS + number * 100_000_000 for number in range(6)]


def test_without_waiting_for_the_policy_it_plays_at_once(graph, tmp_path):
    path = record(tmp_path, 24, 16)
    color = graph.record(Image, COLOR)
    statuses = graph.record(DiagnosticStatus, "/spatialbot/replay/status", LATCHED)
    parameters = {"episode": str(path), "wait_for_policy": False, "rate": 20.0, "use_sim_time": False}
    node = ReplayNode(parameter_overrides=graph.parameters(parameters))
    graph._executor.add_node(node)
    graph.until(lambda: statuses and "played 6 of 6" in statuses[-1].message)
    assert stamps(color) == [START_NS + number * 100_000_000 for number in range(6)]
    graph._executor.remove_node(node)
    node.close()
    node.destroy_node()


def test_when_the_policy_stops_so_does_the_replay(graph, tmp_path):
    path = record(tmp_path, 24, 16)
    policy = PaperPolicy(CONFIG)
    replay = Replay(graph, path, policy)
    policy.make_chunk = lambda seen, number: None if number == 3 else one_step(seen, number)
    replay.start()
    assert "policy_error" in replay.play()
    assert replay.reason == "policy_stopped" and len(replay.actions) == 2


def test_a_policy_that_does_not_answer_is_waited_for_with_patience(graph, tmp_path):
    path = record(tmp_path, 24, 16)
    policy = PaperPolicy(CONFIG)
    policy.may_answer.clear()
    replay = Replay(graph, path, policy, {"patience_s": 0.2})
    replay.start()
    assert f"no action for stamp {START_NS} ns came within 0.2 s" in replay.play()
    assert replay.reason == "policy_silent"
    policy.may_answer.set()


def test_autostart_begins_the_replay(graph, tmp_path):
    path = record(tmp_path, 24, 16)
    policy = PaperPolicy(CONFIG)
    overrides = graph.parameters(POLICY | {"autostart": True})
    statuses = graph.record(DiagnosticStatus, "/spatialbot/replay/status", LATCHED)
    graph.add(PolicyNode(make_policy=lambda _: policy, parameter_overrides=overrides))
    node = ReplayNode(parameter_overrides=graph.parameters({"episode": str(path), "lockstep": True}))
    graph._nodes.append(node)
    graph._executor.add_node(node)
    graph.until(lambda: statuses and "played 6 of 6 frames, got 6 actions" in statuses[-1].message)


def test_an_episode_that_is_none_refuses_at_start(graph, tmp_path):
    with pytest.raises(EpisodeError, match="is no episode"):
        ReplayNode(parameter_overrides=graph.parameters({"episode": str(tmp_path)}))
    with pytest.raises(ConfigError, match="'episode' is empty"):
        ReplayNode(parameter_overrides=graph.parameters())


def test_a_damaged_episode_refuses_at_start(graph, tmp_path):
    path = record(tmp_path, 24, 16)
    data = bytearray((path / "episode.mcap").read_bytes())
    data[len(data) // 2] ^= 0xFF
    (path / "episode.mcap").write_bytes(data)
    with pytest.raises(EpisodeError, match="damaged"):
        ReplayNode(parameter_overrides=graph.parameters({"episode": str(path)}))
