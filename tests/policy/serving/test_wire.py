"""The form on the wire: openpi's bytes exactly, read back whole, and WireError for anything else."""

from __future__ import annotations

import struct
import tracemalloc

import msgpack
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from spatialbot_policy.errors import WireError
from spatialbot_policy.serving import wire
from spatialbot_policy.serving.wire import WireLimits

# {"a": uint8 array [[1, 2]]} as in the protocol's description, whose shape is that of the row.
VECTOR = "81a16184c40b5f5f6e6461727261795f5fc3c40464617461c4020102c4056474797065a37c7531c40573686170659102"


def by_hand(value: object) -> bytes:
    """Msgpack of openpi's form, written from the specification: an independent second opinion."""
    if value is True or value is False:
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return bytes([value]) if 0 <= value < 128 else b"\xce" + struct.pack(">I", value)
    if isinstance(value, str):
        raw = value.encode()
        return (bytes([0xA0 + len(raw)]) if len(raw) < 32 else b"\xd9" + bytes([len(raw)])) + raw
    if isinstance(value, bytes):
        if len(value) < 256:
            return b"\xc4" + bytes([len(value)]) + value
        if len(value) < 65536:
            return b"\xc5" + struct.pack(">H", len(value)) + value
        return b"\xc6" + struct.pack(">I", len(value)) + value
    if isinstance(value, (list, tuple)):
        return bytes([0x90 + len(value)]) + b"".join(map(by_hand, value))
    if isinstance(value, np.ndarray):
        fields = {
            b"__ndarray__": True,
            b"data": value.tobytes("C"),
            b"dtype": value.dtype.str,
            b"shape": value.shape,
        }
        return by_hand(fields)
    assert isinstance(value, dict)
    return bytes([0x80 + len(value)]) + b"".join(by_hand(k) + by_hand(v) for k, v in value.items())


DTYPES = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
    hnp.byte_string_dtypes(min_len=1),
    hnp.unicode_string_dtypes(min_len=1),
    hnp.datetime64_dtypes(),
)
ARRAYS = hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False),
    st.text(max_size=20), st.binary(max_size=20),
)  # fmt: skip
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


def test_the_reference_vector():
    row = np.array([1, 2], np.uint8)
    assert wire.pack({"a": row}).hex() == VECTOR
    np.testing.assert_array_equal(wire.unpack(bytes.fromhex(VECTOR))["a"], row)


def test_bytes_are_those_of_an_independent_packer():
    rng = np.random.default_rng(0)
    message = {
        "prompt": "pick up the red cup and put it on the left board",
        "observation/stamp_ns": 70_000,
        "observation/front/color": rng.integers(0, 255, (48, 64, 3), dtype=np.uint8),
        "observation/front/depth_mm": rng.integers(0, 9000, (48, 64), dtype=np.uint16),
        "reset": True,
    }
    assert wire.pack(message) == by_hand(message)
    found = wire.unpack(by_hand(message))
    assert found.keys() == message.keys()
    for key, value in message.items():
        np.testing.assert_array_equal(found[key], value)


@given(ARRAYS)
def test_arrays_come_back_whole(array):
    found = wire.unpack(wire.pack({"a": array}))["a"]
    assert found.dtype == array.dtype and found.shape == array.shape and not found.flags.writeable
    assert found.tobytes() == array.tobytes()


@given(VALUES)
def test_plain_values_come_back_equal(value):
    assert wire.unpack(wire.pack(value)) == value


@pytest.mark.parametrize(
    "scalar", [np.uint8(200), np.int64(-5), np.float32(0.5), np.bool_(True), np.float16(2)]
)
def test_scalars_keep_their_type(scalar):
    found = wire.unpack(wire.pack({"s": scalar}))["s"]
    assert found == scalar and type(found) is type(scalar)


def test_an_array_that_is_not_in_c_order_is_written_so():
    array = np.arange(12, dtype=np.int32).reshape(3, 4)
    for view in (array.T, array[:, ::2], np.asfortranarray(array)):
        np.testing.assert_array_equal(wire.unpack(wire.pack(view)), view)


