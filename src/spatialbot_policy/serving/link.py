"""The connection to a policy server, kept up by a thread of its own; nobody waits beyond a deadline.

All of the network happens in that thread's event loop: connecting with back-off, pings, reading. A caller
hands its bytes over and waits for the answer on a future with a timeout. So a peer that stops reading, or a
call into the system that hangs, costs the caller its deadline and never more. A link whose answer came late
or made no sense is cut: the next message on it could be the answer to an older question.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from spatialbot_policy.errors import LinkError, ServerChanged, ServerLost, ServerRefused, ServerSlow
from spatialbot_policy.serving.greeting import Greeting
from spatialbot_policy.serving.link_faults import fault_of
from spatialbot_policy.serving.link_settings import LinkSettings

Message = bytes | str
CLOSE_S = 0.5
"""How long a polite good-bye may take."""
LASTED_S = 5.0
"""A connection that lasted this long was a success: the next pause is short again."""


@dataclass(eq=False)
class Session:
    """One connection, from the server's first message to its end.

    Attributes:
        greeting: what the server said first.
        fault: why it ended; None while it lives.
        answered: how many answers came.
    """

    connection: ClientConnection
    greeting: Greeting
    fault: LinkError | None = None
    answered: int = 0
    pending: Future[Message] | None = field(default=None, repr=False)
    sending: asyncio.Task[None] | None = field(default=None, repr=False)


class Link:
    """Keeps one connection to a server.

    Args:
        url: ws://HOST:PORT or wss://HOST:PORT.
        settings: deadlines and credentials.
        read_greeting: reads a server's first message; the error that it raises turns the server down, until
            a later one passes.

    Raises:
        ConfigError: the address, key or certificates cannot be used.
    """

    def __init__(
        self, url: str, settings: LinkSettings, read_greeting: Callable[[Message], Greeting]
    ) -> None:
        self.url = url
        self._settings = settings
        self._read_greeting = read_greeting
        self._tls = settings.tls(url)
        self._changed = threading.Condition()
        self._session: Session | None = None
        self._fault: LinkError | None = None
        self._failures = 0
        self.connections = 0
        self._closing = False
        self._loop = asyncio.new_event_loop()
        self._hurry = asyncio.Event()
        # As a daemon it keeps no process alive, whatever the network does.
        self._thread = threading.Thread(target=self._run, name="policy link", daemon=True)
        self._thread.start()

    # --- called from any thread

    @property
    def session(self) -> Session | None:
        """The connection that lives."""
        with self._changed:
            return self._session

    @property
    def fault(self) -> LinkError:
        """Why there is no connection."""
        with self._changed:
            return self._fault or ServerLost(f"{self.url} has not answered yet; is the server started there?")

    def wait(self, timeout_s: float) -> Session | None:
        """Wait for a connection; None when there is still none, or the server turned this client down."""
        with self._changed:
            self._changed.wait_for(self._decided, timeout_s)
            return self._session

    def _decided(self) -> bool:
        turned_down = isinstance(self._fault, (ServerChanged, ServerRefused))
        return self._session is not None or turned_down or self._closing

    def retry_now(self) -> None:
        """Leave out the rest of a pause between attempts to connect; what the last one said is forgotten."""
        with self._changed:
            self._fault = None
        self._in_loop(self._hurry.set)

    def ask(self, session: Session, data: bytes, timeout_s: float) -> Message:
        """Send a message and wait for the one that comes back.

        Raises:
            ServerLost: the connection has ended, or ends meanwhile.
            ServerSlow: nothing came in time; the connection is cut.
        """
        answer: Future[Message] = Future()
        if not self._in_loop(lambda: self._begin(session, data, answer)):
            raise self._closed()
        try:
            return answer.result(timeout_s)
        except FutureTimeoutError:
            slow = ServerSlow(
                f"{self.url} gave no answer within {timeout_s * 1e3:.0f} ms; look at its load and at the "
                "network, or allow more time"
            )
            self.cut(session, slow)
            raise slow from None

    def cut(self, session: Session, fault: LinkError) -> None:
        """End a connection at once, without a word to the peer; another one is made after a pause."""
        self._ended(session, fault)
        self._in_loop(lambda: session.connection.transport.abort())

    def close(self, timeout_s: float = 2.0) -> bool:
        """End the connection and the thread; False when the thread does not end in time."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._in_loop(self._hurry.set)
        self._in_loop(self._say_goodbye)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _in_loop(self, do: Callable[[], object]) -> bool:
        """Let the loop's thread do something; False when it has ended."""
        try:
            self._loop.call_soon_threadsafe(do)
        except RuntimeError:  # the loop is closed
            return False
        return True

    # --- in the loop's thread

    def _run(self) -> None:
        self._keeper = self._loop.create_task(self._keep())
        try:
            self._loop.run_until_complete(self._keeper)
        except asyncio.CancelledError:
            self._closing = True
        finally:
            with self._changed:
                self._session, self._fault = None, self._fault or self._closed()
                self._changed.notify_all()
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    async def _keep(self) -> None:
        """Connect, read until the connection ends, pause, and again."""
        while not self._closing:
            try:
                session = await asyncio.wait_for(self._open(), self._settings.connect_timeout_s)
            except Exception as error:  # whatever a stranger sends must not end this thread
                self._failures += 1
                with self._changed:
                    self._fault = fault_of(error, self.url)
                    self._changed.notify_all()
            else:
                began = time.monotonic()
                await self._read(session)
                lasted = session.answered > 0 or time.monotonic() - began > LASTED_S
                self._failures = 1 if lasted else self._failures + 1
            if not self._closing:
                await self._pause()

    async def _open(self) -> Session:
        connection = await connect(
            self.url,
            ssl=self._tls,
            additional_headers=self._settings.headers(),
            compression=None,
            proxy=None,
            open_timeout=self._settings.connect_timeout_s,
            ping_interval=self._settings.ping_interval_s,
            # A server may be deaf while it computes: what may answer that late must not be taken for dead.
            ping_timeout=max(self._settings.ping_timeout_s, self._settings.timeout_s),
            close_timeout=CLOSE_S,
            max_size=self._settings.max_reply_bytes,
        )
        try:
            first = await connection.recv()
            session = Session(connection, self._read_greeting(first))
        except BaseException:
            connection.transport.abort()
            raise
        with self._changed:
            self._session, self._fault = session, None
            self.connections += 1
            self._changed.notify_all()
        return session

    async def _pause(self) -> None:
        self._hurry.clear()
        try:
            await asyncio.wait_for(self._hurry.wait(), self._settings.pause_s(self._failures))
        except asyncio.TimeoutError:
            return

    async def _read(self, session: Session) -> None:
        """Pass each message to who waits for it, until the connection ends."""
        try:
            while True:
                message = await session.connection.recv()
                pending, session.pending = session.pending, None
                if pending is None:
                    raise ServerLost(f"{self.url} sent a message that nobody asked for; the link was cut")
                session.answered += 1
                pending.set_result(message)
        except Exception as error:  # as above
            self._ended(session, fault_of(error, self.url))
        finally:
            self._ended(session, self._closed())
            session.connection.transport.abort()
            if session.sending is not None:
                session.sending.cancel()
            if session.pending is not None:
                session.pending.set_exception(self.fault)
                session.pending = None
            await asyncio.wait({asyncio.ensure_future(session.connection.wait_closed())}, timeout=CLOSE_S)

    def _begin(self, session: Session, data: bytes, answer: Future[Message]) -> None:
        if session.fault is not None:
            answer.set_exception(session.fault)
        elif session.pending is not None:
            answer.set_exception(ServerLost("two threads asked one link at a time; give each its own client"))
        else:
            session.pending = answer
            session.sending = self._loop.create_task(_send(session.connection, data))

    def _ended(self, session: Session, fault: LinkError) -> None:
        """Remember why a connection is no more; the first reason counts."""
        with self._changed:
            session.fault = session.fault or fault
            if self._session is session:
                self._session, self._fault = None, session.fault

    def _say_goodbye(self) -> None:
        session = self._session
        if session is None:
            self._keeper.cancel()
            return
        self._ended(session, self._closed())
        session.sending = self._loop.create_task(session.connection.close())
        self._loop.call_later(2 * CLOSE_S, self._keeper.cancel)

    def _closed(self) -> ServerLost:
        return ServerLost(f"the client of {self.url} was closed; make a new one")


async def _send(connection: ClientConnection, data: bytes) -> None:
    try:
        await connection.send(data)
    except (ConnectionClosed, OSError):
        return  # the reader finds out as well, and says why
