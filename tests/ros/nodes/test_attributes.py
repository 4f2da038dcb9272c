"""Node classes keep clear of the attributes that rclpy.node.Node keeps for itself."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import spatialbot_ros.nodes

# of ROS 2 Humble to Rolling; overwriting one breaks the node in ways that are hard to see
RCLPY_OWN = frozenset(
    f"_{name}"
    for name in (
        "allow_undeclared_parameters clients clock context default_callback_group descriptors guards handle "
        "logger on_set_parameters_callbacks parameter_event_publisher parameter_overrides parameter_service "
        "parameters parameters_callbacks post_set_parameters_callbacks pre_set_parameters_callbacks "
        "publishers rate_group services subscriptions time_source timers type_description_service waitables"
    ).split()
)
FILES = sorted(Path(spatialbot_ros.nodes.__path__[0]).glob("*_node.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_node_overwrites_an_attribute_of_rclpy_s_node(path):
    written = {
        node.attr
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
    assert not written & RCLPY_OWN
