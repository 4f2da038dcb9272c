"""`spatialbot serve`: what it refuses to start with, and how signals end it."""

from __future__ import annotations

import logging
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.policy.serving.stand_ins import ACT_S, observation_map, read
from websockets.exceptions import ConnectionClosedOK
from websockets.sync.client import connect

from spatialbot_cli.main import main
from spatialbot_policy.serving import wire

ROOT = Path(__file__).resolve().parents[2]
# The verb's own main, with a policy that takes its time in place of a checkpoint.
PROGRAM = """
import sys, time
from spatialbot_cli import serve
from spatialbot_policy.serving.host import EngineHost
from tests.policy.serving.stand_ins import Recorder, StandInHost

def work(observation):
    print("begun", file=sys.stderr, flush=True)
    time.sleep(float(observation.instruction))

serve._engine_settings = lambda arguments: None  # they need torch
class Host(StandInHost):
    def warm_up(self):
        self.new_policy()

EngineHost.load = lambda checkpoint, settings: Host(lambda: Recorder(before=work))
sys.exit(serve.main(sys.argv[1:]))
"""


@contextmanager
def serve(*arguments: str) -> Iterator[tuple[subprocess.Popen, str]]:
    command = [sys.executable, "-c", PROGRAM, "--port", "0", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        yield process, until(process, r"serving on (\S+)")
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def until(process: subprocess.Popen, pattern: str) -> str:
    """Read the log up to a line."""
    lines = []
    for line in process.stderr:
        lines.append(line)
        if found := re.search(pattern, line):
            return found[0] if not found.groups() else found[1]
    raise AssertionError(f"no line {pattern!r} in the log:\n{''.join(lines)}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_the_answer_that_is_owed(number):
    with serve() as (process, url), connect(url) as client:
        read(client)
        client.send(wire.pack(observation_map(prompt="0.5")))
        until(process, "begun")
        process.send_signal(number)
        assert read(client)["stamp_ns"] == 0
        with pytest.raises(ConnectionClosedOK) as closed:
            client.recv(timeout=ACT_S)
        assert closed.value.rcvd.code == 1001
        assert process.wait(ACT_S) == 0


def test_a_second_signal_ends_it_at_once():
    with serve() as (process, url), connect(url) as client:
        read(client)
        client.send(wire.pack(observation_map(prompt=str(2 * ACT_S))))
        until(process, "begun")
        process.send_signal(signal.SIGTERM)
        until(process, "shutting down")
        process.send_signal(signal.SIGTERM)
        assert process.wait(ACT_S) == 128 + signal.SIGTERM


def test_an_open_address_without_a_key_is_warned_about(tmp_path):
    with serve("--host", "0.0.0.0") as (process, _):
        assert until(process, "WARNING.*set an API key")


REFUSED = [
    (("--keys", "aloha"), "no key map 'aloha'; choose from droid, libero, native"),
    (("--api-key-file", "no/such/file"), "cannot read the API key file no/such/file"),
    (("--tls-cert", "cert.pem"), "TLS needs both --tls-cert and --tls-key"),
    (("--port", "70000"), "port 70000 does not exist"),
    (("--queue", "0"), "limit 'queue' is 0, allowed is a number above 0"),
]


@pytest.fixture
def quiet():
    """The verb sets up the log of its process; here that is pytest's."""
    names = ["", "websockets"]
    before = [(logging.getLogger(name), logging.getLogger(name).level) for name in names]
    handlers, interval = list(logging.getLogger().handlers), sys.getswitchinterval()
    yield
    for logger, level in before:
        logger.setLevel(level)
    logging.getLogger().handlers[:] = handlers
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(("arguments", "message"), REFUSED, ids=[" ".join(a) for a, _ in REFUSED])
def test_what_cannot_work_is_refused_before_it_listens(arguments, message, capsys, monkeypatch):
    monkeypatch.delenv("SPATIALBOT_API_KEY", raising=False)
    status = main(["serve", "--port", "0", *arguments])
    error = capsys.readouterr().err
    assert status == 2 and message in " ".join(error.split()) and "Traceback" not in error


@pytest.mark.usefixtures("quiet")
def test_a_bad_key_in_the_environment_is_not_repeated(capsys, monkeypatch):
    monkeypatch.setenv("SPATIALBOT_API_KEY", "too-short")
    assert main(["serve"]) == 2
    error = capsys.readouterr().err
    assert "at least 16 ASCII characters" in error and "too-short" not in error


@pytest.mark.slow
@pytest.mark.usefixtures("quiet")
def test_a_checkpoint_that_is_not_there_is_named(capsys):
    assert main(["serve", "--checkpoint", "no/such/checkpoint"]) == 2
    assert "no/such/checkpoint" in capsys.readouterr().err
