"""Clients that are too many, too slow or silent: bounded, counted, and nobody else's trouble."""

from __future__ import annotations

import socket
import threading

import numpy as np
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
    wait_for,
)
from websockets.exceptions import ConnectionClosedOK, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.sync.client import connect

from spatialbot_policy.errors import ConfigError
from spatialbot_policy.serving import wire
from spatialbot_policy.serving.settings import ServerLimits

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def raw_socket(running: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", running.port), timeout=ACT_S)


def raw_client(running: Running) -> socket.socket:
    """A websocket without a library behind it: after the handshake it does only what a test does."""
    client = raw_socket(running)
    client.sendall(UPGRADE)
    assert client.recv(4096).startswith(b"HTTP/1.1 101")
    return client


def to_the_end(client: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    received = b""
    try:
        while chunk := client.recv(65536):
            received += chunk
    except ConnectionResetError:
        pass
    return received


def frame(message: object) -> bytes:
    return Frame(Opcode.BINARY, wire.pack(message)).serialize(mask=True)


def refused(running: Running, reason: str) -> float:
    return running.count("spatialbot_refused_connections_total", reason=reason)


def test_further_clients_are_refused_before_the_upgrade_until_one_leaves():
    with serving(limits={"connections": 2}) as running:
        with connect(running.url) as one:
            read(one)
            with connect(running.url) as two:
                read(two)
                with pytest.raises(InvalidStatus) as full:
                    connect(running.url).__enter__()
                assert full.value.response.status_code == 503
                assert b"2 clients are connected" in full.value.response.body
            wait_for(lambda: running.count("spatialbot_clients") == 1, "the second client's end")
            with connect(running.url) as three:
                read(three)
                assert ask(three, observation_map())["stamp_ns"] == 0
            assert ask(one, observation_map())["stamp_ns"] == 0


def test_a_thousand_connections_at_once_and_those_that_are_in_are_served():
    with serving(limits={"connections": 4, "open_timeout_s": ACT_S}) as running:
        with connect(running.url) as client:
            read(client)
            crowd = []
            for number in range(1000):
                crowd.append(raw_socket(running))
                if number % 2:  # the others never say what they want
                    crowd[-1].sendall(UPGRADE)
            assert ask(client, observation_map())["stamp_ns"] == 0
            answers = [to_the_end(crowd[number]) if number > 9 else b"" for number in range(1, 1000, 2)]
            for one in crowd:
                one.close()
            refusals = sum(b"503 Service Unavailable" in answer for answer in answers)
            assert refusals > 200 and all(b"101 Switching" not in answer for answer in answers)
            assert ask(client, observation_map())["stamp_ns"] == 100_000_000
        wait_for(lambda: running.count("spatialbot_clients") == 0, "the crowd's end")
        with connect(running.url) as client:
            read(client)
            assert ask(client, observation_map())["stamp_ns"] == 0
    assert refused(running, "full") >= 400


def test_a_connection_that_says_nothing_is_dropped():
    with serving(limits={"open_timeout_s": 0.1}) as running, raw_socket(running) as client:
        assert to_the_end(client) == b""


@pytest.mark.parametrize(
    "garbage", [b"\x00" * 2000, b"GET\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 500]
)
def test_garbage_instead_of_a_handshake_is_dropped(garbage):
    with serving(limits={"open_timeout_s": 0.5}) as running, raw_socket(running) as client:
        client.sendall(garbage)
        answer = to_the_end(client)
        assert b"101 Switching" not in answer and b"Traceback" not in answer
        with connect(running.url) as other:
            read(other)
            assert ask(other, observation_map())["stamp_ns"] == 0


@pytest.mark.parametrize("dribble", [False, True], ids=["half a message", "byte by byte"])
def test_a_message_that_does_not_come_to_its_end_ends_the_connection(dribble):
    with serving(limits={"message_timeout_s": 0.3, "write_timeout_s": 0.3}) as running:
        with connect(running.url) as other, raw_client(running) as client:
            read(other)
            whole = frame(observation_map())
            client.sendall(whole[:50])
            stop = threading.Event()

            def send_slowly() -> None:
                for byte in whole[50:-1]:
                    try:
                        client.send(bytes([byte]))
                    except OSError:
                        return
                    if stop.wait(0.05):
                        return

            sender = threading.Thread(target=send_slowly if dribble else lambda: None)
            sender.start()
            assert b"a message took longer than 0.3 s" in to_the_end(client)
            stop.set()
            sender.join()
            assert ask(other, observation_map())["stamp_ns"] == 0
    assert refused(running, "slow_writer") == 1


def test_fragments_do_not_stretch_a_message():
    with serving(limits={"message_timeout_s": 0.3, "write_timeout_s": 0.3}) as running:
        with raw_client(running) as client:
            whole = wire.pack(observation_map())
            client.sendall(Frame(Opcode.BINARY, whole[:10], fin=False).serialize(mask=True))
            client.sendall(Frame(Opcode.PING, b"x").serialize(mask=True))
            assert b"a message took longer" in to_the_end(client)


def test_a_message_in_too_many_pieces_is_cut_off():
    with serving() as running, raw_client(running) as client:
        piece = Frame(Opcode.CONT, b"x", fin=False).serialize(mask=True)
        client.sendall(Frame(Opcode.BINARY, b"x", fin=False).serialize(mask=True))
        try:
            for _ in range(100):
                client.sendall(piece * 100)
        except OSError:
            pass
        to_the_end(client)
        wait_for(lambda: running.count("spatialbot_clients") == 0, "its end")


def test_pings_alone_are_no_message():
    with serving(limits={"message_timeout_s": 0.1}) as running, connect(running.url) as client:
        read(client)
        for _ in range(5):
            assert client.ping().wait(ACT_S)
            threading.Event().wait(0.1)
        assert ask(client, observation_map())["stamp_ns"] == 0


def test_a_client_that_does_not_read_is_cut_off():
    # Answers of half a megabyte: a few fill every buffer on the way.
    host = StandInHost(lambda: Recorder(horizon=10_000))
    with serving(host, {"write_timeout_s": 0.3}) as running:
        with connect(running.url) as other, raw_client(running) as client:
            read(other)
            client.settimeout(0.2)
            try:
                for stamp in range(500):
                    client.sendall(frame(observation_map(observation__stamp_ns=stamp)))
                    threading.Event().wait(0.02)  # so that it is answered, and not replaced by the next
                    if refused(running, "slow_reader"):
                        break
            except OSError:  # its messages are not read any more, or it is cut off by now
                pass
            wait_for(lambda: refused(running, "slow_reader"), "the cut")
            wait_for(lambda: running.count("spatialbot_clients") == 1, "its end")
            assert ask(other, observation_map())["stamp_ns"] == 0


def test_too_many_unanswered_observations_wait_in_the_socket():
    hold = Hold()
    with serving(StandInHost(lambda: Recorder(before=hold)), {"unanswered": 3}) as running:
        with connect(running.url) as client:
            read(client)
            for stamp in range(20):
                client.send(wire.pack(observation_map(observation__stamp_ns=stamp)))
                hold.begun.wait()
            hold.go.set()
            answers = [read(client) for _ in range(20)]
    done = [answer["stamp_ns"] for answer in answers if isinstance(answer, dict)]
    assert done[0] == 0 and done[-1] == 19 and done == sorted(done)
    assert all(a.startswith("ReplacedError") for a in answers if isinstance(a, str))


def test_a_message_that_the_server_does_not_read_is_not_late():
    """With enough unanswered, nothing more is read: what waits then is not its client's doing."""
    hold = Hold()
    big = {"observation/front/color": np.zeros((600, 800, 3), np.uint8)}
    big["observation/front/depth_mm"] = np.ones((600, 800), np.uint16)
    limits = {"unanswered": 1, "message_timeout_s": 0.2}
    with serving(StandInHost(lambda: Recorder(before=hold)), limits) as running:
        with connect(running.url) as client:
            read(client)
            messages = [wire.pack(observation_map(observation__stamp_ns=stamp) | big) for stamp in range(12)]
            sender = threading.Thread(target=lambda: [client.send(message) for message in messages])
            sender.start()
            hold.begun.wait()
            threading.Event().wait(0.8)
            hold.go.set()
            answers = [read(client) for _ in messages]
            sender.join()
    assert isinstance(answers[-1], dict) and answers[-1]["stamp_ns"] == 11


def test_a_silent_client_is_sent_away():
    with serving(limits={"idle_timeout_s": 0.3}) as running, connect(running.url) as client:
        read(client)
        assert ask(client, observation_map())["stamp_ns"] == 0
        with pytest.raises(ConnectionClosedOK) as closed:
            client.recv(timeout=ACT_S)
        assert closed.value.rcvd.code == 1001 and closed.value.rcvd.reason == "no observation for 0.3 s"
    assert refused(running, "idle") == 1


def test_a_client_that_waits_for_its_answer_is_not_silent():
    hold = Hold()
    with serving(StandInHost(lambda: Recorder(before=hold)), {"idle_timeout_s": 0.2}) as running:
        with connect(running.url) as client:
            read(client)
            client.send(wire.pack(observation_map()))
            threading.Event().wait(0.5)
            hold.go.set()
            assert read(client)["stamp_ns"] == 0


def test_a_half_open_connection_is_found_by_its_pings():
    with serving(limits={"ping_timeout_s": 0.2}) as running, raw_client(running):
        # It never answers a ping, as a machine that lost its power does not.
        wait_for(lambda: running.count("spatialbot_clients") == 1, "the client")
        wait_for(lambda: running.count("spatialbot_clients") == 0, "its end")


@pytest.mark.parametrize("bound", ["message_bytes", "connections", "queue", "idle_timeout_s"])
@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan")])
def test_a_bound_must_be_positive(bound, value):
    with pytest.raises(ConfigError, match=f"limit '{bound}' is {value}"):
        ServerLimits(**{bound: value})


def test_memory_of_a_message_is_bounded_by_the_connection():
    """A frame that announces the largest message gets no memory for it before it comes."""
    with serving(limits={"message_timeout_s": 0.5, "write_timeout_s": 0.3}) as running:
        with raw_client(running) as client:
            header = Frame(Opcode.BINARY, np.zeros(30_000_000, np.uint8).tobytes()).serialize(mask=True)[:14]
            client.sendall(header)
            assert b"a message took longer" in to_the_end(client)
