"""Where the operator's words meet the recorder: verbs, tasks, typed instructions, and what is shown."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from pathlib import Path

from spatialbot_policy.errors import RecordingError
from spatialbot_ros.logic.operator_view import OperatorView
from spatialbot_ros.logic.recording_flow import VERBS, RecordingFlow
from spatialbot_ros.logic.recording_warnings import LiveWarning
from spatialbot_ros.logic.task_list import TaskBoard
from spatialbot_ros.nodes.episode_recording import EpisodeRecording, Saved
from spatialbot_ros.nodes.recorder_parameters import RecorderParameters
from spatialbot_ros.nodes.task_files import task_board

WORD_VERBS = ("instruction", "task", "note")
"""Verbs that need words behind them; `failure` may have some."""
SHOWN = tuple(field.name for field in fields(OperatorView))


class OperatorDesk:
    """Carries out what the operator says and keeps the counters.

    Args:
        flow: the state machine.
        recording: gets task and instruction.
        values: gives the recorder's present parameters.
        announce: publishes an instruction for everybody; its echo comes back through `heard`.

    Attributes:
        told: the last answer.

    Raises:
        SpatialBotError: the task file or the data set cannot be read.
    """

    def __init__(
        self,
        flow: RecordingFlow,
        recording: EpisodeRecording,
        values: Callable[[], RecorderParameters],
        announce: Callable[[str], None],
    ) -> None:
        self._flow = flow
        self._recording = recording
        self._values = values
        self._announce = announce
        self._board: TaskBoard | None = task_board(values().tasks, Path(values().dataset))
        self._saved: Saved | None = None
        self.told = ""
        self._refused = False
        self._answers = 0
        self._announced: list[str] = []
        if values().instruction.strip():
            self._typed(values().instruction.strip())
        else:
            self._take_task()

    def do(self, verb: str, words: str, now_ns: int) -> str:
        """Carry out a verb; returns what to tell.

        Raises:
            SpatialBotError, OSError: it is refused; says why.
        """
        flow = self._flow
        actions: dict[str, Callable[[], str]] = {
            "start": lambda: flow.start(now_ns),
            "save": lambda: self._save(now_ns),
            "discard": flow.discard,
            "rerecord": lambda: flow.rerecord(now_ns),
            "undo": self._undo,
            "success": flow.success,
            "failure": lambda: flow.failure(words),
            "next_task": lambda: self._step(1),
            "previous_task": lambda: self._step(-1),
            "task": lambda: self._choose(words),
            "instruction": lambda: self._typed(words),
            "note": lambda: flow.note(words),
        }
        if verb not in actions:
            raise RecordingError(f"unknown verb '{verb}'; there are: {', '.join((*VERBS, *WORD_VERBS))}")
        return actions[verb]()

    def tell(self, text: str, refused: bool) -> None:
        """Note an answer for the view."""
        self.told, self._refused, self._answers = text, refused, self._answers + 1

    def view(self, now_ns: int, warnings: Iterable[LiveWarning]) -> OperatorView:
        """What the operator sees now."""
        flow, board = self._flow, self._board
        view = OperatorView(
            state=str(flow.state),
            episode="" if flow.index is None else str(flow.index),
            instruction=self._recording.instruction,
            countdown_s=math.ceil(flow.left_s(now_ns)),
            elapsed_s=int(flow.elapsed_s(now_ns)),
            max_length_s=flow.settings.max_length_s,
            label="" if flow.index is None else str(flow.label),
            warnings=tuple(map(str, warnings)),
            told=self.told,
            refused=self._refused,
            answers=self._answers,
        )
        if board is None:
            return view
        task, behind = self._recording.task, board.suggestion()
        return replace(
            view,
            task=task.name if task else "",
            relation=task.relation if task else "",
            progress=str(board.progress(task)) if task else "",
            total=str(board.total()),
            relations={relation: str(progress) for relation, progress in board.relations().items()},
            suggestion=behind.name if behind else "",
        )

    def heard(self, instruction: str) -> bool:
        """Take an instruction from its topic; returns whether it is somebody else's and not our own echo."""
        if instruction in self._announced:
            del self._announced[: self._announced.index(instruction) + 1]
            return False
        self._recording.instruction = instruction
        self._recording.task = None if self._board is None else self._board.tasks.of_instruction(instruction)
        return True

    # -- verbs with more to them

    def _save(self, now_ns: int) -> str:
        told = self._flow.save(now_ns)
        if self._flow.index is not None:
            return told  # it is in review
        self._saved = self._recording.saved
        if self._board is None or self._saved is None:
            return told
        self._board.count(*self._saved)
        self._board.use_next_phrasing()
        if self._recording.task is not None:
            if self._values().auto_next and (behind := self._board.suggestion()) is not None:
                self._board.choose(behind.name)
            self._take_task()
        return told

    def _undo(self) -> str:
        told = self._flow.undo()
        if self._board is not None and self._saved is not None:
            self._board.count(*self._saved, change=-1)
        self._saved = None
        return told

    def _step(self, places: int) -> str:
        self._require_board("next_task" if places > 0 else "previous_task").step(places)
        return self._take_task()

    def _choose(self, name: str) -> str:
        self._require_board("task").choose(name)
        return self._take_task()

    def _typed(self, words: str) -> str:
        self._flow.require_idle("instruction")
        if not words:
            raise RecordingError("the instruction is empty; write the task in words after it")
        self._recording.task = None if self._board is None else self._board.tasks.of_instruction(words)
        return self._say(words)

    def _require_board(self, verb: str) -> TaskBoard:
        self._flow.require_idle(verb)
        if self._board is None:
            raise RecordingError(
                f"{verb}: there is no task list; start the recorder with tasks:=FILE (config/tasks has "
                "examples), or type an instruction"
            )
        return self._board

    def _take_task(self) -> str:
        """The board's task is what is recorded next."""
        if self._board is None:
            return ""
        self._recording.task = self._board.task
        return self._say(self._board.instruction)

    def _say(self, instruction: str) -> str:
        self._recording.instruction = instruction
        self._announced.append(instruction)
        self._announce(instruction)
        return f'instruction: "{instruction}"'
