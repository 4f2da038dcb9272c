"""How the policy server runs: where it listens, who may connect, and what clients may cost it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field, fields

from spatialbot_policy.errors import ConfigError
from spatialbot_policy.serving.access import ApiKey
from spatialbot_policy.serving.key_maps import NATIVE, KeyMap
from spatialbot_policy.serving.wire import WireLimits


@dataclass(frozen=True)
class ServerLimits:
    """Bounds of the policy server; a client beyond one of them is refused, the others are served.

    Raises:
        ConfigError: a bound that is not positive.
    """

    message_bytes: int = 32 * 1024 * 1024
    """Largest message; two cameras of 1280 x 720 with depth, as they are, take 11 MB."""
    connections: int = 16
    """Clients at a time; further ones get HTTP 503. Each may hold a message and a history."""
    queue: int = 16
    """Observations that wait for the policy, one for each client at most."""
    unanswered: int = 64
    """Observations of one client without an answer; beyond, nothing more is read from it."""
    open_timeout_s: float = 5.0
    """From the connection to the end of the handshake."""
    message_timeout_s: float = 10.0
    """From the first byte of a message to its last."""
    idle_timeout_s: float = 1800.0
    """Silence of a client that ends its connection."""
    write_timeout_s: float = 5.0
    """Until a client has taken an answer."""
    ping_timeout_s: float = 20.0
    """Between two pings, and for the answer to one."""
    inference_timeout_s: float = 10.0
    """For one observation, once the policy began with it."""
    drain_timeout_s: float = 20.0
    """For the observations that are with the policy when the server is told to end."""

    def __post_init__(self) -> None:
        for bound in fields(self):
            value = getattr(self, bound.name)
            if not 0 < value < float("inf"):
                raise ConfigError(f"limit '{bound.name}' is {value}, allowed is a number above 0")

    @property
    def wire(self) -> WireLimits:
        """The same for the reader of messages."""
        return WireLimits(message_bytes=self.message_bytes)


@dataclass(frozen=True)
class ServerSettings:
    """Everything a server is told but its policy.

    Attributes:
        host: address to listen on; the default is reached from this machine only.
        port: to listen on; 0 takes a free one.
        keys: of the observations' messages.
        api_key: what a client must present; None admits everybody who can connect.
        tls: certificate and key; None for plain connections.
        limits: what clients may cost.

    Raises:
        ConfigError: no such port.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    keys: KeyMap = NATIVE
    api_key: ApiKey | None = None
    tls: ssl.SSLContext | None = None
    limits: ServerLimits = field(default_factory=ServerLimits)

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise ConfigError(f"port {self.port} does not exist; choose 1..65535, or 0 for a free one")
