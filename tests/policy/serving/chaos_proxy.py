"""A TCP proxy that does to a link what networks and machines do: between a client and a real server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from tests.policy.serving.digest_policy import LoopThread

Spoil = Callable[[bytes], bytes | None]
"""What becomes of the server's next bytes; None cuts the connection after they are dropped."""


def frame(payload: bytes, opcode: int = 2) -> bytes:
    """A whole frame as a server sends it."""
    size = len(payload)
    if size < 126:
        return bytes([0x80 | opcode, size]) + payload
    return bytes([0x80 | opcode, 126]) + size.to_bytes(2, "big") + payload


class ChaosProxy:
    """Passes bytes on until told otherwise.

    Attributes:
        refuse: new connections are closed at once.
        mute: new connections are accepted, and nothing is ever said or read on them.
        stuck: nothing more is read from the client, on connections that are there too.
        swallow: what the server says is read and dropped.
        delay_s: what the server says comes that much later.
        spoil: applied to the server's next bytes, once.
    """

    def __init__(self, loop: LoopThread, target_port: int) -> None:
        self._loop, self._target_port = loop, target_port
        self._pipes: set[asyncio.StreamWriter] = set()
        self.port = 0
        self.calm()
        loop.run(self._start())

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def calm(self) -> None:
        """Pass everything on again."""
        self.refuse = self.mute = self.stuck = self.swallow = False
        self.delay_s = 0.0
        self.spoil: Spoil | None = None

    def drop(self) -> None:
        """Reset every connection."""
        self._loop.run(self._drop())

    def close(self) -> None:
        async def close() -> None:
            self._server.close()
            await self._drop()

        self._loop.run(close())

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _drop(self) -> None:
        for writer in list(self._pipes):
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._pipes.add(writer)
        try:
            if self.refuse:
                return
            if self.mute:
                await asyncio.wait_for(writer.wait_closed(), 60.0)
                return
            there_reader, there = await asyncio.open_connection("127.0.0.1", self._target_port)
            self._pipes.add(there)
            try:
                pumps = [
                    asyncio.ensure_future(self._to_server(reader, there)),
                    asyncio.ensure_future(self._to_client(there_reader, writer)),
                ]
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
            finally:
                self._pipes.discard(there)
                there.transport.abort()
        except (OSError, asyncio.TimeoutError):
            return  # the peer is away, which is what this is for
        finally:
            self._pipes.discard(writer)
            writer.transport.abort()

    async def _to_server(self, reader: asyncio.StreamReader, there: asyncio.StreamWriter) -> None:
        while True:
            while self.stuck:
                await asyncio.sleep(0.01)
            data = await reader.read(65536)
            if not data:
                return
            there.write(data)
            await there.drain()

    async def _to_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if self.swallow:
                continue
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            spoil, self.spoil = self.spoil, None
            spoilt = data if spoil is None else spoil(data)
            if spoilt is None:
                return
            writer.write(spoilt)
            await writer.drain()


def truncated(data: bytes) -> bytes:
    """The first half; the rest never comes."""
    return data[: len(data) // 2]


def cut_off(data: bytes) -> None:
    """Nothing, and the connection ends."""


def doubled(data: bytes) -> bytes:
    """The same answer twice."""
    return data + data


def garbage_bytes(data: bytes) -> bytes:
    """Bytes that are no frame."""
    return b"\xff" + os.urandom(64)


def garbage_frame(data: bytes) -> bytes:
    """A sound frame of bytes that are no message."""
    return frame(os.urandom(96))


def huge_frame(data: bytes) -> bytes:
    """The beginning of a frame of a terabyte."""
    return bytes([0x82, 127]) + (1 << 40).to_bytes(8, "big") + data


def text_frame(data: bytes) -> bytes:
    """Words instead of an answer."""
    return frame(b"InternalError: the policy failed", opcode=1)


def answer_frame(answer: bytes) -> Spoil:
    """A message of the test's own instead of the server's."""
    return lambda data: frame(answer)
