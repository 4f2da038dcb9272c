"""Small random weights in Hugging Face form, conversations about images, and recipes for them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
import yaml
from tests.training.conversation_samples import entry, write_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from spatialbot_policy.config import load_yaml
from spatialbot_training.data_config import ConversationSet
from spatialbot_training.recipe import Recipe

ROOT = Path(__file__).resolve().parents[2]
END, VOCABULARY, SIDE = "<|endoftext|>", 300, 32
QUICK = {"steps": 4, "epochs": 0.0, "micro_batch": 3, "log_every": 1, "save_every": 2, "validate_every": 4}
TEXT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 2048,
}
CLIP = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "patch_size": 16,
}


def write_weights(folder: Path) -> None:
    """`language`, `vision` and `size.yaml`."""
    torch.manual_seed(7)
    for tied, name in ((True, "language"), (False, "untied")):
        config = Qwen2Config(**TEXT, vocab_size=VOCABULARY, tie_word_embeddings=tied)
        Qwen2ForCausalLM(config).save_pretrained(folder / name)
        _tokenizer().save_pretrained(folder / name)
    CLIPVisionModel(CLIPVisionConfig(**CLIP)).save_pretrained(folder / "vision")
    size = {
        "name": "small",
        "text": {"model_type": "qwen2", **TEXT, "vocab_size": VOCABULARY, "tie_word_embeddings": True},
        "vision": {
            "model_type": "pretrained",
            "image_size": SIDE,
            "backbones": [{"model_type": "clip_vision_model", **CLIP}],
        },
    }
    (folder / "size.yaml").write_text(yaml.safe_dump(size))


def write_conversations(folder: Path) -> tuple[Path, Path]:
    """Files to learn from and to validate on: no image, one, and a colour image with its depth image."""
    questions = ("how far is the cup?", "what is left of it?", "is there a board?", "what colour is it?")
    entries = [
        entry(images, question, answer)
        for number, question in enumerate(questions)
        for images, answer in (
            (["a.png", "a_d.png"], f"it is {number} away"),
            (["b.png", "b_d.png"], "yes"),
            ([], f"no image shows {number} of it"),
        )
    ]
    return write_file(folder, entries), write_file(folder, entries[::5], "held_out.json")


def recipe_of(stage: str, place: Path, **schedule: object) -> Recipe:
    """The shipped recipe of a stage, on the small weights and conversations."""
    shipped = load_yaml(Recipe, ROOT / "config" / "train" / f"{stage}.yaml")
    assert shipped.conversation is not None
    known = shipped.data.conversations[0].name
    data = replace(
        shipped.data,
        conversations=(ConversationSet(known, place / "talk" / "talk.json"),),
        conversation_validation=(ConversationSet("held out", place / "talk" / "held_out.json"),),
        batch=6,
        workers=0,
        train=(),
        validation=(),
        mixture={},
        skip_bad=stage == "align",  # a conversation without an image has no caption
    )
    return replace(
        shipped,
        data=data,
        policy=None,
        model=replace(shipped.model, size=str(place / "size.yaml")),
        conversation=replace(shipped.conversation, image_width=SIDE, image_height=SIDE),
        lora=replace(shipped.lora, r=4, alpha=8),
        schedule=replace(shipped.schedule, **{**QUICK, **schedule}),
    )


def _tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 20,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["USER: how far is the cup? ASSISTANT: it is 3 away"] * 3, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=END, bos_token=END, model_max_length=2048
    )
