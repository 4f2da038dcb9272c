"""Where the files that come with the project lie: in the source tree, or where an installation put them."""

from __future__ import annotations

import sys
from pathlib import Path

from spatialbot_policy.errors import ConfigError

NAME = "spatialbot"


def share_directory() -> Path:
    """Directory with `config/`, `launch/` and `checkpoints/`.

    It is the repository's root, or `share/spatialbot` of the Python installation or of the ROS 2 workspace.

    Raises:
        ConfigError: neither is there.
    """
    here = Path(__file__).resolve()
    # <prefix>/lib/python3.x/site-packages/spatialbot_policy/resources.py in a workspace's prefix
    candidates = [here.parents[2], Path(sys.prefix) / "share" / NAME]
    candidates += [parent / "share" / NAME for parent in here.parents if parent.name != "share"]
    for candidate in candidates:
        if (candidate / "launch").is_dir() and (candidate / "config").is_dir():
            return candidate
    raise ConfigError(f"the files that come with {NAME} are not installed; install it again with pip")
