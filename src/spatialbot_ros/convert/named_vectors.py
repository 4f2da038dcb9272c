"""JointState messages as names with numbers: joints, actions and latencies all travel in this form."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence

import numpy as np
from sensor_msgs.msg import JointState

from spatialbot_policy.errors import FrameError
from spatialbot_policy.types import FloatArray
from spatialbot_ros.convert.stamps import to_header


def from_named(stamp_ns: int, values: Mapping[str, float], frame_id: str = "") -> JointState:
    """JointState with these positions; numbers pass bit by bit."""
    message = JointState(header=to_header(stamp_ns, frame_id), name=list(values))
    message.position = array("d", [float(value) for value in values.values()])
    return message


def to_named(message: JointState) -> dict[str, float]:
    """Names and positions of a JointState, numbers as they are: they may be NaN.

    Raises:
        FrameError: there are not as many names as positions, or a name comes twice.
    """
    names = list(message.name)
    if len(names) != len(message.position):
        raise FrameError(
            f"{len(names)} names and {len(message.position)} positions; the publisher must send one position "
            "for each name"
        )
    named = dict(zip(names, (float(value) for value in message.position), strict=True))
    if len(named) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise FrameError(f"the names {', '.join(twice)} come twice; the publisher must send each once")
    return named


def pick(message: JointState, wanted: Sequence[str]) -> FloatArray:
    """(len(wanted),) positions of these names, in this order; others in the message do not matter.

    Raises:
        FrameError: a name is missing, or the message is malformed.
    """
    named = to_named(message)
    missing = [name for name in wanted if name not in named]
    if missing:
        raise FrameError(
            f"the names {', '.join(missing)} are missing, got {', '.join(named) or 'none'}; "
            "set the parameter of the joint names to those of the robot"
        )
    return np.array([named[name] for name in wanted], dtype=np.float64)
