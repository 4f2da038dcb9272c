"""Policies whose right answer can be computed, a real server around them, and a loop in a thread for both."""

from __future__ import annotations

import asyncio
import threading
import time
import zlib
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import numpy as np

from spatialbot_policy.config import CameraConfig, PolicyConfig
from spatialbot_policy.depth import DepthVariant
from spatialbot_policy.history import History
from spatialbot_policy.pipeline import build_pipeline
from spatialbot_policy.serving.server import PolicyServer
from spatialbot_policy.serving.settings import ServerSettings
from spatialbot_policy.types import ActionChunk, ActionStep, Observation, RgbdFrame

CONFIG = PolicyConfig((CameraConfig("camera", 16, 16),), depth_variant=DepthVariant.PAPER)
PERIOD_NS = 100_000_000


class LoopThread:
    """An event loop in a thread of its own, for servers that a test talks to from its own thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="test servers", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Any], timeout_s: float = 20.0) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout_s)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10.0)
        self.loop.close()


def digest(observation: Observation, number: int, config: PolicyConfig = CONFIG, salt: int = 0) -> ActionStep:
    """The action that belongs to an observation as the n-th of its episode, by the model's inputs."""
    check = zlib.crc32(f"{salt} {number} {observation.stamp_ns} {observation.instruction}".encode())
    for image in build_pipeline(config).encode_observation(observation):
        check = zlib.crc32(np.ascontiguousarray(image), check)
    values = np.random.default_rng(check).uniform(-1, 1, 6)
    space = config.action_space
    return ActionStep(
        values[:3] * space.translation_bound_m, values[3:] * space.rotation_bound_rad, number % 101 / 100
    )


class DigestPolicy:
    """Answers with `digest`; refuses what `LocalPolicy` refuses, and can be slowed down."""

    def __init__(
        self, config: PolicyConfig = CONFIG, salt: int = 0, before: Callable[[], object] = int
    ) -> None:
        self.config, self._salt, self._before = config, salt, before
        self._history = History(config.history_length, config.max_gap_ns)
        self._number = 0

    def reset(self) -> None:
        self._history.reset()
        self._number = 0

    def act(self, observation: Observation) -> ActionChunk:
        self._before()
        step = digest(observation, self._number + 1, self.config, self._salt)
        self._history.push(observation)
        self._number += 1
        return ActionChunk(observation.stamp_ns, (step,))


class DigestHost:
    """A `PolicyHost` of `DigestPolicy`; `before` runs in front of every answer."""

    def __init__(self, config: PolicyConfig = CONFIG, salt: int = 0) -> None:
        self.config, self.salt = config, salt
        self.before: Callable[[], object] = int

    @property
    def fingerprint(self) -> str:
        return f"{self.salt:064x}"

    def new_policy(self) -> DigestPolicy:
        return DigestPolicy(self.config, self.salt, lambda: self.before())


class RealServer:
    """The project's server, started and stopped from a test."""

    def __init__(self, loop: LoopThread, host: Any = None, **settings: Any) -> None:
        self._loop = loop
        self.host = DigestHost() if host is None else host
        self._settings = ServerSettings(**{"port": 0, **settings})
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def start(self, host: Any = None) -> None:
        """Start, on the same port as before."""
        self.host = self.host if host is None else host
        self._server = PolicyServer(self.host, replace(self._settings, port=self.port or self._settings.port))
        self._loop.run(self._server.start())
        self.port = self._server.port

    def stop(self) -> None:
        self._loop.run(self._server.drain())

    def restart(self, host: Any = None) -> None:
        self.stop()
        self.start(host)


def observation(
    number: int, seed: int = 0, size: tuple[int, int] = (24, 20), config: PolicyConfig = CONFIG
) -> Observation:
    """The n-th observation of an episode: noise of that size (width, height)."""
    rng = np.random.default_rng((seed, number))
    stamp = 1_000_000_000 + number * PERIOD_NS
    frames = {}
    for camera in config.cameras:
        color = rng.integers(0, 256, (size[1], size[0], 3), np.uint8)
        depth = rng.integers(0, 3000, (size[1], size[0])).astype(np.uint16)
        frames[camera.name] = RgbdFrame(camera.name, stamp, color, depth)
    return Observation(stamp, "put the red cup on the left board", frames)


def until(condition: Callable[[], Any], timeout_s: float = 10.0) -> None:
    """Wait in wall time.

    Raises:
        TimeoutError: it did not become true.
    """
    limit = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > limit:
            raise TimeoutError(f"not so within {timeout_s} s")
        time.sleep(0.005)
