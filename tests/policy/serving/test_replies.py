"""Whatever a server says: an action within bounds for the observation that was asked, or a named error."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.policy.serving.digest_policy import CONFIG

from spatialbot_policy.action_space import ActionSpace
from spatialbot_policy.config import PolicyConfig
from spatialbot_policy.errors import (
    ActionError,
    FrameError,
    HistoryError,
    PromptError,
    ServerChanged,
    ServerLost,
    ServerRefused,
    ServerSlow,
    SpatialBotError,
)
from spatialbot_policy.serving.greeting import Greeting, GreetingReader
from spatialbot_policy.serving.image_codec import ImageMode
from spatialbot_policy.serving.key_maps import NATIVE
from spatialbot_policy.serving.metadata import server_metadata
from spatialbot_policy.serving.replies import check_bounds, read_reply
from spatialbot_policy.serving.wire import WireLimits, pack
from spatialbot_policy.types import ActionStep

KEYS = NATIVE.of_policy(CONFIG)
GREETING = Greeting(CONFIG, "abc", KEYS, ImageMode.FIT, stamped=True)
STAMP = 1_700_000_000_000_000_001  # beyond what a float holds
BOUNDS = CONFIG.action_space


def reply(**changes: object) -> dict[str, object]:
    message: dict[str, object] = {
        "actions": np.array([[0.01, -0.02, 0.03, 0.1, -0.1, 0.0, 1.0]] * 2),
        "terminate": np.array([False, True]),
        "stamp_ns": STAMP,
        "policy_timing": {"infer_ms": np.float64(3.0)},
        "server_timing": {"infer_ms": 4, "queue_ms": 0.5, "odd": "text", "bad": float("nan")},
    }
    return {key: value for key, value in (message | changes).items() if value is not None}


def read(message: object) -> object:
    return read_reply(pack(message), GREETING, STAMP, "ws://there", WireLimits())


def test_a_sound_answer():
    found = read(reply())
    assert found.chunk.observation_stamp_ns == STAMP and [s.terminate for s in found.chunk.steps] == [
        False,
        True,
    ]
    assert found.policy == {"infer_ms": 3.0} and found.server == {"infer_ms": 4.0, "queue_ms": 0.5}


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | st.sampled_from([np.zeros((2, 7)), np.ones(3, np.uint8), np.full((2, 7), np.inf), np.zeros((2, 7, 1))]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(
    key=st.sampled_from(["actions", "terminate", "stamp_ns", "policy_timing", "server_timing"]), value=VALUES
)
def test_any_other_value_is_an_error_by_name_or_changes_nothing(key, value):
    try:
        found = read(reply(**{key: value}))
    except SpatialBotError:
        return
    assert found.chunk.observation_stamp_ns == STAMP
    for step in found.chunk.steps:
        check_bounds(step, CONFIG)


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=300), cut=st.integers(0, 400), flip=st.integers(0, 10**6))
def test_damaged_bytes_give_an_action_within_the_bounds_or_an_error(data, cut, flip):
    sound = bytearray(pack(reply()))
    sound[flip % len(sound)] ^= 1 << flip % 8
    for damaged in (data, bytes(sound), bytes(sound[:cut])):
        try:
            found = read_reply(damaged, GREETING, STAMP, "ws://there", WireLimits())
        except SpatialBotError:
            continue
        assert found.chunk.observation_stamp_ns == STAMP
        for step in found.chunk.steps:
            check_bounds(step, CONFIG)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("FrameError: the depth is all invalid", FrameError, "^the depth is all invalid$"),
        ("HistoryError: stamp 1", HistoryError, "^stamp 1$"),
        ("PromptError: empty", PromptError, "^empty$"),
        ("ActionError: not finite", ActionError, "^not finite$"),
        ("InferenceTimeoutError: 10 s", ServerSlow, "ws://there: 10 s"),
        ("BusyError: later", ServerRefused, "refuses: BusyError: later"),
        (
            "Traceback (most recent call last):\n  File x\nKeyError: 'a'\n",
            ServerRefused,
            "refuses: KeyError: 'a'",
        ),
        ("", ServerRefused, "refuses"),
        ("\x1b[31m\x00" + "x" * 10_000, ServerRefused, r"refuses: \?\[31m\?x+\.\.\.$"),
    ],
)
def test_words_of_a_server(text, error, words):
    with pytest.raises(error, match=words) as raised:
        read_reply(text, GREETING, STAMP, "ws://there", WireLimits())
    assert len(str(raised.value)) < 400


def test_bounds_are_those_of_the_policy_with_room_for_rounding():
    wide = PolicyConfig(
        CONFIG.cameras, action_space=ActionSpace(translation_bound_m=0.2, rotation_bound_rad=0.5)
    )
    step = ActionStep(np.full(3, 0.2), np.full(3, -0.5), 1.0)
    check_bounds(step, wide)
    rounded = ActionStep(np.full(3, np.float32(0.05)), np.full(3, np.float32(0.1)), 1.0)
    check_bounds(rounded, CONFIG)
    with pytest.raises(ActionError, match="beyond 0.05 m or 0.1 rad"):
        check_bounds(step, CONFIG)


# --- the server's first message


def greeting(**changes: object) -> Greeting:
    metadata = server_metadata(CONFIG, "abc", KEYS, "one run", 1000)
    found = {key: value for key, value in (metadata | changes).items() if value is not None}
    return GreetingReader("ws://there", ImageMode.AUTO, expected=CONFIG)(pack(found))


def test_a_sound_greeting():
    assert greeting() == Greeting(CONFIG, "abc", KEYS, ImageMode.AUTO, True, 1000)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"protocol": 2}, ServerRefused, "speaks protocol 2, this client 1"),
        ({"protocol": None}, ServerRefused, "speaks protocol None"),
        ({"policy": {"cameras": []}}, ServerRefused, "in another form"),
        ({"policy": 5}, ServerRefused, "in another form"),
        ({"checkpoint": 5}, ServerLost, "names no 'checkpoint'"),
        ({"checkpoint": ""}, ServerLost, "names no 'checkpoint'"),
        ({"max_message_bytes": "big"}, ServerLost, "names no 'checkpoint'"),
        ({"keys": 5}, ServerRefused, "does not know the key 'prompt'"),
        ({"keys": {"known": 5}}, ServerRefused, "does not know the key 'prompt'"),
        ({"codecs": ["png"]}, ServerRefused, "does not read zstd"),
    ],
)
def test_a_greeting_that_does_not_fit(changes, error, words):
    with pytest.raises(error, match=words):
        greeting(**changes)


def test_a_greeting_of_another_policy():
    reader = GreetingReader("ws://there", ImageMode.AUTO, expected=PolicyConfig(CONFIG.cameras))
    with pytest.raises(ServerChanged, match="depth_variant: paper != none"):
        reader(pack(server_metadata(CONFIG, "abc", KEYS, "one run", 1000)))


@settings(max_examples=200, deadline=None)
@given(message=st.text(max_size=20) | st.binary(max_size=50) | VALUES.map(pack))
def test_any_first_message_is_a_greeting_or_an_error_by_name(message):
    try:
        GreetingReader("ws://there", ImageMode.AUTO, expected=CONFIG)(message)
    except SpatialBotError:
        return
