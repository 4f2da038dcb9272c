"""`spatialbot operator` beside an embedded graph of another process: lines, and what is told without one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from spatialbot_ros import embedded

if not embedded.install():
    pytest.skip("a real ROS 2 is here: tests/ros has the node", allow_module_level=True)

TASKS = "tasks:\n- {name: left, relation: left, quota: 2, instructions: [put the cup left]}\n"
COMMAND = [sys.executable, "-m", "spatialbot_cli.main"]


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    return os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)}


def graph_of(folder: Path) -> Path:
    (folder / "tasks.yaml").write_text(TASKS)
    values = {"dataset": folder / "data", "tasks": folder / "tasks.yaml"}
    parameters = ", ".join(f"{{name: {name}, value: {value}}}" for name, value in values.items())
    file = folder / "record.launch.yaml"
    file.write_text(f"launch:\n- node: {{pkg: spatialbot, exec: recorder_node, param: [{parameters}]}}\n")
    return file


def test_lines_tell_what_the_recorder_says_until_the_graph_ends(tmp_path, environment):
    graph = subprocess.Popen(
        [*COMMAND, "graph", str(graph_of(tmp_path))], stderr=subprocess.PIPE, text=True, env=environment
    )
    assert graph.stderr is not None
    for line in graph.stderr:
        if "not_started" in line:
            break
    operator = subprocess.Popen(
        [*COMMAND, "operator"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        env=environment | {"PYTHONUNBUFFERED": "1"},
    )
    assert operator.stdout is not None
    first = [operator.stdout.readline() for _ in range(4)]
    assert 'instruction: "put the cup left"  (task left, left: 0/2)\n' in first
    call = [*COMMAND, "graph", "--call", "/spatialbot/recorder/start"]
    assert subprocess.run(call, env=environment, capture_output=True, check=False).returncode == 1
    graph.send_signal(signal.SIGINT)
    rest, _ = operator.communicate(timeout=60)
    assert "refused: topic_missing: no message on" in rest and rest.endswith("the graph has ended\n")
    assert operator.returncode == 0
    graph.communicate(timeout=60)


def test_without_a_graph_it_says_what_to_start(environment):
    done = subprocess.run(
        [*COMMAND, "operator"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and "no graph runs in this domain; start one" in done.stderr


def test_words_reach_a_topic_from_another_process(tmp_path, environment, monkeypatch):
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.node import Node
    from std_msgs.msg import String

    from spatialbot_ros.embedded.inspector import Inspector
    from spatialbot_ros.embedded.socket_lines import ask

    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    rclpy.init()
    node, heard = Node("listener"), []
    node.create_subscription(String, "/words", heard.append, 10)
    inspector = Inspector()
    try:
        assert list(ask(do="publish", topic="/words", message={"data": "hello"})) == [{"listeners": 1}]
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        executor.spin_once(timeout_sec=5.0)
        assert [message.data for message in heard] == ["hello"]
    finally:
        inspector.close()
        node.destroy_node()
        rclpy.try_shutdown()
