"""Every fault of a link: `act` comes back by its deadline with the fault's name, and only a reset goes on."""

from __future__ import annotations

import faulthandler
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from tests.policy.serving import chaos_proxy
from tests.policy.serving.chaos_proxy import ChaosProxy, answer_frame
from tests.policy.serving.digest_policy import (
    CONFIG,
    DigestHost,
    LoopThread,
    RealServer,
    digest,
    observation,
    until,
)

from spatialbot_policy.errors import (
    ActionError,
    LinkError,
    ServerChanged,
    ServerLost,
    ServerRefused,
    ServerSlow,
)
from spatialbot_policy.serving.client import RemotePolicy
from spatialbot_policy.serving.image_codec import ImageMode
from spatialbot_policy.serving.link_settings import LinkSettings
from spatialbot_policy.serving.wire import pack

DEADLINE_S = 0.4
SETTINGS = LinkSettings(
    timeout_s=DEADLINE_S,
    connect_timeout_s=0.5,
    needs_server=False,
    retry_first_s=0.01,
    retry_most_s=0.05,
    ping_interval_s=0.1,
    ping_timeout_s=0.5,
)
NO_HANG_S = 20.0  # far beyond every deadline: what takes this long hangs, and all threads are printed


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    faulthandler.dump_traceback_later(NO_HANG_S, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


class Bench:
    """A client, a chaotic network and a server."""

    def __init__(self, settings: LinkSettings = SETTINGS) -> None:
        self.loop = LoopThread()
        self.server = RealServer(self.loop)
        self.network = ChaosProxy(self.loop, self.server.port)
        self.policy = RemotePolicy(self.network.url, settings)
        self.number = 0
        self.begin()

    def begin(self) -> None:
        """A new episode, as soon as there is a connection; its first answer has the right values."""
        until(lambda: self.policy.unavailable is None)
        self.policy.reset()
        self.steps = 0
        self.step()

    def step(self) -> None:
        self.number += 1
        asked = observation(self.number)
        vector = self.policy.act(asked).steps[0].as_vector()
        self.steps += 1
        expected = digest(asked, self.steps, salt=self.server.host.salt).as_vector()
        assert np.array_equal(vector, expected), f"a wrong action at step {self.steps}"

    def fails(self, kind: type[Exception], words: str | None = None) -> None:
        """The step fails in this way and so does the one after it, although the network is well again."""
        with pytest.raises(kind, match=words):
            self.step()
        self.network.calm()
        until(lambda: self.policy.unavailable is None or isinstance(self.policy.unavailable, ServerChanged))
        with pytest.raises(kind, match=words):
            self.step()

    def close(self) -> None:
        assert self.policy.close(), "the link's thread does not end"
        self.network.close()
        self.server.stop()
        self.loop.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


def test_server_gone(bench):
    bench.server.stop()
    until(lambda: bench.policy.unavailable is not None)
    with pytest.raises(ServerLost, match="is still there|ended"):
        bench.step()
    bench.policy.reset()
    with pytest.raises(ServerLost):
        bench.step()
    bench.server.start()
    bench.begin()


def test_connection_reset(bench):
    bench.network.drop()
    bench.fails(ServerLost)
    bench.begin()


def test_server_does_not_accept(bench):
    bench.network.refuse = True
    bench.network.drop()
    until(lambda: bench.policy.unavailable is not None)
    bench.fails(ServerLost)
    bench.begin()


def test_server_accepts_and_never_speaks(bench):
    bench.network.mute = True
    bench.network.drop()
    until(lambda: "in time" in str(bench.policy.unavailable))
    bench.network.calm()
    bench.begin()


def test_half_open_in_mid_episode(bench):
    bench.network.swallow = True
    bench.fails(ServerSlow, "no answer within")
    bench.begin()


def test_half_open_between_episodes_is_found_by_pings(bench):
    bench.network.swallow = True
    until(lambda: bench.policy.unavailable is not None)
    bench.network.calm()
    bench.begin()


def test_server_stops_reading_in_mid_message():
    """More than the buffers of both ends hold: the client cannot even get rid of its question."""
    bench = Bench(replace(SETTINGS, images=ImageMode.RAW, timeout_s=0.5))
    bench.network.stuck = True
    large = observation(1000, size=(2000, 1500))
    with pytest.raises(ServerSlow):
        bench.policy.act(large)
    bench.network.calm()
    bench.begin()
    bench.network.stuck = True
    with pytest.raises(ServerSlow):
        bench.policy.act(large)
    bench.close()  # while nobody reads


def test_slow_network(bench):
    bench.network.delay_s = 2 * DEADLINE_S
    bench.fails(ServerSlow)
    bench.begin()


def test_slow_policy(bench):
    awake = threading.Event()
    bench.server.host.before = lambda: awake.wait(5.0)
    with pytest.raises(ServerSlow):
        bench.step()
    awake.set()
    with pytest.raises(ServerSlow):
        bench.step()
    bench.begin()


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (chaos_proxy.truncated, ServerSlow),
        (chaos_proxy.cut_off, ServerLost),
        (chaos_proxy.garbage_bytes, ServerLost),
        (chaos_proxy.garbage_frame, ServerLost),
        (chaos_proxy.huge_frame, ServerLost),
        (chaos_proxy.text_frame, ServerRefused),
        (answer_frame(pack({})), ServerLost),
        (answer_frame(pack([1, 2])), ServerLost),
        (answer_frame(pack({"actions": np.zeros((1, 7)), "stamp_ns": 5})), ServerLost),
        (answer_frame(pack({"actions": np.zeros((1, 7))})), ServerLost),
        (answer_frame(pack({"actions": np.zeros((1, 6)), "stamp_ns": 1_200_000_000})), ServerLost),
        (answer_frame(pack({"actions": np.full((1, 7), np.inf), "stamp_ns": 1_200_000_000})), ActionError),
        (answer_frame(pack({"actions": np.full((1, 7), 0.9), "stamp_ns": 1_200_000_000})), ActionError),
    ],
)
def test_the_answer_is_spoilt(bench, spoil, error):
    bench.network.spoil = spoil
    bench.fails(error)
    bench.begin()


