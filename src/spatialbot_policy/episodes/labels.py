"""Labels of a recorded episode: changed in `episode.json` alone, the older ones kept beside the new."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from spatialbot_policy.episodes.file_lock import FileLock
from spatialbot_policy.episodes.info import INFO_FILE, LABEL_HISTORY, EpisodeInfo, Outcome
from spatialbot_policy.episodes.reader import EpisodeReader
from spatialbot_policy.episodes.relation import RELATION_KEY
from spatialbot_policy.episodes.topics import depth_topic
from spatialbot_policy.errors import EpisodeError

NOTE_KEY = "note"


@dataclasses.dataclass(frozen=True)
class Labels:
    """New labels; None leaves one as it is.

    Attributes:
        instruction: the task in words; replaces the recorded one in all steps of a demo.
        outcome: whether it succeeded, or that nobody knows.
        note: free text; "" removes it.
        relation: the spatial relation; "" for the one that the instruction names. A new instruction removes
            what the recorder noted, unless one is given.
    """

    instruction: str | None = None
    outcome: Outcome | None = None
    note: str | None = None
    relation: str | None = None


def relabel(path: Path, labels: Labels, when: str) -> EpisodeInfo:
    """Change labels of a committed episode in one step; its messages and their checksum stay.

    Args:
        path: directory of the episode.
        labels: what to change.
        when: the present moment, as text.

    Returns:
        the facts as they are now.

    Raises:
        EpisodeError: nothing changes, the episode is read-only, or it holds stills, whose instructions are
            messages.
    """
    if not path.is_dir():
        raise EpisodeError(f"{path} is no episode; 'spatialbot episodes list' shows them")
    try:
        with FileLock(path, make=False):  # of the folder: episode.json itself is replaced
            changed = _changed(EpisodeReader(path).info, labels, when, path)
            changed.save(path)
    except OSError as error:
        raise EpisodeError(
            f"{path / INFO_FILE} cannot be written ({error}); set permissions, or relabel a copy"
        ) from error
    return changed


def _changed(info: EpisodeInfo, labels: Labels, when: str, path: Path) -> EpisodeInfo:
    before: dict[str, object] = {}
    extra = dict(info.extra)
    instruction, outcome = info.instruction, info.outcome
    if labels.instruction is not None and labels.instruction != info.instruction:
        if info.kind == "stills":
            raise EpisodeError(f"{path} holds stills: each picture has its own instruction; record them anew")
        before["instruction"], instruction = info.instruction, labels.instruction
    if labels.outcome is not None:
        recovered = bool(info.outcome and info.outcome.recovered)  # a fact, not an opinion
        outcome = dataclasses.replace(labels.outcome, recovered=recovered)
        if outcome != info.outcome:
            before["outcome"] = None if info.outcome is None else dataclasses.asdict(info.outcome)
    relation = labels.relation
    if relation is None and "instruction" in before:
        relation = ""
    for key, text in ((NOTE_KEY, labels.note), (RELATION_KEY, relation)):
        if text is not None and text != extra.get(key, ""):
            before[key] = extra.pop(key, "")
            if text:
                extra[key] = text
    if not before:
        raise EpisodeError(
            f"{path} has these labels already; give another --instruction, --outcome or --note"
        )
    extra[LABEL_HISTORY] = [*history(info), {"when": when, **before}]
    return dataclasses.replace(info, instruction=instruction, outcome=outcome, extra=extra)


def history(info: EpisodeInfo) -> list[Mapping[str, object]]:
    """Labels an episode had before, oldest first."""
    found = info.extra.get(LABEL_HISTORY, [])
    return [entry for entry in found if isinstance(entry, Mapping)] if isinstance(found, list) else []


def outcome_word(info: EpisodeInfo) -> str:
    """The outcome in a word: success, the kind of failure, or why it is unknown."""
    outcome = info.outcome
    if outcome is None or outcome.success is None:
        return "recovered" if outcome is not None and outcome.recovered else "unknown"
    return "success" if outcome.success else outcome.failure or "failure"


def marks(info: EpisodeInfo) -> list[str]:
    """What sets an episode apart, in a word each: no depth, cut off, changed, warned of while recording."""
    found = []
    if not any(topic.startswith(depth_topic(camera)) for camera in info.intrinsics for topic in info.counts):
        found.append("no depth")
    if info.outcome is not None and info.outcome.recovered:
        found.append("recovered")
    if "trimmed_from" in info.extra:
        found.append("trimmed")
    if history(info):
        found.append("relabelled")
    found += [word for word, key in (("audit", "audit"), ("clock", "clock_jumps")) if info.extra.get(key)]
    warnings = info.extra.get("warnings")
    if isinstance(warnings, list | tuple):
        names = {
            str(item.get("name", "warning")) if isinstance(item, Mapping) else str(item) for item in warnings
        }
        found += sorted(names)
    return found


def _warning_name(item: object) -> str:
    return str(item.get("name", "warning")) if isinstance(item, Mapping) else str(item)
