"""What the operator sees of the recorder: one view, to and from the values of a status message."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass

from spatialbot_ros.logic.recording_flow import State


@dataclass(frozen=True)
class OperatorView:
    """State of the recorder for people.

    Attributes:
        state: name of a `recording_flow.State`.
        episode: index of the episode in hand, "" for none.
        instruction: that the next or present episode gets.
        task, relation: of the task list, "" without one.
        countdown_s: whole seconds until the recording starts.
        elapsed_s: whole seconds of the episode in hand.
        max_length_s: where it ends by itself; 0 for never.
        label: of the episode in hand.
        progress: of the task, e.g. "3/20".
        total: of the task list.
        relations: of each spatial relation, name to progress.
        suggestion: the task that is most behind, "" where none is.
        warnings: that stand now.
        told: the last answer to the operator, or what happened by itself.
        refused: whether that was a refusal.
        answers: counts the answers, so that the same one twice is seen twice.
    """

    state: str = str(State.IDLE)
    episode: str = ""
    instruction: str = ""
    task: str = ""
    relation: str = ""
    countdown_s: int = 0
    elapsed_s: int = 0
    max_length_s: float = 0.0
    label: str = ""
    progress: str = ""
    total: str = ""
    relations: Mapping[str, str] = dataclasses.field(default_factory=dict)
    suggestion: str = ""
    warnings: tuple[str, ...] = ()
    told: str = ""
    refused: bool = False
    answers: int = 0

    def to_values(self) -> dict[str, str]:
        """As keys and texts of a DiagnosticStatus; texts as they are, the rest as JSON."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}

    @classmethod
    def from_values(cls, values: Mapping[str, str]) -> OperatorView:
        """Read what `to_values` wrote; keys that this version does not know are left out."""
        found: dict[str, object] = {}
        for field in dataclasses.fields(cls):
            if field.name in values:
                text = values[field.name]
                found[field.name] = text if field.type == "str" else json.loads(text)
        if "warnings" in found:
            found["warnings"] = tuple(found["warnings"])  # type: ignore[arg-type]
        return cls(**found)  # type: ignore[arg-type]


def lines_between(before: OperatorView | None, now: OperatorView) -> list[str]:
    """What to print when the view has changed, for a terminal that cannot redraw.

    Args:
        before: what was seen before; None at first.
        now: what is seen now.
    """
    lines = []
    first = before is None
    before = before or OperatorView()
    if now.instruction and (first or now.instruction != before.instruction):
        lines.append(f'instruction: "{now.instruction}"' + (f"  ({task_line(now)})" if now.task else ""))
    answered = now.answers != before.answers and bool(now.told)
    if answered and not (lines and lines[0].startswith(now.told)):  # an instruction is its own answer
        lines.append(("refused: " if now.refused else "") + now.told)
    if first or (now.state != before.state and not (answered and now.state == State.COUNTDOWN)):
        lines.append(state_line(now))
    elif now.state == State.COUNTDOWN and now.countdown_s != before.countdown_s:
        lines.append(f"{now.countdown_s} ...")
    if now.total and (first or (now.total, now.suggestion) != (before.total, before.suggestion)):
        lines.append(progress_line(now))
    stood, stand = set(map(_name, before.warnings)), set(map(_name, now.warnings))
    lines += [f"warning: {text}" for text in now.warnings if _name(text) not in stood]
    return lines + [f"over: {name}" for name in map(_name, before.warnings) if name not in stand]


def state_line(view: OperatorView) -> str:
    """The state in a few words."""
    length = f"{view.elapsed_s} s" + (f" of {view.max_length_s:g}" if view.max_length_s else "")
    return {
        str(State.IDLE): "idle: start begins an episode",
        str(State.COUNTDOWN): f"recording in {view.countdown_s} s",
        str(State.RECORDING): f"RECORDING episode {view.episode}, {length}",
        str(State.REVIEW): f"review of episode {view.episode}, {length}, {view.label}: save or discard",
    }.get(view.state, view.state)


def task_line(view: OperatorView) -> str:
    """The task and how far it is."""
    relation = f", {view.relation}" if view.relation else ""
    return f"task {view.task}{relation}: {view.progress}"


def progress_line(view: OperatorView) -> str:
    """The counters of the whole list and of each relation, and what is most behind."""
    relations = ", ".join(f"{name or 'none'} {text}" for name, text in view.relations.items())
    behind = f"; most behind: {view.suggestion}" if view.suggestion else "; every quota is met"
    return f"episodes {view.total}: {relations}{behind}"


def rings(before: OperatorView | None, now: OperatorView) -> bool:
    """Whether the bell rings: a recording has started or ended."""
    recording = str(State.RECORDING)
    return before is not None and before.state != now.state and recording in (before.state, now.state)


def _name(warning: str) -> str:
    """A warning without its figures, which change all the time."""
    name, _, rest = warning.partition(": ")
    return f"{name}: {rest.partition(': ')[0]}" if rest.startswith("/") else name