def test_an_answer_that_nobody_asked_for_cuts_the_link(bench):
    bench.network.spoil = chaos_proxy.doubled
    bench.step()
    until(lambda: bench.policy.unavailable is not None or bench.policy.connections > 1)
    bench.fails(ServerLost, "nobody asked for")
    bench.begin()


def test_the_same_checkpoint_after_a_restart_does_not_continue_the_episode(bench):
    for _ in range(3):
        bench.step()
    bench.server.restart()
    until(lambda: bench.policy.connections == 2)
    for _ in range(3):
        with pytest.raises(ServerLost):
            bench.step()
    bench.begin()


def test_another_checkpoint_after_a_restart_is_turned_down_until_the_first_is_back(bench):
    bench.server.restart(DigestHost(salt=3))
    bench.fails(ServerLost)
    assert isinstance(bench.policy.unavailable, ServerChanged)
    bench.policy.reset()
    with pytest.raises(ServerChanged):
        bench.step()
    bench.server.restart(DigestHost())
    bench.begin()


def test_another_configuration_under_the_same_name_is_turned_down(bench):
    bench.server.restart(DigestHost(replace(CONFIG, max_gap_ms=1234)))
    until(lambda: isinstance(bench.policy.unavailable, ServerChanged))


def test_a_late_answer_is_never_taken_for_the_next_one(bench):
    """The first answer comes after its deadline, while the second question is being asked."""
    bench.network.delay_s = 1.3 * DEADLINE_S
    for _ in range(3):
        with pytest.raises(LinkError):
            bench.step()
        bench.policy.reset()
    bench.network.calm()
    bench.begin()


def test_closing_is_quick_whatever_the_network_does():
    for state in ("mute", "refuse", "swallow", "stuck"):
        bench = Bench()
        setattr(bench.network, state, True)
        if state in ("mute", "refuse"):
            bench.network.drop()
        bench.close()


def test_hundreds_of_attempts_leave_nothing_behind():
    """Threads and sockets, when the server stays away."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{unused.getsockname()[1]}"
        before = threading.active_count()
        policy = RemotePolicy(url, replace(SETTINGS, retry_first_s=1e-4, retry_most_s=1e-4))
        until(lambda: policy._link._failures > 300)
        assert threading.active_count() == before + 1
        assert policy.close()
        assert threading.active_count() == before


def test_pauses_between_attempts_grow_to_a_cap_and_differ():
    settings = LinkSettings(retry_first_s=0.2, retry_most_s=3.0)
    pauses = [[settings.pause_s(failures) for _ in range(50)] for failures in (1, 2, 3, 10, 10**6)]
    for longest, found in zip((0.2, 0.4, 0.8, 3.0, 3.0), pauses, strict=True):
        assert longest / 2 <= min(found) and max(found) <= longest and len(set(found)) > 10


def test_two_threads_on_one_client_do_not_mix_their_answers(bench):
    """Not allowed, and told so instead of mixed up."""
    slow = threading.Event()
    bench.server.host.before = lambda: slow.wait(5.0)
    errors: list[Exception] = []

    def ask() -> None:
        try:
            bench.policy.act(observation(900))
        except LinkError as error:
            errors.append(error)

    others = [threading.Thread(target=ask) for _ in range(2)]
    for thread in others:
        thread.start()
    for thread in others:
        thread.join(5.0)
    slow.set()
    assert len(errors) == 2 and any("two threads" in str(error) for error in errors)
    bench.begin()
