"""Conversations: turns from and to the authors' JSON, image placeholders, and the text around the turns."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from spatialbot_policy.conversation_config import ConversationConfig, ConversationTemplate, ImagePadding
from spatialbot_policy.errors import ConversationError
from spatialbot_policy.images import PadSquare, ResizePad, Stretch
from spatialbot_policy.prompt import image_placeholder

_NUMBERED = re.compile(r"<image (\d+)>")
_BARE = "<image>"
_MALFORMED = re.compile(r"<\s*image", re.IGNORECASE)


class Role(str, Enum):
    """Who speaks, as the authors' JSON calls them."""

    USER = "human"
    ASSISTANT = "gpt"


@dataclass(frozen=True)
class Turn:
    """What one side says; a user's text holds `<image 1>`, `<image 2>` .. where images are shown."""

    role: Role
    text: str


@dataclass(frozen=True)
class Piece:
    """A stretch of a conversation's text; `learned` where the model is to say it."""

    text: str
    learned: bool


def plain_template(begin: str, end: str, separator: str = "") -> ConversationTemplate:
    """Questions and answers with nothing around them: robot prompts, and captions when images are aligned."""
    return ConversationTemplate(system="", user="", assistant="", separator=separator, end=end, begin=begin)


def write_conversation(turns: Sequence[Turn], template: ConversationTemplate) -> tuple[Piece, ...]:
    """Write turns as the model reads them; when the user spoke last, up to where the answer begins.

    The space before an answer belongs to the answer, as the released model learned it: its prompt ends
    with `ASSISTANT:`.

    Raises:
        ConversationError: roles out of order, or placeholders that do not count up; see `check_turns`.
    """
    check_turns(turns)
    named = bool(template.user)
    head = template.begin + (template.system + template.separator if template.system else "")
    pieces = [Piece(head, False)] if head else []
    for turn in turns:
        if turn.role is Role.USER:
            asked = f"{template.user}: {turn.text}{template.separator}{template.assistant}:"
            pieces.append(Piece(asked if named else turn.text, False))
        else:
            gap = " " if named else template.separator
            pieces.append(Piece(f"{gap}{turn.text}{template.end}", True))
    return tuple(pieces)


def check_turns(turns: Sequence[Turn]) -> None:
    """Refuse what is no conversation.

    Raises:
        ConversationError: no turn, the user does not begin, one side speaks twice in a row, a turn is empty,
            or a placeholder is malformed, in an answer, or out of order.
    """
    if not turns:
        raise ConversationError("a conversation needs at least one turn; give a question")
    for number, turn in enumerate(turns):
        due = Role.ASSISTANT if number % 2 else Role.USER
        if turn.role is not due:
            raise ConversationError(
                f"turn {number + 1} is by '{turn.role.value}', but '{due.value}' speaks there; roles "
                "alternate, and 'human' begins"
            )
        if not turn.text.strip():
            raise ConversationError(f"turn {number + 1} by '{turn.role.value}' is empty; write it or drop it")
        if turn.role is Role.ASSISTANT and _MALFORMED.search(turn.text):
            raise ConversationError(
                f"the answer in turn {number + 1} holds '<image'; only questions show images"
            )
    count_images(turns)


def count_images(turns: Sequence[Turn]) -> int:
    """Count the numbered placeholders, which go up from 1 over the whole conversation.

    Raises:
        ConversationError: they do not, or one is malformed.
    """
    texts = [turn.text for turn in turns if turn.role is Role.USER]
    numbers = [int(number) for text in texts for number in _NUMBERED.findall(text)]
    if numbers != list(range(1, len(numbers) + 1)):
        raise ConversationError(
            f"image placeholders must count up from <image 1> in reading order, got {numbers}; renumber "
            "them, and list the images in that order"
        )
    for text in texts:
        found = _MALFORMED.search(_NUMBERED.sub("", text))
        if found:
            raise ConversationError(
                f"{text[:60]!r} holds a malformed image placeholder; write <image 1>, <image 2>, .."
            )
    return len(numbers)


