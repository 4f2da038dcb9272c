"""A checkpoint is evaluated on scenes that it has not seen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spatialbot_policy.config import CameraConfig, PolicyConfig
from spatialbot_policy.errors import CheckpointError
from spatialbot_sim.evaluation.unseen import check_unseen

POLICY = PolicyConfig(cameras=(CameraConfig("camera", 128, 128),))


@pytest.mark.parametrize(
    "training", [{}, {"seed_min": None, "seed_max": None}, {"seed_min": 0, "seed_max": 9}]
)
def test_unseen_scenes_pass(training):
    check_unseen(replace(POLICY, training=training), range(10, 20), "tiny")


@pytest.mark.parametrize("training", [{"seed_min": 0, "seed_max": 10}, {"seeds": [3, 12]}])
def test_a_scene_of_the_training_data_is_refused(training):
    with pytest.raises(CheckpointError, match="tiny was trained on seed 1[02], says its policy.yaml"):
        check_unseen(replace(POLICY, training=training), range(10, 20), "tiny")
