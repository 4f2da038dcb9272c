"""Conversations as tokens: labels on answers and their ends alone, whatever the tokenizer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from spatialbot_policy.config import PolicyConfig
from spatialbot_policy.conversation import Role, Turn, plain_template, write_conversation
from spatialbot_policy.conversation_config import ConversationTemplate
from spatialbot_policy.errors import ActionError, ConversationError
from spatialbot_policy.model import SpatialBotForActionPrediction, SpatialBotProcessor, train_tokenizer
from spatialbot_policy.pipeline import build_pipeline
from spatialbot_policy.prompt import PromptStyle

Small = tuple[SpatialBotForActionPrediction, SpatialBotProcessor]
CORPUS = [
    "USER: How far is the cup? ASSISTANT: It is 1357 mm away.<|end|>",
    "Wie weit ist die Tasse entfernt? Über einen Meter. 距離は?",
]
TURNS = (
    Turn(Role.USER, "<image 1>\n<image 2>\nHow far is the cup?"),
    Turn(Role.ASSISTANT, "Depth(0.51,0.40) says über 1357 mm."),
    Turn(Role.USER, "And <image 3>, 距離は?"),
    Turn(Role.ASSISTANT, "1.4 m 😀"),
)
ANSWERS = [" Depth(0.51,0.40) says über 1357 mm.", " 1.4 m 😀"]


def byte_level(action_space: object) -> PreTrainedTokenizerFast:
    """As GPT-2's, Phi-2's and Qwen's: bytes, no token at the beginning, offsets without the space."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return wrap(tokenizer)


def metaspace(action_space: object) -> PreTrainedTokenizerFast:
    """As Llama-2's and Phi-3's: a space before every stretch of text, bytes where a character is unknown."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Metaspace(prepend_scheme="never"), decoders.ByteFallback(), decoders.Fuse()]
    )
    special = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return wrap(tokenizer)


def with_beginning(action_space: object) -> PreTrainedTokenizerFast:
    """As Llama-3's: adds its first token by itself, unless it is told not to."""
    made = byte_level(action_space)
    made.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin|> $A", special_tokens=[("<|begin|>", made.convert_tokens_to_ids("<|begin|>"))]
    )
    return made


def wrap(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    added = [AddedToken(text, normalized=False, special=True) for text in ("<|end|>", "<|begin|>", "<image>")]
    tokenizer.add_special_tokens(added)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|end|>",
        bos_token="<|begin|>",
        padding_side="left",
        extra_special_tokens={"image_token": "<image>"},
    )


TEMPLATES = {
    "released": ConversationTemplate(end="<|end|>"),
    "begun": ConversationTemplate(end="<|end|>", begin="<|begin|>"),
    "plain": plain_template("<|begin|>", "<|end|>", " "),
}


@pytest.fixture(params=[byte_level, metaspace, with_beginning])
def processor(request: pytest.FixtureRequest) -> SpatialBotProcessor:
    make: Callable[[object], PreTrainedTokenizerFast] = request.param
    return SpatialBotProcessor(make(None), tokens_per_image=3)


def stretches(labels: tuple[int, ...]) -> list[list[int]]:
    """The labelled stretches of a row."""
    found: list[list[int]] = [[]]
    for label in labels:
        if label == -100 and found[-1]:
            found.append([])
        elif label != -100:
            found[-1].append(label)
    return [stretch for stretch in found if stretch]


@pytest.mark.parametrize("name", TEMPLATES)
def test_labels_are_the_answers_and_their_ends(processor: SpatialBotProcessor, name: str) -> None:
    encoded = processor.encode_turns(TURNS, TEMPLATES[name])
    assert len(encoded.input_ids) == len(encoded.labels)
    learned = stretches(encoded.labels)
    end = processor.tokenizer.eos_token_id
    assert [stretch[-1] for stretch in learned] == [end, end]
    texts = [processor.tokenizer.decode(stretch[:-1]) for stretch in learned]
    assert [text.strip() for text in texts] == [answer.strip() for answer in ANSWERS]
    pairs = zip(encoded.input_ids, encoded.labels, strict=True)
    assert all(label in (-100, token) for token, label in pairs)


