"""A person records at the gamepad and the terminal: the data set holds exactly what was meant."""

from __future__ import annotations

import io
import os
import pty
from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from rich.console import Console
from sensor_msgs.msg import Joy
from std_msgs.msg import String
from tests.ros.nodes.recorder_rig import LATCHED, SAVE, START, Robot

from spatialbot_policy.episode import Dataset, EpisodeReader, Outcome
from spatialbot_policy.episodes import topics
from spatialbot_policy.errors import ConfigError
from spatialbot_ros.logic.operator_view import OperatorView
from spatialbot_ros.logic.teleop_mapping import GAMEPAD
from spatialbot_ros.nodes.operator_node import OperatorNode
from spatialbot_ros.nodes.recorder_node import COMMAND_TOPIC, RecorderNode
from spatialbot_ros.nodes.teleop_node import TeleopNode

TASKS = """
tasks:
- {name: left, relation: left, quota: 2, instructions: [put the cup left, move the cup left]}
- {name: right, relation: right, quota: 2, family: position, instructions: [put the cup right]}
"""


class Operator:
    """Presses buttons and sees what the recorder says."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self._seen = graph.record(DiagnosticStatus, "/spatialbot/recorder/status", LATCHED)
        graph.until(lambda: self._seen)

    @property
    def view(self) -> OperatorView:
        return OperatorView.from_values({item.key: item.value for item in self._seen[-1].values})

    def press(self, name: str) -> OperatorView:
        """Press and release a button; returns the view with the recorder's answer."""
        answers = self.view.answers
        buttons = [0] * 11
        buttons[getattr(GAMEPAD, f"{name}_button")] = 1
        for pressed in (buttons, [0] * 11):
            self.graph.publish("/joy", Joy(axes=[0.0] * 8, buttons=pressed))
        self.graph.until(lambda: self.view.answers > answers)
        return self.view

    def say(self, text: str) -> OperatorView:
        """Send a verb with words."""
        answers = self.view.answers
        self.graph.publish(COMMAND_TOPIC, String(data=text))
        self.graph.until(lambda: self.view.answers > answers)
        return self.view


@pytest.fixture
def recorder(graph, tmp_path) -> RecorderNode:
    (tmp_path / "tasks.yaml").write_text(TASKS)
    values = {
        "dataset": str(tmp_path / "data"),
        "tasks": str(tmp_path / "tasks.yaml"),
        "reliability": "reliable",
        "flow.countdown_s": 0.3,
        "flow.review": True,
    }
    return graph.add(RecorderNode(parameter_overrides=graph.parameters(values)))


@pytest.fixture
def robot(graph, recorder) -> Robot:
    made = Robot(graph, silent=(topics.INSTRUCTION_TOPIC,))
    made.step(act=False)
    return made


@pytest.fixture
def operator(graph, robot) -> Operator:
    graph.add(TeleopNode(parameter_overrides=graph.parameters()))
    return Operator(graph)


def record(operator: Operator, robot: Robot, steps: int) -> None:
    """Countdown and so many steps."""
    while operator.view.state == "countdown":
        robot.step(act=False)
    assert operator.view.state == "recording"
    for _ in range(steps):
        robot.step()


def reader(folder: Path, index: int) -> EpisodeReader:
    return Dataset(folder).episode(index)


def test_three_episodes_with_one_re_record_and_one_undo(graph, operator, robot, tmp_path):
    heard = graph.record(String, topics.INSTRUCTION_TOPIC, LATCHED)
    assert operator.view.instruction == "put the cup left" and operator.view.total == "0/4"
    assert operator.press("start").told == "recording starts in 0.3 s"
    record(operator, robot, steps=4)
    assert operator.press("success").refused, "a label comes when the episode has ended"
    assert operator.press("save").state == "review"
    assert operator.press("success").label == "success"
    assert operator.press("save").told == "saved episode 0: 4 steps"
    assert operator.view.instruction == "move the cup left", "the next phrasing has its turn"
    assert (operator.view.progress, operator.view.total, operator.view.suggestion) == ("1/2", "1/4", "right")

    operator.press("next_task")
    operator.press("start")
    record(operator, robot, steps=3)
    assert operator.press("next_task").refused
    assert operator.press("rerecord").told == "discarded episode 1; recording starts in 0.3 s"
    record(operator, robot, steps=5)
    operator.press("save")
    operator.press("failure")
    assert operator.press("failure").label == "failure: missed_grasp"
    assert operator.say("note the cup was wet").told == "episode 1: noted"
    operator.press("save")
    assert operator.view.relations == {"left": "1/2", "right": "0/2 (1 failed)"}

    for steps, undo in ((4, True), (6, False)):
        operator.press("start")
        record(operator, robot, steps)
        operator.press("save")
        operator.press("success")
        assert operator.press("save").told == f"saved episode 2: {steps} steps"
        assert operator.view.relations["right"] == "1/2 (1 failed)"
        if undo:
            assert "took back episode 2" in operator.press("undo").told
            assert operator.view.relations["right"] == "0/2 (1 failed)"
            assert operator.press("undo").refused

    data = tmp_path / "data"
    assert Dataset(data).indices() == [0, 1, 2] and Dataset(data).partials() == []
    assert [reader(data, index).info.steps for index in range(3)] == [4, 5, 6]
    infos = [reader(data, index).info for index in range(3)]
    assert [info.outcome for info in infos] == [Outcome(True), Outcome(False, "missed_grasp"), Outcome(True)]
    assert [info.instruction for info in infos] == [
        "put the cup left",
        "put the cup right",
        "put the cup right",
    ]
    assert [(info.task, info.family) for info in infos] == [("left", ""), *2 * [("right", "position")]]
    assert [info.extra["relation"] for info in infos] == ["left", "right", "right"]
    assert infos[1].extra["note"] == "the cup was wet" and "note" not in infos[2].extra
    for index in range(3):
        reader(data, index).verify()
        assert set(reader(data, index).arrays()["instructions"]) == {infos[index].instruction}
    kept = EpisodeReader(data / ".trash" / "000002")
    kept.verify()
    assert kept.info.steps == 4
    assert [message.data for message in heard][-1] == "put the cup right"


