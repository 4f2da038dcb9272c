"""Makes the policy that policy_node runs: a checkpoint here, loaded and warm, or one behind a server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from spatialbot_policy.errors import ConfigError
from spatialbot_policy.serving.access import load_api_key
from spatialbot_policy.serving.client import RemotePolicy
from spatialbot_policy.serving.image_codec import ImageMode
from spatialbot_policy.serving.link_settings import LinkSettings
from spatialbot_policy.types import Policy
from spatialbot_ros.nodes.policy_parameters import PolicyParameters

MakePolicy: TypeAlias = Callable[[PolicyParameters], Policy]


def load_policy(parameters: PolicyParameters) -> Policy:
    """Make the policy that the parameters name.

    Raises:
        ConfigError: neither a checkpoint nor a server is named, or what goes with it cannot be used.
        CheckpointError: the checkpoint is incomplete or damaged, or the device does not exist.
    """
    if parameters.server:
        return remote_policy(parameters)
    if not parameters.checkpoint:
        raise ConfigError("parameter 'checkpoint' is empty, allowed is the directory of a checkpoint")
    from spatialbot_policy.inference import (  # torch takes seconds to import
        Engine,
        EngineSettings,
        LocalPolicy,
    )

    names = ("device", "dtype", "decoding", "compile")
    settings = EngineSettings(**{name: getattr(parameters, name) for name in names})
    engine = Engine.from_checkpoint(parameters.checkpoint, settings)
    engine.warm_up()
    return LocalPolicy(engine)


def remote_policy(parameters: PolicyParameters) -> RemotePolicy:
    """Make the client of a server, which may come up later: the start of the policy needs it, not the node's.

    Raises:
        ConfigError: an address, key or file that cannot be used.
    """
    values = parameters
    settings = LinkSettings(
        timeout_s=values.server_timeout_s,
        connect_timeout_s=values.server_connect_timeout_s,
        needs_server=False,
        images=ImageMode(values.server_images),
        api_key=load_api_key(values.server_api_key_file or None),
        ca_file=Path(values.server_ca_file) if values.server_ca_file else None,
    )
    try:
        return RemotePolicy(values.server, settings)
    except ConfigError as error:
        raise ConfigError(f"parameters 'server*': {error}") from error
