"""The prompt's exact words."""

from __future__ import annotations

import pytest

from spatialbot_policy.errors import PromptError
from spatialbot_policy.prompt import (
    PromptStyle,
    action_text_of,
    build_answer,
    build_prompt,
    clean_instruction,
)

TASK = "pick up the biggest teacup"


def test_reference_prompt():
    assert build_prompt(TASK, 2, PromptStyle.REFERENCE) == (
        "<image 1>\n<image 2>\nInstruct the robot to pick up the biggest teacup\n"
        "Answer with robot parameters."
    )


def test_paper_prompt_and_answer():
    assert build_prompt(TASK, 1, PromptStyle.PAPER) == (
        "<image 1>\nWhat should the robot do to pick up the biggest teacup? Answer with robot parameters."
    )
    assert build_answer("<0.17, 1>", PromptStyle.PAPER) == "The robot should <0.17, 1>."


def test_eight_images_are_numbered_in_order():
    prompt = build_prompt(TASK, 8, PromptStyle.REFERENCE)
    assert prompt.splitlines()[:8] == [f"<image {number}>" for number in range(1, 9)]


@pytest.mark.parametrize("style", PromptStyle)
def test_answers_come_back(style):
    assert action_text_of(build_answer("<0, 1>", style) + "\n", style) == "<0, 1>"


@pytest.mark.parametrize("answer", ["The robot should", "<0, 1>", "The robot should .", ""])
def test_other_answers_are_refused(answer):
    with pytest.raises(PromptError, match="does not have the form"):
        action_text_of(answer, PromptStyle.PAPER)


@pytest.mark.parametrize("raw", ["  pick up\n the  cup. ", "pick up the cup", "pick\tup the cup?"])
def test_instructions_are_cleaned(raw):
    assert clean_instruction(raw) == "pick up the cup"


def test_braces_in_an_instruction_are_only_text():
    assert "{style} it" in build_prompt("{style} it", 1, PromptStyle.PAPER)


@pytest.mark.parametrize("raw", ["", " \n ", "."])
def test_empty_instructions_are_refused(raw):
    with pytest.raises(PromptError, match="empty.*what to do"):
        build_prompt(raw, 4, PromptStyle.REFERENCE)


@pytest.mark.parametrize("raw", ["look at <image 9>", "do < IMAGE", "say <action_050>"])
def test_placeholders_in_instructions_are_refused(raw):
    with pytest.raises(PromptError, match="placeholder"):
        build_prompt(raw, 4, PromptStyle.REFERENCE)


def test_no_image_is_refused():
    with pytest.raises(PromptError, match="at least one image"):
        build_prompt(TASK, 0, PromptStyle.REFERENCE)
