"""The server's first message, read by a client: which policy answers there, and under which keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from spatialbot_policy.config import PolicyConfig, from_dict
from spatialbot_policy.errors import (
    CheckpointError,
    ConfigError,
    ServerChanged,
    ServerLost,
    ServerRefused,
    WireError,
)
from spatialbot_policy.serving.image_codec import ImageMode
from spatialbot_policy.serving.key_maps import NATIVE, KeyMap, PolicyKeys
from spatialbot_policy.serving.link_faults import one_line
from spatialbot_policy.serving.metadata import PROTOCOL
from spatialbot_policy.serving.wire import WireLimits, unpack

_LIMITS = WireLimits(message_bytes=1 << 20)
_SENT_AS = {ImageMode.ZSTD: "zstd", ImageMode.PNG: "png", ImageMode.JPEG: "jpeg", ImageMode.AUTO: "zstd"}


@dataclass(frozen=True)
class Greeting:
    """What a client goes by while a connection lasts.

    Attributes:
        config: of the policy that answers.
        fingerprint: of its checkpoint; "" where the server does not say.
        keys: of the observations.
        images: how they travel.
        stamped: whether answers carry the stamp of their observation.
        max_message_bytes: the largest message that the server takes; None where it does not say.
    """

    config: PolicyConfig
    fingerprint: str
    keys: PolicyKeys
    images: ImageMode
    stamped: bool
    max_message_bytes: int | None = None


@dataclass(frozen=True)
class GreetingReader:
    """Reads a server's first message.

    Attributes:
        url: of the server, for messages.
        images: how images shall travel.
        expected: what the policy must be; needed where the server does not say what it runs.
        keys: of the observations; None for our own.
    """

    url: str
    images: ImageMode
    expected: PolicyConfig | None = None
    keys: KeyMap | None = None

    def __call__(self, message: bytes | str) -> Greeting:
        """Read the metadata.

        Raises:
            ServerLost: this is no metadata.
            ServerChanged: the policy is not what was expected.
            ServerRefused: the server is full, newer, or does not understand what this client would send.
            ConfigError: the keys do not fit the policy.
        """
        if isinstance(message, str):
            raise ServerRefused(f"{self.url} refuses: {one_line(message)}")
        try:
            found = unpack(message, _LIMITS)
        except WireError as error:
            raise ServerLost(f"{self.url} is no policy server: {error}") from error
        if not isinstance(found, dict):
            raise ServerLost(f"{self.url} is no policy server: its first message is no map")
        return self._ours(found) if "policy" in found else self._foreign()

    def _ours(self, found: Mapping[str, Any]) -> Greeting:
        if found.get("protocol") != PROTOCOL:
            raise ServerRefused(
                f"{self.url} speaks protocol {found.get('protocol')!r}, this client {PROTOCOL}; install the "
                "same version of spatialbot on both machines"
            )
        fingerprint, most = found.get("checkpoint"), found.get("max_message_bytes")
        try:
            config = from_dict(PolicyConfig, found["policy"], "policy")
        except ConfigError as error:
            raise ServerRefused(f"{self.url} describes its policy in another form: {error}") from error
        if not isinstance(fingerprint, str) or not fingerprint or not isinstance(most, int):
            raise ServerLost(f"{self.url} names no 'checkpoint' or 'max_message_bytes'; update the server")
        if self.expected is not None:
            try:
                config.check_matches(self.expected, "what this client expects")
            except CheckpointError as error:
                raise ServerChanged(f"{self.url}: {error}") from error
        keys = (self.keys or NATIVE).of_policy(config)
        self._check_understood(found, keys)
        return Greeting(config, fingerprint, keys, self.images, bool(keys.map.stamp_ns), most)

    def _check_understood(self, found: Mapping[str, Any], keys: PolicyKeys) -> None:
        described, codecs = found.get("keys"), found.get("codecs")
        known = described.get("known") if isinstance(described, dict) else None
        unknown = [key for key in keys.known if not isinstance(known, list) or key not in known]
        if unknown:
            raise ServerRefused(
                f"{self.url} does not know the key '{unknown[0]}' that this client sends; start the server "
                "with --keys native, or give the client its key map"
            )
        wanted = _SENT_AS.get(self.images)
        if wanted is not None and (not isinstance(codecs, list) or wanted not in codecs):
            raise ServerRefused(f"{self.url} does not read {wanted} images; send them as 'fit' or 'raw'")

    def _foreign(self) -> Greeting:
        """A server of another make: it gets what every openpi server understands, and nothing else."""
        if self.expected is None:
            raise ServerRefused(
                f"{self.url} does not say which policy it runs; give its configuration as 'expected'"
            )
        if self.images not in (ImageMode.RAW, ImageMode.FIT, ImageMode.AUTO):
            raise ServerRefused(f"{self.url} reads plain images only; send them as 'fit' or 'raw'")
        keys = self.keys or NATIVE
        cameras = tuple(replace(camera, stamp_ns="") for camera in keys.cameras)
        plain = replace(keys, cameras=cameras, stamp_ns="", reset="").of_policy(self.expected)
        images = ImageMode.RAW if self.images is ImageMode.RAW else ImageMode.FIT
        return Greeting(self.expected, "", plain, images, stamped=False)
