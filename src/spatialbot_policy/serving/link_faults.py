"""What went wrong on a link, as the error that a caller gets."""

from __future__ import annotations

import asyncio
import ssl

from websockets.exceptions import ConnectionClosed, InvalidStatus

from spatialbot_policy.errors import LinkError, ServerLost, ServerRefused, SpatialBotError


def fault_of(error: Exception, url: str) -> LinkError:
    """What went wrong in words that say what mends it."""
    if isinstance(error, LinkError):
        return error
    if isinstance(error, SpatialBotError):
        return ServerLost(f"{url} speaks something else: {error}")
    if isinstance(error, InvalidStatus):
        status = error.response.status_code
        text = one_line(bytes(error.response.body or b"").decode("utf-8", "replace"))
        if status in (401, 403):
            return ServerRefused(f"{url} refuses the API key (HTTP {status}); give it the server's own key")
        return ServerRefused(f"{url} refuses the connection: HTTP {status} {text}".rstrip())
    if isinstance(error, ssl.SSLCertVerificationError):
        return ServerRefused(
            f"{url} shows a certificate that is not trusted here ({error.verify_message}); name the file of "
            "its certificate (server_ca_file)"
        )
    if isinstance(error, ConnectionClosed):
        close = error.rcvd or error.sent
        reason = f"{close.code} {close.reason}".strip() if close is not None else "without a word"
        return ServerLost(f"the connection to {url} ended ({reason}); is the server still there?")
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
        return ServerLost(f"{url} accepts no connection in time; is the server started, the network up?")
    return ServerLost(f"no connection to {url}: {one_line(str(error)) or type(error).__name__}")


def one_line(text: str, most: int = 300) -> str:
    """A stranger's text as it may stand in a log: the last line that says something, printable, not long."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    last = "".join(letter if letter.isprintable() else "?" for letter in (lines[-1] if lines else ""))
    return last if len(last) <= most else last[: most - 3] + "..."
