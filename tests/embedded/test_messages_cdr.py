"""CDR of the embedded graph: equal to that of rosbags for every type, and without a second copy of images."""

from __future__ import annotations

from array import array

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.embedded.message_samples import stored_names, twins

from spatialbot_policy.errors import SpatialBotError
from spatialbot_ros.embedded.interfaces import interfaces
from spatialbot_ros.embedded.messages import deserialize, get_interface, serialize

Image = get_interface("sensor_msgs/msg/Image")
JointState = get_interface("sensor_msgs/msg/JointState")
SIZE = 640 * 480 * 3


def image(data: object) -> object:
    message = Image(height=480, width=640, encoding="rgb8", step=1920)
    message.data = data
    return message


@given(st.data())
@settings(max_examples=300)
def test_random_messages_of_every_type_have_the_cdr_of_rosbags(data):
    stored = data.draw(st.sampled_from(stored_names()))
    ours, theirs = data.draw(twins(stored))
    cdr = serialize(ours)
    assert bytes(cdr) == bytes(interfaces().store.serialize_cdr(theirs, stored, little_endian=True))
    read = deserialize(bytes(cdr), type(ours))
    assert read == ours
    assert bytes(serialize(read)) == bytes(cdr)


@pytest.mark.parametrize("stored", stored_names())
def test_a_new_message_of_every_type_survives_cdr(stored):
    cls = interfaces().get(stored)
    assert deserialize(serialize(cls()), cls) == cls()


@given(twins("sensor_msgs/msg/JointState"))
def test_big_endian_messages_are_read(pair):
    ours, theirs = pair
    big = interfaces().store.serialize_cdr(theirs, theirs.__msgtype__, little_endian=False)
    assert deserialize(big, JointState) == ours


def test_a_received_image_is_a_read_only_view_into_the_cdr():
    cdr = bytearray(serialize(image(array("B", bytes(SIZE)))))
    received = deserialize(cdr, Image)
    assert isinstance(received.data, memoryview) and received.data.readonly
    assert np.frombuffer(received.data, np.uint8).size == SIZE
    cdr[-1] = 7  # the same memory, so that no second copy was made
    assert received.data[-1] == 7


def test_a_received_image_can_be_compared_and_published_again():
    sent = image(array("B", np.arange(SIZE, dtype=np.uint32).astype(np.uint8).tobytes()))
    received = deserialize(serialize(sent), Image)
    assert received == sent
    assert bytes(serialize(received)) == bytes(serialize(sent))


def test_small_sequences_and_fixed_arrays_are_copies_of_their_own():
    cdr = bytearray(serialize(JointState(position=[1.0])))
    received = deserialize(cdr, JointState)
    cdr[-8:] = bytes(8)
    assert received.position == array("d", [1.0])
    info = get_interface("sensor_msgs/msg/CameraInfo")()
    received_info = deserialize(serialize(info), type(info))
    received_info.k[0] = 1.0  # writable, as in rclpy
    assert received_info.k.dtype == np.float64


@pytest.mark.parametrize("size", [0, 3, 4, 11, 40])
def test_truncated_bytes_are_refused(size):
    cdr = bytes(serialize(JointState(name=["joint"], position=[1.0])))
    with pytest.raises(
        SpatialBotError, match="are no sensor_msgs/msg/JointState .* same type and definition"
    ):
        deserialize(cdr[:size], JointState)


def test_bytes_of_another_type_are_refused():
    cdr = serialize(get_interface("std_msgs/msg/String")(data="put the red cup on the board" * 5))
    with pytest.raises(SpatialBotError, match="no geometry_msgs/msg/Point"):
        deserialize(cdr, get_interface("geometry_msgs/msg/Point"))