@pytest.mark.parametrize(
    "value",
    [
        np.array([object()]),
        np.array([1j]),
        np.zeros(2, "i4,f4"),
        np.zeros(2, "V8"),
        np.complex64(1),
        np.datetime64(1, "s"),
        object(),
        2**70,
        {1, 2},
        "\ud800",
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_message_is_not_written(value):
    with pytest.raises(WireError):
        wire.pack({"v": value})


def array_map(**changes: object) -> dict[bytes, object]:
    fields = {"__ndarray__": True, "data": b"\x00" * 4, "dtype": "<i4", "shape": [1], **changes}
    return {key.encode(): value for key, value in fields.items()}


BAD_ARRAYS = [
    ({"dtype": "|O"}, "not read"),
    ({"dtype": "O8"}, "not read"),
    ({"dtype": "<c8"}, "not read"),
    ({"dtype": "|V4"}, "not read"),
    ({"dtype": "i4,f4"}, "not read"),
    ({"dtype": "(2,2)i1"}, "not read"),
    ({"dtype": "[('a', 'i4')]"}, "not read"),
    ({"dtype": b"<i4"}, "not read"),
    ({"dtype": ["<i4"]}, "not read"),
    ({"dtype": "<i3"}, "no type of array"),
    ({"dtype": "<f16", "shape": [0], "data": b""}, "not sent or read"),
    ({"dtype": "|S0", "shape": [10**18], "data": b""}, "not sent or read"),
    ({"shape": [2]}, "8 bytes, this one 4"),
    ({"shape": [-1]}, "whole numbers from 0"),
    ({"shape": [True]}, "whole numbers from 0"),
    ({"shape": [1.0]}, "whole numbers from 0"),
    ({"shape": "1"}, "whole numbers from 0"),
    ({"shape": [2**40, 2**40]}, "bytes, this one 4"),
    ({"shape": [0, 2**63], "data": b""}, "not possible"),
    ({"shape": [1] * 33}, "33 dimensions"),
    ({"data": "text"}, "must be bytes"),
    ({"data": None}, "must be bytes"),
]


@pytest.mark.parametrize(("changes", "message"), BAD_ARRAYS, ids=[str(c)[:40] for c, _ in BAD_ARRAYS])
def test_an_array_that_is_not_what_it_says_is_refused(changes, message):
    with pytest.raises(WireError, match=message):
        wire.unpack(msgpack.packb({"a": array_map(**changes)}))


@pytest.mark.parametrize(
    ("dtype", "value", "message"),
    [
        ("|u1", 300, "does not fit"),
        ("<i4", 1.5, "cannot be a float"),
        ("<i4", True, "cannot be a bool"),
        ("|b1", 1, "cannot be a int"),
        ("|O", 1, "not read"),
        ("<M8[s]", 1, "cannot be a int"),
        ("<f4", [1.0], "cannot be a list"),
    ],
)
def test_a_scalar_that_is_not_what_it_says_is_refused(dtype, value, message):
    fields = {b"__npgeneric__": True, b"data": value, b"dtype": dtype}
    with pytest.raises(WireError, match=message):
        wire.unpack(msgpack.packb({"a": fields}))


def test_every_cut_of_a_message_is_refused():
    whole = wire.pack({"a": np.arange(4), "b": ["x", 1.5, -300], "c": {"d": b"yz"}})
    for length in range(len(whole)):
        with pytest.raises(WireError, match="cut off"):
            wire.unpack(whole[:length])
    with pytest.raises(WireError, match="1 bytes follow"):
        wire.unpack(whole + b"\x00")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "cut off"),
        (b"\xc1", "0xc1"),
        (b"\xd4\x01\x00", "0xd4"),  # an extension type
        (b"\xc7\x04\xff1234", "0xc7"),  # a timestamp
        (b"\x82\xa1a\x01\xa1a\x02", "given twice"),
        (b"\x81\x01\x02", "no msgpack"),  # a number as key
        (b"\xa2\xff\xfe", "no msgpack"),  # no UTF-8
        (b"\x91" * 9 + b"\x00", "8 deep"),
        (b"\x91" * 100_000 + b"\x00", "8 deep"),
        (b"\xdc\x27\x11" + b"\x00" * 10_001, "10000 values"),
        (b"\xdd\xff\xff\xff\xff", "cut off"),
        (b"\xdf\xff\xff\xff\xff", "cut off"),
        (b"\xc6\xff\xff\xff\xffabc", "cut off"),
        (b"\xda\xff\xff" + b"x" * 65_535, None),
        (b"\xdb\x00\x01\x00\x01" + b"x" * 65_537, "65537 bytes"),
    ],
)
def test_beyond_the_limits(data, message):
    if message is None:
        wire.unpack(data)
        return
    with pytest.raises(WireError, match=message):
        wire.unpack(data)


def test_a_message_beyond_the_size_is_not_even_looked_at():
    with pytest.raises(WireError, match="11 bytes, allowed are 10"):
        wire.unpack(b"\xc1" * 11, WireLimits(message_bytes=10))


@given(st.binary(max_size=400))
@example(b"\x81\xa1a\x84\xc4\x0b__ndarray__\xc3")
def test_garbage_is_a_message_or_a_wire_error(data):
    try:
        wire.unpack(data)
    except WireError:
        pass


@given(VALUES | ARRAYS, st.data())
def test_a_damaged_message_is_a_message_or_a_wire_error(value, data):
    whole = bytearray(wire.pack({"a": value, "b": array_map()}))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        wire.unpack(bytes(whole))
    except WireError:
        pass


def claims() -> list[bytes]:
    """Short messages that claim to hold much, or hold many small things."""
    return [
        b"\xdd\x7f\xff\xff\xff" * 8,
        b"\xdf\x7f\xff\xff\xff" * 8,
        b"\xdd\x00\xff\xff\xff" + b"\x90" * 200_000,
        b"\x91" * 200_000,
        msgpack.packb({"a": array_map(shape=[2**31, 2**31])}),
        msgpack.packb({"a": array_map(dtype="<U99999", shape=[2**31])}),
        b"\xc6\x7f\xff\xff\xff" + b"\x00" * 100,
    ]


@pytest.mark.parametrize("data", claims())
def test_memory_is_taken_for_what_there_is_not_for_what_is_claimed(data):
    tracemalloc.start()
    try:
        with pytest.raises(WireError):
            wire.unpack(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100_000
