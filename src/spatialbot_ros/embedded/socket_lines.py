"""The Unix socket of a running embedded graph: where it is, and JSON lines over it."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spatialbot_policy.errors import ConfigError


def socket_path() -> Path:
    """Path of this user's graph; ROS_DOMAIN_ID tells several apart, as it does for ROS 2."""
    folder = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    return folder / f"spatialbot-graph-{os.getuid()}-{os.environ.get('ROS_DOMAIN_ID', '0')}.sock"


def send_line(connection: socket.socket, value: Any) -> None:
    """Send one JSON value as a line."""
    connection.sendall(json.dumps(value).encode() + b"\n")


def receive_lines(connection: socket.socket) -> Iterator[Any]:
    """Yield JSON values until the other side ends the connection."""
    with connection.makefile("rb") as lines:
        for line in lines:
            yield json.loads(line)


def ask(**request: Any) -> Iterator[Any]:
    """Put a question to the graph that runs; `inspector` has the questions.

    Raises:
        ConfigError: no graph runs, or it refuses to answer.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        if connection.connect_ex(str(socket_path())) != 0:
            raise ConfigError(
                "no graph runs in this domain; start one: spatialbot graph launch/sim.launch.yaml "
                "(with the same ROS_DOMAIN_ID)"
            )
        send_line(connection, request)
        for answer in receive_lines(connection):
            if "error" in answer:
                raise ConfigError(answer["error"])
            yield answer
