"""The graph without a ROS 2 installation: the part of rclpy that the nodes use, in one process.

`install()` puts it in the place of `rclpy` and of the message packages, unless a real rclpy can be imported.
A message then goes this way: `topics.Publisher` encodes it once (`wire`, `messages`), the `bus` finds the
matching subscriptions, whose queues wake the `executors`, which run the callbacks of a `node`.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys

_INSTALLED: list[str] = []


def installed() -> bool:
    """Whether `import rclpy` gives the embedded graph."""
    return bool(_INSTALLED)


def ros_is_here() -> bool:
    """Whether a real rclpy can be imported."""
    return not _INSTALLED and ("rclpy" in sys.modules or importlib.util.find_spec("rclpy") is not None)


def install(force: bool = False) -> bool:
    """Make `import rclpy` and `from sensor_msgs.msg import Image` work on a machine without ROS 2.

    Args:
        force: take the place of a real rclpy too.

    Returns:
        Whether the embedded graph is in place; False where a real rclpy is.
    """
    if _INSTALLED:
        return True
    if not force and ros_is_here():
        return False
    from spatialbot_ros.embedded.messages import message_modules
    from spatialbot_ros.embedded.modules import rclpy_modules

    modules = {**message_modules(), **rclpy_modules()}
    for name, module in modules.items():  # libraries look for each other with find_spec
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    sys.modules.update(modules)
    _INSTALLED.extend(modules)
    return True
