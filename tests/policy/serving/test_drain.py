"""The end of a server: what is with the policy is answered, then everybody is sent away."""

from __future__ import annotations

import pytest
from tests.policy.serving.stand_ins import (
    ACT_S,
    Hold,
    Recorder,
    StandInHost,
    ask,
    observation_map,
    read,
    serving,
    wait_for,
)
from tests.policy.serving.test_health import get
from websockets.exceptions import ConnectionClosedOK, InvalidStatus
from websockets.sync.client import connect

from spatialbot_policy.serving import wire


def test_a_server_that_ends_answers_what_it_took_and_takes_nothing_more():
    hold = Hold()
    with serving(StandInHost(lambda: Recorder(before=hold))) as running:
        with connect(running.url) as one, connect(running.url) as two:
            read(one), read(two)
            one.send(wire.pack(observation_map()))
            hold.begun.wait()
            running.drain()
            wait_for(lambda: running.server.not_ready() == "shutting down", "the end to begin")
            assert get(running, "/readyz") == (503, "shutting down\n")
            assert get(running, "/healthz") == (200, "OK\n")
            with pytest.raises(InvalidStatus) as refused:
                connect(running.url).__enter__()
            assert refused.value.response.status_code == 503
            assert (
                ask(two, observation_map()) == "BusyError: the server is shutting down; connect again later"
            )
            hold.go.set()
            assert read(one)["stamp_ns"] == 0
            for client in (one, two):
                with pytest.raises(ConnectionClosedOK) as closed:
                    client.recv(timeout=ACT_S)
                assert closed.value.rcvd.code == 1001
                assert closed.value.rcvd.reason == "the server is shutting down"


def test_a_policy_that_does_not_return_does_not_keep_the_server():
    hold = Hold()
    limits = {"drain_timeout_s": 0.2, "inference_timeout_s": ACT_S}
    with serving(StandInHost(lambda: Recorder(before=hold)), limits) as running:
        with connect(running.url) as client:
            read(client)
            client.send(wire.pack(observation_map()))
            hold.begun.wait()
            running.drain()
            with pytest.raises(ConnectionClosedOK):
                client.recv(timeout=ACT_S)
    hold.go.set()
