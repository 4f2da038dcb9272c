"""The spatial relation of an episode: as the recorder noted it, otherwise read from the instruction."""

from __future__ import annotations

import re

from spatialbot_policy.episodes.info import EpisodeInfo

NO_RELATION = "none"
RELATION_KEY = "relation"
"""Key of `EpisodeInfo.extra` where a recorder that knows the relation notes it."""

_WORDS: dict[str, tuple[str, ...]] = {
    "between": ("between", "middle", "center", "centre"),
    "left": ("left", "leftmost"),
    "right": ("right", "rightmost"),
    "front": ("front", "in front of"),
    "behind": ("behind", "back", "rear"),
    "above": ("above", "over the top of", "upper"),
    "below": ("below", "under", "underneath", "beneath", "lower"),
    "inside": ("inside", "into"),
    "near": ("near", "nearer", "nearest", "close to", "closer", "closest", "next to", "beside"),
    "far": ("far", "farther", "farthest", "further", "furthest"),
    "larger": ("big", "bigger", "biggest", "large", "larger", "largest"),
    "smaller": ("small", "smaller", "smallest"),
    "taller": ("tall", "taller", "tallest", "high", "higher", "highest"),
    "shorter": ("short", "shorter", "shortest", "lowest"),
    "wider": ("wide", "wider", "widest"),
    "narrower": ("narrow", "narrower", "narrowest"),
}
RELATIONS = (*_WORDS, NO_RELATION)
"""All relations, in the order tables show them; a recorder may note others."""

_BY_WORD = {word: relation for relation, words in _WORDS.items() for word in words}
_PATTERN = re.compile(
    r"\b(" + "|".join(sorted(map(re.escape, _BY_WORD), key=len, reverse=True)) + r")\b", re.IGNORECASE
)


def relation_of_instruction(text: str) -> str:
    """The relation that the first relation word of an instruction names; `NO_RELATION` without one.

    The first, for in "pick up the leftmost box and put it on the right board" it tells the object apart.
    """
    found = _PATTERN.search(text)
    return _BY_WORD[found[1].lower()] if found else NO_RELATION


def relation_of(info: EpisodeInfo) -> str:
    """The relation of an episode: `extra["relation"]` where it is a word, else by its instruction."""
    noted = info.extra.get(RELATION_KEY)
    if isinstance(noted, str) and noted.strip():
        return noted.strip().lower()
    return relation_of_instruction(info.instruction)
