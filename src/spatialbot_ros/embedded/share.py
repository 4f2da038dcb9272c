"""What `$(find-pkg-share PACKAGE)` means without an ament index."""

from __future__ import annotations

from spatialbot_policy import resources
from spatialbot_policy.errors import ConfigError


def share_directory(package: str) -> str:
    """Directory of the launch and parameter files of this project's own package.

    Raises:
        ConfigError: another package, or it is not installed.
    """
    if package != resources.NAME:
        raise ConfigError(
            f"package '{package}' is not known without ROS 2, only '{resources.NAME}'; install ROS 2 and use "
            "ros2 launch"
        )
    return str(resources.share_directory())
