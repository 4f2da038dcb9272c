"""A link under fault after fault, by seed: no hang, no wrong action ever, nothing left behind."""

from __future__ import annotations

import faulthandler
import gc
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import psutil
import pytest
from tests.policy.serving import chaos_proxy
from tests.policy.serving.chaos_proxy import ChaosProxy, answer_frame
from tests.policy.serving.digest_policy import (
    PERIOD_NS,
    DigestHost,
    LoopThread,
    RealServer,
    digest,
    observation,
    until,
)

from spatialbot_policy.errors import ActionError, LinkError, ServerChanged
from spatialbot_policy.serving.client import RemotePolicy
from spatialbot_policy.serving.link_settings import LinkSettings
from spatialbot_policy.serving.wire import pack

DEADLINE_S = 0.1
SETTINGS = LinkSettings(
    timeout_s=DEADLINE_S,
    connect_timeout_s=0.2,
    retry_first_s=0.01,
    retry_most_s=0.05,
    ping_interval_s=0.2,
    ping_timeout_s=0.2,
)
BEYOND_S = 1.5  # on a machine that does other things as well
NO_HANG_S = 30.0
STEPS_AN_HOUR = round(3600e9 / PERIOD_NS)
MEGABYTE = 1 << 20


@dataclass
class Tally:
    """What happened."""

    steps: int = 0
    episodes: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    longest_s: float = 0.0

    def __str__(self) -> str:
        """For the log of the test."""
        return (
            f"{self.steps} answers in {self.episodes} episodes, {sum(self.faults.values())} faults "
            f"{dict(sorted(self.faults.items()))}, errors {dict(sorted(self.errors.items()))}, "
            f"longest act {self.longest_s * 1e3:.0f} ms"
        )


