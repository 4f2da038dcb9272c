"""Conversations: the released wording to the letter, the authors' JSON there and back, what is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spatialbot_policy.conversation import (
    Role,
    Turn,
    check_turns,
    image_fit,
    number_placeholders,
    only_placeholders,
    plain_template,
    read_entry,
    write_conversation,
    write_entry,
)
from spatialbot_policy.conversation_config import ConversationConfig, ConversationTemplate, ImagePadding
from spatialbot_policy.errors import ConfigError, ConversationError
from spatialbot_policy.images import PadSquare, ResizePad, Stretch

SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
WORDS = st.text(st.characters(exclude_characters="<", exclude_categories=("Cs",)), min_size=1).filter(
    str.strip
)


def user(text: str) -> Turn:
    return Turn(Role.USER, text)


def assistant(text: str) -> Turn:
    return Turn(Role.ASSISTANT, text)


def text_of(turns: list[Turn], template: ConversationTemplate) -> str:
    return "".join(piece.text for piece in write_conversation(turns, template))


def said(*pairs: tuple[str, object]) -> list[dict[str, object]]:
    return [{"from": role, "value": value} for role, value in pairs]


def shows(question: str, *images: object) -> dict[str, object]:
    return {"image": list(images), "conversations": said(("human", question), ("gpt", "b"))}


def test_a_question_reads_as_the_released_model_was_asked() -> None:
    asked = text_of([user("<image 1>\n<image 2>\nHow far is the cup?")], ConversationTemplate())
    assert asked == f"{SYSTEM} USER: <image 1>\n<image 2>\nHow far is the cup? ASSISTANT:"


def test_a_dialogue_goes_on_directly_after_the_end_of_an_answer() -> None:
    turns = [user("one?"), assistant("1"), user("two?"), assistant("2")]
    whole = text_of(turns, ConversationTemplate())
    assert whole == (f"{SYSTEM} USER: one? ASSISTANT: 1<|endoftext|>USER: two? ASSISTANT: 2<|endoftext|>")
    learned = [piece.text for piece in write_conversation(turns, ConversationTemplate()) if piece.learned]
    assert learned == [" 1<|endoftext|>", " 2<|endoftext|>"]
    # what is asked is what was learned, up to the answer
    assert whole.startswith(text_of(turns[:3], ConversationTemplate()))


def test_the_plain_template_writes_nothing_around() -> None:
    template = plain_template("<s>", "</s>", " ")
    assert text_of([user("<image 1>\nGo."), assistant("The robot.")], template) == (
        "<s><image 1>\nGo. The robot.</s>"
    )


def test_a_template_has_both_names_or_none() -> None:
    with pytest.raises(ConfigError, match="'user' and 'assistant', or neither"):
        ConversationTemplate(user="")


@given(
    pairs=st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4),
    images=st.lists(st.text("abc/", min_size=1), max_size=8),
    entry_id=st.none() | st.integers() | st.text(),
)
def test_the_authors_json_there_and_back(
    pairs: list[tuple[str, str]], images: list[str], entry_id: str | int | None
) -> None:
    shown = "".join(f"<image {number + 1}>\n" for number in range(len(images)))
    turns = [turn for question, answer in pairs for turn in (user(question), assistant(answer))]
    turns[0] = user(shown + turns[0].text)
    entry = json.loads(json.dumps(write_entry(turns, images, entry_id)))
    assert read_entry(entry) == (tuple(turns), tuple(images))
    assert entry.get("id") == entry_id


def test_bare_placeholders_are_numbered_over_the_whole_conversation() -> None:
    given = [user("<image>\nthis and\n<image>"), assistant("yes"), user("and <image>?"), assistant("no")]
    numbered = number_placeholders(given)
    assert [turn.text for turn in numbered] == [
        "<image 1>\nthis and\n<image 2>",
        "yes",
        "and <image 3>?",
        "no",
    ]
    assert number_placeholders(numbered) == numbered


def test_one_image_may_be_given_as_a_text() -> None:
    entry = {"image": "a.jpg", "conversations": said(("human", "<image>\nwhat?"), ("gpt", "a cup"))}
    turns, images = read_entry(entry)
    assert images == ("a.jpg",) and turns[0].text == "<image 1>\nwhat?"


def test_captions_keep_the_images_alone() -> None:
    turns = [user("<image 1>\nDescribe it, and <image 2>."), assistant("a cup")]
    assert only_placeholders(turns) == (user("<image 1> <image 2>"), assistant("a cup"))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ([], "a mapping with a list 'conversations'"),
        ({"conversations": "hello"}, "a mapping with a list 'conversations'"),
        ({"conversations": []}, "at least one turn"),
        ({"conversations": ["hello"]}, "turn 1 needs 'from' and a text 'value'"),
        ({"conversations": said(("human", 3))}, "turn 1 needs 'from' and a text 'value'"),
        ({"conversations": said(("system", "a"))}, "from 'system'; use 'human' or 'gpt'"),
        ({"conversations": said(("gpt", "a"), ("human", "b"))}, "turn 1 is by 'gpt', but 'human' speaks"),
        ({"conversations": said(("human", "a"), ("human", "b"))}, "turn 2 is by 'human', but 'gpt' speaks"),
        ({"conversations": said(("human", "a"))}, "ends with a question"),
        ({"conversations": said(("human", "a"), ("gpt", "  "))}, "turn 2 by 'gpt' is empty"),
        ({"conversations": said(("human", "a"), ("gpt", "<image 1>"))}, "answer in turn 2 holds '<image'"),
        ({"conversations": said(("human", "<image 1>a"), ("gpt", "b"))}, "1 image placeholders .* lists 0"),
        (shows("a", "x"), "0 image placeholders .* lists 1"),
        (shows("<image 2>", "x"), r"got \[2\]"),
        (shows("<image 1><image 1>", "x"), r"got \[1, 1\]"),
        (shows("<image 1><Image>", "x"), "malformed"),
        (shows("<image 1><image>", "x", "y"), "all of them or none"),
        (shows("<image 1>", 3), "a path or a list of paths"),
        (shows("<image>" * 9, *"abcdefghi"), "9 images; .* at most 8"),
    ],
)
def test_entries_that_cannot_be_learned_from(entry: object, message: str) -> None:
    with pytest.raises(ConversationError, match=message):
        read_entry(entry)


def test_what_read_refuses_is_not_written() -> None:
    with pytest.raises(ConversationError, match="placeholders"):
        write_entry([user("a"), assistant("b")], ["x.png"])


def test_a_question_may_stand_at_the_end_when_it_is_to_be_answered() -> None:
    check_turns([user("a"), assistant("b"), user("c")])


@pytest.mark.parametrize(
    ("padding", "kind"),
    [(ImagePadding.MEAN, PadSquare), (ImagePadding.STRETCH, Stretch), (ImagePadding.FIT, ResizePad)],
)
def test_images_are_fitted_as_the_checkpoint_says(padding: ImagePadding, kind: type) -> None:
    fit = image_fit(ConversationConfig(image_width=8, image_height=6, image_padding=padding))
    assert isinstance(fit, kind) and (fit.width, fit.height) == (8, 6)
