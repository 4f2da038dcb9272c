"""A node's life: it refuses in one line, ends on a signal, and its last words are still heard."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

PROGRAM = """
import sys
from spatialbot_ros import embedded
embedded.install()
import rclpy
from rclpy.node import Node
from std_msgs.msg import String
from spatialbot_policy.errors import ConfigError
from spatialbot_ros.nodes.running import run

class Talker(Node):
    def __init__(self):
        super().__init__("talker")
        if self.declare_parameter("refuse", False).value:
            raise ConfigError("parameter 'refuse' is True, allowed is False")
        self.heard = self.create_subscription(String, "words", lambda m: print(m.data, flush=True), 10)
        self.words = self.create_publisher(String, "words", 10)
        self.create_timer(0.02, self.ready)
        self.said = False

    def ready(self):
        if not self.said and self.count_subscribers("words"):
            self.said = True
            print("ready", flush=True)

    def close(self):
        self.words.publish(String(data="last words"))
        rclpy.spin_once(self, timeout_sec=2.0)

run(Talker, sys.argv)
"""


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), "--ros-args", "-r", "__node:=sam", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"ROS_DOMAIN_ID": str(os.getpid() % 100 + 1)},
    )


def test_a_refusal_is_one_line_with_the_nodes_name():
    process = start("-p", "refuse:=true")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert errors.strip().splitlines()[-1] == "sam: parameter 'refuse' is True, allowed is False"
    assert "Traceback" not in errors


def test_last_words_are_heard_after_a_signal():
    for number in (signal.SIGINT, signal.SIGTERM):
        process = start()
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
        assert output == "last words\n" and process.returncode == 0, errors
