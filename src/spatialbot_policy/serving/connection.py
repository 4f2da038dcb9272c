"""The server's end of a websocket: who is let in, and how long a message has been on its way."""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import Server, ServerConnection
from websockets.datastructures import Headers
from websockets.frames import DATA_OPCODES, Frame
from websockets.http11 import Request, Response
from websockets.protocol import Event
from websockets.server import ServerProtocol

from spatialbot_policy.serving.access import ApiKey
from spatialbot_policy.serving.health import Health, Page
from spatialbot_policy.serving.metrics import Reason, ServerMetrics

_SPARE_SOCKETS = 512
"""Connections beyond the clients' that may be in their handshake, or ask for a page."""

_MOST_FRAGMENTS = 1024


class Gate:
    """Decides over every connection before it becomes a websocket.

    Args:
        clients: how many there may be at a time.
        api_key: what they must present, if anything.
        health: pages that are answered in place of a handshake.
        metrics: counts the refused.
    """

    def __init__(self, clients: int, api_key: ApiKey | None, health: Health, metrics: ServerMetrics) -> None:
        self._clients, self._api_key = clients, api_key
        self._health, self._metrics = health, metrics
        self._sockets: set[Connection] = set()
        self._admitted: set[Connection] = set()
        self.draining = False

    def opened(self, connection: Connection) -> bool:
        """Take note of a connection; False when there are too many to even ask what it wants."""
        if len(self._sockets) >= self._clients + _SPARE_SOCKETS:
            self._metrics.refusals.labels(Reason.FULL.value).inc()
            return False
        self._sockets.add(connection)
        return True

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self._sockets.discard(connection)
        self._admitted.discard(connection)

    def process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer a page, refuse a client, or return None to go on with the handshake."""
        page = self._health.page(request.path)
        if page is None and "websocket" in ",".join(request.headers.get_all("Upgrade")).lower():
            page = self._admit(connection, request.headers)
        if page is None:
            return None
        response = connection.respond(page.status, page.text)
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = page.content_type
        if page.status is HTTPStatus.UNAUTHORIZED:
            response.headers["WWW-Authenticate"] = "Api-Key"
        return response

    def _admit(self, connection: ServerConnection, headers: Headers) -> Page | None:
        if self._api_key is not None:
            given = headers.get_all("Authorization")
            if not self._api_key.allows(given[0] if len(given) == 1 else None):
                why = "wrong" if given else "missing"
                return self._refuse(
                    Reason.KEY, HTTPStatus.UNAUTHORIZED, f"{why} API key; send 'Authorization: Api-Key KEY'"
                )
        if self.draining:
            text = "the server is shutting down; connect again later"
            return self._refuse(Reason.DRAINING, HTTPStatus.SERVICE_UNAVAILABLE, text)
        if len(self._admitted) >= self._clients:
            text = f"{self._clients} clients are connected, and no more are served; connect again later"
            return self._refuse(Reason.FULL, HTTPStatus.SERVICE_UNAVAILABLE, text)
        if isinstance(connection, Connection):
            self._admitted.add(connection)
        return None

    def _refuse(self, reason: Reason, status: HTTPStatus, text: str) -> Page:
        self._metrics.refusals.labels(reason.value).inc()
        return Page(status, f"{text}\n")


class Connection(ServerConnection):
    """A websocket that knows how long the message it is receiving has been on its way.

    Args:
        protocol, server: of websockets.
        gate: counts it.
        options: of websockets.
    """

    def __init__(self, protocol: ServerProtocol, server: Server, *, gate: Gate, **options: Any) -> None:
        super().__init__(protocol, server, **options)
        self._gate = gate
        self._fragments = 0  # of the message that is coming
        self.partial_since_s: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake, unless there are too many."""
        admitted = self._gate.opened(self)
        super().connection_made(transport)
        if not admitted:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Make room for another."""
        self._gate.closed(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; the first ones of a message start its clock."""
        if self.partial_since_s is None:
            self.partial_since_s = time.monotonic()
        super().data_received(data)

    def process_event(self, event: Event) -> None:
        """Take a complete frame; the last one of a message stops its clock, as one between messages does."""
        super().process_event(event)
        if isinstance(event, Frame) and event.opcode in DATA_OPCODES:
            self._fragments = 0 if event.fin else self._fragments + 1
        if self._fragments == 0:
            self.partial_since_s = None
        if self._fragments > _MOST_FRAGMENTS:  # each takes far more memory than its byte
            self.abort()

    def abort(self) -> None:
        """End the connection at once, whatever is on its way."""
        self.transport.abort()
