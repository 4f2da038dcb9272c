"""Command lines and parameter files of the embedded graph, and what it refuses in them."""

from __future__ import annotations

import pytest

from spatialbot_ros.embedded.arguments import parse_arguments, split_arguments
from spatialbot_ros.embedded.exceptions import RCLError, UnknownROSArgsError
from spatialbot_ros.embedded.names import Remap, expand, remapped


def ros(*arguments: str) -> list[str]:
    return ["program", "--ros-args", *arguments]


def test_program_and_ros_arguments_are_told_apart():
    line = ["program", "--own", "--ros-args", "-p", "a:=1", "--", "rest", "--ros-args", "-r", "a:=b"]
    assert split_arguments(line) == (["program", "--own", "rest"], ["-p", "a:=1", "-r", "a:=b"])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("1.0", 1.0),
        ("1e-3", 1e-3),
        (".5", 0.5),
        ("true", True),
        ("off", False),
        ("word", "word"),
        ("'1'", "1"),
        ("[1.0, 2.0]", [1.0, 2.0]),
        ("[a, b]", ["a", "b"]),
        ("/topic/name", "/topic/name"),
        ("a:=b", "a:=b"),
        ("null", "null"),
        ("2020-01-01", "2020-01-01"),
        ("[]", None),
    ],
)
def test_values(text, value):
    found = parse_arguments(ros("-p", f"name:={text}")).parameters("/any/node")["name"]
    assert found == value and type(found) is type(value)


def test_later_values_win(tmp_path):
    file = tmp_path / "parameters.yaml"
    file.write_text(
        "/**:\n  ros__parameters: {a: wild, b: wild}\n"
        "/cell/arm:\n  ros__parameters: {a: exact}\n"
        "/*/arm:\n  ros__parameters: {b: one}\n"
        "cell:\n  arm:\n    ros__parameters: {c: nested}\n"
    )
    arguments = parse_arguments(
        ros("--params-file", str(file), "-p", "/cell/arm:d:=mine", "-p", "other:e:=no")
    )
    assert arguments.parameters("/cell/arm") == {"a": "exact", "b": "one", "c": "nested", "d": "mine"}
    assert arguments.parameters("/arm") == {"a": "wild", "b": "wild"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bogus"], "unknown ROS argument"),
        (["-p"], "needs a value"),
        (["--log-level", "loud"], "log level"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(UnknownROSArgsError, match=message):
        parse_arguments(ros(*arguments))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1\n", "must hold"),
        ("arm: 5\n", "must hold ros__parameters"),
        ("arm:\n  ros__parameters: {a: [1, 2.0]}\n", "need one type"),
        ("arm: [\n", "cannot read"),
        ("arm:\n  ros__parameters:\n    a:\n", "no value"),
    ],
)
def test_bad_parameter_files(tmp_path, text, message):
    file = tmp_path / "parameters.yaml"
    file.write_text(text)
    with pytest.raises(RCLError, match=message):
        parse_arguments(ros("--params-file", str(file)))
    with pytest.raises(RCLError, match="does not exist"):
        parse_arguments(ros("--params-file", str(tmp_path / "none.yaml")))


def test_first_fitting_remapping_counts_for_its_node_and_kind():
    rules = (
        Remap("other", "a", "/wrong"),
        Remap("", "rosservice://a", "/service"),
        Remap("", "a", "/first"),
        Remap("", "a", "/second"),
    )
    assert remapped("/ns/a", rules, "node", "/ns", False) == "/first"
    assert remapped("/ns/a", rules, "node", "/ns", True) == "/service"
    assert remapped("/ns/b", rules, "node", "/ns", False) == "/ns/b"
    assert expand("{node}/a", "node", "/ns") == "/ns/node/a"


@pytest.mark.parametrize("text", ["no_value", "empty:=", ":=1"])
def test_bad_parameters(text):
    with pytest.raises(RCLError, match="name:=value"):
        parse_arguments(ros("-p", text))
