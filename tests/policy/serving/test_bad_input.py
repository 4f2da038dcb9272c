"""What a client must not send: each is refused by name, and the others are served on."""

from __future__ import annotations

import msgpack
import numpy as np
import pytest
from tests.policy.serving.stand_ins import ask, observation_map, read, serving
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from spatialbot_policy.serving import wire
from spatialbot_policy.serving.image_codec import encode_image

COLOR, DEPTH = "observation/front/color", "observation/front/depth_mm"
ENCODED = {"codec": "png", "data": b"x", "shape": [6, 8, 3], "dtype": "|u1"}
REFUSED = [
    ({"prompt": None}, "RequestError: key 'prompt' is missing; send the task in words"),
    ({"prompt": b"pick"}, "RequestError: 'prompt' must be text, got a bytes"),
    ({"prompt": np.zeros(3)}, "RequestError: 'prompt' must be text, got an array (3,) float64"),
    ({COLOR: None}, f"RequestError: key '{COLOR}' is missing; send camera 'front'"),
    ({DEPTH: None}, f"RequestError: key '{DEPTH}' is missing; this policy needs the depth of camera 'front'"),
    ({"observation/front/colour": 1}, "RequestError: unknown key 'observation/front/colour'"),
    ({"observation/state": np.zeros(8)}, "RequestError: unknown key 'observation/state'"),
    ({"bad\nline": 1}, "RequestError: unknown key 'bad\\nline'"),
    ({"reset": 1}, "RequestError: 'reset' must be true or false, got 1"),
    ({"observation/stamp_ns": 1.5}, "RequestError: 'observation/stamp_ns' must be whole nanoseconds from 0"),
    ({"observation/stamp_ns": -1}, "RequestError: 'observation/stamp_ns' must be whole"),
    ({"observation/stamp_ns": True}, "RequestError: 'observation/stamp_ns' must be whole"),
    ({"observation/front/stamp_ns": "now"}, "RequestError: 'observation/front/stamp_ns' must be whole"),
    ({COLOR: np.zeros((6, 8), np.uint8)}, "FrameError: camera 'front': colour must be (H, W, 3) uint8"),
    ({COLOR: np.zeros((3, 6, 8), np.uint8)}, "FrameError: camera 'front': colour must be"),
    ({COLOR: np.zeros((6, 8, 3), np.float32)}, "FrameError: camera 'front': colour must be"),
    ({COLOR: np.zeros((5, 8, 3), np.uint8)}, "FrameError: camera 'front': depth (6, 8) and colour (5, 8)"),
    ({DEPTH: np.zeros((6, 8))}, "FrameError: camera 'front': depth must be (H, W) uint16"),
    ({DEPTH: np.zeros((6, 8), ">u2")}, "FrameError: camera 'front': depth must be (H, W) uint16"),
    ({COLOR: [[1, 2], [3, 4]]}, f"WireError: '{COLOR}' must be an array"),
    ({COLOR: ENCODED}, f"WireError: '{COLOR}' is no png"),
    ({COLOR: ENCODED | {"codec": "gif"}}, f"WireError: '{COLOR}' has the codec"),
    ({COLOR: ENCODED | {"codec": "zstd"}}, f"WireError: '{COLOR}' is no zstd"),
    ({COLOR: ENCODED | {"shape": [60_000, 60_000, 3]}}, f"WireError: '{COLOR}' of [60000, 60000, 3]"),
]  # fmt: skip


def test_bad_observations_are_refused_one_by_one_on_a_connection_that_stays():
    with serving() as running, connect(running.url) as websocket:
        read(websocket)
        for changes, expected in REFUSED:
            answer = ask(websocket, observation_map(**changes))
            assert isinstance(answer, str) and answer.startswith(expected), (changes, answer)
        assert ask(websocket, [1, 2]).startswith("RequestError: an observation must be a map, got a list")
        assert ask(websocket, np.zeros(3)).startswith(
            "RequestError: an observation must be a map, got an array"
        )
        good = ask(websocket, observation_map())
        assert good["actions"][0, 0] == 0.001 and good["stamp_ns"] == 0
    assert running.count("spatialbot_requests_total", outcome="refused") == len(REFUSED) + 2


def test_an_encoded_image_is_as_good_as_a_plain_one():
    plain = observation_map(9)
    encoded = {key: encode_image(plain[key], "zstd") if "front" in key else plain[key] for key in plain}
    with serving() as running, connect(running.url) as websocket:
        read(websocket)
        assert ask(websocket, encoded)["stamp_ns"] == 0


OBJECTS = {b"__ndarray__": True, b"data": b"\x80\x04.", b"dtype": "|O", b"shape": [1]}
BROKEN = [
    (b"", 1007, "WireError: the message is cut off"),
    (b"\xc1\x00", 1007, "WireError: byte 0xc1"),
    (wire.pack(observation_map())[:-1], 1007, "WireError: the message is cut off"),
    (wire.pack(observation_map()) + b"\x00", 1007, "WireError: 1 bytes follow"),
    (b"\xdd\xff\xff\xff\xff", 1007, "WireError: the message is cut off"),
    (
        msgpack.packb({"prompt": "x", "observation/front/color": OBJECTS}),
        1007,
        "WireError: arrays of type '|O'",
    ),
    (b"\x91" * 1000, 1007, "WireError: maps and lists lie more than 8 deep"),
    ("a text", 1003, "WireError: an observation must be a binary frame"),
]


@pytest.mark.parametrize(("frame", "code", "expected"), BROKEN, ids=[e[:45] for _, _, e in BROKEN])
def test_what_is_no_message_is_named_and_ends_this_connection_alone(frame, code, expected):
    with serving() as running, connect(running.url) as other, connect(running.url) as websocket:
        read(websocket), read(other)
        websocket.send(frame)
        assert read(websocket).startswith(expected)
        with pytest.raises(ConnectionClosedError) as closed:
            websocket.recv(timeout=30)
        assert closed.value.rcvd.code == code
        assert ask(other, observation_map())["stamp_ns"] == 0
        assert running.count("spatialbot_refused_connections_total", reason="garbage") == 1


def test_a_message_beyond_the_size_ends_the_connection_before_it_is_read():
    with serving(limits={"message_bytes": 10_000}) as running, connect(running.url) as other:
        read(other)
        for count in (1, 5):  # in one frame, and in several
            with connect(running.url) as websocket:
                read(websocket)
                with pytest.raises(ConnectionClosedError) as closed:
                    websocket.send([b"\x00" * (12_000 // count)] * count if count > 1 else b"\x00" * 12_000)
                    websocket.recv(timeout=30)
                assert closed.value.rcvd.code == 1009
        assert ask(other, observation_map())["stamp_ns"] == 0
