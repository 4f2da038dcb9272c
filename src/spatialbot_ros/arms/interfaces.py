"""Interfaces of packages that not every installation has, imported when a parameter asks for them."""

from __future__ import annotations

import importlib
from typing import Any

from spatialbot_policy.errors import ConfigError


def interface(module: str, name: str, parameter: str, mend: str) -> Any:
    """Import a message, service or action class.

    Args:
        module: e.g. "franka_msgs.action".
        name: of the class.
        parameter: name of the parameter whose value made it necessary.
        mend: what to set the parameter to where the class is not to be had.

    Raises:
        ConfigError: the package is not installed, or its release has no such class.
    """
    package = module.split(".", 1)[0]
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"parameter '{parameter}' needs {module}.{name}, which cannot be imported ({error}); install "
            f"ros-$ROS_DISTRO-{package.replace('_', '-')} and source its workspace, or set it to {mend}"
        ) from error
