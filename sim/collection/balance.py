"""What the instructions of a data set ask for: a demonstration counts once, each still by itself."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator

from spatialbot_policy.episode import Dataset, EpisodeReader
from spatialbot_policy.episodes.aggregated import driver_of
from spatialbot_policy.episodes.decode import decode_one
from spatialbot_policy.episodes.info import MCAP_FILE
from spatialbot_policy.episodes.mcap_file import read_messages
from spatialbot_policy.episodes.relation import relation_of_instruction
from spatialbot_policy.episodes.topics import INSTRUCTION_TOPIC, STRING
from spatialbot_sim.task.specs import Shape

ASPECTS = ("family", "kind", "relation", "viewer", "board", "shape")
"""What is counted; `relation` is the word for the object, of place or size, and not that of the board."""
NONE = "none"
_BOARD = re.compile(r"\b(left|right) board\b")
_VIEWER = re.compile(r"\b(robot|camera)\b")
_SHAPE = re.compile(r"\b(" + "|".join(shape.value for shape in Shape) + r")\b")


def balance(
    dataset: Dataset, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> dict[str, Counter[str]]:
    """Count what is asked for, by each of ASPECTS.

    Args:
        dataset: simulated or not; where an instruction has no such word, it counts as NONE.
        on_progress: called with (episodes read, episodes in all).

    Raises:
        EpisodeError: a damaged episode.
    """
    counts: dict[str, Counter[str]] = {aspect: Counter() for aspect in ASPECTS}
    readers = list(dataset.episodes())
    for number, reader in enumerate(readers, start=1):
        kind = "aggregated" if driver_of(reader.info) else reader.info.kind
        for text in _instructions(reader):
            asked = {"family": reader.info.family or NONE, "kind": kind, **asked_for(text)}
            for aspect, word in asked.items():
                counts[aspect][word] += 1
        on_progress(number, len(readers))
    return counts


def asked_for(instruction: str) -> dict[str, str]:
    """The words of an instruction: relation, viewer, board and shape, each NONE where it has no such word.

    The board is named as the viewer of the instruction sees it.
    """
    return {
        "relation": relation_of_instruction(_BOARD.sub("board", instruction)),
        "viewer": _word(_VIEWER, instruction),
        "board": _word(_BOARD, instruction),
        "shape": _word(_SHAPE, instruction),
    }


def _word(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return NONE if found is None else found[1]


def _instructions(reader: EpisodeReader) -> Iterator[str]:
    """One for a demonstration, one for each still."""
    if reader.info.kind != "stills" or reader.info.relabelled_instruction is not None:
        count = reader.info.steps if reader.info.kind == "stills" else 1
        yield from [reader.info.instruction] * count
        return
    types = {INSTRUCTION_TOPIC: STRING}
    for message in read_messages(reader.path / MCAP_FILE, types):
        yield str(decode_one(message.topic, message.data, message.log_time_ns, types)[1])
