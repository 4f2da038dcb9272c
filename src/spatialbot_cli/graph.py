"""`spatialbot graph`: run a launch file without ROS 2, and look into the graph that runs."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from spatialbot_policy.errors import ConfigError
from spatialbot_ros import embedded
from spatialbot_ros.embedded.socket_lines import ask


def main(argv: list[str]) -> int:
    """Run the verb; returns the exit code."""
    arguments = _parser().parse_args(argv)
    if embedded.ros_is_here():
        return _use_ros(arguments)
    questions = {"list": _list, "echo": _echo, "hz": _hz, "param": _param, "call": _call}
    for name, answer in questions.items():
        if getattr(arguments, name):
            return answer(arguments)
    if arguments.launch_file is None:
        raise ConfigError(
            "give a launch file, e.g. launch/sim.launch.yaml, or one of --list --echo --hz --param --call"
        )
    return _launch(arguments)


def _parser() -> argparse.ArgumentParser:
    # argparse, since launch arguments are written NAME:=VALUE as for ros2 launch
    parser = argparse.ArgumentParser(prog="spatialbot graph", description=__doc__)
    parser.add_argument("launch_file", nargs="?", help="a YAML launch file, e.g. launch/sim.launch.yaml")
    parser.add_argument(
        "launch_arguments", nargs="*", metavar="NAME:=VALUE", help="arguments of the launch file"
    )
    parser.add_argument(
        "-s", "--show-args", action="store_true", help="show the launch file's arguments and end"
    )
    parser.add_argument("--end-with", metavar="NODE", help="end the whole graph when this node ends")
    look = parser.add_argument_group("look into the graph that runs (in another terminal)")
    look.add_argument("--list", action="store_true", help="topics with types and users; services")
    look.add_argument("--echo", metavar="TOPIC", help="print messages as they come")
    look.add_argument("--count", type=int, default=0, help="end --echo after so many messages")
    look.add_argument("--hz", metavar="TOPIC", help="print rate and bandwidth once a second")
    look.add_argument(
        "--param",
        nargs="+",
        metavar="NODE [NAME [VALUE]]",
        help="list parameters, show one, or set it (VALUE is YAML)",
    )
    look.add_argument(
        "--call", nargs="+", metavar="SERVICE [REQUEST]", help="call a service (REQUEST is YAML)"
    )
    return parser


def _use_ros(arguments: argparse.Namespace) -> int:
    """The embedded graph steps aside: launch with ROS 2, or say which of its commands looks inside."""
    if arguments.launch_file is None:
        raise ConfigError("ROS 2 is here: look inside with ros2 topic, ros2 param and ros2 service")
    words = ["ros2", "launch", arguments.launch_file, *arguments.launch_arguments]
    print(f"ROS 2 is here: {' '.join(words)}")
    sys.stdout.flush()
    os.execvp(words[0], words + (["--show-args"] if arguments.show_args else []))


def _launch(arguments: argparse.Namespace) -> int:
    from spatialbot_ros.embedded.launch_file import read_launch_file

    launch = read_launch_file(arguments.launch_file, dict(map(_given, arguments.launch_arguments)))
    if arguments.show_args:
        _show_arguments(launch.arguments)
        return 0
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    embedded.install()
    from spatialbot_ros.embedded.inspector import Inspector
    from spatialbot_ros.embedded.launcher import Launcher

    launcher = Launcher(launch)
    inspector = Inspector()
    interrupted = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: interrupted.set())
    try:
        launcher.start(until=arguments.end_with)
        while not interrupted.is_set() and not launcher.wait(0.2):
            continue
    finally:
        stuck = launcher.stop()
        inspector.close()
    for failure in launcher.failures:
        print(f"spatialbot graph: {failure}", file=sys.stderr)
    for name in stuck:
        print(f"spatialbot graph: {name} did not end in time", file=sys.stderr)
    return 1 if launcher.failures or stuck else 0


def _given(word: str) -> tuple[str, str]:
    name, separator, value = word.partition(":=")
    if not separator or not name:
        raise ConfigError(f"launch arguments are written NAME:=VALUE, got '{word}'")
    return name, value


def _show_arguments(arguments: Sequence[Any]) -> None:
    table = Table("argument", "default", "meaning")
    for argument in arguments:
        choices = f" ({', '.join(argument.choices)})" if argument.choices else ""
        default = "(must be given)" if argument.default is None else repr(argument.default)
        table.add_row(argument.name, default, argument.description + choices)
    Console().print(table)


def _list(_: argparse.Namespace) -> int:
    topics, services = Table("topic", "type", "from", "to"), Table("service", "type")
    for item in ask(do="list"):
        if "topic" in item:
            topics.add_row(item["topic"], item["type"], ", ".join(item["from"]), ", ".join(item["to"]))
        else:
            services.add_row(item["service"], item["type"])
    Console().print(topics, services)
    return 0


def _echo(arguments: argparse.Namespace) -> int:
    for answer in ask(do="echo", topic=arguments.echo, count=arguments.count):
        if "message" in answer:
            print(
                yaml.safe_dump(answer["message"], sort_keys=False, default_flow_style=None) + "---",
                flush=True,
            )
    return 0


def _hz(arguments: argparse.Namespace) -> int:
    for answer in ask(do="hz", topic=arguments.hz):
        print(f"{answer['hz']:.2f} Hz, {answer['bytes_per_s'] / 1e6:.3f} MB/s", flush=True)
    return 0


def _param(arguments: argparse.Namespace) -> int:
    node, *rest = arguments.param
    request = {"do": "param", "node": node}
    request |= {"name": rest[0]} if rest else {}
    request |= {"value": yaml.safe_load(rest[1])} if len(rest) > 1 else {}
    for answer in ask(**request):
        print(f"{answer['name']}: {answer['value']}")
    return 0


def _call(arguments: argparse.Namespace) -> int:
    service, *rest = arguments.call
    for answer in ask(do="call", service=service, request=yaml.safe_load(rest[0]) if rest else {}):
        print(yaml.safe_dump(answer["response"], sort_keys=False).strip())
        return 0 if answer["response"].get("success", True) else 1
    return 1
