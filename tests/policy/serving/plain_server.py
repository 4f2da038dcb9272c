"""A small server that speaks openpi's wire format and nothing of ours, without the project's own wire."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from typing import Any

import msgpack
import numpy as np
import websockets.asyncio.server

Answer = Callable[[dict[str, Any]], dict[str, Any]]


def packed(value: Any) -> bytes:
    """Msgpack with openpi's form of arrays."""

    def write(array: Any) -> Any:
        if isinstance(array, np.ndarray):
            return {
                b"__ndarray__": True,
                b"data": array.tobytes(),
                b"dtype": array.dtype.str,
                b"shape": array.shape,
            }
        return {b"__npgeneric__": True, b"data": array.item(), b"dtype": array.dtype.str}

    return msgpack.packb(value, default=write)


def unpacked(data: bytes) -> Any:
    def read(found: dict[Any, Any]) -> Any:
        if b"__ndarray__" in found:
            return np.ndarray(buffer=found[b"data"], dtype=np.dtype(found[b"dtype"]), shape=found[b"shape"])
        return found

    return msgpack.unpackb(data, object_hook=read)


class PlainServer:
    """Answers each observation with what `answer` makes of it; a failure is a traceback, as at openpi."""

    def __init__(self, answer: Answer, metadata: dict[str, Any] | None = None) -> None:
        self._answer = answer
        self._metadata = {} if metadata is None else metadata
        self.seen: list[dict[str, Any]] = []
        self.headers: list[Any] = []

    async def start(self) -> str:
        """Listen on a free port and return the address."""
        self._server = await websockets.asyncio.server.serve(
            self._handle, "127.0.0.1", 0, compression=None, max_size=None
        )
        return f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _handle(self, connection: Any) -> None:
        self.headers.append(connection.request.headers)
        await connection.send(packed(self._metadata))
        total_s = None
        try:
            while True:
                data = await connection.recv()
                began = time.monotonic()
                self.seen.append(unpacked(data))
                reply = self._answer(self.seen[-1])
                took_ms = (time.monotonic() - began) * 1e3
                reply["policy_timing"] = {"infer_ms": np.float64(took_ms)}
                reply["server_timing"] = {"infer_ms": took_ms}
                if total_s is not None:
                    reply["server_timing"]["prev_total_ms"] = total_s * 1e3
                await connection.send(packed(reply))
                total_s = time.monotonic() - began
        except websockets.ConnectionClosed:
            return
        except Exception:
            await connection.send(traceback.format_exc())
            await connection.close(1011, "Internal server error.")
