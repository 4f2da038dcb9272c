"""The models hold what Franka publishes, and their URDF is read back as the same arm."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from spatialbot_policy.errors import ConfigError
from spatialbot_ros.logic.arm_models import ARM_MODELS, FR3, PANDA, arm_model, urdf


@pytest.mark.parametrize("model", ARM_MODELS.values(), ids=list(ARM_MODELS))
def test_the_urdf_holds_the_limits(model):
    joints = ElementTree.fromstring(urdf(model)).findall("joint[@type='revolute']")
    assert tuple(joint.get("name") for joint in joints) == model.joint_names
    limits = [joint.find("limit") for joint in joints]
    assert tuple(float(limit.get("lower")) for limit in limits) == model.lower_rad
    assert tuple(float(limit.get("upper")) for limit in limits) == model.upper_rad
    assert tuple(float(limit.get("velocity")) for limit in limits) == model.velocity_rad_s


@pytest.mark.parametrize("model", ARM_MODELS.values(), ids=list(ARM_MODELS))
def test_the_urdf_is_one_chain_from_base_to_tool(model):
    root = ElementTree.fromstring(urdf(model))
    parent = {
        joint.find("child").get("link"): joint.find("parent").get("link") for joint in root.findall("joint")
    }
    link, chain = model.tool_frame, 0
    while link in parent:
        link, chain = parent[link], chain + 1
    assert link == f"{model.name}_link0"
    assert chain == 9
    assert len(parent) == chain


def test_published_numbers():
    assert FR3.lower_rad[5] == 0.5445 and FR3.upper_rad[3] == -0.1518
    assert PANDA.velocity_rad_s == (2.175,) * 4 + (2.61,) * 3
    for model in (FR3, PANDA):
        home = np.array(model.home_rad)
        assert (model.lower(0.1) < home).all() and (home < model.upper(0.1)).all()
    assert FR3.home_rad[3] == -3 * math.pi / 4


def test_an_unknown_arm_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="fr3, panda, sim_panda"):
        arm_model("ur5")
