"""Health, readiness and metrics: on the port of the clients, without a key, and while the policy works."""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request

import pytest
from tests.policy.serving.stand_ins import (
    ACT_S,
    Hold,
    Recorder,
    Running,
    StandInHost,
    ask,
    observation_map,
    read,
    serving,
)
from websockets.sync.client import connect

from spatialbot_policy.serving import wire
from spatialbot_policy.serving.access import ApiKey


def get(running: Running, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{running.port}{path}", timeout=ACT_S) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def burn_python(seconds: float, stop: threading.Event) -> None:
    """Keep the interpreter busy, letting go of it only when Python takes it away."""
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end and not stop.is_set():
        for _ in range(1000):
            number += 1


@pytest.mark.parametrize("works_by", ["burning", "sleeping"])
def test_pages_are_answered_before_an_inference_of_three_seconds_ends(works_by):
    ended, begun = threading.Event(), threading.Event()

    def work(observation):
        begun.set()
        burn_python(3.0, threading.Event()) if works_by == "burning" else time.sleep(3.0)
        ended.set()

    with serving(StandInHost(lambda: Recorder(before=work))) as running, connect(running.url) as client:
        read(client)
        client.send(wire.pack(observation_map()))
        assert begun.wait(ACT_S)
        pages = [get(running, path) for path in ("/healthz", "/readyz", "/metrics")]
        assert not ended.is_set()
        assert pages[0] == (200, "OK\n") and pages[1] == (200, "ready\n") and pages[2][0] == 200
        assert read(client)["stamp_ns"] == 0


def test_metrics_count_what_happened():
    with serving() as running, connect(running.url) as client:
        read(client)
        ask(client, observation_map())
        ask(client, observation_map(prompt=None))
        # Counted once the answer is sent, so after a client has it: the page comes later than both.
        ask(client, observation_map())
        status, text = get(running, "/metrics?x=1")
    assert status == 200
    assert 'spatialbot_requests_total{outcome="answered"}' in text
    assert 'spatialbot_requests_total{outcome="refused"} 1.0' in text
    assert 'spatialbot_requests_total{outcome="busy"} 0.0' in text
    assert "spatialbot_clients 1.0" in text and "spatialbot_ready 1.0" in text
    assert 'spatialbot_inference_seconds_bucket{le="0.05"}' in text
    assert "# TYPE spatialbot_queue_seconds histogram" in text
    assert f'checkpoint="{"f" * 64}"' in text


def test_pages_need_no_key_and_no_room():
    with serving(api_key=ApiKey("k" * 20), limits={"connections": 1}) as running:
        with connect(running.url, additional_headers={"Authorization": "Api-Key " + "k" * 20}) as client:
            read(client)
            for path in ("/healthz", "/readyz", "/metrics"):
                assert get(running, path)[0] == 200


def test_a_policy_that_does_not_return_makes_the_server_unready():
    hold = Hold()
    with serving(StandInHost(lambda: Recorder(before=hold)), {"inference_timeout_s": 0.2}) as running:
        with connect(running.url) as client:
            read(client)
            assert ask(client, observation_map()).startswith("InferenceTimeoutError")
            status, text = get(running, "/readyz")
            assert status == 503 and "the policy has worked on one observation for" in text
            assert get(running, "/healthz") == (200, "OK\n")
            assert "spatialbot_ready 0.0" in get(running, "/metrics")[1]
            hold.go.set()


def test_other_paths_are_no_pages():
    with serving() as running:
        status, text = get(running, "/else")
        assert status == 426 and "Traceback" not in text
