"""The simulator on the graph: it shows, waits, moves once for each command, and counts how episodes end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from control_msgs.action import GripperCommand
from geometry_msgs.msg import PoseStamped
from rclpy.action import ActionClient
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, JointState, Joy
from std_msgs.msg import String
from tests.ros.nodes.fake_simulator import FakeSimulator
from tests.ros.nodes.sim_graph import add_arm, add_policy, add_sim, parsed, record_outcomes

from spatialbot_policy.episode import Dataset
from spatialbot_policy.episodes import topics
from spatialbot_policy.errors import ConfigError
from spatialbot_policy.types import ActionChunk, ActionStep, Observation
from spatialbot_ros.convert.actions import from_action
from spatialbot_ros.convert.images import to_color, to_depth_mm
from spatialbot_ros.convert.stamps import stamp_ns
from spatialbot_ros.convert.states import from_pose, to_closure, to_pose
from spatialbot_ros.logic.action_target import opening_m
from spatialbot_ros.logic.pose import Pose
from spatialbot_ros.logic.teleop_mapping import GAMEPAD
from spatialbot_ros.nodes.recorder_node import RecorderNode
from spatialbot_ros.nodes.teleop_node import TeleopNode
from spatialbot_sim.task.robot import EPISODE_START_NS, SimRobot

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
TARGET, EXECUTED = "/target_pose", "/spatialbot/executed_action"
DOWN = ActionStep(np.array([0.0, 0.0, -0.01]), np.zeros(3), 0.0)


class Scripted:
    """A policy that goes down a little, or does what a test wants instead."""

    def __init__(self, act: Callable[[int], ActionStep] = lambda step: DOWN) -> None:
        self._act = act
        self.step = 0
        self.seen: list[Observation] = []
        self.said: list[ActionStep] = []

    def reset(self) -> None:
        self.step = 0

    def act(self, observation: Observation) -> ActionChunk:
        self.seen.append(observation)
        self.said.append(self._act(self.step))
        self.step += 1
        return ActionChunk(observation.stamp_ns, (self.said[-1],))


def start_time(graph: Any) -> None:
    graph.set_time(EPISODE_START_NS - 100_000_000)


def play(graph: Any, robot: Any, policy: Any, **values: Any) -> list[dict[str, Any]]:
    """Outcomes of the episodes that a policy plays."""
    start_time(graph)
    outcomes = record_outcomes(graph)
    add_arm(graph)
    add_policy(graph, make_policy=lambda parameters: policy)
    add_sim(graph, robot, **values)
    graph.until(lambda: len(outcomes) == values["episodes"], timeout_s=60.0)
    return parsed(outcomes)


def command(graph: Any, stamp: int, pose: Pose, closure: float = 0.0) -> None:
    """What an arm node sends for one picture, the gripper's goal apart."""
    graph.publish(TARGET, from_pose(stamp, "base", pose))
    graph.publish(EXECUTED, from_action(stamp, ActionStep(np.zeros(3), np.zeros(3), closure)))


def ask_gripper(graph: Any, finger_m: float) -> Any:
    """Send a goal; returns the handle of the answer."""
    client = ActionClient(graph.node, GripperCommand, "/fr3_gripper/gripper_action")
    graph.until(client.server_is_ready)
    goal = GripperCommand.Goal()
    goal.command.position = finger_m
    future = client.send_goal_async(goal)
    graph.until(future.done)
    return future.result()


def test_one_state_is_one_stamp_on_every_topic_and_is_shown_again_later_without_motion(graph):
    robot = FakeSimulator()
    recorded = {
        name: graph.record(kind, name)
        for name, kind in {
            topics.color_topic("camera"): Image,
            topics.depth_topic("camera"): Image,
            topics.camera_info_topic("camera"): CameraInfo,
            topics.JOINTS_TOPIC: JointState,
            topics.POSE_TOPIC: PoseStamped,
        }.items()
    }
    clock = graph.record(Clock, "/clock")
    words = graph.record(String, topics.INSTRUCTION_TOPIC, LATCHED)
    start_time(graph)
    clock.clear()
    add_sim(graph, robot, first_seed=10_000_007)
    graph.until(lambda: len(recorded[topics.color_topic("camera")]) == 3)
    graph.settle()
    assert [message.data for message in words] == ["put object 7 on the board"]
    stamps = [stamp_ns(message.clock) for message in clock][:3]
    assert np.diff(stamps).tolist() == [100_000_000] * 2
    for messages in recorded.values():
        assert [stamp_ns(message) for message in messages][:3] == stamps
    assert robot.moves == []
    color, depth, _, joints, pose = (messages[-1] for messages in recorded.values())
    assert to_color(color)[0, 0, 0] == 10_000_007 % 256 and to_depth_mm(depth)[0, 0] == 500
    assert to_pose(pose) == robot.pose and to_closure(joints) == 0.0


