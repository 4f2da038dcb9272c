"""Published geometry and limits of the Franka arms, and the URDF text made from them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from spatialbot_policy.errors import ConfigError
from spatialbot_policy.types import FloatArray

JOINTS = 7

# (a m, d m, alpha rad) of joints 1..7 in the modified (Craig) convention; Franka Control Interface
# documentation, "Denavit-Hartenberg parameters", the same for Panda and FR3
_MODIFIED_DH = (
    (0.0, 0.333, 0.0),
    (0.0, 0.0, -math.pi / 2),
    (0.0, 0.316, math.pi / 2),
    (0.0825, 0.0, math.pi / 2),
    (-0.0825, 0.384, -math.pi / 2),
    (0.0, 0.0, math.pi / 2),
    (0.088, 0.0, math.pi / 2),
)
_FLANGE_M = 0.107
_EFFORT_NM = (87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0)


@dataclass(frozen=True)
class ArmModel:
    """One arm with its tool.

    Attributes:
        name: "fr3", "panda" or "sim_panda"; joints are `<name>_joint1` .. 7, the base is `<name>_link0`.
        lower_rad, upper_rad: (7,) position limits.
        velocity_rad_s: (7,) velocity limits.
        home_rad: (7,) Franka's "ready" posture.
        tool_m: tool centre point from the flange, along the flange's axes.
        tool_yaw_rad: turn of the tool about the flange's z axis; the Franka Hand sits at -45 degrees.
    """

    name: str
    lower_rad: tuple[float, ...]
    upper_rad: tuple[float, ...]
    velocity_rad_s: tuple[float, ...]
    home_rad: tuple[float, ...] = (0.0, -math.pi / 4, 0.0, -3 * math.pi / 4, 0.0, math.pi / 2, math.pi / 4)
    tool_m: tuple[float, float, float] = (0.0, 0.0, 0.1034)
    tool_yaw_rad: float = -math.pi / 4

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Names of the seven joints, base first."""
        return tuple(f"{self.name}_joint{number}" for number in range(1, JOINTS + 1))

    @property
    def tool_frame(self) -> str:
        """Name of the tool centre point's link."""
        return f"{self.name}_hand_tcp"

    def lower(self, margin_rad: float = 0.0) -> FloatArray:
        """(7,) lower position limits, drawn in by a margin."""
        return np.array(self.lower_rad) + margin_rad

    def upper(self, margin_rad: float = 0.0) -> FloatArray:
        """(7,) upper position limits, drawn in by a margin."""
        return np.array(self.upper_rad) - margin_rad


FR3 = ArmModel(
    "fr3",
    lower_rad=(-2.7437, -1.7837, -2.9007, -3.0421, -2.8065, 0.5445, -3.0159),
    upper_rad=(2.7437, 1.7837, 2.9007, -0.1518, 2.8065, 4.5169, 3.0159),
    velocity_rad_s=(2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26),
)
PANDA = ArmModel(
    "panda",
    lower_rad=(-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973),
    upper_rad=(2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973),
    velocity_rad_s=(2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61),
)
SIM_PANDA = replace(PANDA, name="sim_panda", velocity_rad_s=(12.0,) * JOINTS)
"""ManiSkill's Panda: its drives know no velocity limit, and its tasks move faster than the real arm can."""
ARM_MODELS = {model.name: model for model in (FR3, PANDA, SIM_PANDA)}


def arm_model(name: str) -> ArmModel:
    """Find the model of an arm.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in ARM_MODELS:
        raise ConfigError(f"unknown arm '{name}'; allowed are: {', '.join(ARM_MODELS)}")
    return ARM_MODELS[name]


def urdf(model: ArmModel) -> str:
    """URDF text of an arm: kinematics and limits only, no meshes, no masses."""
    name = model.name
    links = [f'  <link name="{name}_link{number}"/>' for number in range(JOINTS + 2)]
    joints = [_joint(model, index) for index in range(JOINTS)]
    flange = f'xyz="0 0 {_FLANGE_M!r}" rpy="0 0 0"'
    x, y, z = model.tool_m
    tool = f'xyz="{x!r} {y!r} {z!r}" rpy="0 0 {model.tool_yaw_rad!r}"'
    return "\n".join(
        [
            '<?xml version="1.0"?>',
            f'<robot name="{name}">',
            *links,
            f'  <link name="{model.tool_frame}"/>',
            *joints,
            _fixed(f"{name}_joint8", f"{name}_link7", f"{name}_link8", flange),
            _fixed(f"{name}_hand_tcp_joint", f"{name}_link8", model.tool_frame, tool),
            "</robot>",
            "",
        ]
    )


def _joint(model: ArmModel, index: int) -> str:
    a, d, alpha = _MODIFIED_DH[index]
    # Rx(alpha) Tx(a) Tz(d), then the joint's own turn about z
    xyz = f"{a!r} {-d * math.sin(alpha)!r} {d * math.cos(alpha)!r}"
    limits = f'lower="{model.lower_rad[index]!r}" upper="{model.upper_rad[index]!r}"'
    rates = f'velocity="{model.velocity_rad_s[index]!r}" effort="{_EFFORT_NM[index]!r}"'
    return "\n".join(
        [
            f'  <joint name="{model.joint_names[index]}" type="revolute">',
            f'    <parent link="{model.name}_link{index}"/>',
            f'    <child link="{model.name}_link{index + 1}"/>',
            f'    <origin xyz="{xyz}" rpy="{alpha!r} 0 0"/>',
            '    <axis xyz="0 0 1"/>',
            f"    <limit {limits} {rates}/>",
            "  </joint>",
        ]
    )


def _fixed(name: str, parent: str, child: str, origin: str) -> str:
    return "\n".join(
        [
            f'  <joint name="{name}" type="fixed">',
            f'    <parent link="{parent}"/>',
            f'    <child link="{child}"/>',
            f"    <origin {origin}/>",
            "  </joint>",
        ]
    )
