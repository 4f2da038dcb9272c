"""One set of limits for the simulated arm, in the arm node's parameter file and in `spatialbot evaluate`."""

from __future__ import annotations

from pathlib import Path

import yaml

from spatialbot_sim.task.limits import SIM_LIMITS
from spatialbot_sim.task.workplace import CONTROL_HZ, ROTATION_BOUND_RAD, TRANSLATION_BOUND_M

FILE = Path(__file__).parents[3] / "config" / "robot" / "sim_panda.yaml"


def parameters(node: str) -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load(FILE.read_text(encoding="utf-8"))[node]["ros__parameters"]
    return found


def test_the_arm_node_s_guard_is_that_of_an_evaluation():
    limits = vars(SIM_LIMITS).items()
    expected = {name: list(value) if isinstance(value, tuple) else value for name, value in limits}
    assert parameters("arm_node")["guard"] == expected


def test_rates_and_bounds_are_the_simulator_s():
    arm, policy = parameters("arm_node"), parameters("policy_node")["robot"]
    assert arm["control_rate_hz"] == policy["rate_hz"] == CONTROL_HZ
    assert arm["command_rate_hz"] == 0.0
    assert policy["translation_bound_m"] == TRANSLATION_BOUND_M
    assert policy["rotation_bound_rad"] == ROTATION_BOUND_RAD