def test_a_complete_command_moves_one_step_and_an_old_one_none(graph):
    robot = FakeSimulator()
    start_time(graph)
    shown = graph.record(PoseStamped, topics.POSE_TOPIC)
    add_sim(graph, robot)
    graph.until(lambda: bool(shown))
    first = stamp_ns(shown[0])
    target = Pose(robot.pose.position_m - [0.0, 0.0, 0.01], robot.pose.quaternion_xyzw)
    command(graph, first, target)
    assert robot.moves == []  # the fingers' goal is not known yet
    assert ask_gripper(graph, opening_m(0.0)).accepted
    graph.until(lambda: len(robot.moves) == 1)
    assert robot.moves == [(target, opening_m(0.0))]
    command(graph, first, target)
    command(graph, first + 1, target)
    graph.settle()
    assert len(robot.moves) == 1
    command(graph, stamp_ns(shown[-1]), robot.pose, closure=1.0)
    graph.settle()
    assert len(robot.moves) == 1
    ask_gripper(graph, opening_m(1.0))
    graph.until(lambda: len(robot.moves) == 2)
    assert robot.moves[-1][1] == 0.0


def test_nonsense_on_the_wire_is_refused_and_moves_nothing(graph):
    robot = FakeSimulator()
    start_time(graph)
    add_sim(graph, robot)
    assert not ask_gripper(graph, 0.08).accepted  # the whole width where half of it belongs
    message = from_pose(EPISODE_START_NS, "base", robot.pose)
    message.pose.position.x = float("nan")
    graph.publish(TARGET, message)
    graph.publish(EXECUTED, JointState(name=["dx"], position=[1.0]))
    graph.settle()
    assert robot.moves == []


def test_episodes_are_played_one_after_the_other_and_their_ends_are_told(graph):
    robot, policy = FakeSimulator(), Scripted()
    first, second = play(graph, robot, policy, episodes=2, family="size", first_seed=10_000_003)
    assert first == {
        "seed": 10_000_003,
        "family": "size",
        "instruction": "put object 3 on the board",
        "success": True,
        "failure": "",
        "steps": 4,
        "seen": ["lifted", "success"],
    }
    assert (second["seed"], second["success"], second["steps"]) == (10_000_004, True, 4)
    assert len(robot.moves) == 8
    steps = [int(observation.frames["camera"].color[1, 1, 0]) for observation in policy.seen]
    assert steps == [0, 1, 2, 3] * 2  # each state once, in order, and not the last, which needs no answer


def test_time_up_is_counted_as_an_evaluation_counts_it(graph):
    (outcome,) = play(graph, FakeSimulator(steps_to_success=99), Scripted(), episodes=1, max_steps=3)
    assert (outcome["success"], outcome["failure"], outcome["steps"]) == (False, "timeout", 3)


def test_a_policy_that_fails_ends_its_episode_with_the_reason_and_the_next_one_is_played(graph):
    def fail_in_the_first_episode(step: int) -> ActionStep:
        if step == 2 and len(robot.seeds) == 1:
            raise RuntimeError("the policy broke")
        return DOWN

    robot = FakeSimulator()
    first, second = play(graph, robot, Scripted(fail_in_the_first_episode), episodes=2)
    assert (first["success"], first["failure"], first["steps"]) == (False, "policy_error", 2)
    assert second["success"]


def test_a_fault_of_the_arm_ends_the_episode_and_is_released_for_the_next(graph):
    def leap_in_the_first_episode(step: int) -> ActionStep:
        leap = step == 1 and len(robot.seeds) == 1
        return ActionStep(np.array([9.0, 0.0, 0.0]), np.zeros(3), 0.0) if leap else DOWN

    robot = FakeSimulator()
    first, second = play(graph, robot, Scripted(leap_in_the_first_episode), episodes=2)
    assert (first["failure"], first["steps"]) == ("action_invalid", 1)
    assert second["success"]


