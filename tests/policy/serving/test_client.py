"""RemotePolicy: the same answers as the policy behind the server, ours and one of openpi's kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from tests.policy.serving.digest_policy import (
    CONFIG,
    PERIOD_NS,
    DigestHost,
    DigestPolicy,
    LoopThread,
    RealServer,
    observation,
    until,
)
from tests.policy.serving.plain_server import PlainServer

from spatialbot_policy.config import CameraConfig
from spatialbot_policy.errors import (
    ActionError,
    ConfigError,
    FrameError,
    HistoryError,
    ServerChanged,
    ServerLost,
    ServerRefused,
)
from spatialbot_policy.serving.access import ApiKey, server_tls
from spatialbot_policy.serving.client import RemotePolicy
from spatialbot_policy.serving.image_codec import ImageMode
from spatialbot_policy.serving.key_maps import load_key_map
from spatialbot_policy.serving.link_settings import LinkSettings
from spatialbot_policy.serving.settings import ServerLimits
from spatialbot_policy.types import Observation, RgbdFrame

PATIENT = LinkSettings(timeout_s=10.0, retry_first_s=0.01, retry_most_s=0.05)


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    made = LoopThread()
    yield made
    made.close()


@pytest.fixture
def server(loop: LoopThread) -> Iterator[RealServer]:
    made = RealServer(loop)
    yield made
    made.stop()


@pytest.fixture
def policy(server: RealServer) -> Iterator[RemotePolicy]:
    made = RemotePolicy(server.url, PATIENT)
    yield made
    assert made.close()


def same_answers(policy: RemotePolicy, local: DigestPolicy, seed: int, steps: int = 6, **how: object) -> None:
    """One episode, answered alike."""
    policy.reset()
    local.reset()
    for number in range(steps):
        asked = observation(number, seed, **how)
        here, there = local.act(asked), policy.act(asked)
        assert there.observation_stamp_ns == here.observation_stamp_ns
        assert np.array_equal(there.steps[0].as_vector(), here.steps[0].as_vector())


def test_it_answers_as_the_policy_behind_the_server_episode_after_episode(policy):
    assert policy.config == CONFIG and policy.fingerprint == "0" * 64
    local = DigestPolicy()
    for seed in range(3):
        same_answers(policy, local, seed)
    assert policy.connections == 1


@pytest.mark.parametrize("mode", [mode for mode in ImageMode if mode is not ImageMode.JPEG])
@pytest.mark.parametrize("size", [(24, 20), (16, 16), (9, 13), (64, 12)])
def test_however_the_images_travel_the_model_sees_the_same(server, mode, size):
    policy = RemotePolicy(server.url, replace(PATIENT, images=mode))
    same_answers(policy, DigestPolicy(), seed=1, steps=3, size=size)
    policy.close()


def test_the_timing_of_an_answer_is_read(policy):
    policy.act(observation(0))
    assert "prev_total_ms" not in policy.timing.server
    policy.act(observation(1))
    timing = policy.timing
    assert {"infer_ms", "queue_ms", "prev_total_ms"} <= set(timing.server) and "infer_ms" in timing.policy
    assert timing.images is ImageMode.ZSTD and timing.sent_bytes > 0
    assert timing.total_ms >= timing.encode_ms + timing.link_ms + timing.decode_ms


def test_an_observation_at_fault_leaves_the_episode_as_it_was(policy):
    local = DigestPolicy()
    asked = [observation(number) for number in range(3)]
    policy.act(asked[0])
    local.act(asked[0])
    black = {"camera": replace(asked[1].frames["camera"], depth_mm=np.zeros((20, 24), np.uint16))}
    with pytest.raises(FrameError, match="all invalid"):
        policy.act(replace(asked[1], frames=black))
    with pytest.raises(HistoryError, match="does not come after"):
        policy.act(replace(asked[0], stamp_ns=asked[0].stamp_ns - 1))
    local._number += 1  # the stand-in counts what its history then refuses
    with pytest.raises(FrameError, match="'camera' is missing"):
        policy.act(replace(asked[1], frames={}))
    local._number -= 1
    here, there = local.act(asked[2]), policy.act(asked[2])
    assert np.array_equal(there.steps[0].as_vector(), here.steps[0].as_vector())


def test_a_pause_in_the_stamps_is_the_servers_to_see(policy):
    policy.act(observation(0))
    late = observation(0)
    assert policy.act(replace(late, stamp_ns=late.stamp_ns + 100 * PERIOD_NS)).steps


def test_what_the_client_expects_must_be_there(server):
    expected = replace(CONFIG, rate_hz=20.0)
    with pytest.raises(ServerChanged, match=r"rate_hz: 10.0 != 20.0"):
        RemotePolicy(server.url, PATIENT, expected)
    RemotePolicy(server.url, PATIENT, CONFIG).close()


def test_a_wrong_key_is_refused_by_name(loop):
    server = RealServer(loop, api_key=ApiKey("the-key-of-the-server"))
    for key in (None, ApiKey("another-key-as-long-as")):
        with pytest.raises(ServerRefused, match="refuses the API key"):
            RemotePolicy(server.url, replace(PATIENT, api_key=key))
    right = RemotePolicy(server.url, replace(PATIENT, api_key=ApiKey("the-key-of-the-server")))
    right.act(observation(0))
    right.close()
    server.stop()


def test_a_server_under_other_keys_is_refused_by_name(loop):
    server = RealServer(loop, keys=load_key_map("droid"))
    with pytest.raises(ServerRefused, match="does not know the key 'observation/camera/color'"):
        RemotePolicy(server.url, PATIENT)
    policy = RemotePolicy(server.url, PATIENT, keys=load_key_map("droid"))
    same_answers(policy, DigestPolicy(), seed=2)
    policy.close()
    server.stop()


def test_no_server_is_told_within_the_deadline(loop):
    server = RealServer(loop)
    server.stop()
    with pytest.raises(ServerLost, match=rf"no connection to {server.url}"):
        RemotePolicy(server.url, replace(PATIENT, connect_timeout_s=0.3))


def test_a_client_may_come_before_its_server(loop):
    server = RealServer(loop)
    server.stop()
    policy = RemotePolicy(server.url, replace(PATIENT, needs_server=False))
    assert policy.config is None and policy.fingerprint == ""
    until(lambda: "no connection" in str(policy.unavailable))
    with pytest.raises(ServerLost):
        policy.act(observation(0))
    server.start()
    until(lambda: policy.unavailable is None)
    with pytest.raises(ServerLost):  # nothing begins without a reset
        policy.act(observation(0))
    same_answers(policy, DigestPolicy(), seed=0)
    assert policy.config == CONFIG
    policy.close()
    server.stop()


@pytest.mark.parametrize("name", ["timeout_s", "connect_timeout_s", "retry_most_s", "max_reply_bytes"])
@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf")])
def test_a_duration_that_is_none_is_refused_by_name(name, value):
    with pytest.raises(ConfigError, match=f"{name} is .*, allowed is a number above 0"):
        LinkSettings(**{name: value})


def test_a_message_larger_than_the_server_takes_is_not_even_sent(loop):
    server = RealServer(loop, limits=ServerLimits(message_bytes=20_000))
    policy = RemotePolicy(server.url, replace(PATIENT, images=ImageMode.RAW))
    with pytest.raises(ServerRefused, match="allows 20000; send its images as 'fit'"):
        policy.act(observation(0, size=(200, 200)))
    policy.close()
    server.stop()


@pytest.mark.parametrize(
    ("url", "settings", "words"),
    [
        ("http://127.0.0.1:1", PATIENT, "write ws://HOST:PORT"),
        ("127.0.0.1:8000", PATIENT, "write ws://HOST:PORT"),
        ("wss://127.0.0.1:1", replace(PATIENT, ca_file="/no/such/file"), "holds no certificates"),
        ("ws://127.0.0.1:1", replace(PATIENT, ca_file="/no/such/file"), "is not encrypted"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_at_once(url, settings, words):
    with pytest.raises(ConfigError, match=words):
        RemotePolicy(url, settings)


def test_an_encrypted_server_must_be_trusted(loop, certificate):
    server = RealServer(loop, tls=server_tls(*certificate))
    url = f"wss://localhost:{server.port}"
    policy = RemotePolicy(url, replace(PATIENT, ca_file=certificate[0]))
    same_answers(policy, DigestPolicy(), seed=4)
    policy.close()
    with pytest.raises(ServerRefused, match="not trusted here .*server_ca_file"):
        RemotePolicy(url, PATIENT)
    with pytest.raises(ServerLost):
        RemotePolicy(f"ws://localhost:{server.port}", replace(PATIENT, connect_timeout_s=0.5))
    server.stop()


# --- a server of another make


TWO = replace(
    CONFIG, cameras=(CameraConfig("front", 16, 12), CameraConfig("hand", 16, 16)), depth_variant=None
)


def run_plain(loop: LoopThread, answer, metadata=None) -> tuple[PlainServer, str]:
    server = PlainServer(answer, metadata)
    return server, loop.run(server.start())


def three_steps(message: dict) -> dict:
    color = message["observation/exterior_image_1_left"]
    return {"actions": np.full((3, 7), float(color.mean()) / 1e4, np.float32)}


def test_a_server_of_another_make_answers_under_its_own_keys(loop):
    server, url = run_plain(loop, three_steps, {"some": "thing"})
    settings = replace(PATIENT, api_key=ApiKey("0123456789abcdef"))
    policy = RemotePolicy(url, settings, expected=TWO, keys=load_key_map("droid"))
    assert policy.config == TWO and policy.fingerprint == ""
    for number in range(3):
        asked = observation(number, config=TWO, size=(32, 24))
        chunk = policy.act(asked)
        assert chunk.observation_stamp_ns == asked.stamp_ns and len(chunk.steps) == 3
        seen = server.seen[-1]
        expected = np.float32(seen["observation/exterior_image_1_left"].mean() / 1e4)
        assert chunk.steps[0].translation_m[0] == float(expected) and not chunk.steps[0].terminate
    assert set(seen) == {"prompt", "observation/exterior_image_1_left", "observation/wrist_image_left"}
    assert seen["observation/exterior_image_1_left"].shape == (12, 16, 3)  # fitted
    assert seen["observation/wrist_image_left"].shape == (16, 16, 3)
    assert {"infer_ms", "prev_total_ms"} <= set(policy.timing.server) and "infer_ms" in policy.timing.policy
    assert server.headers[0]["Authorization"] == "Api-Key 0123456789abcdef"
    policy.close()
    loop.run(server.stop())


def test_a_server_of_another_make_needs_an_expected_policy_and_plain_images(loop):
    server, url = run_plain(loop, three_steps)
    with pytest.raises(ServerRefused, match="'expected'"):
        RemotePolicy(url, PATIENT)
    with pytest.raises(ServerRefused, match="plain images only"):
        RemotePolicy(url, replace(PATIENT, images=ImageMode.PNG), TWO, load_key_map("droid"))
    loop.run(server.stop())


def test_a_traceback_of_another_server_ends_the_episode_in_one_line(loop):
    def fails(message: dict) -> dict:
        raise KeyError("observation/joint_position")

    server, url = run_plain(loop, fails)
    policy = RemotePolicy(url, PATIENT, expected=TWO, keys=load_key_map("droid"))
    with pytest.raises(ServerRefused, match="refuses: KeyError: 'observation/joint_position'$"):
        policy.act(observation(0, config=TWO))
    with pytest.raises(ServerRefused):
        policy.act(observation(1, config=TWO))
    policy.close()
    loop.run(server.stop())


@pytest.mark.parametrize(
    ("reply", "error", "words"),
    [
        ({}, ServerLost, "'actions' must be"),
        ({"actions": np.zeros((1, 8))}, ServerLost, "another robot"),
        ({"actions": np.zeros(7)}, ServerLost, "'actions' must be"),
        ({"actions": np.zeros((0, 7))}, ServerLost, "another robot"),
        ({"actions": np.zeros((1, 7), np.int64)}, ServerLost, "of floats"),
        ({"actions": [[0.0] * 7]}, ServerLost, "'actions' must be"),
        ({"actions": np.full((1, 7), np.nan)}, ActionError, "finite"),
        ({"actions": np.full((2, 7), 0.06)}, ActionError, "beyond 0.05 m"),
        ({"actions": np.array([[0.0] * 6 + [1.5]])}, ActionError, "closure of 1.5"),
        ({"actions": np.zeros((1, 7)), "terminate": np.zeros(2, bool)}, ServerLost, "'terminate'"),
    ],
)
def test_an_answer_that_is_none_ends_the_episode_and_the_link(loop, reply, error, words):
    server, url = run_plain(loop, lambda message: dict(reply))
    policy = RemotePolicy(url, PATIENT, expected=TWO, keys=load_key_map("droid"))
    for _ in range(2):
        with pytest.raises(error, match=words):
            policy.act(observation(0, config=TWO))
    until(lambda: policy.connections == 2)
    policy.close()
    loop.run(server.stop())


def test_frames_of_cameras_that_the_policy_does_not_know_stay_here(policy):
    asked = observation(0)
    extra = RgbdFrame("ceiling", asked.stamp_ns, np.zeros((4, 4, 3), np.uint8))
    more = Observation(asked.stamp_ns, asked.instruction, {**asked.frames, "ceiling": extra})
    assert np.array_equal(
        policy.act(more).steps[0].as_vector(), DigestPolicy().act(asked).steps[0].as_vector()
    )


def test_a_server_that_was_replaced_by_another_checkpoint_must_be_accepted(server):
    policy = RemotePolicy(server.url, PATIENT)
    policy.act(observation(0))
    server.restart(DigestHost(salt=7))
    until(lambda: isinstance(policy.unavailable, ServerChanged))
    with pytest.raises(ServerLost):
        policy.act(observation(1))
    policy.reset()
    with pytest.raises(ServerChanged, match="now runs checkpoint 000000000000"):
        policy.act(observation(2))
    policy.accept_change()
    until(lambda: policy.unavailable is None)
    same_answers(policy, DigestPolicy(salt=7), seed=3)
    policy.close()
