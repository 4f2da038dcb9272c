"""A policy on another machine: each fault of its server stops the motion by name, nothing restarts it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from tests.policy.serving.chaos_proxy import ChaosProxy
from tests.policy.serving.digest_policy import LoopThread, RealServer, until
from tests.ros.nodes.policy_rig import (
    CONFIG,
    START,
    TWO_PERIODS_S,
    PaperPolicy,
    PolicyRig,
    contract,
    stamps,
    step,
)
from tests.ros.nodes.test_faults_stop_the_arm import TICK_S, Chain

from spatialbot_policy.config import PolicyConfig
from spatialbot_policy.errors import ConfigError
from spatialbot_policy.serving.access import ApiKey
from spatialbot_policy.serving.client import RemotePolicy
from spatialbot_policy.types import ActionChunk, ActionStep
from spatialbot_ros.convert.actions import to_action
from spatialbot_ros.logic.reasons import Reason
from spatialbot_ros.nodes.policy_factory import load_policy
from spatialbot_ros.nodes.policy_parameters import PolicyParameters

SLOW_MS = 500.0


def small_step(number: int) -> ActionStep:
    """The rig's step within the bounds, which a client checks."""
    large = step(number)
    return replace(large, translation_m=large.translation_m / 100.0, rotation_rad=large.rotation_rad / 100.0)


class PaperHost:
    """Serves one paper policy under the name of a checkpoint."""

    def __init__(self, paper: PaperPolicy, name: str = "first", config: PolicyConfig = CONFIG) -> None:
        self._paper = paper
        self.fingerprint = name
        self.config = config

    def new_policy(self) -> PaperPolicy:
        return self._paper


class Elsewhere:
    """A server with a paper policy, and the network to it."""

    def __init__(self, **settings: Any) -> None:
        self.paper = PaperPolicy()
        self.paper.make_chunk = lambda asked, number: ActionChunk(asked.stamp_ns, (small_step(number),))
        self.loop = LoopThread()
        self.server = RealServer(self.loop, PaperHost(self.paper), **settings)
        self.network = ChaosProxy(self.loop, self.server.port)

    def rig(self, graph, **parameters: Any) -> PolicyRig:
        """A policy_node that asks over this network, built as on a robot."""
        given = {"server": self.network.url, "server_timeout_ms": SLOW_MS, **parameters}
        return PolicyRig(graph, given, self.paper, load_policy)

    def close(self) -> None:
        self.paper.may_answer.set()
        self.network.close()
        self.server.stop()
        self.loop.close()


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    made = Elsewhere()
    yield made
    made.close()


@pytest.fixture
def rig(graph, elsewhere) -> PolicyRig:
    made = elsewhere.rig(graph)
    connected(made)
    made.start()
    made.follow(3)
    return made


def remote(rig: PolicyRig) -> RemotePolicy:
    policy = rig.node._policy
    assert isinstance(policy, RemotePolicy)
    return policy


def connected(rig: PolicyRig) -> None:
    until(lambda: remote(rig).unavailable is None)


def disconnected(rig: PolicyRig) -> None:
    until(lambda: remote(rig).unavailable is not None)


def refused(rig: PolicyRig, reason: str) -> str:
    response = rig.graph.call(START)
    assert not response.success and response.message.startswith(f"{reason}: "), response.message
    return str(response.message)


# --- as with a policy of one's own


def test_each_frame_is_answered_with_its_stamp_and_the_very_same_values(graph, elsewhere):
    rig = elsewhere.rig(graph)
    connected(rig)
    rig.start()
    taken = []
    for number in range(1, 6):
        taken.append(graph.now_ns)
        vector, _ = to_action(rig.expect_action(rig.frame))
        assert np.array_equal(vector, small_step(number).as_vector())
        rig.pause()
    assert stamps(rig.actions) == taken
    graph.advance(1.0)
    values = {entry.key: entry.value for entry in rig.diagnostics[-1].status[0].values}
    assert values["server connections"] == "1" and "bytes as" in values["server answer"]


def test_every_start_is_a_new_episode_for_the_server(rig, elsewhere):
    assert len(elsewhere.paper.seen) == 3
    assert rig.graph.call("/spatialbot/policy/stop").success
    rig.pause()
    rig.frame()
    rig.restart()
    assert len(elsewhere.paper.seen) == 1 and remote(rig).connections == 1


def test_start_refuses_a_server_for_another_robot(graph, elsewhere):
    elsewhere.server.restart(PaperHost(elsewhere.paper, config=contract(rate_hz=10.0)))
    rig = elsewhere.rig(graph)
    connected(rig)
    rig.instruct()
    rig.frame()
    assert "rate_hz: 10.0 != 30.0" in refused(rig, "checkpoint_mismatch")


# --- faults


def test_the_server_goes_and_comes_back(rig, elsewhere):
    elsewhere.server.stop()
    disconnected(rig)
    rig.pause()
    assert elsewhere.network.url in rig.status.message
    rig.expect_stop("server_lost")
    refused(rig, "server_lost")
    elsewhere.server.start()
    connected(rig)
    rig.expect_stop("server_lost")
    rig.restart()
    assert len(elsewhere.paper.seen) == 1