def test_in_real_time_it_goes_on_without_commands_and_follows_the_newest_target(graph):
    robot = FakeSimulator()
    start_time(graph)
    add_sim(graph, robot, mode="realtime")
    graph.until(lambda: len(robot.moves) >= 2)
    home = robot.moves[0][0]
    assert robot.moves[1] == (home, opening_m(0.0))
    target = Pose(home.position_m + [0.01, 0.0, 0.0], home.quaternion_xyzw)
    graph.publish(TARGET, from_pose(1, "base", target))
    ask_gripper(graph, 0.0)
    graph.until(lambda: robot.moves[-1] == (target, 0.0))


def test_scenes_that_nobody_answers_fail_with_that_and_the_node_may_end_with_the_last(graph):
    start_time(graph)
    outcomes = record_outcomes(graph)
    node = add_sim(graph, FakeSimulator(), episodes=2, start_timeout_s=0.2, exit_when_done=True)
    graph.until(lambda: len(outcomes) == 2)
    assert "resume refused: /spatialbot/arm/resume is not there" in parsed(outcomes)[0]["failure"]
    graph.until(lambda: not node.context.ok())


def test_what_a_lock_step_run_showed_and_did_reads_back_from_its_recording(graph, tmp_path):
    """The real simulator with its pictures, through policy, guard and recorder."""
    robot = SimRobot(image_size=48)
    rng = np.random.default_rng(3)

    def wander(step: int) -> ActionStep:
        return ActionStep(rng.uniform(-0.05, 0.05, 3), rng.uniform(-0.1, 0.1, 3), float(rng.integers(2)))

    policy = Scripted(wander)
    start_time(graph)
    outcomes = record_outcomes(graph)
    recorder = {"dataset": str(tmp_path), "reliability": "reliable", "robot": "sim_panda"}
    graph.add(RecorderNode(parameter_overrides=graph.parameters(recorder)))
    add_arm(graph)
    add_policy(graph, make_policy=lambda parameters: policy)
    add_sim(graph, robot, episodes=1, max_steps=6, image_size=48, start_timeout_s=60.0)
    graph.until(lambda: graph.call("/spatialbot/recorder/start").success)
    graph.until(lambda: len(outcomes) == 1, timeout_s=60.0)
    saved = graph.call("/spatialbot/recorder/save")
    assert saved.success, saved.message
    robot.close()
    reader = Dataset(tmp_path).episode(0)
    reader.verify()
    actions = dict(reader.actions(executed=True))
    asked = {item.stamp_ns: (item, said) for item, said in zip(policy.seen, policy.said, strict=False)}
    observations = reader.observations()
    assert len(observations) == 6 == len(actions)
    for observation in observations:
        seen, said = asked[observation.stamp_ns]
        assert np.array_equal(actions[observation.stamp_ns].as_vector(), said.as_vector())
        assert observation.instruction == seen.instruction
        frame, live = observation.frames["camera"], seen.frames["camera"]
        assert np.array_equal(frame.color, live.color) and np.array_equal(frame.depth_mm, live.depth_mm)


def test_impossible_parameters_are_refused_by_name(graph):
    with pytest.raises(ConfigError, match="'family' is 'stack', allowed is one of pick, position"):
        add_sim(graph, FakeSimulator(), family="stack")
    with pytest.raises(ConfigError, match="'mode' is 'fast', allowed is one of lockstep, realtime"):
        add_sim(graph, FakeSimulator(), mode="fast")


def test_a_person_drives_the_simulated_arm_in_lock_step(graph):
    robot = FakeSimulator(steps_to_success=99)
    start_time(graph)
    add_arm(graph)
    graph.add(TeleopNode(parameter_overrides=graph.parameters({"joy_timeout_ms": 400.0})))
    joy = graph.node.create_publisher(Joy, "/joy", 10)
    add_sim(graph, robot)
    start = robot.pose.position_m
    axes, buttons = [0.0] * 8, [0] * 11
    axes[GAMEPAD.axes[2]] = 1.0
    buttons[GAMEPAD.dead_man_button] = 1

    def moved() -> bool:
        joy.publish(Joy(axes=axes, buttons=buttons))
        return len(robot.moves) >= 5

    graph.until(moved, timeout_s=20.0)
    up = robot.pose.position_m - start
    assert up[2] > 0.04 and abs(up[0]) < 1e-3
