"""Nodes of a launch file in one process: their start, their end in order, and what happens when one dies."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

from spatialbot_policy.errors import ConfigError
from spatialbot_ros import embedded

if not embedded.install():
    pytest.skip("a real ROS 2 is here", allow_module_level=True)

import rclpy
from rclpy.node import Node

from spatialbot_ros.embedded import launcher as launching
from spatialbot_ros.embedded.launch_file import LaunchFile, NodeEntry
from spatialbot_ros.embedded.launcher import Launcher
from spatialbot_ros.nodes.running import run

CLOSED: list[str] = []


class Ordinary(Node):
    """Lives until it is told to end."""

    def __init__(self) -> None:
        super().__init__("ordinary")

    def close(self) -> None:
        CLOSED.append(self.get_name())


class Failing(Ordinary):
    """Dies in a callback."""

    def __init__(self) -> None:
        super().__init__()
        self.create_timer(0.01, self.fail)

    def fail(self) -> None:
        raise RuntimeError("a bug")


class Refusing(Ordinary):
    """Does not like its parameters."""

    def __init__(self) -> None:
        raise ConfigError("parameter 'x' is 1, allowed is 2")


@pytest.fixture(autouse=True)
def executables(monkeypatch):
    """Three console scripts of a package that exists in this process only."""
    CLOSED.clear()
    module = types.ModuleType("spatialbot_ros.nodes.of_this_test")
    for node in (Ordinary, Failing, Refusing):
        setattr(module, node.__name__, lambda args=None, node=node: run(node, args))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    scripts = [
        types.SimpleNamespace(name=node.__name__, value=f"{module.__name__}:{node.__name__}")
        for node in (Ordinary, Failing, Refusing)
    ]
    monkeypatch.setattr(launching, "entry_points", lambda group: scripts)


def launch(*entries: NodeEntry) -> Launcher:
    return Launcher(LaunchFile(Path("x.launch.yaml"), (), entries))


def test_nodes_get_their_names_and_end_in_the_reverse_order():
    launcher = launch(
        NodeEntry("Ordinary", "camera"), NodeEntry("Ordinary", "arm"), NodeEntry("Ordinary", "policy")
    )
    launcher.start()
    assert not launcher.wait(0.3) and launcher.alive == ("camera", "arm", "policy")
    assert launcher.stop() == () and CLOSED == ["policy", "arm", "camera"]
    assert launcher.failures == () and launcher.alive == ()
    assert not rclpy.ok()  # the process's own context was never touched


def test_a_node_that_dies_leaves_the_others_alive_and_is_told_about():
    launcher = launch(NodeEntry("Ordinary", "arm"), NodeEntry("Failing", "policy"))
    launcher.start()
    assert not launcher.wait(1.0) and launcher.alive == ("arm",)
    assert launcher.failures == ("policy: RuntimeError: a bug",)
    assert launcher.stop() == () and CLOSED == ["policy", "arm"]


def test_the_end_of_one_node_can_be_the_end_of_all():
    launcher = launch(NodeEntry("Failing", "sim"), NodeEntry("Ordinary", "arm"))
    launcher.start(until="sim")
    assert launcher.wait(5.0) and launcher.alive == ("arm",)
    assert launcher.stop() == () and CLOSED == ["sim", "arm"]
    with pytest.raises(ConfigError, match="no node is named 'policy'; there are: arm"):
        launch(NodeEntry("Ordinary", "arm")).start(until="policy")


def test_a_node_that_refuses_to_start_is_told_about(capsys):
    launcher = launch(NodeEntry("Refusing", "arm"))
    launcher.start()
    assert launcher.wait(5.0) and launcher.failures == ("arm: ended with exit code 2",)
    assert "arm: parameter 'x' is 1, allowed is 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([NodeEntry("Ordinry", "a")], "no node 'Ordinry'; there are: Failing, Ordinary, Refusing"),
        ([NodeEntry("Ordinary", "a"), NodeEntry("Ordinary", "a")], "two nodes named /a"),
        ([], "starts no node"),
    ],
)
def test_a_launch_that_cannot_work_is_refused_before_anything_starts(entries, words):
    with pytest.raises(ConfigError, match=words):
        launch(*entries)
