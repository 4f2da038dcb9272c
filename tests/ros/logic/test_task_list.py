"""Task lists: strict files, counters, quotas, and which task is most behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spatialbot_policy.config import from_dict
from spatialbot_policy.errors import ConfigError, RecordingError
from spatialbot_ros.logic.task_list import Task, TaskBoard, TaskList
from spatialbot_ros.nodes.task_files import load_tasks

CONFIG = Path(__file__).resolve().parents[3] / "config" / "tasks"
LEFT = Task("left", ("put it left", "move it left"), "left", 4)
RIGHT = Task("right", ("put it right",), "right", 2)
FAR_RIGHT = Task("far_right", ("put it far right",), "right", 2)
TASKS = TaskList((LEFT, RIGHT, FAR_RIGHT))


def board(**counts: int) -> TaskBoard:
    made = TaskBoard(TASKS)
    for name, number in counts.items():
        for _ in range(number):
            made.count(name, "", None)
    return made


@pytest.mark.parametrize("path", sorted(CONFIG.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_shipped_task_files_can_be_read_and_name_their_relations(path):
    tasks = load_tasks(path).tasks
    assert tasks and all(task.relation for task in tasks)


def test_a_relation_that_is_left_out_is_read_from_the_phrasing(tmp_path):
    file = tmp_path / "tasks.yaml"
    file.write_text("tasks:\n- {name: a, instructions: [put the cup behind the box]}\n")
    assert load_tasks(file).tasks[0].relation == "behind"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"tasks": []}, "the list has no task"),
        ({"tasks": [{"name": "a", "instructions": ["x"], "qouta": 3}]}, "unknown key 'qouta'.*'quota'"),
        ({"tasks": [{"name": "a", "instructions": []}]}, "'a': 'instructions' needs at least one phrasing"),
        ({"tasks": [{"name": "a", "instructions": ["x", " "]}]}, "needs at least one phrasing, none empty"),
        ({"tasks": [{"name": "a", "instructions": ["x"], "quota": 0}]}, "quota is 0"),
        ({"tasks": [{"name": " ", "instructions": ["x"]}]}, "has no name"),
        ({"tasks": [{"name": "a", "instructions": ["x"]}], "schema": 2}, "schema 2 is not known"),
        (
            {"tasks": [{"name": "a", "instructions": ["x"]}, {"name": "a", "instructions": ["y"]}]},
            "the name 'a' is there twice",
        ),
        (
            {
                "tasks": [
                    {"name": "a", "instructions": ["Go"]},
                    {"name": "b", "instructions": ["go "]},
                ]
            },
            "the phrasing 'go' is there twice",
        ),
    ],
)
def test_a_wrong_file_is_refused_by_name(data, words):
    with pytest.raises(ConfigError, match=words):
        from_dict(TaskList, data, "tasks.yaml")


def test_the_task_most_behind_is_of_the_relation_most_behind():
    assert board().suggestion() is LEFT
    assert board(left=1).suggestion() is RIGHT
    assert board(left=1, right=1).suggestion() is FAR_RIGHT
    assert board(left=3, right=2).suggestion() is FAR_RIGHT
    assert board(left=4, right=2, far_right=2).suggestion() is None


def test_what_one_task_has_too_many_does_not_fill_the_quota_of_another():
    made = board(left=2, right=9)
    assert str(made.relations()["right"]) == "9/4" and made.relations()["right"].share == 0.5
    assert made.suggestion() in (LEFT, FAR_RIGHT)


def test_failures_do_not_fill_a_quota_and_foreign_episodes_count_by_their_words():
    made = board()
    made.count("left", "", False)
    made.count("somewhere", "Put it  RIGHT", True)
    made.count("somewhere", "dance", True)
    assert str(made.progress(LEFT)) == "0/4 (1 failed)" and str(made.progress(RIGHT)) == "1/2"
    assert str(made.total()) == "1/8 (1 failed)"
    made.count("left", "", False, change=-1)
    assert made.total().failed == 0


def test_phrasings_take_turns_and_tasks_go_around():
    made = board()
    said = []
    for _ in range(3):
        said.append(made.instruction)
        made.use_next_phrasing()
    assert said == ["put it left", "move it left", "put it left"]
    made.step(-1)
    assert made.task is FAR_RIGHT
    made.step(1)
    assert made.task is LEFT
    made.choose("right")
    assert made.task is RIGHT
    with pytest.raises(RecordingError, match="there is no task 'up'; there are: left, right, far_right"):
        made.choose("up")


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5))
def test_who_follows_the_suggestions_meets_every_quota_with_no_episode_too_many(quotas):
    made = TaskBoard(
        TaskList(tuple(Task(f"t{n}", (f"do {n}",), f"r{n % 2}", q) for n, q in enumerate(quotas)))
    )
    recorded = 0
    while (task := made.suggestion()) is not None:
        made.count(task.name, "", True)
        recorded += 1
    assert recorded == sum(quotas) and made.total().share == 1.0
