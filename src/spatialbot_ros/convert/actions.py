"""Actions as JointState messages: `dx..dyaw, gripper`, and `terminate` where the flag is set."""

from __future__ import annotations

import numpy as np
from sensor_msgs.msg import JointState

from spatialbot_policy.action_space import ACTION_NAMES
from spatialbot_policy.episodes.topics import BASE_FRAME, TERMINATE_NAME
from spatialbot_policy.errors import ActionError, FrameError
from spatialbot_policy.types import ActionStep, FloatArray
from spatialbot_ros.convert.named_vectors import from_named, to_named

_MEND = f"an action has {', '.join(ACTION_NAMES)} and perhaps {TERMINATE_NAME}"


def from_action(stamp_ns: int, action: ActionStep, frame_id: str = BASE_FRAME) -> JointState:
    """Message of an action; `stamp_ns` is the stamp of the observation that it answers."""
    values = dict(zip(ACTION_NAMES, action.as_vector().tolist(), strict=True))
    if action.terminate:
        values[TERMINATE_NAME] = 1.0
    return from_named(stamp_ns, values, frame_id)


def to_action(message: JointState) -> tuple[FloatArray, bool]:
    """(7,) vector and terminate flag as they came; the numbers are not checked, that is the guard's part.

    Raises:
        ActionError: names are missing, unknown or double, or there are not as many numbers.
    """
    try:
        named = to_named(message)
    except FrameError as error:
        raise ActionError(f"{error}; {_MEND}") from error
    missing = [name for name in ACTION_NAMES if name not in named]
    unknown = [name for name in named if name not in (*ACTION_NAMES, TERMINATE_NAME)]
    if missing or unknown:
        raise ActionError(
            f"an action with the names {', '.join(named) or '(none)'}: "
            f"missing {', '.join(missing) or 'none'}, unknown {', '.join(unknown) or 'none'}; {_MEND}"
        )
    vector = np.array([named[name] for name in ACTION_NAMES])
    return vector, named.get(TERMINATE_NAME, 0.0) > 0.5


def to_action_step(message: JointState) -> ActionStep:
    """Action of a message from a source that is trusted, such as a recording.

    Raises:
        ActionError: malformed, or a number is not finite.
    """
    vector, terminate = to_action(message)
    return ActionStep(vector[:3], vector[3:6], float(vector[6]), terminate)
