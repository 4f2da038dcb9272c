"""The first frame a client gets: what this server runs, and how to talk to it."""

from __future__ import annotations

import secrets
from dataclasses import replace

from spatialbot_policy.config import PolicyConfig, to_dict
from spatialbot_policy.provenance import software_version
from spatialbot_policy.serving.image_codec import CODECS
from spatialbot_policy.serving.key_maps import PolicyKeys

PROTOCOL = 1
SERVER = "spatialbot"


def new_instance() -> str:
    """A name for one run of a server: a client that sees another one knows that its history is gone."""
    return secrets.token_hex(8)


def server_metadata(
    config: PolicyConfig, fingerprint: str, keys: PolicyKeys, instance: str, message_bytes: int
) -> dict[str, object]:
    """Write the metadata.

    Args:
        config: of the policy; its training summary stays here, for it names files of the trainer.
        fingerprint: of the checkpoint.
        keys: of the observations.
        instance: name of this run of the server.
        message_bytes: the largest message.
    """
    space = config.action_space
    return {
        "server": SERVER,
        "protocol": PROTOCOL,
        "version": software_version(),
        "instance": instance,
        "checkpoint": fingerprint,
        "policy": to_dict(replace(config, training={})),
        "cameras": [camera.name for camera in config.cameras],
        "action_space": {**to_dict(space), "names": list(space.names)},
        "rate_hz": config.rate_hz,
        "depth_variant": config.depth_variant.value if config.depth_variant else None,
        "keys": {"known": list(keys.known), "ignored": list(keys.map.ignore)},
        "codecs": list(CODECS),
        "max_message_bytes": message_bytes,
    }
