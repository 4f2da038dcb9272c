"""Small random checkpoints in the released SpatialBot and Bunny layout, and the architecture written out.

Nothing here comes from the import: names, padding of the vocabulary and the forward pass are those of the
authors' public code, on transformers' own classes.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    CLIPVisionConfig,
    CLIPVisionModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    SiglipVisionConfig,
    SiglipVisionModel,
)
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
    "detailed, and polite answers to the user's questions."
)
PATCH, GRID, VISION_LAYERS, VISION_WIDTH, WIDTH = 4, 3, 3, 16, 32
SIDE = PATCH * GRID
TEXT = {
    "hidden_size": WIDTH,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,
}
# released model_type -> transformers' type and what is not the default of that type
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "bunny-phi": ("phi", {"partial_rotary_factor": 0.5, "rope_theta": 5000.0, "num_key_value_heads": 4}),
    "bunny-phi3": ("phi3", {"rms_norm_eps": 1e-4}),
    "bunny-qwen2": ("qwen2", {"rope_theta": 20000.0, "tie_word_embeddings": True}),
    "bunny-llama": ("llama", {"rope_theta": 500000.0, "rms_norm_eps": 1e-4}),
}
ARCHITECTURES = {
    "bunny-phi": "BunnyPhiForCausalLM",
    "bunny-phi3": "BunnyPhi3ForCausalLM",
    "bunny-qwen2": "BunnyQwen2ForCausalLM",
    "bunny-llama": "BunnyLlamaForCausalLM",
}
MEANS = {"siglip": (0.5,) * 3, "clip": (0.48145466, 0.4578275, 0.40821073)}
STDS = {"siglip": (0.5,) * 3, "clip": (0.26862954, 0.26130258, 0.27577711)}


@dataclass
class Released:
    """A released model as its parts; `logits` is its forward pass, written out."""

    kind: str
    tower: str
    language: PreTrainedModel
    vision: PreTrainedModel
    projector: nn.Sequential
    tokenizer: PreTrainedTokenizerFast

    def tensors(self) -> dict[str, Tensor]:
        """By released names: SigLIP without its last layer and head, and a language head without bias."""
        named = {
            name: tensor for name, tensor in self.language.state_dict().items() if name != "lm_head.bias"
        }
        if self.language.config.tie_word_embeddings:
            del named["lm_head.weight"]
        for name, tensor in self.projector.state_dict().items():
            named[f"model.mm_projector.{name}"] = tensor
        for name, tensor in self.vision.state_dict().items():
            last = f"encoder.layers.{VISION_LAYERS - 1}."
            if self.tower == "clip" or not name.startswith((last, "head.")):
                named[f"model.vision_tower.vision_tower.vision_model.{name}"] = tensor
        return named

    def features(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) uint8 -> (N, patches, WIDTH): the input of the last vision layer, projected."""
        mean, std = (torch.tensor(values[self.tower]).view(3, 1, 1) for values in (MEANS, STDS))
        outputs = self.vision((images.float() / 255.0 - mean) / std, output_hidden_states=True)
        hidden = outputs.hidden_states[-2]
        return self.projector(hidden[:, 1:] if self.tower == "clip" else hidden)

    def token_ids(self, prompt: str) -> list[int]:
        """Text between placeholders as tokens of its own, `<image k>` as -200 - k, one token of beginning."""
        chunks = [self.tokenizer(chunk)["input_ids"] for chunk in re.split(r"<image \d+>", prompt)]
        begins = bool(chunks[0]) and chunks[0][0] == self.tokenizer.bos_token_id
        ids = chunks[0][:1] if begins else []
        for number, chunk in enumerate(chunks):
            ids += ([-200 - number] if number else []) + chunk[begins:]
        return ids

    @torch.no_grad()
    def logits(self, ids: list[int], images: Tensor) -> Tensor:
        """(L, rows of the vocabulary), L counting each placeholder as its patches."""
        features, table = self.features(images), self.language.get_input_embeddings().weight
        parts, seen = [], 0
        for token in ids:
            if token < 0:
                parts.append(features[seen])
                seen += 1
            else:
                parts.append(table[token][None])
        assert seen == len(images)
        output = self.language.get_decoder()(inputs_embeds=torch.cat(parts)[None])
        return output.last_hidden_state[0] @ self.language.get_output_embeddings().weight.T


def train_small_tokenizer(begin: bool = False) -> PreTrainedTokenizerFast:
    """Byte-level BPE with the released end tokens; `begin`: one token before every text, as in Llama 3."""
    special = ["<|endoftext|>", "<|end_of_text|>", "<|begin_of_text|>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([SYSTEM, "USER: What is in front? ASSISTANT: the cup"] * 3, trainer)
    if begin:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", 2)]
        )
    first = "<|begin_of_text|>" if begin else "<|endoftext|>"
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=first, eos_token="<|endoftext|>")


