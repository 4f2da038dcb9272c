"""Camera, policy and arm together: what goes wrong before the arm makes it stand within two frame periods."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from tests.ros.harness import Graph
from tests.ros.nodes.arm_bench import PARAMETERS as ARM_PARAMETERS
from tests.ros.nodes.fake_robot import FakeRobot
from tests.ros.nodes.policy_rig import LATCHED, TWO_PERIODS_S, PolicyRig

from spatialbot_policy.types import ActionChunk, ActionStep, Observation
from spatialbot_ros.convert.states import to_pose
from spatialbot_ros.logic.reasons import Reason
from spatialbot_ros.nodes.arm_node import ArmNode

TICK_S = 1 / 240


def creep(observation: Observation, number: int) -> ActionChunk:
    """A small step to the side, again and again."""
    return ActionChunk(observation.stamp_ns, (ActionStep(np.array([0.0, 0.001, 0.0]), np.zeros(3), 0.0),))


class Chain:
    """A fake camera, policy_node, arm_node and a robot, in motion."""

    def __init__(self, graph: Graph, make_rig: Callable[[Graph], PolicyRig] = PolicyRig) -> None:
        self.graph = graph
        self.robot = graph.add(FakeRobot(graph.parameters()))
        self.targets = graph.record(PoseStamped, "/target_pose")
        self.statuses = graph.record(DiagnosticStatus, "/spatialbot/arm/status", LATCHED)
        self.arm = graph.add(ArmNode(parameter_overrides=graph.parameters(ARM_PARAMETERS)))
        self.rig = make_rig(graph)
        self.rig.policy.make_chunk = creep
        self.rig.start()
        graph.until(lambda: graph.call("/spatialbot/arm/resume").success)
        self.rig.follow(4)
        assert self.statuses[-1].level == DiagnosticStatus.OK and len(self.targets) >= 3

    def stands(self) -> bool:
        """Whether the last command was to stay where the robot is."""
        pose = self.robot.kinematics.forward(self.robot.joints)
        distance_m, turn_rad = to_pose(self.targets[-1]).distance(pose)
        return bool(distance_m < 1e-4 and turn_rad < 1e-3)


def silence(chain: Chain) -> None:
    """No frame comes any more."""


def depth_invalid(chain: Chain) -> None:
    chain.rig.pause()
    chain.rig.color()
    chain.rig.depth(value=0)


def other_size(chain: Chain) -> None:
    chain.rig.pause()
    chain.rig.frame(width=48)


def raises(chain: Chain) -> None:
    chain.rig.policy.error = RuntimeError("a bug")
    chain.rig.pause()
    chain.rig.frame()
    chain.graph.until(lambda: not chain.rig.active)  # its thread works in wall time


def hangs(chain: Chain) -> None:
    chain.rig.pause()
    chain.rig.hang()
    chain.rig.pause()
    chain.rig.frame()  # the camera goes on


def other_words(chain: Chain) -> None:
    chain.rig.instruct("pick up the green cup")


def killed(chain: Chain) -> None:
    chain.graph.remove(chain.rig.node)


FAULTS: list[tuple[Callable[[Chain], None], str]] = [
    (silence, "color_stopped"),
    (depth_invalid, "depth_invalid"),
    (other_size, "frame_changed"),
    (raises, "policy_error"),
    (hangs, "policy_hung"),
    (other_words, "instruction_changed"),
    (killed, ""),
]


@pytest.mark.parametrize(("fault", "reason"), FAULTS, ids=[fault.__name__ for fault, _ in FAULTS])
def test_the_arm_stands_within_two_frame_periods_and_stays(graph, fault, reason):
    chain = Chain(graph)
    fault(chain)
    graph.until(lambda: chain.statuses[-1].level != DiagnosticStatus.OK, TWO_PERIODS_S, TICK_S)
    message = chain.statuses[-1].message
    # the arm waits as long for an action as the policy for a frame: either may be the first to tell
    silent = message.startswith(str(Reason.POLICY_SILENT))
    assert message.startswith(f"{Reason.POLICY_STOPPED}: {reason}") or silent, message
    assert silent or fault is not killed
    assert chain.stands()
    if reason:
        graph.until(lambda: chain.rig.reason == reason, TWO_PERIODS_S, TICK_S)
    chain.rig.policy.error = None
    chain.rig.policy.may_answer.set()
    count = len(chain.targets)
    for _ in range(5):  # everything is well again, but nobody asked for motion
        chain.rig.pause()
        chain.rig.frame()
    assert len(chain.targets) == count and chain.statuses[-1].level != DiagnosticStatus.OK
