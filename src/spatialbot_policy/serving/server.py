"""The policy server: listens, watches over its clients and the policy, and ends in order."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from websockets.asyncio.server import Server, ServerConnection, serve

from spatialbot_policy.errors import ConfigError
from spatialbot_policy.provenance import software_version
from spatialbot_policy.serving import wire
from spatialbot_policy.serving.connection import Connection, Gate
from spatialbot_policy.serving.health import Health
from spatialbot_policy.serving.host import PolicyHost
from spatialbot_policy.serving.inference_queue import InferenceQueue
from spatialbot_policy.serving.metadata import new_instance, server_metadata
from spatialbot_policy.serving.metrics import ServerMetrics
from spatialbot_policy.serving.peer import Peer, Services
from spatialbot_policy.serving.sessions import Session
from spatialbot_policy.serving.settings import ServerLimits, ServerSettings

_log = logging.getLogger(__name__)
_WRITE_BUFFER = 256 * 1024  # bytes of unread answers after which a client counts as slow
_BACKLOG = 256


class PolicyServer:
    """Serves one checkpoint to several clients.

    Args:
        host: gives a policy to each of them.
        settings: address, keys, access and limits.

    Raises:
        ConfigError: the key map does not fit the policy.
    """

    def __init__(self, host: PolicyHost, settings: ServerSettings) -> None:
        self._host, self._settings = host, settings
        self._keys = settings.keys.of_policy(host.config)
        self.metrics = ServerMetrics()
        self.metrics.build.info({"version": software_version(), "checkpoint": host.fingerprint})
        self.instance = new_instance()
        self._metadata = server_metadata(
            host.config, host.fingerprint, self._keys, self.instance, settings.limits.message_bytes
        )
        health = Health(self.not_ready, self._metrics_text)
        self._gate = Gate(settings.limits.connections, settings.api_key, health, self.metrics)
        self._peers: set[Peer] = set()
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """Where it listens, also when the settings asked for any free port."""
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self, prepare: Callable[[], None] | None = None) -> None:
        """Listen.

        Args:
            prepare: called before, in the thread of the policy, whose first work is slower than the next.

        Raises:
            ConfigError: the address cannot be listened on.
        """
        settings, limits = self._settings, self._settings.limits
        self._queue = InferenceQueue(limits.queue, limits.inference_timeout_s)
        if prepare is not None:
            await self._queue.prepare(prepare)
        self._services = Services(self._queue, self.metrics, limits, wire.pack(self._metadata))
        try:
            self._server: Server = await serve(
                self._handle, settings.host, settings.port, ssl=settings.tls, backlog=_BACKLOG,
                create_connection=cast(Any, partial(Connection, gate=self._gate)),
                process_request=self._gate.process_request, compression=None, server_header=None,
                open_timeout=limits.open_timeout_s, close_timeout=limits.write_timeout_s,
                ping_interval=limits.ping_timeout_s, ping_timeout=limits.ping_timeout_s,
                max_size=limits.message_bytes, max_queue=1, write_limit=_WRITE_BUFFER,
            )  # fmt: skip
        except OSError as error:
            self._queue.close()
            raise ConfigError(
                f"cannot listen on {settings.host} port {settings.port}: {error.strerror or error}; choose "
                "another --port or --host"
            ) from error
        self._watch = asyncio.create_task(self._watch_over())

    def not_ready(self) -> str:
        """Why no observation is taken now; "" when they are."""
        if self._gate.draining:
            return "shutting down"
        overdue_s = self._queue.overdue_s
        return "" if overdue_s is None else f"the policy has worked on one observation for {overdue_s:.0f} s"

    async def drain(self) -> None:
        """End in order: nobody is let in, what was taken is answered, then all are sent away (1001)."""
        self._gate.draining = True
        for peer in self._peers:
            peer.draining = True
        owed = sum(peer.busy for peer in self._peers)
        _log.info("shutting down; %d of %d clients wait for an answer", owed, len(self._peers))
        deadline = time.monotonic() + self._settings.limits.drain_timeout_s
        while any(peer.busy for peer in self._peers) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        self._watch.cancel()
        await asyncio.gather(*(peer.send_away("the server is shutting down") for peer in self._peers))
        self._server.close()
        await self._server.wait_closed()
        if not self._queue.close():
            _log.warning("the policy is still working; it ends with the process")

    async def _handle(self, connection: ServerConnection) -> None:
        peer = Peer(cast(Connection, connection), Session(self._host, self._keys), self._services)
        peer.draining = self._gate.draining
        self._peers.add(peer)
        try:
            await peer.run()
        finally:
            self._peers.discard(peer)

    async def _watch_over(self) -> None:
        """Look after everything that has a deadline."""
        period_s = watch_period_s(self._settings.limits)
        while True:
            await asyncio.sleep(period_s)
            self._queue.check()
            for peer in list(self._peers):
                task = peer.check()
                if task is not None:
                    self._closing.add(task)
                    task.add_done_callback(self._closing.discard)

    def _metrics_text(self) -> str:
        self.metrics.ready.set(0 if self.not_ready() else 1)
        self.metrics.waiting.set(self._queue.waiting)
        return self.metrics.text()


def watch_period_s(limits: ServerLimits) -> float:
    """How often to look at the deadlines: often enough for the shortest, but not more."""
    shortest = min(
        limits.message_timeout_s, limits.idle_timeout_s, limits.write_timeout_s, limits.inference_timeout_s
    )
    return min(1.0, max(0.02, shortest / 10))