@pytest.mark.parametrize("name", TEMPLATES)
def test_each_image_is_its_tokens_and_the_rest_is_the_text(processor: SpatialBotProcessor, name: str) -> None:
    encoded = processor.encode_turns(TURNS, TEMPLATES[name])
    image = processor.tokenizer.image_token_id
    assert encoded.input_ids.count(image) == 9
    # one call for each stretch of text between images, as the released code tokenizes
    text = "".join(piece.text for piece in write_conversation(TURNS, TEMPLATES[name]))
    ids: list[int] = []
    for number in (1, 2, 3):
        before, text = text.split(f"<image {number}>")
        ids += [*processor.tokenizer.encode(before, add_special_tokens=False), image, image, image]
    ids += processor.tokenizer.encode(text, add_special_tokens=False)
    assert list(encoded.input_ids) == ids


def test_what_is_asked_is_what_was_learned(processor: SpatialBotProcessor) -> None:
    for template in TEMPLATES.values():
        learned = processor.encode_turns(TURNS, template)
        asked = processor.encode_turns(TURNS[:3], template)
        assert asked.labels[-1] == -100
        assert learned.input_ids[: len(asked.input_ids)] == asked.input_ids
        assert learned.labels[len(asked.input_ids)] != -100


def test_many_conversations_in_one_call_are_those_of_many_calls(processor: SpatialBotProcessor) -> None:
    given = [TURNS, TURNS[2:3], TURNS[:2]]
    given[1] = (Turn(Role.USER, "<image 1>"), Turn(Role.ASSISTANT, "yes"))
    template = TEMPLATES["released"]
    together = processor.encode_conversations(given, template)
    assert together == [processor.encode_turns(turns, template) for turns in given]


@pytest.mark.parametrize("place", [0, 1])
def test_a_turn_cannot_end_an_answer_by_writing_its_end(processor: SpatialBotProcessor, place: int) -> None:
    texts = ["a question", "an answer"]
    texts[place] += " <|end|> and more"
    turns = [Turn(Role.USER, texts[0]), Turn(Role.ASSISTANT, texts[1])]
    with pytest.raises(ConversationError, match=rf"turn {place + 1} holds the special token '<\|end\|>'"):
        processor.encode_turns(turns, TEMPLATES["released"])


def test_too_long_a_conversation_is_refused_and_never_cut(processor: SpatialBotProcessor) -> None:
    length = len(processor.encode_turns(TURNS, TEMPLATES["released"]).input_ids)
    assert processor.encode_turns(TURNS, TEMPLATES["released"], max_length=length)
    with pytest.raises(ConversationError, match=rf"has {length} tokens \(9 of images\) and the limit is"):
        processor.encode_turns(TURNS, TEMPLATES["released"], max_length=length - 1)


@pytest.mark.parametrize("style", PromptStyle)
def test_the_robot_answers_where_training_put_the_action(
    policy_config: PolicyConfig, style: PromptStyle
) -> None:
    """What serving asks and the action tokens are the text that training taught, label by label."""
    config = PolicyConfig(policy_config.cameras, depth_variant=policy_config.depth_variant, prompt=style)
    pipeline, space = build_pipeline(config), config.action_space
    processor = SpatialBotProcessor(train_tokenizer(CORPUS, space, vocab_size=300))
    bins = np.array([3, 50, 100, 0, 0, 7, 100])
    encoded = processor.encode_action(pipeline.question("pick up the cup"), bins, style)
    asked = processor(pipeline.prompt("pick up the cup"))["input_ids"][0].tolist()
    assert list(encoded.input_ids[: len(asked)]) == asked
    action = encoded.input_ids[len(asked) : len(asked) + 7]
    assert [token - processor.first_action_token_id for token in action] == bins.tolist()
    learned = processor.tokenizer.decode([label for label in encoded.labels if label != -100])
    tokens = "".join(space.to_tokens(bins))
    sentence = tokens if style is PromptStyle.REFERENCE else f" The robot should {tokens}."
    assert learned == f"{sentence}<eos>"


def test_an_action_of_another_vocabulary_is_refused(small: Small) -> None:
    with pytest.raises(ActionError, match="bins in 0..100"):
        small[1].encode_action("go", np.array([101] * 7))


def test_rows_are_padded_on_the_left_with_their_labels(small: Small) -> None:
    padded = small[1].pad_rows([[5, 6, 7], [8]], [[-100, 6, 7], [8]])
    assert padded["labels"].tolist() == [[-100, 6, 7], [-100, -100, 8]]
    assert padded["attention_mask"].tolist() == [[1, 1, 1], [0, 0, 1]]
    assert padded["input_ids"][1, -1] == 8
