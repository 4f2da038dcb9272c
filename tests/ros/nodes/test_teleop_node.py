"""Teleoperation on the graph: actions only while the dead-man button is held, buttons call services."""

from __future__ import annotations

import os
import pty
import termios
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import JointState, Joy
from std_srvs.srv import Trigger

from spatialbot_policy.errors import ConfigError
from spatialbot_policy.types import ActionStep
from spatialbot_ros.convert.actions import from_action, to_action
from spatialbot_ros.convert.stamps import stamp_ns
from spatialbot_ros.logic.teleop_mapping import GAMEPAD
from spatialbot_ros.nodes.teleop_node import TeleopNode

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
PERIOD_S = 0.1


def joy(held: bool = True, x: float = 0.0, press: tuple[int, ...] = ()) -> Joy:
    """A gamepad pushed along x of the robot base."""
    axes, buttons = [0.0] * 8, [0] * 11
    axes[GAMEPAD.axes[0]] = x
    for button in (*press, *((GAMEPAD.dead_man_button,) if held else ())):
        buttons[button] = 1
    return Joy(axes=axes, buttons=buttons)


@pytest.fixture
def actions(graph) -> list[JointState]:
    return graph.record(JointState, "/spatialbot/teleop_action")


@pytest.fixture
def states(graph) -> list[DiagnosticStatus]:
    return graph.record(DiagnosticStatus, "/spatialbot/teleop/status", LATCHED)


@pytest.fixture
def called(graph) -> list[str]:
    """Names of the services that were called, all of which answer."""
    names: list[str] = []

    def serve(name: str) -> Callable[[Any, Any], Any]:
        def answer(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            names.append(name)
            response.success = True
            return response

        return answer

    for name in (
        "arm/hold",
        "arm/resume",
        "arm/recover",
        "recorder/start",
        "recorder/save",
        "recorder/discard",
    ):
        graph.node.create_service(Trigger, f"/spatialbot/{name}", serve(name))
    return names


def add(graph: Any, terminal: int | None = None, **values: Any) -> TeleopNode:
    return graph.add(TeleopNode(terminal, parameter_overrides=graph.parameters(values)))


def test_actions_come_at_the_control_rate_while_the_button_is_held_and_stop_with_it(graph, actions, states):
    add(graph)
    for _ in range(5):
        graph.publish("/joy", joy(x=1.0))
        graph.advance(PERIOD_S)
    assert len(actions) == 5
    vector, terminate = to_action(actions[-1])
    assert vector[0] == pytest.approx(GAMEPAD.linear_speed_m_s * PERIOD_S) and not terminate
    assert np.abs(vector[1:]).max() == 0.0
    assert stamp_ns(actions[-1]) == graph.now_ns
    graph.publish("/joy", joy(held=False, x=1.0))
    graph.advance(1.0)
    assert len(actions) == 5
    assert [state.message for state in states][-2:] == [
        "driving",
        "teleop_released: hold the dead-man button to drive",
    ]


def test_a_joystick_that_is_unplugged_with_the_button_held_counts_as_released(graph, actions):
    add(graph, joy_timeout_ms=250.0)
    graph.publish("/joy", joy(x=1.0))
    graph.advance(2.0)
    assert len(actions) == 2


def test_a_joystick_with_too_few_buttons_moves_nothing_and_says_why(graph, actions, states):
    add(graph)
    graph.publish("/joy", Joy(axes=[1.0] * 8, buttons=[1]))
    graph.advance(0.3)
    assert actions == []
    assert states[-1].level == DiagnosticStatus.ERROR and "no button 4" in states[-1].message


def test_the_fingers_keep_what_the_policy_holds_when_a_person_takes_over(graph, actions):
    add(graph)
    grasping = from_action(1, ActionStep(np.zeros(3), np.zeros(3), 1.0))
    graph.publish("/spatialbot/executed_action", grasping)
    graph.publish("/joy", joy(x=0.5))
    graph.advance(PERIOD_S)
    assert to_action(actions[-1])[0][6] == 1.0
    graph.publish("/joy", joy(press=(GAMEPAD.open_button,)))
    graph.advance(PERIOD_S)
    graph.publish("/spatialbot/executed_action", grasping)  # of the person's own action before
    graph.publish("/joy", joy())
    graph.advance(PERIOD_S)
    assert to_action(actions[-1])[0][6] == 0.0


def test_axes_of_the_camera_are_turned_into_the_robot_s(graph, actions):
    half = float(np.sqrt(0.5))  # the camera looks along y of the robot
    add(graph, **{"joy.frame": "camera", "camera_quaternion_xyzw": [0.0, 0.0, half, half]})
    graph.publish("/joy", joy(x=1.0))
    graph.advance(PERIOD_S)
    vector = to_action(actions[-1])[0]
    assert vector[1] == pytest.approx(GAMEPAD.linear_speed_m_s * PERIOD_S)
    assert vector[0] == pytest.approx(0.0, abs=1e-12)


def test_each_button_calls_its_service_once_however_long_it_is_held(graph, called):
    add(graph)
    for button in (GAMEPAD.start_button, GAMEPAD.hold_button, GAMEPAD.resume_button, GAMEPAD.save_button):
        for _ in range(3):
            graph.publish("/joy", joy(held=False, press=(button,)))
        graph.publish("/joy", joy(held=False))
        graph.settle()
    graph.until(lambda: len(called) == 4)
    assert called == ["recorder/start", "arm/hold", "arm/resume", "recorder/save"]


def test_a_button_without_its_service_does_no_harm(graph, actions):
    add(graph)
    graph.publish("/joy", joy(x=1.0, press=(GAMEPAD.save_button,)))
    graph.advance(PERIOD_S)
    assert len(actions) == 1


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Both ends of a terminal: where the person types, and the node's."""
    person, node = pty.openpty()
    yield person, node
    os.close(person)
    os.close(node)


def test_keys_drive_and_call_and_the_terminal_is_put_back(terminal, graph, actions, called):
    person, descriptor = terminal
    before = termios.tcgetattr(descriptor)
    node = add(graph, descriptor, source="keyboard")
    assert termios.tcgetattr(descriptor) != before
    os.write(person, b"w ")

    def driven() -> bool:
        graph.advance(0.05)
        time.sleep(0.01)  # keys come in wall time, by a thread
        return bool(actions)

    graph.until(driven)
    vector = to_action(actions[0])[0]
    assert vector[0] > 0.0 and vector[6] == 1.0
    sent = len(actions)
    graph.advance(2.0)
    assert len(actions) <= sent + 4  # no repeat came: the key counts as released
    os.write(person, b"1h")
    graph.until(lambda: len(called) == 2)
    assert sorted(called) == ["arm/hold", "recorder/start"]  # services keep no order among each other
    node.close()
    assert termios.tcgetattr(descriptor) == before
    node.close()


def test_the_keyboard_needs_a_terminal(graph, tmp_path):
    with open(tmp_path / "file", "w") as file:
        with pytest.raises(ConfigError, match="needs a terminal: start the node by itself"):
            add(graph, file.fileno(), source="keyboard")


def test_impossible_parameters_are_refused_by_name(graph):
    with pytest.raises(ConfigError, match="'source' is 'telepathy', allowed is one of joy, keyboard"):
        add(graph, source="telepathy")
    with pytest.raises(ConfigError, match="'joy.linear_speed_m_s' is"):
        add(graph, **{"joy.linear_speed_m_s": 9.0})
