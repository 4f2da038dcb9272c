"""Instructions in words: templates seen in training, and phrasings held out for evaluation."""

from __future__ import annotations

from enum import Enum

import numpy as np

from spatialbot_policy.errors import TaskError


class Phrasing(str, Enum):
    """Which set of templates an instruction is drawn from."""

    TRAIN = "train"
    HELD_OUT = "held_out"


_GRASPS = ("pick up", "grasp", "grab", "get", "fetch", "take hold of", "pick")
_SETS = ("place it on", "put it on", "set it down on", "drop it on", "move it to", "carry it over to")
_MOVES = (
    "put the {object} on",
    "place the {object} on",
    "move the {object} to",
    "bring the {object} over to",
    "transfer the {object} to",
    "set the {object} down on",
    "carry the {object} to",
)

_TEMPLATES: dict[Phrasing, tuple[str, ...]] = {
    Phrasing.TRAIN: (
        *(f"{grasp} the {{object}} and {put} the {{board}}" for grasp in _GRASPS for put in _SETS),
        *(f"{move} the {{board}}" for move in _MOVES for _ in range(4)),
        *(f"please {move} the {{board}}" for move in _MOVES),
        *(f"can you {move} the {{board}}" for move in _MOVES),
        *(f"I want you to {move} the {{board}}" for move in _MOVES),
    ),
    Phrasing.HELD_OUT: (
        "take the {object} and put it onto the {board}",
        "lift the {object} and lay it on the {board}",
        "the {object} belongs on the {board}",
    ),
}
"""Those of training are combined from verbs; short sentences count four times."""

_PERSPECTIVE: dict[Phrasing, tuple[str, ...]] = {
    Phrasing.TRAIN: (
        "as seen from the {viewer}",
        "from the {viewer}'s view",
        "from the {viewer}'s side",
        "seen by the {viewer}",
        "looking from the {viewer}",
        "as the {viewer} sees it",
        "in the view of the {viewer}",
    ),
    Phrasing.HELD_OUT: ("from where the {viewer} is",),
}

DEGREES: dict[str, tuple[str, str, str]] = {
    "big": ("big", "bigger", "biggest"),
    "small": ("small", "smaller", "smallest"),
    "tall": ("tall", "taller", "tallest"),
    "short": ("short", "shorter", "shortest"),
    "wide": ("wide", "wider", "widest"),
}
"""Positive, comparative and superlative of every word of the `size` family."""


def parse_phrasing(name: str) -> Phrasing:
    """Turn a name into a Phrasing.

    Raises:
        TaskError: no set of templates has that name.
    """
    try:
        return Phrasing(name)
    except ValueError as error:
        known = ", ".join(phrasing.value for phrasing in Phrasing)
        raise TaskError(f"unknown phrasing '{name}'; there are: {known}") from error


def write_instruction(
    rng: np.random.Generator, phrasing: Phrasing, object_words: str, board_words: str, viewer: str | None
) -> str:
    """Draw a template and fill it in.

    Args:
        rng: the scene's own generator.
        phrasing: which templates may be used.
        object_words: e.g. "red cup", "leftmost blue box".
        board_words: e.g. "left board".
        viewer: "robot" or "camera" where the words depend on the side they are seen from, else None.
    """
    templates = _TEMPLATES[phrasing]
    text = templates[rng.integers(len(templates))].format(object=object_words, board=board_words)
    if viewer is not None:
        endings = _PERSPECTIVE[phrasing]
        text += ", " + endings[rng.integers(len(endings))].format(viewer=viewer)
    return text
