"""One connected client: reads its observations, hands them to the policy and answers in their order."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from spatialbot_policy.errors import BusyError, WireError
from spatialbot_policy.serving import wire
from spatialbot_policy.serving.connection import Connection
from spatialbot_policy.serving.inference_queue import Done, InferenceQueue
from spatialbot_policy.serving.metrics import Outcome, Reason, ServerMetrics
from spatialbot_policy.serving.refusals import refusal_of
from spatialbot_policy.serving.sessions import Reply, Session
from spatialbot_policy.serving.settings import ServerLimits

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Services:
    """What all clients share."""

    queue: InferenceQueue
    metrics: ServerMetrics
    limits: ServerLimits
    metadata: bytes


@dataclass(frozen=True)
class Pending:
    """An observation whose answer was not sent yet.

    Attributes:
        arrived_s: on the monotonic clock.
        done: the answer, or why there is none.
        closes: how the connection ends with it, where it does.
    """

    arrived_s: float
    done: asyncio.Future[Done]
    closes: CloseCode | None = None


class Peer:
    """One client.

    Args:
        connection: after the handshake.
        session: of this client alone.
        services: shared by all.
    """

    def __init__(self, connection: Connection, session: Session, services: Services) -> None:
        self._connection, self._session, self._services = connection, session, services
        # The protocol has no numbers for requests: answers must come in the order of the observations.
        self._pending: asyncio.Queue[Pending] = asyncio.Queue(services.limits.unanswered)
        self._unsent = 0
        self._last_message_s = time.monotonic()
        self._sending_since_s: float | None = None
        self._previous_total_ms: float | None = None
        self._refusing = False
        self._ending = False
        self.draining = False
        self.name = _peer_name(connection)

    @property
    def busy(self) -> bool:
        """Whether an answer is still owed."""
        return self._unsent > 0

    async def run(self) -> None:
        """Serve the client until either side ends the connection."""
        self._services.metrics.clients.inc()
        _log.info("%s connected", self.name)
        tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._write())]
        try:
            with suppress(ConnectionClosed):
                await self._send(self._services.metadata)
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await self._end(tasks)

    async def _end(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, ConnectionClosed):
                _log.error("%s: serving failed", self.name, exc_info=result)
        self._services.queue.forget(self)
        if self._unsent:
            self._services.metrics.requests.labels(Outcome.ABANDONED.value).inc(self._unsent)
        self._services.metrics.clients.dec()
        code, reason = self._connection.close_code, self._connection.close_reason
        _log.info("%s disconnected (%s%s)", self.name, code, f", {reason}" if reason else "")

    async def _read(self) -> None:
        """Take observations until the client leaves or sends what is none."""
        while True:
            # No name for the bytes: they would be kept until the next ones are there.
            pending = self._take(await self._connection.recv())
            self._unsent += 1
            # Blocks when too many are without an answer: then the client's next message waits in its socket.
            await self._pending.put(pending)
            if pending.closes is not None:
                await self._connection.wait_closed()
                return

    def _take(self, data: bytes | str) -> Pending:
        """Hand an observation to the policy; what is none ends the connection, after earlier answers."""
        now = self._last_message_s = time.monotonic()
        if isinstance(data, str):
            error = WireError("an observation must be a binary frame, this is text")
            return Pending(now, _ended(error), CloseCode.UNSUPPORTED_DATA)
        self._services.metrics.received.inc(len(data))
        try:
            message = wire.unpack(data, self._services.limits.wire)
        except WireError as error:
            return Pending(now, _ended(error), CloseCode.INVALID_DATA)
        episode = self._session.episode_of(message)
        try:
            if self.draining:
                raise BusyError("the server is shutting down; connect again later")
            work = partial(self._session.answer, message, episode)
            return Pending(now, self._services.queue.submit(self, work))
        except BusyError as error:
            return Pending(now, _ended(error))

    async def _write(self) -> None:
        """Answer observations in their order."""
        while True:
            pending = await self._pending.get()
            done = await pending.done
            if done.reply is not None:
                outcome = Outcome.ANSWERED
                await self._send(self._packed(done.reply, done))
            else:
                outcome = await self._refuse(done.error or RuntimeError("neither answer nor error"))
            self._unsent -= 1
            self._count(pending, done, outcome)
            if outcome is Outcome.FAILED:
                await self._connection.close(CloseCode.INTERNAL_ERROR, "the policy failed")
            elif pending.closes is not None:
                self._services.metrics.refusals.labels(Reason.GARBAGE.value).inc()
                await self._connection.close(pending.closes, "not an observation's message")

    def _packed(self, reply: Reply, done: Done) -> bytes:
        server_timing = {"infer_ms": done.inference_s * 1e3, "queue_ms": done.queue_s * 1e3}
        if self._previous_total_ms is not None:
            server_timing["prev_total_ms"] = self._previous_total_ms
        return wire.pack(
            {**reply.actions, "policy_timing": dict(reply.timing), "server_timing": server_timing}
        )

    async def _refuse(self, error: BaseException) -> Outcome:
        refusal = refusal_of(error)
        if refusal.outcome is Outcome.FAILED:
            _log.error("%s: the policy failed", self.name, exc_info=error)
        elif not self._refusing:  # a change of state, not every frame
            _log.info("%s: %s", self.name, refusal.text)
        await self._send(refusal.text)
        return refusal.outcome

    def _count(self, pending: Pending, done: Done, outcome: Outcome) -> None:
        metrics = self._services.metrics
        total_s = time.monotonic() - pending.arrived_s
        self._refusing = outcome is not Outcome.ANSWERED
        metrics.requests.labels(outcome.value).inc()
        if outcome is Outcome.ANSWERED:
            self._previous_total_ms = total_s * 1e3
            metrics.queue.observe(done.queue_s)
            metrics.inference.observe(done.inference_s)
            metrics.total.observe(total_s)

    async def _send(self, data: bytes | str) -> None:
        self._sending_since_s = time.monotonic()
        await self._connection.send(data)
        self._sending_since_s = None

    async def send_away(self, why: str) -> None:
        """End the connection because the server does."""
        await self._connection.close(CloseCode.GOING_AWAY, why)

    def check(self) -> asyncio.Task[None] | None:
        """End the connection where the client is too slow or silent; to be called every now and then."""
        limits, now = self._services.limits, time.monotonic()
        sending, partial_since = self._sending_since_s, self._connection.partial_since_s
        if self._ending:
            return None
        if sending is not None and now - sending > limits.write_timeout_s:
            self._note(Reason.SLOW_READER, f"did not take an answer within {limits.write_timeout_s:g} s")
            self._connection.abort()  # a good-bye would wait behind the answer
            return None
        if partial_since is not None and self._pending.full():
            self._connection.partial_since_s = now  # it is this side that does not read on
        elif partial_since is not None and now - partial_since > limits.message_timeout_s:
            text = f"a message took longer than {limits.message_timeout_s:g} s"
            return self._close(Reason.SLOW_WRITER, CloseCode.POLICY_VIOLATION, text)
        if not self.busy and now - self._last_message_s > limits.idle_timeout_s:
            text = f"no observation for {limits.idle_timeout_s:g} s"
            return self._close(Reason.IDLE, CloseCode.GOING_AWAY, text)
        return None

    def _close(self, reason: Reason, code: CloseCode, text: str) -> asyncio.Task[None]:
        self._note(reason, text)
        return asyncio.create_task(self._connection.close(code, text))

    def _note(self, reason: Reason, text: str) -> None:
        self._ending = True
        self._services.metrics.refusals.labels(reason.value).inc()
        _log.info("%s: %s", self.name, text)


def _peer_name(connection: Connection) -> str:
    address = connection.remote_address
    return f"{address[0]}:{address[1]}" if isinstance(address, tuple) and len(address) >= 2 else "client"


def _ended(error: Exception) -> asyncio.Future[Done]:
    """An answer that needs no policy."""
    done: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
    done.set_result(Done(None, error))
    return done
