"""Policies in place of a checkpoint, and a server with one of them in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from spatialbot_policy.config import CameraConfig, PolicyConfig
from spatialbot_policy.depth import DepthVariant
from spatialbot_policy.serving import wire
from spatialbot_policy.serving.server import PolicyServer
from spatialbot_policy.serving.settings import ServerLimits, ServerSettings
from spatialbot_policy.types import ActionChunk, ActionStep, Observation, Policy

CONFIG = PolicyConfig(
    cameras=(CameraConfig("front", 8, 6),),
    depth_variant=DepthVariant.PAPER,
    rate_hz=10.0,
    training={"episodes": "/home/somebody/data"},
)
ACT_S = 30.0  # longest wait for anything in these tests; none should come near it


def step(x: float = 0.0) -> ActionStep:
    return ActionStep(np.array([x, 0.0, 0.0]), np.zeros(3), 1.0)


def observation_map(value: int = 1, **changes: object) -> dict[str, object]:
    """An observation of CONFIG's camera under our own keys; a change to None leaves the key out."""
    message: dict[str, object] = {
        "prompt": "pick up the red cup",
        "observation/front/color": np.full((6, 8, 3), value, np.uint8),
        "observation/front/depth_mm": np.full((6, 8), 500, np.uint16),
    }
    changed = message | {key.replace("__", "/"): item for key, item in changes.items()}
    return {key: item for key, item in changed.items() if item is not None}


@dataclass
class Recorder:
    """Writes down what it is asked; the dx of its answer is the number of the step in the episode."""

    before: Callable[[Observation], None] = lambda observation: None
    horizon: int = 1
    resets: int = 0
    seen: list[Observation] = field(default_factory=list)
    steps: int = 0

    def reset(self) -> None:
        self.resets += 1
        self.steps = 0

    def act(self, observation: Observation) -> ActionChunk:
        self.before(observation)
        self.seen.append(observation)
        self.steps += 1
        return ActionChunk(observation.stamp_ns, (step(self.steps / 1000),) * self.horizon)


@dataclass
class StandInHost:
    """Gives every client a policy made by `make`, and remembers them."""

    make: Callable[[], Policy] = Recorder
    config: PolicyConfig = CONFIG
    fingerprint: str = "f" * 64
    policies: list[Policy] = field(default_factory=list)

    def new_policy(self) -> Policy:
        policy = self.make()
        self.policies.append(policy)
        return policy


class Hold:
    """Keeps a policy at work until it is let go."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self, observation: Observation) -> None:
        self.begun.set()
        if not self.go.wait(ACT_S):
            raise TimeoutError("nobody let go of the policy")


@dataclass
class Running:
    """A server that runs."""

    server: PolicyServer
    loop: asyncio.AbstractEventLoop
    port: int

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def drain(self) -> None:
        """Begin to end, without waiting for it."""
        asyncio.run_coroutine_threadsafe(self.server.drain(), self.loop)

    def count(self, name: str, **labels: str) -> float:
        """A value of its metrics, 0 when there is none yet."""
        return self.server.metrics.registry.get_sample_value(name, labels) or 0.0


@contextmanager
def serving(
    host: StandInHost | None = None, limits: dict[str, float] | None = None, **settings
) -> Iterator[Running]:
    """A server on a free port of this machine."""
    bounds = replace(ServerLimits(write_timeout_s=2.0, drain_timeout_s=ACT_S), **(limits or {}))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="server")
    thread.start()

    def call(coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(ACT_S)

    async def made() -> PolicyServer:
        server = PolicyServer(
            host or StandInHost(), ServerSettings(**{"port": 0, "limits": bounds, **settings})
        )
        await server.start()
        return server

    try:
        server = call(made())
        try:
            yield Running(server, loop, server.port)
        finally:
            call(server.drain())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Wait until something is so."""
    end = time.monotonic() + ACT_S
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited in vain for {what}")
        time.sleep(0.005)


def ask(websocket, message: object):
    """Send an observation and read the answer: a map, or the text of a refusal."""
    websocket.send(wire.pack(message))
    return read(websocket)


def read(websocket):
    answer = websocket.recv(timeout=ACT_S)
    return answer if isinstance(answer, str) else wire.unpack(answer)