class Chaos:
    """A client, a server and a network that fails as the seed says."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._loop = LoopThread()
        self._server = RealServer(self._loop)
        self._network = ChaosProxy(self._loop, self._server.port)
        self._policy = RemotePolicy(self._network.url, SETTINGS)
        self._accepted = 0  # salt of the checkpoint that the client goes by
        self._number = 0
        self.tally = Tally()

    def run(self, steps: int, faults: int) -> Tally:
        """Ask that often, with so many faults at random steps."""
        wanted = self.tally.steps + steps
        given = sum(self.tally.faults.values()) + faults
        while self.tally.steps < wanted or sum(self.tally.faults.values()) < given:
            faulthandler.dump_traceback_later(NO_HANG_S, exit=True)
            self._episode(faults / steps)
        faulthandler.cancel_dump_traceback_later()
        return self.tally

    def close(self) -> None:
        assert self._policy.close()
        self._network.close()
        self._server.stop()
        self._loop.close()

    def _episode(self, fault_rate: float) -> None:
        self._available()
        self._policy.reset()
        self.tally.episodes += 1
        for number in range(1, self._random.randint(5, 120)):
            if self._random.random() < fault_rate:
                self._break_something()
            if not self._step(number):
                self._stays_stopped()
                break
        self._network.calm()

    def _step(self, number: int) -> bool:
        """Whether there was an answer; it was the right one then."""
        self._number += 1
        asked = observation(self._number, size=(20, 18))
        began = time.monotonic()
        try:
            chunk = self._policy.act(asked)
        except (LinkError, ActionError) as error:
            self.tally.errors[type(error).__name__] += 1
            return False
        finally:
            took_s = time.monotonic() - began
            self.tally.longest_s = max(self.tally.longest_s, took_s)
            assert took_s < DEADLINE_S + BEYOND_S, f"act took {took_s} s"
        expected = digest(asked, number, salt=self._accepted).as_vector()
        assert chunk.observation_stamp_ns == asked.stamp_ns
        assert np.array_equal(chunk.steps[0].as_vector(), expected), "a wrong action"
        self.tally.steps += 1
        return True

    def _stays_stopped(self) -> None:
        """Whatever becomes of the network: nothing moves before the next start."""
        if self._random.random() < 0.5:
            self._network.calm()
            time.sleep(0.03)
        for _ in range(2):
            with pytest.raises((LinkError, ActionError)):
                self._policy.act(observation(self._number))

    def _available(self) -> None:
        """Mend everything and wait; another checkpoint is accepted, or the first one comes back."""
        self._network.calm()
        self._server.host.before = int
        until(lambda: self._policy.unavailable is None or self._changed())
        if self._changed():
            if self._random.random() < 0.5:
                self._server.restart(DigestHost(salt=self._accepted))
            else:
                self._accepted = self._server.host.salt
                self._policy.accept_change()
            until(lambda: self._policy.unavailable is None)

    def _changed(self) -> bool:
        return isinstance(self._policy.unavailable, ServerChanged)

    def _break_something(self) -> None:
        name = self._random.choice(list(FAULTS))
        self.tally.faults[name] += 1
        FAULTS[name](self._network, self._server, self._random)


Fault = Callable[[ChaosProxy, RealServer, random.Random], object]


def state(name: str, drop: bool = False) -> Fault:
    def fault(network: ChaosProxy, server: RealServer, random_: random.Random) -> None:
        setattr(network, name, True)
        if drop:
            network.drop()

    return fault


def spoil(how: chaos_proxy.Spoil) -> Fault:
    return lambda network, server, random_: setattr(network, "spoil", how)


def delay(network: ChaosProxy, server: RealServer, random_: random.Random) -> None:
    network.delay_s = random_.uniform(0.0, 2 * DEADLINE_S)


def slow_policy(network: ChaosProxy, server: RealServer, random_: random.Random) -> None:
    sleep_s = random_.uniform(0.0, 2 * DEADLINE_S)
    server.host.before = lambda: time.sleep(sleep_s)


def failing_policy(network: ChaosProxy, server: RealServer, random_: random.Random) -> None:
    def fail() -> None:
        raise RuntimeError("a bug in the policy")

    server.host.before = fail


FAULTS: dict[str, Fault] = {
    "drop": lambda network, server, random_: network.drop(),
    "refuse": state("refuse", drop=True),
    "never speaks": state("mute", drop=True),
    "half-open": state("swallow"),
    "stops reading": state("stuck"),
    "delay": delay,
    "cut off": spoil(chaos_proxy.cut_off),
    "truncated": spoil(chaos_proxy.truncated),
    "answer twice": spoil(chaos_proxy.doubled),
    "garbage bytes": spoil(chaos_proxy.garbage_bytes),
    "garbage frame": spoil(chaos_proxy.garbage_frame),
    "huge frame": spoil(chaos_proxy.huge_frame),
    "text": spoil(chaos_proxy.text_frame),
    "other stamp": spoil(answer_frame(pack({"actions": np.zeros((1, 7)), "stamp_ns": 1}))),
    "other shape": spoil(answer_frame(pack({"actions": np.zeros((2, 3)), "stamp_ns": 1}))),
    "not finite": spoil(answer_frame(pack({"actions": np.full((1, 7), np.nan), "stamp_ns": 1}))),
    "slow policy": slow_policy,
    "failing policy": failing_policy,
    "restart": lambda network, server, random_: server.restart(),
    "other checkpoint": lambda network, server, random_: server.restart(
        DigestHost(salt=random_.randint(1, 10**6))
    ),
}


def test_sixty_faults():
    threads = threading.active_count()
    chaos = Chaos(seed=1)
    tally = chaos.run(steps=600, faults=60)
    chaos.close()
    print(tally)
    assert set(tally.errors) >= {"ServerLost", "ServerSlow"}
    assert threading.active_count() == threads


@pytest.mark.slow
def test_an_hour_of_faults_at_ten_steps_a_second():
    """36,000 answers, a fault every five seconds of simulated time; memory stays as after the first tenth."""
    process = psutil.Process()
    before = Chaos(seed=0)
    before.run(steps=50, faults=5)  # what is loaded once
    before.close()
    gc.collect()
    files, threads = process.num_fds(), threading.active_count()
    chaos = Chaos(seed=2)
    chaos.run(STEPS_AN_HOUR // 10, 72)
    gc.collect()
    warm = process.memory_info().rss
    tally = chaos.run(STEPS_AN_HOUR - STEPS_AN_HOUR // 10, 648)
    gc.collect()
    grown = process.memory_info().rss - warm
    chaos.close()
    gc.collect()
    print(f"{tally}; memory {warm / MEGABYTE:.1f} MB after a tenth, {grown / MEGABYTE:+.2f} MB since")
    assert set(tally.faults) == set(FAULTS) and tally.steps >= STEPS_AN_HOUR
    assert grown < 16 * MEGABYTE
    assert (process.num_fds(), threading.active_count()) == (files, threads)
