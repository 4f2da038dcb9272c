"""`spatialbot graph`: the project's launch files without ROS 2, and a look inside from another process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from spatialbot_cli.main import main
from spatialbot_ros import embedded

if not embedded.install():
    pytest.skip("a real ROS 2 is here: its own commands look inside", allow_module_level=True)

from spatialbot_ros.embedded.launch_file import read_launch_file
from spatialbot_ros.embedded.launcher import Launcher
from spatialbot_ros.logic.parameter import flatten
from spatialbot_ros.logic.teleop_mapping import JOY_PRESETS
from spatialbot_ros.nodes.arm_parameters import ArmParameters
from spatialbot_ros.nodes.camera_node import CameraParameters
from spatialbot_ros.nodes.policy_parameters import PolicyParameters
from spatialbot_ros.nodes.recorder_parameters import RecorderParameters
from spatialbot_ros.nodes.teleop_parameters import TeleopParameters

ROOT = Path(__file__).resolve().parents[2]
GIVEN = {
    "robot": {},
    "sim": {},
    "record": {"dataset": "datasets/x", "instruction": "pick up the cup", "teleop": "none"},
    "remote": {"server": "ws://gpu:8000"},
    "replay": {"episode": "datasets/x/episodes/000000"},
}


def spatialbot(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "spatialbot_cli.main", *words]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False, **options
    )


@pytest.mark.parametrize("name", GIVEN)
def test_every_launch_file_names_nodes_and_parameter_files_that_there_are(name):
    launch = read_launch_file(ROOT / "launch" / f"{name}.launch.yaml", GIVEN[name])
    Launcher(launch)  # refuses unknown executables and names that come twice
    assert launch.nodes
    assert all(argument.description for argument in launch.arguments)


PARAMETER_FILES = [
    path
    for name in ("robot", "camera", "policy", "teleop")
    for path in (ROOT / "config" / name).glob("*.yaml")
]


@pytest.mark.parametrize("path", PARAMETER_FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_parameter_file_is_in_the_form_that_ros_reads(path):
    for node, content in yaml.safe_load(path.read_text()).items():
        assert node.endswith("_node") or node == "spacenav"
        assert list(content) == ["ros__parameters"]


DATACLASSES = {
    "arm_node": ArmParameters,
    "camera_node": CameraParameters,
    "policy_node": PolicyParameters,
    "recorder_node": RecorderParameters,
    "teleop_node": TeleopParameters,
}


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Parameters of a file by their full names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return found


@pytest.mark.parametrize("path", PARAMETER_FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_parameter_of_a_file_is_known_to_its_node(path):
    for node, content in yaml.safe_load(path.read_text()).items():
        if node in DATACLASSES:  # the others are ROS 2's own drivers
            known = {"use_sim_time", *flatten(DATACLASSES[node]())}
            assert set(flat(content["ros__parameters"])) <= known


@pytest.mark.parametrize("name", JOY_PRESETS)
def test_the_files_of_the_devices_hold_the_presets(name):
    file = yaml.safe_load((ROOT / "config" / "teleop" / f"{name}.yaml").read_text())
    given = file["teleop_node"]["ros__parameters"]["joy"]
    wanted = {key: value for key, (value, _) in flatten(JOY_PRESETS[name]).items()}
    assert {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()} == wanted


@pytest.fixture
def running(tmp_path) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """The arm node alone, as a graph in another process."""
    file = tmp_path / "arm.launch.yaml"
    file.write_text("launch:\n- node: {pkg: spatialbot, exec: arm_node, name: arm_node}\n")
    environment = os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "spatialbot_cli.main", "graph", str(file)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "not_started" in line:
            break
    yield process, environment
    process.kill()
    process.wait()


def test_look_inside_a_running_graph_and_end_it(running):
    process, environment = running
    listed = spatialbot("graph", "--list", env=environment | {"COLUMNS": "200"}).stdout
    assert re.search(r"/spatialbot/arm/status .* arm_node", listed) and "/spatialbot/arm/resume" in listed
    shown = spatialbot("graph", "--echo", "/spatialbot/arm/status", "--count", "1", env=environment).stdout
    assert yaml.safe_load(shown.split("---")[0])["message"].startswith("not_started")
    assert (
        spatialbot("graph", "--param", "arm_node", "backend", env=environment).stdout
        == "backend: cartesian_pose\n"
    )
    refused = spatialbot("graph", "--param", "arm_node", "backend", "joint_trajectory", env=environment)
    assert refused.returncode == 2 and "can only be set at start" in refused.stderr
    called = spatialbot("graph", "--call", "/spatialbot/arm/resume", env=environment)
    assert called.returncode == 1 and "topic_missing" in called.stdout
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=30)
    assert process.returncode == 0 and "shutdown" in rest


def test_a_node_that_refuses_makes_the_command_fail(tmp_path):
    file = tmp_path / "arm.launch.yaml"
    parameter = "{name: backend, value: telepathy}"
    file.write_text(f"launch:\n- node: {{pkg: spatialbot, exec: arm_node, param: [{parameter}]}}\n")
    done = spatialbot("graph", str(file), env=os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)})
    assert done.returncode == 1
    assert "arm_node: parameter 'backend' is 'telepathy', allowed is one of cartesian_pose" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["graph"], "give a launch file"),
        (["graph", "launch/nothing.launch.yaml"], "there is no launch file"),
        (["graph", "launch/sim.launch.yaml", "family=pick"], "written NAME:=VALUE"),
        (["graph", "launch/sim.launch.yaml", "family:=fruit"], "'family' is 'fruit', allowed is one of pick"),
        (["graph", "launch/sim.launch.yaml", "policy:=huge"], "huge.yaml does not exist"),
        (["graph", "--hz", "/clock"], "no graph runs in this domain"),
        (["latency", "--seconds", "0.1"], "no graph runs in this domain"),
    ],
)
def test_wrong_usage_is_one_line(words, message, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert main(words) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_the_arguments_of_a_launch_file_are_shown(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert main(["graph", "launch/sim.launch.yaml", "--show-args"]) == 0
    shown = capsys.readouterr().out
    assert "lockstep" in shown and "family of scenes" in shown


@pytest.mark.slow
def test_a_scene_is_played_in_closed_loop_without_ros(tmp_path):
    environment = os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)}
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "spatialbot_cli.main", "graph", "launch/sim.launch.yaml", "episodes:=1",
         "--end-with", "sim_node"],
        capture_output=True, text=True, timeout=300, cwd=ROOT, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "1 episodes played, 1 successes" in done.stderr + done.stdout, time.monotonic() - started
