"""Task files for the recorder: read from YAML, and counted in the data set that is there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from spatialbot_policy.config import load_yaml
from spatialbot_policy.episodes.dataset import DATASET_FILE, Dataset
from spatialbot_policy.episodes.dataset_index import list_episodes
from spatialbot_policy.episodes.relation import relation_of_instruction
from spatialbot_ros.logic.task_list import Task, TaskBoard, TaskList


def load_tasks(file: Path | str) -> TaskList:
    """Read a task file; a task that names no relation gets that of its first phrasing.

    Raises:
        ConfigError: it cannot be read, has an unknown key, or its tasks contradict each other.
    """
    tasks = load_yaml(TaskList, file)
    return replace(tasks, tasks=tuple(map(_with_relation, tasks.tasks)))


def task_board(file: str, dataset: Path) -> TaskBoard | None:
    """The tasks of a file with what the data set already holds of them, at the one most behind; None for "".

    Raises:
        ConfigError: what `load_tasks` says.
        EpisodeError: the data set cannot be read.
    """
    if not file:
        return None
    board = TaskBoard(load_tasks(file))
    if (dataset / DATASET_FILE).exists():
        for entry in list_episodes(Dataset(dataset)).entries:
            outcome = entry.info.outcome
            board.count(entry.info.task, entry.info.instruction, outcome.success if outcome else None)
    if (behind := board.suggestion()) is not None:
        board.choose(behind.name)
    return board


def _with_relation(task: Task) -> Task:
    return task if task.relation else replace(task, relation=relation_of_instruction(task.instructions[0]))
