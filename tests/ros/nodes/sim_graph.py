"""Graphs with the simulator in them: sim_node makes the time, policy_node and arm_node answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import String
from tests.ros.harness import Graph

from spatialbot_policy.types import Observation
from spatialbot_ros.logic.parameter import flatten
from spatialbot_ros.nodes.arm_node import ArmNode
from spatialbot_ros.nodes.policy_node import PolicyNode
from spatialbot_ros.nodes.sim_node import SimNode
from spatialbot_sim.task.limits import SIM_LIMITS

LATCHED = QoSProfile(depth=1000, durability=DurabilityPolicy.TRANSIENT_LOCAL)
PATIENCE_S = 60.0  # a test machine may be slow; nothing is lost on its way


def sim_parameters(values: Mapping[str, Any]) -> list[Parameter]:
    """Overrides for sim_node, which makes simulated time and does not follow it."""
    return [Parameter(name, value=value) for name, value in values.items()]


def sim_guard_parameters() -> dict[str, Any]:
    """The limits of the simulated cell as parameters of the arm node."""
    values = flatten(SIM_LIMITS, "guard.")
    return {name: list(item) if isinstance(item, tuple) else item for name, (item, _) in values.items()}


def add_sim(graph: Graph, robot: Any = None, **values: Any) -> SimNode:
    """Add a sim_node; from now on it makes the time."""
    node = SimNode(robot, parameter_overrides=sim_parameters({"patience_s": PATIENCE_S, **values}))
    return graph.add(node, makes_time=True)


def add_arm(graph: Graph, **values: Any) -> ArmNode:
    """Add the arm node as in simulation: one command for each action, from the measured pose."""
    given = {
        "arm": "sim_panda",
        "joint_prefix": "fr3_joint",
        "command_rate_hz": 0.0,
        "pose_timeout_ms": 180.0,
        "joints_timeout_ms": 180.0,
        "state_reliability": "reliable",
        **sim_guard_parameters(),
        **values,
    }
    return graph.add(ArmNode(parameter_overrides=graph.parameters(given)))


def add_policy(
    graph: Graph,
    make_policy: Callable[[Any], Any] | None = None,
    on_observation: Callable[[Observation], None] | None = None,
    **values: Any,
) -> PolicyNode:
    """Add the policy node with the simulator's camera."""
    given = {
        "camera_rate_hz": 10.0,
        "pair_tolerance_ms": 0.0,
        "max_frame_lead_ms": 150.0,
        "image_reliability": "reliable",
        **values,
    }
    options = {} if make_policy is None else {"make_policy": make_policy}
    node = PolicyNode(on_observation=on_observation, parameter_overrides=graph.parameters(given), **options)
    return graph.add(node)


def record_outcomes(graph: Graph) -> list[String]:
    """What sim_node says of each episode."""
    return graph.record(String, "/spatialbot/sim/outcome", LATCHED)


def parsed(outcomes: list[String]) -> list[dict[str, Any]]:
    """The outcomes as mappings."""
    return [json.loads(message.data) for message in outcomes]