def test_counters_go_on_where_the_data_set_is_and_begin_with_what_is_behind(
    graph, operator, robot, recorder, tmp_path
):
    operator.press("start")
    record(operator, robot, steps=2)
    operator.press("save")
    operator.press("save")
    graph.remove(recorder)
    values = {"dataset": str(tmp_path / "data"), "tasks": str(tmp_path / "tasks.yaml")}
    graph.add(RecorderNode(parameter_overrides=graph.parameters(values)))
    graph.until(lambda: operator.view.task == "right")
    assert operator.view.relations == {"left": "1/2", "right": "0/2"}


def test_after_a_save_the_recorder_may_go_on_with_what_is_behind(graph, tmp_path):
    (tmp_path / "tasks.yaml").write_text(TASKS)
    values = {"dataset": str(tmp_path / "data"), "tasks": str(tmp_path / "tasks.yaml"), "auto_next": True}
    graph.add(RecorderNode(parameter_overrides=graph.parameters({**values, "reliability": "reliable"})))
    robot, operator = Robot(graph, silent=(topics.INSTRUCTION_TOPIC,)), Operator(graph)
    tasks = []
    for _ in range(4):
        tasks.append(operator.view.task)
        robot.step()
        assert graph.call(START).success
        for _ in range(2):
            robot.step()
        assert graph.call(SAVE).success
    assert tasks == ["left", "right", "left", "right"] and operator.view.suggestion == ""


def test_words_are_typed_and_refused_words_say_why(operator, robot):
    assert operator.say("instruction wipe the table").instruction == "wipe the table"
    assert operator.view.task == ""
    assert operator.say("instruction Put the cup RIGHT").task == "right"
    assert operator.say("task left").instruction == "put the cup left"
    for words, why in [
        ("task up", "there is no task 'up'; there are: left, right"),
        ("note x", "no episode is open; start one first"),
        ("instruction", "the instruction is empty"),
        ("dance now", "unknown verb 'dance'; there are: start, save"),
    ]:
        view = operator.say(words)
        assert view.refused and why in view.told
    operator.press("start")
    assert "instruction: the countdown runs" in operator.say("instruction other").told
    record(operator, robot, 1)
    operator.press("save")
    assert operator.say("failure it fell over").label == "failure: it fell over"


def test_an_instruction_from_elsewhere_holds_and_belongs_to_its_task(graph, operator, robot, tmp_path):
    graph.publish(topics.INSTRUCTION_TOPIC, String(data="sing"), LATCHED)
    graph.until(lambda: graph.advance(0.1) or operator.view.instruction == "sing")
    assert operator.view.task == ""
    operator.press("start")
    record(operator, robot, 2)
    operator.press("save")
    operator.press("save")
    assert reader(tmp_path / "data", 0).info.task == "table" and operator.view.total == "0/4"
    assert operator.view.instruction == "sing"


def test_a_wrong_task_file_refuses_the_start_of_the_node(graph, tmp_path):
    (tmp_path / "tasks.yaml").write_text("tasks:\n- {name: a, instruction: x}\n")
    values = {"dataset": str(tmp_path / "data"), "tasks": str(tmp_path / "tasks.yaml")}
    with pytest.raises(ConfigError, match="unknown key 'instruction'.*did you mean 'instructions'"):
        RecorderNode(parameter_overrides=graph.parameters(values))


def test_without_a_terminal_the_operator_reads_lines(graph, operator, robot):
    text = io.StringIO()
    graph.add(OperatorNode(Console(file=text, width=200), parameter_overrides=graph.parameters()))
    operator.press("start")
    record(operator, robot, 1)
    operator.press("save")
    graph.until(lambda: "review" in text.getvalue())
    lines = text.getvalue().splitlines()
    assert lines[0] == 'instruction: "put the cup left"  (task left, left: 0/2)'
    assert (
        "recording starts in 0.3 s" in lines
        and "episodes 0/4: left 0/2, right 0/2; most behind: left" in lines
    )
    assert any(line.startswith("RECORDING episode 0") for line in lines)


def test_the_panel_takes_keys(graph, operator, robot):
    person, terminal = pty.openpty()
    drawn = io.StringIO()
    console = Console(file=drawn, force_terminal=True, width=120, height=30)
    node = graph.add(OperatorNode(console, terminal, parameter_overrides=graph.parameters()))
    graph.until(lambda: "put the cup left" in drawn.getvalue())
    os.write(person, b".")
    graph.until(lambda: operator.view.task == "right")
    os.write(person, b"iwave\n")
    graph.until(lambda: operator.view.instruction == "wave")
    os.write(person, b"1")
    graph.until(lambda: operator.view.state == "countdown")
    record(operator, robot, 1)
    graph.until(lambda: "RECORDING episode 0" in drawn.getvalue())
    assert "\a" in drawn.getvalue()
    os.write(person, b"h")
    graph.until(lambda: "hold: /spatialbot/arm/hold is not there" in drawn.getvalue())
    node.close()
    os.close(person)
    os.close(terminal)
