"""Instructions in words: templates seen in training, and phrasings held out for evaluation."""

from __future__ import annotations

from enum import Enum

import numpy as np

from spatialbot_policy.errors import TaskError


class Phrasing(str, Enum):
    """Which set of templates an instruction is drawn from."""

    TRAIN = "train"
    HELD_OUT = "held_out"


_TEMPLATES: dict[Phrasing, tuple[str, ...]] = {
    Phrasing.TRAIN: (
        "pick up the {object} and place it on the {board}",
        "put the {object} on the {board}",
        "move the {object} to the {board}",
        "grasp the {object} and set it down on the {board}",
        "bring the {object} over to the {board}",
    ),
    Phrasing.HELD_OUT: (
        "take the {object} and put it onto the {board}",
        "lift the {object} and lay it on the {board}",
        "the {object} belongs on the {board}",
    ),
}

_PERSPECTIVE: dict[Phrasing, tuple[str, ...]] = {
    Phrasing.TRAIN: ("as seen from the {viewer}", "from the {viewer}'s view"),
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
