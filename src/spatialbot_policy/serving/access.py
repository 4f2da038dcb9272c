"""Who may connect, and over what: the API key of openpi's clients, and TLS."""

from __future__ import annotations

import hmac
import logging
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from spatialbot_policy.errors import ConfigError

KEY_VARIABLE = "SPATIALBOT_API_KEY"
"""Environment variable with the key, for a server or client that is given no file."""
_SCHEME = "Api-Key "
_SHORTEST_KEY = 16
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ApiKey:
    """A secret that client and server share.

    Raises:
        ConfigError: too short to be a secret, or not plain ASCII in one line.
    """

    secret: str = field(repr=False)

    def __post_init__(self) -> None:
        printable = self.secret.isascii() and self.secret.isprintable() and " " not in self.secret
        if len(self.secret) < _SHORTEST_KEY or not printable:
            raise ConfigError(
                f"an API key is one line of at least {_SHORTEST_KEY} ASCII characters without spaces; "
                "make one: openssl rand -hex 32"
            )

    @property
    def header(self) -> str:
        """Value of the Authorization header that presents it."""
        return _SCHEME + self.secret

    def allows(self, header: str | None) -> bool:
        """Whether an Authorization header presents it; takes as long for a near miss as for a far one."""
        given = (header or "").encode("utf-8", "surrogateescape")
        return hmac.compare_digest(given, self.header.encode("ascii"))


def load_api_key(path: str | Path | None, environment: Mapping[str, str] = os.environ) -> ApiKey | None:
    """Read the key from a file, else from the environment; None when neither has one.

    It is never an argument of a command: every user of the machine can read those.

    Raises:
        ConfigError: the file cannot be read, or what it holds is no key.
    """
    if path is None:
        found = environment.get(KEY_VARIABLE, "").strip()
        return ApiKey(found) if found else None
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8").strip()
        everybody = file.stat().st_mode & 0o004
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the API key file {file}: {error}; check the path") from error
    if everybody:
        _log.warning("%s can be read by every user of this machine; run: chmod 600 %s", file, file)
    try:
        return ApiKey(text)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error} > {file}") from error


def server_tls(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """TLS for the server, 1.2 or newer; None when neither file is named.

    Args:
        certificate: PEM file with the certificate and those between it and the root.
        key: PEM file with its private key, without a password.

    Raises:
        ConfigError: one file without the other, or files that do not belong together.
    """
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise ConfigError("TLS needs both --tls-cert and --tls-key")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # An empty password, so that an encrypted key is an error and not a question on the terminal.
        context.load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ConfigError(
            f"cannot use the certificate {certificate} with the key {key}: {error}; both must be PEM files "
            "that belong together, the key without a password"
        ) from error
    return context
