"""A message is copied once, into its CDR bytes; what subscribers get are views of these."""

from __future__ import annotations

import array

import numpy as np
import pytest

from spatialbot_ros.embedded import topics
from spatialbot_ros.embedded.contexts import Context
from spatialbot_ros.embedded.executors import SingleThreadedExecutor
from spatialbot_ros.embedded.messages import get_interface
from spatialbot_ros.embedded.node import Node

Image = get_interface("sensor_msgs/msg/Image")


def test_two_subscribers_see_the_same_bytes_of_an_image(monkeypatch):
    context = Context()
    context.init(args=[])
    node = Node("node", context=context)
    encoded: list[object] = []
    encode = topics.encode

    def counting(message):
        encoded.append(encode(message))
        return encoded[-1]

    monkeypatch.setattr(topics, "encode", counting)
    got: list[np.ndarray] = []
    for _ in range(2):
        node.create_subscription(Image, "image", lambda m: got.append(np.frombuffer(m.data, np.uint8)), 5)
    publisher = node.create_publisher(Image, "image", 5)
    sent = Image(height=480, width=640, encoding="rgb8", step=1920, data=array.array("B", bytes(480 * 1920)))
    encoded.clear()
    publisher.publish(sent)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    while executor.step():
        pass
    cdr = np.frombuffer(encoded[0], np.uint8)
    assert len(encoded) == 1 and len(got) == 2
    assert all(np.shares_memory(pixels, cdr) for pixels in got)
    sent.data[0] = 255
    assert got[0][0] == 0
    with pytest.raises(ValueError, match="read-only"):
        got[0][0] = 1
    node.destroy_node()
    context.shutdown()
