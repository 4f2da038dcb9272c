"""The layers of the tree: walks every import and fails when one points upward or is not for its layer."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {
    "spatialbot_cli": ROOT / "src" / "spatialbot_cli",
    "spatialbot_policy": ROOT / "src" / "spatialbot_policy",
    "spatialbot_ros": ROOT / "src" / "spatialbot_ros",
    "spatialbot_sim": ROOT / "sim",
    "spatialbot_training": ROOT / "training",
}
OWN = ("spatialbot_", "training", "sim")  # the folder names too: their packages have another name

# Importing module (longest prefix wins) -> what of this project it may import.
MAY_IMPORT = {
    "spatialbot_policy": ("spatialbot_policy",),
    "spatialbot_training": ("spatialbot_training", "spatialbot_policy", "spatialbot_ros.logic"),
    "spatialbot_sim": ("spatialbot_sim", "spatialbot_policy", "spatialbot_ros.logic"),
    "spatialbot_ros.logic": (
        "spatialbot_ros.logic",
        "spatialbot_policy.types",
        "spatialbot_policy.errors",
        "spatialbot_policy.image_head",
    ),
    "spatialbot_ros.convert": ("spatialbot_ros.convert", "spatialbot_ros.logic", "spatialbot_policy"),
    "spatialbot_ros.arms": (
        "spatialbot_ros.arms",
        "spatialbot_ros.convert",
        "spatialbot_ros.logic",
        "spatialbot_policy",
    ),
    "spatialbot_ros.nodes.sim_node": ("spatialbot_ros", "spatialbot_policy", "spatialbot_sim"),
    "spatialbot_ros": ("spatialbot_ros", "spatialbot_policy"),
    "spatialbot_cli": (
        "spatialbot_cli",
        "spatialbot_policy",
        "spatialbot_ros",
        "spatialbot_sim",
        "spatialbot_training",
    ),
}
# The only importers of outside packages; torch is free inside a function.
ROS_USERS = (
    "spatialbot_ros.convert",
    "spatialbot_ros.arms",
    "spatialbot_ros.nodes",
    "spatialbot_ros.embedded",
)
TORCH_USERS = ("spatialbot_policy.model", "spatialbot_policy.inference", "spatialbot_training")
SIM_USERS = ("spatialbot_sim", "spatialbot_cli.render_probe")


@dataclass(frozen=True)
class Import:
    """One imported module name, where it stands, and whether importing the file runs it."""

    module: str
    line: int
    at_module_level: bool


def within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def imports_of(source: str, module: str, is_package: bool = False) -> Iterator[Import]:
    """Every import of a file, relative ones resolved; TYPE_CHECKING counts as inside a function."""
    parts = module.split(".") if is_package else module.split(".")[:-1]

    def walk(node: ast.AST, top: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from (Import(alias.name, child.lineno, top) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                above = parts[: len(parts) - child.level + 1] if child.level else []
                base = ".".join(above + ([child.module] if child.module else []))
                # `from package import module` names a module too: the longer name is what the rules see.
                yield from (Import(f"{base}.{alias.name}", child.lineno, top) for alias in child.names)
            else:
                deeper = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                typing_only = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
                yield from walk(child, top and not deeper and not typing_only)

    yield from walk(ast.parse(source), True)


def breaches(source: str, module: str, is_package: bool = False) -> list[str]:
    """The rules that a file breaks, one sentence each."""
    layer = max((name for name in MAY_IMPORT if within(module, (name,))), key=len)
    found = []
    for item in imports_of(source, module, is_package):
        own = item.module.startswith(OWN[0]) or within(item.module, OWN[1:])
        reason = ""
        if own and not within(item.module, MAY_IMPORT[layer]):
            reason = f"{layer} may import only {', '.join(MAY_IMPORT[layer])}"
        elif within(item.module, ("rclpy",)) and not within(module, ROS_USERS):
            reason = "rclpy belongs into spatialbot_ros, above logic"
        elif within(item.module, ("torch",)) and item.at_module_level and not within(module, TORCH_USERS):
            reason = "torch at module level belongs into model, inference and training"
        elif within(item.module, ("mani_skill", "sapien", "gymnasium")) and not within(module, SIM_USERS):
            reason = "the simulator belongs into sim"
        if reason:
            found.append(f"{module}:{item.line} imports {item.module}: {reason}")
    return found


def modules() -> list[tuple[str, Path]]:
    found = []
    for package, folder in FOLDERS.items():
        for path in sorted(folder.rglob("*.py")):
            parts = [package, *path.relative_to(folder).with_suffix("").parts]
            found.append((".".join(parts[:-1] if parts[-1] == "__init__" else parts), path))
    return found


def test_every_import_points_downward():
    files = modules()
    assert {name.split(".")[0] for name, _ in files} >= set(FOLDERS) - {"spatialbot_ros"}
    found = [
        breach
        for module, path in files
        for breach in breaches(path.read_text(encoding="utf-8"), module, path.name == "__init__.py")
    ]
    assert not found, os.linesep.join(found)


PLANTED = [
    ("spatialbot_policy.depth", "import spatialbot_sim.task.scene", "spatialbot_policy may import only"),
    ("spatialbot_policy.depth", "def f():\n    from spatialbot_training import loop", "may import only"),
    ("spatialbot_policy.depth", "import torch", "torch at module level"),
    ("spatialbot_policy.depth", "class A:\n    from torch import nn", "torch at module level"),
    (
        "spatialbot_training.loop",
        "from spatialbot_sim.task.scene import Scene",
        "spatialbot_training may import only",
    ),
    ("spatialbot_training.loop", "import rclpy", "rclpy belongs into spatialbot_ros"),
    ("spatialbot_sim.task.scene", "from spatialbot_ros.nodes import arm", "spatialbot_sim may import only"),
    ("spatialbot_sim.task.scene", "from spatialbot_ros import nodes", "spatialbot_sim may import only"),
    ("spatialbot_sim.task.scene", "from spatialbot_cli.main import main", "spatialbot_sim may import only"),
    ("spatialbot_sim.task.scene", "from sim.objects import Cup", "spatialbot_sim may import only"),
    ("spatialbot_ros.logic.safety", "from rclpy.node import Node", "rclpy belongs into spatialbot_ros"),
    ("spatialbot_ros.logic.safety", "from ..nodes import arm", "spatialbot_ros.logic may import only"),
    (
        "spatialbot_ros.logic.safety",
        "from spatialbot_policy.pipeline import Pipeline",
        "logic may import only",
    ),
    (
        "spatialbot_ros.arms.moveit_servo",
        "from spatialbot_ros.nodes.arm import ArmNode",
        "arms may import only",
    ),
    ("spatialbot_ros.nodes.arm", "import spatialbot_sim.task.robot", "spatialbot_ros may import only"),
    ("spatialbot_ros.nodes.sim_streams", "import spatialbot_sim", "spatialbot_ros may import only"),
    ("spatialbot_policy.images", "import gymnasium as gym", "the simulator belongs into sim"),
    ("spatialbot_cli.collect", "import mani_skill.envs", "the simulator belongs into sim"),
]


@pytest.mark.parametrize(("module", "source", "reason"), PLANTED)
def test_a_planted_breach_is_caught(module, source, reason):
    (breach,) = breaches(source, module)
    assert reason in breach and breach.startswith(f"{module}:")


ALLOWED = [
    ("spatialbot_policy.model.projector", "import torch\nfrom torch import nn"),
    ("spatialbot_policy.pipeline", "from spatialbot_policy import depth\nfrom .images import ResizePad"),
    ("spatialbot_sim.task.scene", "import sapien\ndef f():\n    import torch"),
    (
        "spatialbot_sim.evaluation.evaluate",
        "from spatialbot_ros.logic.safety import Guard\nimport simplejson",
    ),
    ("spatialbot_ros.nodes.sim_node", "import rclpy\nfrom spatialbot_sim.task.robot import SimRobot"),
    ("spatialbot_ros.nodes.arm", "import rclpy\nfrom spatialbot_ros.arms import cartesian_pose"),
    (
        "spatialbot_cli.train",
        "from spatialbot_training.loop import train\nfrom spatialbot_sim.task import seeds",
    ),
    ("spatialbot_cli.x", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch"),
]


@pytest.mark.parametrize(("module", "source"), ALLOWED)
def test_what_is_allowed_passes(module, source):
    assert breaches(source, module) == []


def test_a_relative_import_of_a_package_is_resolved():
    (item,) = imports_of("from .nodes import arm", "spatialbot_ros", is_package=True)
    assert item.module == "spatialbot_ros.nodes.arm"