def test_the_network_goes_in_mid_answer(rig, elsewhere):
    rig.pause()
    rig.hang()
    elsewhere.network.drop()
    rig.graph.until(lambda: not rig.active)
    rig.expect_stop("server_lost")
    rig.restart()


def test_the_server_is_slow(rig, elsewhere):
    rig.pause()
    rig.hang()
    rig.graph.until(lambda: not rig.active)
    assert "gave no answer within" in rig.status.message
    rig.expect_stop("server_slow")
    rig.restart()


def test_a_half_open_link(rig, elsewhere):
    rig.pause()
    elsewhere.network.swallow = True
    rig.frame()
    rig.graph.until(lambda: not rig.active)
    rig.expect_stop("server_slow")
    elsewhere.network.calm()
    rig.restart()


def test_the_server_is_restarted_with_the_same_checkpoint(rig, elsewhere):
    """So quickly that the link is there again before the next frame: its history is not."""
    elsewhere.server.restart()
    until(lambda: remote(rig).connections == 2)
    rig.pause()
    rig.frame()
    rig.graph.until(lambda: not rig.active)
    rig.expect_stop("server_lost")
    rig.restart()
    assert len(elsewhere.paper.seen) == 1


def test_the_server_is_restarted_with_another_checkpoint(rig, elsewhere):
    elsewhere.server.restart(PaperHost(elsewhere.paper, "second"))
    until(lambda: "now runs checkpoint second" in str(remote(rig).unavailable))
    rig.pause()
    assert rig.reason in ("server_lost", "server_changed") and not rig.active
    rig.expect_stop(rig.reason)
    assert "restart the client (policy_node)" in refused(rig, "server_changed")
    elsewhere.server.restart(PaperHost(elsewhere.paper))
    connected(rig)
    rig.pause()
    rig.frame()
    rig.restart()


def test_the_server_answers_nonsense(rig, elsewhere):
    rig.pause()
    elsewhere.network.spoil = lambda data: b"\x82\x03abc"
    rig.frame()
    rig.graph.until(lambda: not rig.active)
    rig.expect_stop("server_lost")
    rig.restart()


def test_the_policy_fails_over_there(rig, elsewhere):
    elsewhere.paper.error = RuntimeError("secret of the server")
    rig.pause()
    rig.frame()
    rig.graph.until(lambda: not rig.active)
    assert "secret" not in rig.status.message
    rig.expect_stop("server_refused")
    elsewhere.paper.error = None
    connected(rig)
    rig.restart()


def test_a_wrong_key(graph, tmp_path):
    elsewhere = Elsewhere(api_key=ApiKey("0123456789abcdef"))
    key = tmp_path / "key"
    key.write_text("another-key-of-some-length\n")
    key.chmod(0o600)
    rig = elsewhere.rig(graph, server_api_key_file=str(key))
    until(lambda: "API key" in str(remote(rig).unavailable))
    rig.instruct()
    rig.frame()
    refused(rig, "server_refused")
    elsewhere.close()


def test_the_robot_may_come_up_before_its_server(graph, elsewhere):
    elsewhere.server.stop()
    rig = elsewhere.rig(graph, autostart=True)
    until(lambda: "ended" in str(remote(rig).unavailable) or "no connection" in str(remote(rig).unavailable))
    rig.instruct()
    rig.frame()
    assert not rig.active
    elsewhere.server.start()
    connected(rig)
    rig.pause()
    rig.frame()
    assert rig.active


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"server": "http://gpu:8000"}, r"'server\*': 'http://gpu:8000' is no server's address"),
        ({"server": "ws://gpu:8000", "server_ca_file": "/no/file"}, "is not encrypted"),
        ({"server": "ws://gpu:8000", "server_api_key_file": "/no/file"}, "cannot read the API key"),
        ({}, "'checkpoint' is empty"),
    ],
)
def test_a_parameter_that_cannot_be_used_refuses_the_node(values, words):
    with pytest.raises(ConfigError, match=words):
        load_policy(replace(PolicyParameters(), **values))


def test_by_default_an_answer_may_take_as_long_as_one_of_a_local_policy():
    assert PolicyParameters().server_timeout_s == 0.14
    assert PolicyParameters(server_timeout_ms=80.0).server_timeout_s == 0.08


def test_a_killed_node_leaves_no_thread_behind(graph, elsewhere):
    rig = elsewhere.rig(graph)
    connected(rig)
    link = remote(rig)._link
    graph.remove(rig.node)
    assert not link._thread.is_alive()


def test_the_arm_stands_when_the_server_goes(graph, elsewhere):
    def make_rig(graph) -> PolicyRig:
        made = elsewhere.rig(graph)
        connected(made)
        return made

    chain = Chain(graph, make_rig)
    elsewhere.server.stop()
    disconnected(chain.rig)
    graph.until(lambda: chain.statuses[-1].level != DiagnosticStatus.OK, TWO_PERIODS_S, TICK_S)
    message = chain.statuses[-1].message
    assert message.startswith(f"{Reason.POLICY_STOPPED}: server_lost"), message
    assert chain.stands()
    elsewhere.server.start()
    connected(chain.rig)
    count = len(chain.targets)
    for _ in range(5):  # everything is well again, but nobody asked for motion
        chain.rig.pause()
        chain.rig.frame()
    assert len(chain.targets) == count and chain.statuses[-1].level != DiagnosticStatus.OK
