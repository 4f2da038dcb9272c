"""Makes the policy that policy_node runs, warm: the first answer takes no longer than the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from spatialbot_policy.config import PolicyConfig
from spatialbot_policy.errors import ConfigError
from spatialbot_policy.types import Observation, Policy, RgbdFrame
from spatialbot_ros.nodes.policy_parameters import PolicyParameters

MakePolicy: TypeAlias = Callable[[PolicyParameters], Policy]


def load_policy(parameters: PolicyParameters) -> Policy:
    """Load the checkpoint that the parameters name, and let it answer once.

    Raises:
        ConfigError: no checkpoint is named, or the device does not exist.
        CheckpointError: the checkpoint is incomplete or damaged.
    """
    if not parameters.checkpoint:
        raise ConfigError("parameter 'checkpoint' is empty, allowed is the directory of a checkpoint")
    from spatialbot_policy.inference.local_policy import LocalPolicy  # torch takes seconds to import

    try:
        policy = LocalPolicy.from_checkpoint(parameters.checkpoint, parameters.device)
    except RuntimeError as error:  # torch's word for an unknown or absent device
        raise ConfigError(
            f"parameter 'device' is {parameters.device!r}, which cannot be used: {error}"
        ) from error
    warm_up(policy, policy.config)
    return policy


def warm_up(policy: Policy, config: PolicyConfig) -> None:
    """Let a policy answer a made-up observation, whose answer goes nowhere, and forget it."""
    frames = {}
    for camera in config.cameras:
        shape = (camera.height, camera.width)
        grey, far = np.full((*shape, 3), 128, np.uint8), np.full(shape, 1000, np.uint16)
        frames[camera.name] = RgbdFrame(camera.name, 0, grey, far)
    policy.act(Observation(0, "warm up", frames))
    policy.reset()
