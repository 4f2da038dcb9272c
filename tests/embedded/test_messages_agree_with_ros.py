"""Where ROS 2 is installed: every type of the embedded graph has its fields, constants and bytes."""

from __future__ import annotations

import importlib

import pytest

from spatialbot_ros.embedded.interfaces import interfaces
from spatialbot_ros.embedded.messages import get_interface, serialize

serialization = pytest.importorskip("rclpy.serialization", reason="needs a ROS 2 installation")
if not hasattr(importlib.import_module("std_msgs.msg").Header, "SLOT_TYPES"):
    pytest.skip("rclpy is the embedded graph here", allow_module_level=True)


def pairs() -> list[tuple[str, object, object]]:
    found = []
    for name in interfaces().names():
        package, kind, short = name.split("/")
        try:
            real = getattr(importlib.import_module(f"{package}.{kind}"), short)
        except (ImportError, AttributeError):
            continue  # a package that is not installed, or a type of another release
        parts = {"msg": [""], "srv": ["Request", "Response"], "action": ["Goal", "Result", "Feedback"]}[kind]
        for part in parts:
            ours = get_interface(name)
            found.append(
                (f"{name}.{part}" if part else name, *(getattr(c, part) if part else c for c in (ours, real)))
            )
    return found


@pytest.mark.parametrize(("name", "ours", "real"), [pytest.param(*pair, id=pair[0]) for pair in pairs()])
def test_fields_defaults_and_bytes(name, ours, real):
    assert ours.get_fields_and_field_types() == real.get_fields_and_field_types()
    constants = [key for key in dir(real) if key.isupper() and key != "SLOT_TYPES"]
    assert {key: getattr(ours, key) for key in constants} == {key: getattr(real, key) for key in constants}
    theirs = serialization.serialize_message(real())
    padding = len(theirs) - len(serialize(ours()))  # a middleware may fill up to four bytes
    assert 0 <= padding < 4 and theirs.startswith(bytes(serialize(ours())))
