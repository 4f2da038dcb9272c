"""A client's conversation with the server: the handshake, answers, episodes, and whose turn it is."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from tests.policy.serving.stand_ins import (
    CONFIG,
    Hold,
    Recorder,
    StandInHost,
    ask,
    observation_map,
    read,
    serving,
    wait_for,
)
from websockets.sync.client import connect

from spatialbot_policy.config import PolicyConfig, from_dict
from spatialbot_policy.errors import ConfigError
from spatialbot_policy.serving import wire
from spatialbot_policy.serving.key_maps import load_key_map


def test_the_first_frame_says_what_is_served():
    with serving() as running, connect(running.url) as websocket:
        metadata = read(websocket)
    assert metadata["server"] == "spatialbot" and metadata["protocol"] == 1
    assert metadata["checkpoint"] == "f" * 64 and metadata["instance"] == running.server.instance
    policy = from_dict(PolicyConfig, metadata["policy"], "metadata")
    policy.check_matches(CONFIG)
    assert policy.training == {}  # it may name the trainer's files
    assert metadata["cameras"] == ["front"] and metadata["rate_hz"] == 10.0
    assert metadata["depth_variant"] == "paper" and "zstd" in metadata["codecs"]
    assert metadata["action_space"]["names"][0] == "dx" and metadata["action_space"]["bins"] == 101
    assert "observation/front/color" in metadata["keys"]["known"]
    assert metadata["max_message_bytes"] == 32 * 1024 * 1024


def test_an_answer_has_the_actions_the_stamp_and_the_times():
    host = StandInHost(lambda: Recorder(horizon=3))
    with serving(host) as running, connect(running.url) as websocket:
        read(websocket)
        first = ask(websocket, observation_map(7, observation__stamp_ns=123))
        second = ask(websocket, observation_map(8, observation__stamp_ns=456))
    np.testing.assert_array_equal(first["actions"], [[0.001, 0, 0, 0, 0, 0, 1]] * 3)
    assert first["actions"].dtype == np.float64
    assert first["terminate"].tolist() == [False] * 3 and first["stamp_ns"] == 123
    assert second["actions"][0, 0] == 0.002 and second["stamp_ns"] == 456
    assert first["policy_timing"].keys() == {"infer_ms"}
    assert first["server_timing"].keys() == {"infer_ms", "queue_ms"}
    assert second["server_timing"].keys() == {"infer_ms", "queue_ms", "prev_total_ms"}
    assert second["server_timing"]["prev_total_ms"] >= first["server_timing"]["infer_ms"] > 0
    (policy,) = host.policies
    seen = policy.seen[0].frames["front"]
    assert (seen.color == 7).all() and (seen.depth_mm == 500).all() and seen.stamp_ns == 123


def test_each_client_has_a_history_of_its_own():
    with serving() as running, connect(running.url) as one, connect(running.url) as other:
        read(one), read(other)
        numbers = [ask(client, observation_map())["actions"][0, 0] for client in (one, one, other, one)]
    assert numbers == [0.001, 0.002, 0.001, 0.003]


def test_a_client_without_stamps_is_counted_and_a_new_prompt_is_a_new_episode():
    host = StandInHost()
    with serving(host) as running, connect(running.url) as websocket:
        read(websocket)
        for changes in ({}, {}, {"prompt": "stack"}, {"prompt": "stack"}, {"reset": True, "prompt": "stack"}):
            ask(websocket, observation_map(**changes))
        (policy,) = host.policies
        stamps = [seen.stamp_ns for seen in policy.seen]
    assert stamps == [0, 100_000_000, 200_000_000, 300_000_000, 400_000_000]
    assert policy.resets == 3 and policy.steps == 1


def test_a_client_with_stamps_begins_an_episode_only_by_saying_so():
    host = StandInHost()
    with serving(host) as running, connect(running.url) as websocket:
        read(websocket)
        ask(websocket, observation_map(observation__stamp_ns=5))
        ask(websocket, observation_map(observation__stamp_ns=6, prompt="stack"))
        (policy,) = host.policies
        assert policy.resets == 0
        ask(websocket, observation_map(observation__stamp_ns=1, reset=np.bool_(True)))
    assert policy.resets == 1 and [seen.stamp_ns for seen in policy.seen] == [5, 6, 1]


def test_of_one_client_the_newest_observation_wins_and_answers_stay_in_order():
    hold = Hold()
    host = StandInHost(lambda: Recorder(before=hold))
    with serving(host) as running, connect(running.url) as websocket:
        read(websocket)
        websocket.send(wire.pack(observation_map(observation__stamp_ns=1)))
        hold.begun.wait()
        websocket.send(wire.pack(observation_map(observation__stamp_ns=2, reset=True)))
        websocket.send(wire.pack(observation_map(observation__stamp_ns=3)))
        wait_for(lambda: running.count("spatialbot_received_bytes_total") > 3 * 150, "three observations")
        hold.go.set()
        answers = [read(websocket) for _ in range(3)]
    assert answers[0]["stamp_ns"] == 1 and answers[2]["stamp_ns"] == 3
    assert answers[1].startswith("ReplacedError: a newer observation")
    (policy,) = host.policies
    assert [seen.stamp_ns for seen in policy.seen] == [1, 3]
    assert policy.resets == 1 and policy.steps == 1  # the reset of the replaced observation counts


def test_the_queue_is_bounded():
    hold = Hold()
    with serving(StandInHost(lambda: Recorder(before=hold)), {"queue": 1}) as running:
        with connect(running.url) as one, connect(running.url) as two, connect(running.url) as three:
            for client in (one, two, three):
                read(client)
            one.send(wire.pack(observation_map()))
            hold.begun.wait()
            two.send(wire.pack(observation_map()))
            wait_for(lambda: running.server._queue.waiting == 1, "the second observation")
            assert ask(three, observation_map()).startswith("BusyError: 1 observations wait")
            hold.go.set()
            assert read(one)["stamp_ns"] == 0 and read(two)["stamp_ns"] == 0
            assert ask(three, observation_map())["stamp_ns"] == 0


def test_a_client_that_leaves_takes_its_waiting_observation_with_it():
    hold = Hold()
    host = StandInHost(lambda: Recorder(before=hold))
    with serving(host) as running, connect(running.url) as one:
        read(one)
        one.send(wire.pack(observation_map()))
        hold.begun.wait()
        with connect(running.url) as two:
            read(two)
            two.send(wire.pack(observation_map()))
            wait_for(lambda: running.server._queue.waiting == 1, "the second observation")
        wait_for(lambda: running.server._queue.waiting == 0, "the second client's end")
        hold.go.set()
        assert read(one)["stamp_ns"] == 0
        assert len(host.policies) == 1
        wait_for(lambda: running.count("spatialbot_requests_total", outcome="abandoned") == 1, "the count")


@pytest.mark.parametrize("error", [RuntimeError("/home/somebody/weights"), SystemExit(3), KeyError("x")])
def test_a_policy_that_fails_tells_the_log_and_not_the_client(error, caplog):
    def fail(observation):
        if observation.instruction == "fail":
            raise error

    with serving(StandInHost(lambda: Recorder(before=fail))) as running:
        with connect(running.url) as other, connect(running.url) as websocket:
            read(websocket), read(other)
            answer = ask(websocket, observation_map(prompt="fail"))
            assert answer == "InternalError: the policy failed; see the server's log"
            with pytest.raises(Exception, match="1011"):
                websocket.recv(timeout=30)
            assert ask(other, observation_map())["stamp_ns"] == 0
        assert running.count("spatialbot_requests_total", outcome="failed") == 1
    assert repr(error) in caplog.text or str(error) in caplog.text


def test_a_policy_that_answers_something_else_has_failed():
    class Strange(Recorder):
        def act(self, observation):
            return "forwards"

    with serving(StandInHost(Strange)) as running, connect(running.url) as websocket:
        read(websocket)
        assert ask(websocket, observation_map()).startswith("InternalError")


def test_a_policy_that_does_not_return_is_told_to_all_and_served_again_after():
    hold = Hold()
    with serving(StandInHost(lambda: Recorder(before=hold)), {"inference_timeout_s": 0.2}) as running:
        with connect(running.url) as one, connect(running.url) as two:
            read(one), read(two)
            one.send(wire.pack(observation_map()))
            hold.begun.wait()
            two.send(wire.pack(observation_map()))
            assert read(one) == "InferenceTimeoutError: the policy did not answer within 0.2 s"
            assert read(two).startswith("BusyError: the policy has worked on one observation for over 0.2 s")
            assert "has worked on one observation" in running.server.not_ready()
            assert ask(two, observation_map()).startswith("BusyError")
            hold.go.set()
            wait_for(lambda: not running.server.not_ready(), "the policy")
            assert ask(two, observation_map())["stamp_ns"] == 0
            assert ask(one, observation_map())["stamp_ns"] == 100_000_000  # what it saw too late it has seen


def test_openpi_keys_are_mapped_onto_the_policys_cameras():
    host = StandInHost()
    message = {
        "prompt": "pick",
        "observation/exterior_image_1_left": np.full((6, 8, 3), 3, np.uint8),
        "observation/exterior_image_1_left/depth_mm": np.full((6, 8), 400, np.uint16),
        "observation/wrist_image_left": np.zeros((6, 8, 3), np.uint8),
        "observation/joint_position": np.zeros(7),
        "observation/gripper_position": np.zeros(1),
    }
    with serving(host, keys=load_key_map("droid")) as running, connect(running.url) as websocket:
        read(websocket)
        assert ask(websocket, message)["stamp_ns"] == 0
        del message["observation/exterior_image_1_left/depth_mm"]
        assert ask(websocket, message).startswith(
            "RequestError: key 'observation/exterior_image_1_left/depth_mm' is missing; this policy needs"
        )
    (policy,) = host.policies
    assert (policy.seen[0].frames["front"].color == 3).all()


def test_a_port_that_is_taken_is_named():
    with serving() as running:
        with pytest.raises(ConfigError, match=f"port {running.port}.*another --port"):
            with serving(port=running.port):
                pass


def test_several_clients_at_once_are_all_answered():
    answers: dict[int, list[float]] = {}

    def drive(number: int, url: str) -> None:
        with connect(url) as websocket:
            read(websocket)
            answers[number] = [ask(websocket, observation_map())["actions"][0, 0] for _ in range(20)]

    with serving() as running:
        threads = [threading.Thread(target=drive, args=(number, running.url)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert list(answers.values()) == [[count / 1000 for count in range(1, 21)]] * 8