def number_placeholders(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """Number the bare `<image>` of LLaVA's data in reading order; numbered ones stay as they are.

    Raises:
        ConversationError: both kinds in one conversation.
    """
    bare = sum(turn.text.count(_BARE) for turn in turns if turn.role is Role.USER)
    if not bare:
        return tuple(turns)
    if any(_NUMBERED.search(turn.text) for turn in turns):
        raise ConversationError("<image> and <image 1> in one conversation; number all of them or none")
    numbers = iter(range(1, bare + 1))
    return tuple(
        replace(turn, text=re.sub(_BARE, lambda _: image_placeholder(next(numbers)), turn.text))
        if turn.role is Role.USER
        else turn
        for turn in turns
    )


def only_placeholders(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """Reduce each question to its images: captions are learned without being asked for."""
    return tuple(
        replace(turn, text=" ".join(map(image_placeholder, map(int, _NUMBERED.findall(turn.text)))))
        if turn.role is Role.USER
        else turn
        for turn in turns
    )


def read_entry(entry: object, most_images: int = 8) -> tuple[tuple[Turn, ...], tuple[str, ...]]:
    """Take turns and image paths out of one entry of the authors' JSON.

    Args:
        entry: `{"id", "image": path or paths, "conversations": [{"from": "human" | "gpt", "value"}]}`.
        most_images: that a conversation may hold.

    Returns:
        Turns with numbered placeholders, the last one an answer, and as many image paths.

    Raises:
        ConversationError: another form, roles out of order, no answer, or images and placeholders that
            disagree in number.
    """
    if not isinstance(entry, Mapping) or not isinstance(entry.get("conversations"), list):
        raise ConversationError("an entry is a mapping with a list 'conversations'; see docs/training.md")
    turns = number_placeholders([_turn(number, said) for number, said in enumerate(entry["conversations"])])
    check_turns(turns)
    if turns[-1].role is not Role.ASSISTANT:
        raise ConversationError("the conversation ends with a question, so there is nothing to learn from it")
    given = entry.get("image", [])
    images = [given] if isinstance(given, str) else given
    if not isinstance(images, list) or not all(isinstance(path, str) and path for path in images):
        raise ConversationError(f"'image' must be a path or a list of paths, got {given!r}")
    if len(images) > most_images:
        raise ConversationError(f"{len(images)} images; a conversation holds at most {most_images}")
    wanted = count_images(turns)
    if wanted != len(images):
        raise ConversationError(
            f"the text has {wanted} image placeholders and 'image' lists {len(images)}; they must agree"
        )
    return turns, tuple(images)


def write_entry(
    turns: Sequence[Turn], images: Sequence[str] = (), entry_id: str | int | None = None
) -> dict[str, Any]:
    """Write one entry of the authors' JSON: the inverse of `read_entry`."""
    entry: dict[str, Any] = {} if entry_id is None else {"id": entry_id}
    if images:
        entry["image"] = list(images)
    entry["conversations"] = [{"from": turn.role.value, "value": turn.text} for turn in turns]
    read_entry(entry)
    return entry


def _turn(number: int, said: object) -> Turn:
    if not isinstance(said, Mapping) or not isinstance(said.get("value"), str):
        raise ConversationError(f"turn {number + 1} needs 'from' and a text 'value', got {said!r:.80}")
    try:
        return Turn(Role(said.get("from")), said["value"])
    except ValueError as error:
        raise ConversationError(
            f"turn {number + 1} is from {said.get('from')!r}; use 'human' or 'gpt'"
        ) from error


def image_fit(config: ConversationConfig) -> PadSquare | ResizePad | Stretch:
    """How a checkpoint wants images brought to its size."""
    width, height = config.image_width, config.image_height
    if config.image_padding is ImagePadding.MEAN:
        return PadSquare(width, height, config.pad_color)
    if config.image_padding is ImagePadding.STRETCH:
        return Stretch(width, height)
    return ResizePad(width, height)
