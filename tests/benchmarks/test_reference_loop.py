"""The loops that the engine is measured against are what they say they are."""

from __future__ import annotations

import pytest
import torch

from benchmarks.reference_loop import EXAMPLE, STAGES, ReferenceLoop, own_tokens, qwen_tokens
from benchmarks.scenes import INSTRUCTION, observation
from spatialbot_policy.config import CameraConfig, PolicyConfig
from spatialbot_policy.depth import DepthVariant
from spatialbot_policy.errors import ActionError
from spatialbot_policy.inference import LocalPolicy
from spatialbot_policy.model import build_tiny
from spatialbot_policy.model.checkpoint import Checkpoint


@pytest.fixture(scope="module")
def made() -> Checkpoint:
    policy = PolicyConfig((CameraConfig("camera", 64, 64),), depth_variant=DepthVariant.PAPER)
    torch.manual_seed(3)
    model, processor = build_tiny(policy, [INSTRUCTION])
    return Checkpoint(model.eval(), processor, policy)


def test_an_action_as_text_has_a_token_for_each_character_in_qwen():
    assert qwen_tokens() == len(EXAMPLE) == 39
    with pytest.raises(ActionError, match="need the vocabulary"):
        qwen_tokens("move the arm")


def test_the_own_tokenizer_is_asked_for_its_own_count(made):
    ids = made.processor.tokenizer(EXAMPLE, add_special_tokens=False)["input_ids"]
    assert own_tokens(made) == len(ids) and made.processor.tokenizer.decode(ids) == EXAMPLE


def test_restricted_to_action_tokens_the_loop_says_what_the_policy_says(made):
    others = [*range(made.model.config.text_config.vocab_size)]
    del others[made.model.config.action_token_slice]
    plain, policy = ReferenceLoop(made, 7, as_text=False, suppressed=others), LocalPolicy(made)
    for step in range(6):
        each = observation(step, made.policy, (48, 64))
        assert all(plain.step(each).as_vector() == policy.act(each).steps[0].as_vector())


@pytest.mark.parametrize(("tokens", "as_text"), [(38, True), (7, False)])
def test_every_step_reads_four_frames_and_says_exactly_so_many_tokens(made, monkeypatch, tokens, as_text):
    loop, seen = ReferenceLoop(made, tokens, as_text=as_text), []
    generate, encode = made.model.generate, made.model.encode_images

    def counting(**inputs):
        said = generate(**inputs)
        seen.append(("said", said.shape[1] - inputs["input_ids"].shape[1]))
        return said

    def encoding(pixels):
        seen.append(("images", len(pixels)))
        return encode(pixels)

    monkeypatch.setattr(made.model, "generate", counting)
    monkeypatch.setattr(made.model, "encode_images", encoding)
    for step in range(2):
        loop.step(observation(step, made.policy, (48, 64)))
        assert seen[-2:] == [("images", 8), ("said", tokens)]
    assert tuple(loop.stages) == STAGES and all(value >= 0 for value in loop.stages.values())
