"""A checkpoint runs only where its images and actions mean the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spatialbot_policy.action_space import ActionSpace
from spatialbot_policy.config import CameraConfig, PolicyConfig
from spatialbot_policy.depth import DepthVariant
from spatialbot_policy.errors import CheckpointError
from spatialbot_policy.prompt import PromptStyle
from spatialbot_sim.task.contract import SPATIAL_CONTRACT
from spatialbot_sim.task.robot import SPATIAL_TASK

CAMERA, WRIST = CameraConfig("camera", 128, 128), CameraConfig("wrist", 128, 128)
POLICY = PolicyConfig(cameras=(CAMERA,))


@pytest.mark.parametrize(
    "policy",
    [
        POLICY,
        replace(POLICY, cameras=(WRIST, CAMERA)),
        replace(POLICY, cameras=(WRIST,), depth_variant=DepthVariant.UINT24),
        replace(POLICY, history_length=1, max_gap_ms=200, prompt=PromptStyle.PAPER),
        replace(POLICY, action_space=ActionSpace(kind="delta_pose_terminate", bins=11)),
    ],
)
def test_what_is_the_policys_own_affair_may_differ(policy):
    SPATIAL_CONTRACT.check(policy, SPATIAL_TASK)


@pytest.mark.parametrize(
    ("policy", "named"),
    [
        (replace(POLICY, cameras=(CameraConfig("base", 128, 128),)), "base 128x128 != camera 128x128"),
        (replace(POLICY, cameras=(CAMERA, CameraConfig("left", 128, 128))), "left 128x128 != camera 128x128"),
        (replace(POLICY, cameras=(CameraConfig("camera", 224, 224),)), "224x224 != camera 128x128"),
        (replace(POLICY, rate_hz=20.0), "rate_hz: 20.0 != 10.0"),
        (
            replace(POLICY, action_space=ActionSpace(translation_bound_m=0.2)),
            "translation_bound_m: 0.2 != 0.05",
        ),
        (replace(POLICY, action_space=ActionSpace(rotation_bound_rad=0.2)), "rotation_bound_rad: 0.2 != 0.1"),
    ],
)
def test_a_disagreement_is_refused_with_both_values(policy, named):
    with pytest.raises(CheckpointError, match=named):
        SPATIAL_CONTRACT.check(policy, SPATIAL_TASK)
