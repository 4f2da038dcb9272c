"""The Franka Panda as SpatialPickPlace uses it: low-poly visuals and a delta-pose controller in our units."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from mani_skill.agents.controllers import PDEEPoseControllerConfig, deepcopy_dict
from mani_skill.agents.registration import register_agent
from mani_skill.agents.robots.panda.panda import Panda

from spatialbot_sim.task.lowpoly_panda import lowpoly_urdf
from spatialbot_sim.task.workplace import ROTATION_BOUND_RAD, TRANSLATION_BOUND_M


@register_agent()
class SpatialPanda(Panda):
    """ManiSkill's Panda, lighter to render and with stiffer tracking for control at 10 Hz."""

    uid = "spatial_panda"
    urdf_path = str(lowpoly_urdf())
    arm_stiffness = 2e3
    arm_damping = 1.5e2

    @property
    def _controller_configs(self) -> dict[str, Any]:
        inherited = super()._controller_configs
        arm = PDEEPoseControllerConfig(
            joint_names=self.arm_joint_names,
            pos_lower=-TRANSLATION_BOUND_M,
            pos_upper=TRANSLATION_BOUND_M,
            rot_lower=-ROTATION_BOUND_RAD,
            rot_upper=ROTATION_BOUND_RAD,
            stiffness=self.arm_stiffness,
            damping=self.arm_damping,
            force_limit=self.arm_force_limit,
            ee_link=self.ee_link_name,
            urdf_path=self.urdf_path,
        )
        gripper = deepcopy(inherited["pd_ee_delta_pose"]["gripper"])
        return deepcopy_dict({"pd_ee_delta_pose": {"arm": arm, "gripper": gripper}})
