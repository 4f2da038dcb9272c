"""What is to be recorded: tasks with phrasings, relation and quota; how far they are, and which is behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spatialbot_policy.errors import ConfigError, RecordingError

SCHEMA = 1


@dataclass(frozen=True)
class Task:
    """One thing to show the robot.

    Attributes:
        name: kept with each episode, e.g. "cup_left".
        instructions: phrasings of one meaning; episodes take them in turn.
        relation: the spatial relation that it is about, e.g. "left"; the balance is over these.
        quota: how many episodes are wanted.
        family: kept with each episode.

    Raises:
        ConfigError: an empty name or phrasing, no phrasing at all, or a quota below 1.
    """

    name: str
    instructions: tuple[str, ...]
    relation: str = ""
    quota: int = 1
    family: str = ""

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise ConfigError("a task has no name; give it a short one such as cup_left")
        if not self.instructions or not all(text.strip() for text in self.instructions):
            raise ConfigError(f"task '{self.name}': 'instructions' needs at least one phrasing, none empty")
        if self.quota < 1:
            raise ConfigError(f"task '{self.name}': quota is {self.quota}, allowed is 1 or more")


@dataclass(frozen=True)
class TaskList:
    """The content of a task file.

    Attributes:
        tasks: in the order in which `next_task` goes through them.
        schema: version of the file's form.

    Raises:
        ConfigError: no task, a name or a phrasing that two tasks share, or a newer schema.
    """

    tasks: tuple[Task, ...]
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise ConfigError(f"schema {self.schema} is not known here, only {SCHEMA}; update the software")
        if not self.tasks:
            raise ConfigError("the list has no task; add one under 'tasks'")
        _refuse_twice("name", [task.name for task in self.tasks])
        _refuse_twice("phrasing", [_plain(text) for task in self.tasks for text in task.instructions])

    def named(self, name: str) -> Task:
        """The task of a name.

        Raises:
            RecordingError: there is none; names those there are.
        """
        for task in self.tasks:
            if task.name == name:
                return task
        raise RecordingError(
            f"there is no task '{name}'; there are: {', '.join(task.name for task in self.tasks)}"
        )

    def of_instruction(self, text: str) -> Task | None:
        """The task that has this phrasing, capitals and spaces aside."""
        wanted = _plain(text)
        return next((task for task in self.tasks if wanted in map(_plain, task.instructions)), None)


@dataclass(frozen=True)
class Progress:
    """How far a task, a relation or the whole list is.

    Attributes:
        kept: saved episodes that are no failures.
        failed: saved episodes labelled as failures; they do not count toward the quota.
        quota: how many are wanted.
        useful: those of the kept ones that fill a quota: what one task has too many helps no other.
    """

    kept: int = 0
    failed: int = 0
    quota: int = 0
    useful: int = 0

    @property
    def share(self) -> float:
        """Part of the quota that is filled; 1 is all of it."""
        return self.useful / self.quota if self.quota else 1.0

    def __add__(self, other: Progress) -> Progress:
        """Both together."""
        return Progress(
            self.kept + other.kept,
            self.failed + other.failed,
            self.quota + other.quota,
            self.useful + other.useful,
        )

    def __str__(self) -> str:
        """E.g. "3/20 (1 failed)"."""
        return f"{self.kept}/{self.quota}" + (f" ({self.failed} failed)" if self.failed else "")


class TaskBoard:
    """Which task is chosen, in which phrasing, and how far all of them are.

    Attributes:
        tasks: the list.
        task: the chosen one.
    """

    def __init__(self, tasks: TaskList) -> None:
        self.tasks = tasks
        self._kept = dict.fromkeys((task.name for task in tasks.tasks), 0)
        self._failed = dict(self._kept)
        self._phrasing = dict(self._kept)
        self.task = tasks.tasks[0]

    def count(self, task: str, instruction: str, success: bool | None, change: int = 1) -> None:
        """Note a saved episode.

        Args:
            task: its name; one that is in no list is looked up by the instruction instead.
            instruction: its words.
            success: its label.
            change: -1 for one that was taken back.
        """
        if task not in self._kept:
            found = self.tasks.of_instruction(instruction)
            if found is None:
                return
            task = found.name
        counts = self._failed if success is False else self._kept
        counts[task] = max(0, counts[task] + change)

    @property
    def instruction(self) -> str:
        """The phrasing whose turn it is."""
        phrasings = self.task.instructions
        return phrasings[self._phrasing[self.task.name] % len(phrasings)]

    def use_next_phrasing(self) -> None:
        """The present phrasing was recorded: the next one has its turn."""
        self._phrasing[self.task.name] += 1

    def step(self, places: int) -> None:
        """Choose the task so many places further on, around the end."""
        names = [task.name for task in self.tasks.tasks]
        self.task = self.tasks.tasks[(names.index(self.task.name) + places) % len(names)]

    def choose(self, name: str) -> None:
        """Choose a task by its name.

        Raises:
            RecordingError: there is none.
        """
        self.task = self.tasks.named(name)

    def progress(self, task: Task) -> Progress:
        """How far a task is."""
        kept = self._kept[task.name]
        return Progress(kept, self._failed[task.name], task.quota, min(kept, task.quota))

    def relations(self) -> Mapping[str, Progress]:
        """How far each spatial relation is, in the order of the list."""
        found: dict[str, Progress] = {}
        for task in self.tasks.tasks:
            found[task.relation] = found.get(task.relation, Progress()) + self.progress(task)
        return found

    def total(self) -> Progress:
        """How far the list is."""
        return sum((self.progress(task) for task in self.tasks.tasks), Progress())

    def suggestion(self) -> Task | None:
        """The task that is most behind, of the relation that is most behind; None when all quotas are met."""
        relations = self.relations()
        open_tasks = [task for task in self.tasks.tasks if self.progress(task).share < 1.0]
        if not open_tasks:
            return None
        return min(open_tasks, key=lambda task: (relations[task.relation].share, self.progress(task).share))


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def _refuse_twice(what: str, values: list[str]) -> None:
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise ConfigError(f"the {what} '{twice[0]}' is there twice; every task needs its own")
