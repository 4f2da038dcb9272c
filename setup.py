"""The package list and what else colcon needs; dependencies and the rest are in pyproject.toml.

Every package is mapped to its folder by name, because two of them live under another name and because
`colcon build --symlink-install` links exactly these folders. The command and the Python versions are here
since colcon runs this file where it cannot see pyproject.toml, or with a setuptools whose reading of it
colcon cannot parse.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from setuptools import find_packages, setup

NAME = "spatialbot"
FOLDERS = {
    "spatialbot_cli": "src/spatialbot_cli",
    "spatialbot_policy": "src/spatialbot_policy",
    "spatialbot_ros": "src/spatialbot_ros",
    "spatialbot_sim": "sim",
    "spatialbot_training": "training",
}
NODES = ("arm", "camera", "operator", "policy", "recorder", "replay", "sim", "teleop")


def all_packages() -> list[str]:
    """The import packages with their sub-packages."""
    names: list[str] = []
    for package, folder in FOLDERS.items():
        names += [package, *(f"{package}.{name}" for name in find_packages(folder))]
    return names


def version() -> str:
    """The version that package.xml states, the one place of it."""
    text = ElementTree.parse(Path(__file__).resolve().parent / "package.xml").getroot().findtext("version")
    if text is None:
        raise ValueError("package.xml has no <version>; add one")
    return text


def shared_files() -> list[tuple[str, list[str]]]:
    """What `ros2 launch` looks for under share/spatialbot: launch and parameter files, the shipped policy."""
    root = Path(__file__).resolve().parent
    folders: dict[str, list[str]] = {}
    patterns = ("launch/**/*.yaml", "config/**/*.yaml", "config/**/*.json", "checkpoints/*/*")
    for path in sorted(path for pattern in patterns for path in root.glob(pattern)):
        relative = path.relative_to(root)
        folders.setdefault(f"share/{NAME}/{relative.parent}", []).append(str(relative))
    return list(folders.items())


setup(
    name=NAME,
    version=version(),
    license="Apache-2.0",
    python_requires=">=3.10,<3.14",
    packages=all_packages(),
    package_dir=FOLDERS,
    package_data={"": ["py.typed", "*.yaml", "*.json", "*.md", "*.msg", "*.srv", "*.action"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        *shared_files(),
    ],
    entry_points={
        "console_scripts": [
            "spatialbot = spatialbot_cli.main:main",
            *(f"{node}_node = spatialbot_ros.nodes.{node}_node:main" for node in NODES),
        ]
    },
    zip_safe=True,
)