def make_released(kind: str = "bunny-phi", tower: str = "siglip", rows: int = 0, seed: int = 0) -> Released:
    """A random model of a family; `rows` is the height of its embeddings, that of the tokenizer if 0."""
    torch.manual_seed(seed)
    tokenizer = train_small_tokenizer(begin=kind == "bunny-llama")
    text_type, changes = FAMILIES[kind]
    special = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    text = {**TEXT, **special, **changes, "vocab_size": rows or len(tokenizer)}
    language = AutoModelForCausalLM.from_config(CONFIG_MAPPING[text_type].from_dict(text))
    config_class = {"siglip": SiglipVisionConfig, "clip": CLIPVisionConfig}[tower]
    model_class = {"siglip": SiglipVisionModel, "clip": CLIPVisionModel}[tower]
    vision = model_class(config_class(**vision_fields()))
    projector = nn.Sequential(nn.Linear(VISION_WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH))
    for module in (language, vision, projector):
        for name, parameter in module.named_parameters():
            nn.init.normal_(parameter, mean=1.0 if "norm" in name and "weight" in name else 0.0, std=0.2)
        module.eval()
    if kind == "bunny-phi":
        nn.init.zeros_(language.lm_head.bias)
    return Released(kind, tower, language, vision, projector, tokenizer)


def vision_fields() -> dict[str, Any]:
    """The vision config as it is published: with all layers."""
    return {
        "hidden_size": VISION_WIDTH,
        "intermediate_size": 24,
        "num_hidden_layers": VISION_LAYERS,
        "num_attention_heads": 2,
        "image_size": SIDE,
        "patch_size": PATCH,
    }


def released_json(released: Released, rows: int | None = None) -> dict[str, Any]:
    """A config.json as the authors' code of transformers 4.36 saved it."""
    text_type, changes = FAMILIES[released.kind]
    return {
        **TEXT,
        **changes,
        "_name_or_path": "somewhere",
        "architectures": [ARCHITECTURES[released.kind]],
        "auto_map": {"AutoConfig": "configuration_bunny.BunnyConfig"},
        "model_type": released.kind,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "freeze_mm_mlp_adapter": False,
        "image_aspect_ratio": "pad",
        "mm_hidden_size": VISION_WIDTH,
        "mm_projector_lr": 2e-05,
        "mm_projector_type": "mlp2x_gelu",
        "mm_vision_tower": {"siglip": "someone/siglip-small", "clip": "someone/clip-small"}[released.tower],
        "rope_scaling": None,
        "tokenizer_model_max_length": 400,
        "tokenizer_padding_side": "right",
        "torch_dtype": "float16",
        "transformers_version": "4.36.2",
        "tune_mm_mlp_adapter": False,
        "use_cache": True,
        "use_mm_proj": True,
        "vocab_size": rows or released.language.config.vocab_size,
    }


def write_merged(
    directory: Path, released: Released, shards: int = 1, dtype: torch.dtype | None = None
) -> Path:
    """config.json, tokenizer files, and model.safetensors or its shards with their index."""
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps(released_json(released)))
    released.tokenizer.save_pretrained(directory)
    tensors = {name: t.to(dtype).contiguous() for name, t in released.tensors().items()}
    write_weights(directory, tensors, shards)
    return directory


def write_weights(directory: Path, tensors: dict[str, Tensor], shards: int = 1) -> None:
    """One file, or several with an index."""
    if shards == 1:
        save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
        return
    places = {}
    for number in range(shards):
        name = f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
        part = {key: tensors[key] for key in sorted(tensors)[number::shards]}
        save_file(part, directory / name, metadata={"format": "pt"})
        places.update(dict.fromkeys(part, name))
    index = {"metadata": {"total_size": 0}, "weight_map": places}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))


def write_tower(directory: Path, released: Released, whole: bool = False) -> Path:
    """The vision tower as it is published; `whole` with the text side's tensors beside it."""
    directory.mkdir(parents=True)
    fields = {"model_type": f"{released.tower}_vision_model", **vision_fields()}
    tensors = {f"vision_model.{name}": t.contiguous() for name, t in released.vision.state_dict().items()}
    if whole:
        fields = {"model_type": released.tower, "vision_config": fields, "text_config": {}}
        tensors |= {
            "text_model.embeddings.token_embedding.weight": torch.ones(3, 2),
            "logit_scale": torch.ones(1),
        }
    (directory / "config.json").write_text(json.dumps(fields))
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    return directory


def random_images(count: int, seed: int = 0) -> list[np.ndarray]:
    """(SIDE, SIDE, 3) uint8 images."""
    rng = np.random.default_rng(seed)
    return list(rng.integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8))
