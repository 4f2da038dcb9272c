"""How a client talks to a policy server: deadlines, back-off, key and certificate, the way of the images."""

from __future__ import annotations

import random
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from spatialbot_policy.errors import ConfigError
from spatialbot_policy.serving.access import ApiKey
from spatialbot_policy.serving.image_codec import ImageMode


@dataclass(frozen=True)
class LinkSettings:
    """Deadlines and credentials of one client.

    Attributes:
        timeout_s: the longest that one answer may take, everything included.
        connect_timeout_s: the longest that a connection and the server's first message may take.
        needs_server: whether the construction of a client waits for the server and fails without; a robot's
            node may come up before its server.
        reset_wait_s: how long the start of an episode waits for a server that is away; 0 in a control loop.
        images: how images travel.
        api_key: the server's key; it travels readable unless the URL is wss://.
        ca_file: certificates that vouch for the server, PEM; None takes those of the system.
        retry_first_s: pause after the first failed attempt to connect; it doubles each time.
        retry_most_s: the longest pause.
        ping_interval_s: how often a silent link is tried.
        ping_timeout_s: silence after a try that ends the link; never less than `timeout_s`.
        max_reply_bytes: the largest message that is taken from a server.

    Raises:
        ConfigError: a duration or size that is not positive.
    """

    timeout_s: float = 0.5
    connect_timeout_s: float = 5.0
    needs_server: bool = True
    reset_wait_s: float = 0.0
    images: ImageMode = ImageMode.AUTO
    api_key: ApiKey | None = None
    ca_file: Path | None = None
    retry_first_s: float = 0.2
    retry_most_s: float = 3.0
    ping_interval_s: float = 2.0
    ping_timeout_s: float = 4.0
    max_reply_bytes: int = 4 * 1024 * 1024

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                lowest_allowed = value >= 0 if name == "reset_wait_s" else value > 0
                if not (lowest_allowed and value < float("inf")):
                    raise ConfigError(f"{name} is {value}, allowed is a number above 0")

    def pause_s(self, failures: int) -> float:
        """How long to wait after so many failures in a row: doubling, capped, and not in step with others."""
        longest = min(self.retry_most_s, self.retry_first_s * 2.0 ** min(failures - 1, 30))
        return longest * random.uniform(0.5, 1.0)

    def headers(self) -> dict[str, str]:
        """What is sent with the request for a connection."""
        return {} if self.api_key is None else {"Authorization": self.api_key.header}

    def tls(self, url: str) -> ssl.SSLContext | None:
        """Check of the server's certificate; None for a ws:// address.

        Raises:
            ConfigError: an address that is none, a file of certificates that is none or has no use.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("ws", "wss") or not parts.hostname:
            raise ConfigError(f"{url!r} is no server's address; write ws://HOST:PORT or wss://HOST:PORT")
        if parts.scheme == "ws":
            if self.ca_file is not None:
                raise ConfigError(f"{url} is not encrypted, so a certificate has no use; write wss://")
            return None
        try:
            return ssl.create_default_context(cafile=None if self.ca_file is None else str(self.ca_file))
        except OSError as error:
            raise ConfigError(f"{self.ca_file} holds no certificates in PEM form: {error}") from error
