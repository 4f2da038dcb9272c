"""Where the launch and parameter files of a package lie without an ament index."""

from __future__ import annotations

import sys
from pathlib import Path

from spatialbot_policy.errors import ConfigError

PACKAGE = "spatialbot"


def share_directory(package: str) -> str:
    """Directory that `$(find-pkg-share package)` names: of this project's own package alone.

    From a source tree it is the repository's root, otherwise `share/spatialbot` of the Python installation.

    Raises:
        ConfigError: another package, or no such directory.
    """
    if package != PACKAGE:
        raise ConfigError(
            f"package '{package}' is not known without ROS 2, only '{PACKAGE}'; install ROS 2 and use "
            "ros2 launch"
        )
    source = Path(__file__).resolve().parents[3]
    for candidate in (source, Path(sys.prefix) / "share" / PACKAGE):
        if (candidate / "launch").is_dir() and (candidate / "package.xml").is_file():
            return str(candidate)
    raise ConfigError(
        f"{PACKAGE}'s launch files are not installed; run: pip install --force-reinstall spatialbot"
    )
