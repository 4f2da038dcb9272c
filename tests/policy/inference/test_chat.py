"""Conversation with a checkpoint: what was learned is said again, turns and images stay in view."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from spatialbot_policy.config import PolicyConfig
from spatialbot_policy.conversation import Role, Turn
from spatialbot_policy.conversation_config import ConversationConfig, ConversationTemplate, ImagePadding
from spatialbot_policy.depth import DepthVariant
from spatialbot_policy.errors import ConversationError, FrameError
from spatialbot_policy.image_files import ConversationImages
from spatialbot_policy.inference.chat import Chat
from spatialbot_policy.model import SpatialBotForActionPrediction, SpatialBotProcessor, save_checkpoint
from spatialbot_policy.model.checkpoint import ConversationCheckpoint

Small = tuple[SpatialBotForActionPrediction, SpatialBotProcessor]
CONFIG = ConversationConfig(
    32,
    32,
    ImagePadding.MEAN,
    depth_variant=DepthVariant.PAPER,
    template=ConversationTemplate(system="A chat.", end="<eos>", begin="<bos>"),
)
COLOR = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
DEPTH = np.random.default_rng(1).integers(400, 1500, (30, 40)).astype(np.uint16)
TURNS = (
    Turn(Role.USER, "<image 1>\n<image 2>\nHow far is it?"),
    Turn(Role.ASSISTANT, "It is 1357 mm away."),
    Turn(Role.USER, "And then?"),
    Turn(Role.ASSISTANT, "Go on."),
)


def chat_of(small: Small) -> Chat:
    return Chat(ConversationCheckpoint(*small, CONFIG))


@pytest.fixture
def taught(small: Small) -> Small:
    """A network that has learned one conversation about one pair of images by heart."""
    model, processor = small
    images = ConversationImages(CONFIG)
    encoded = processor.encode_turns(TURNS, CONFIG.template)
    batch = processor.pad_rows([encoded.input_ids], [encoded.labels])
    pixels = processor.stack_images([images.prepare(COLOR), images.prepare(DEPTH)])
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(40):
        loss = model.train()(**batch, pixel_values=pixels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05
    return model.eval(), processor


def test_what_was_learned_is_said_turn_by_turn(taught: Small) -> None:
    chat = chat_of(taught)
    chat.show([COLOR, DEPTH])
    first = chat.ask("How far is it?", 40)
    assert (first.text, first.complete) == ("It is 1357 mm away.", True)
    assert chat.ask("And then?", 40).text == "Go on."
    assert chat.turns == TURNS
    chat.reset()
    assert chat.turns == ()


def test_an_answer_that_the_limit_stopped_says_so(taught: Small) -> None:
    chat = chat_of(taught)
    chat.show([COLOR, DEPTH])
    answer = chat.ask("How far is it?", 3)
    assert not answer.complete and "It is 1357 mm away.".startswith(answer.text) and answer.text


def test_a_saved_checkpoint_converses(taught: Small, tmp_path: Path, policy_config: PolicyConfig) -> None:
    save_checkpoint(tmp_path / "made", *taught, policy=policy_config, conversation=CONFIG)
    chat = Chat.from_checkpoint(tmp_path / "made")
    chat.show([COLOR, DEPTH])
    assert chat.ask("How far is it?", 40).text == "It is 1357 mm away."


def test_a_policy_that_never_conversed_is_asked_in_its_own_form(
    small: Small, tmp_path: Path, policy_config: PolicyConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, processor = small
    save_checkpoint(tmp_path / "made", model, processor, policy_config)
    chat = Chat.from_checkpoint(tmp_path / "made")
    chat.show([COLOR, DEPTH])
    seen: list[list[int]] = []
    generate = SpatialBotForActionPrediction.generate

    def remember(self: SpatialBotForActionPrediction, **inputs: torch.Tensor) -> torch.Tensor:
        seen.append(inputs["input_ids"][0].tolist())
        return generate(self, **inputs)

    monkeypatch.setattr(SpatialBotForActionPrediction, "generate", remember)
    chat.ask("What should be done?", 2)
    assert seen == [processor("<image 1>\n<image 2>\nWhat should be done?")["input_ids"][0].tolist()]


def test_bad_questions_and_images_leave_the_conversation_as_it_was(small: Small) -> None:
    chat = chat_of(small)
    with pytest.raises(FrameError, match="followed by its depth image"):
        chat.show([COLOR])
    with pytest.raises(ConversationError, match="10 images.*at most 8"):
        chat.show([COLOR, DEPTH] * 5)
    chat.show([COLOR, DEPTH])
    for question, message in (
        ("  ", "needs words"),
        ("<image 1> what?", "images are shown apart"),
        ("what <eos> then?", "special token '<eos>'"),
        ("why " * 600, "the limit is 512"),
    ):
        with pytest.raises(ConversationError, match=message):
            chat.ask(question)
    with pytest.raises(ConversationError, match="at least 1 token"):
        chat.ask("what?", 0)
    assert chat.turns == ()


def test_the_end_of_an_answer_must_be_one_token(small: Small) -> None:
    template = ConversationTemplate(end="<|endoftext|>")
    config = ConversationConfig(32, 32, template=template)
    with pytest.raises(ConversationError, match="ends? with '<.endoftext.>', which is"):
        Chat(ConversationCheckpoint(*small, config))
