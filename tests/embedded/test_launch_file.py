"""Launch files without ROS 2: what they mean, and what is refused with which words."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from spatialbot_policy.errors import ConfigError
from spatialbot_ros.embedded.launch_file import read_launch_file
from spatialbot_ros.embedded.launch_substitutions import Scope, evaluate
from spatialbot_ros.embedded.share import share_directory


def write(path: Path, *entries: object) -> Path:
    path.write_text(yaml.safe_dump({"launch": list(entries)}))
    return path


def node(**fields: object) -> dict[str, object]:
    return {"node": {"pkg": "spatialbot", "exec": "arm_node", **fields}}


def test_a_node_gets_its_name_parameters_and_remappings_on_the_command_line(tmp_path):
    file = tmp_path / "arm.yaml"
    file.write_text("{}")
    path = write(
        tmp_path / "a.launch.yaml",
        node(
            name="left",
            namespace="cell",
            param=[{"from": "$(dirname)/arm.yaml"}, {"name": "rate", "value": 0.5}],
            remap=[{"from": "target_pose", "to": "/left/target_pose"}],
        ),
    )
    (entry,) = read_launch_file(path).nodes
    assert entry.command_line() == [
        "--ros-args", "-r", "__node:=left", "-r", "__ns:=/cell", "-r", "target_pose:=/left/target_pose",
        "--params-file", str(file), "-p", "rate:=0.5",
    ]  # fmt: skip


@pytest.mark.parametrize("value", [True, 3, 0.25, "text", "two words", "", [1.0, 2.5], ["a", "b"]])
def test_a_parameter_keeps_its_type_through_the_command_line(tmp_path, value):
    path = write(tmp_path / "a.launch.yaml", node(param=[{"name": "x", "value": value}]))
    word = read_launch_file(path).nodes[0].command_line()[-1]
    assert word.startswith("x:=") and yaml.safe_load(word.removeprefix("x:=")) == value


@pytest.mark.parametrize(("given", "value"), [("3", 3), ("0.5", 0.5), ("true", True), ("pick", "pick")])
def test_a_substituted_parameter_is_read_as_yaml(tmp_path, given, value):
    path = write(
        tmp_path / "a.launch.yaml",
        {"arg": {"name": "x"}},
        node(param=[{"name": "x", "value": "$(var x)"}]),
    )
    (parameter,) = read_launch_file(path, {"x": given}).nodes[0].parameters
    assert parameter == ("x", value) and type(parameter[1]) is type(value)


def test_conditions_choose_nodes(tmp_path):
    path = write(
        tmp_path / "a.launch.yaml",
        {"arg": {"name": "camera", "default": "sim"}},
        node(name="a", **{"if": '$(eval \'"$(var camera)" == "sim"\')'}),
        node(name="b", unless='$(eval \'"$(var camera)" == "sim"\')'),
    )
    assert [entry.name for entry in read_launch_file(path).nodes] == ["a"]
    assert [entry.name for entry in read_launch_file(path, {"camera": "real"}).nodes] == ["b"]


def test_an_include_passes_arguments_and_a_group_keeps_its_namespace_to_itself(tmp_path):
    write(tmp_path / "inner.launch.yaml", {"arg": {"name": "who", "default": "x"}}, node(name="$(var who)"))
    path = write(
        tmp_path / "outer.launch.yaml",
        {
            "group": [
                {"push_ros_namespace": {"namespace": "left"}},
                {
                    "include": {
                        "file": "$(dirname)/inner.launch.yaml",
                        "arg": [{"name": "who", "value": "alice"}],
                    }
                },
            ]
        },
        {"include": {"file": "$(dirname)/inner.launch.yaml"}},
    )
    nodes = read_launch_file(path).nodes
    assert [(entry.namespace, entry.name) for entry in nodes] == [("left", "alice"), ("", "x")]


REFUSED = [
    ([{"arg": {"name": "x", "description": "a thing"}}], {}, "needs the launch argument 'x' .a thing."),
    ([{"arg": {"name": "x", "default": "1"}}], {"y": "2"}, "no launch argument 'y'; there are: x"),
    ([{"arg": {"name": "x", "default": "a", "choice": [{"value": "a"}]}}], {"x": "b"}, "one of a"),
    ([{"timer": {}}], {}, "action 'timer' is not known"),
    ([node(param=[{"from": "/nowhere.yaml"}])], {}, "parameter file /nowhere.yaml does not exist"),
    ([node(pakage="x")], {}, "no field 'pakage'"),
    ([node(name="$(var y)")], {}, "'y' is not declared"),
    ([node(name="$(whoami)")], {}, "unknown substitution"),
    ([node(name="$(var y")], {}, "without '\\)'"),
    ([node(**{"if": "maybe"})], {}, "must be true, false"),
    ([{"node": {"pkg": "rviz2", "exec": "rviz2"}}], {}, "package 'rviz2', which needs ROS 2"),
    ([node(name="$(env SURELY_NOT_SET)")], {}, "'SURELY_NOT_SET' is not set"),
    ([{"include": {"file": "$(dirname)/none.launch.yaml"}}], {}, "no launch file"),
]


@pytest.mark.parametrize(("entries", "given", "words"), REFUSED)
def test_what_is_wrong_is_named(tmp_path, entries, given, words):
    with pytest.raises(ConfigError, match=words):
        read_launch_file(write(tmp_path / "a.launch.yaml", *entries), given)


def test_a_file_that_is_no_launch_file_is_refused(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("cameras: []")
    with pytest.raises(ConfigError, match="list under the key 'launch'"):
        read_launch_file(path)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("'a' == 'b'", "False"),
        ("1 < 2 <= 2", "True"),
        ("'a' in ['a', 'b'] and not False", "True"),
        ("'x' if true else 'y'", "x"),
    ],
)
def test_expressions(expression, value):
    assert evaluate(expression, "here") == value


@pytest.mark.parametrize("expression", ["__import__('os')", "(1).__class__", "1 +", "open('x')", "x"])
def test_an_expression_cannot_run_anything(expression):
    with pytest.raises(ConfigError, match="cannot evaluate"):
        evaluate(expression, "here")


def test_substitutions_nest(tmp_path, monkeypatch):
    monkeypatch.setenv("WHICH", "robot")
    scope = Scope({"robot_file": "fr3"}, tmp_path / "a.launch.yaml")
    assert scope.resolve("$(dirname)/$(var $(env WHICH)_file).yaml") == f"{tmp_path}/fr3.yaml"


def test_the_share_directory_holds_this_package_alone():
    assert (Path(share_directory("spatialbot")) / "package.xml").is_file()
    with pytest.raises(ConfigError, match="package 'nav2' is not known"):
        share_directory("nav2")
