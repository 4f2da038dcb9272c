"""The one place where prompts and answers are written as text."""

from __future__ import annotations

import re
from enum import Enum

from spatialbot_policy.errors import PromptError


class PromptStyle(str, Enum):
    """Wording of the robot prompt; a checkpoint is trained with one of them."""

    REFERENCE = "reference"  # as the authors' code asks
    PAPER = "paper"  # as the paper prints it


_QUESTIONS = {
    PromptStyle.REFERENCE: "Instruct the robot to {task}\nAnswer with robot parameters.",
    PromptStyle.PAPER: "What should the robot do to {task}? Answer with robot parameters.",
}
_ANSWERS = {PromptStyle.REFERENCE: "{action}", PromptStyle.PAPER: "The robot should {action}."}
_RESERVED = re.compile(r"<\s*(image|action)", re.IGNORECASE)


def clean_instruction(instruction: str) -> str:
    """Bring an operator's words into the form of the training data: one line, no full stop at the end.

    Raises:
        PromptError: nothing is left, or the text holds a placeholder that only the prompt may write.
    """
    task = " ".join(instruction.split()).rstrip(" .?!")
    if not task:
        raise PromptError("the instruction is empty; say what to do, e.g. 'pick up the red cup'")
    if _RESERVED.search(task):
        raise PromptError(
            f"the instruction {task!r} holds an image or action placeholder; take '<image' and '<action' out"
        )
    return task


def image_placeholder(number: int) -> str:
    """Text that stands for the image of that number, counted from 1."""
    return f"<image {number}>"


def build_prompt(instruction: str, image_count: int, style: PromptStyle) -> str:
    """Write the robot prompt: one placeholder line for each image, then the question.

    Args:
        instruction: the task in words; cleaned here.
        image_count: images that go with it, at least 1.
        style: wording that the checkpoint was trained with.

    Raises:
        PromptError: an instruction that cannot be used, or no image.
    """
    if image_count < 1:
        raise PromptError(f"a robot prompt needs at least one image, got {image_count}")
    placeholders = "".join(f"{image_placeholder(number)}\n" for number in range(1, image_count + 1))
    return placeholders + _QUESTIONS[style].format(task=clean_instruction(instruction))


def build_answer(action_text: str, style: PromptStyle) -> str:
    """Write the answer that goes with the prompt around an action's text form."""
    return _ANSWERS[style].format(action=action_text)


def answer_separator(style: PromptStyle) -> str:
    """Text between a prompt and its answer: nothing, or the space between two sentences."""
    return "" if style is PromptStyle.REFERENCE else " "


def answer_lead(style: PromptStyle) -> str:
    """What stands between a prompt and its action: the robot answers from there on, action tokens alone."""
    return answer_separator(style) + _ANSWERS[style].split("{action}")[0]


def action_text_of(answer: str, style: PromptStyle) -> str:
    """Take the action's text form out of an answer: the inverse of `build_answer`.

    Raises:
        PromptError: the answer does not have the style's form.
    """
    before, after = _ANSWERS[style].split("{action}")
    text = answer.strip()
    inner = text[len(before) : len(text) - len(after)]
    if before + inner + after != text or not inner:
        raise PromptError(f"the answer {answer!r} does not have the form {_ANSWERS[style]!r}")
    return inner
