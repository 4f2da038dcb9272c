"""Import of the released SpatialBot and Bunny checkpoints: merged, sharded, or LoRA on a language model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast
from transformers.configuration_utils import PreTrainedConfig

from spatialbot_policy.conversation_config import ConversationConfig, ConversationTemplate, ImagePadding
from spatialbot_policy.errors import CheckpointError
from spatialbot_policy.model.checkpoint import save_checkpoint
from spatialbot_policy.model.configuration import SpatialBotConfig
from spatialbot_policy.model.pretrained_tower import PretrainedTowerConfig
from spatialbot_policy.model.processor import SpatialBotProcessor
from spatialbot_policy.model.released_files import Tensors, WeightReader, read_json, read_vocabulary
from spatialbot_policy.model.released_fit import Fitting, assemble
from spatialbot_policy.model.released_layout import (
    BACKBONE,
    EMBEDDING,
    Family,
    family_of,
    our_name,
    published_tower,
    released_name,
    text_config_of,
    tower_config_of,
)
from spatialbot_policy.model.released_lora import is_lora, read_lora
from spatialbot_policy.model.tokenizer import IMAGE, load_tokenizer

# The text side of a whole CLIP or SigLIP model, of which a tower is the other half.
TEXT_SIDE = ("text_model.", "text_projection.", "visual_projection.", "logit_")
CONTEXT = 2048  # of the released models, where config.json does not say


@dataclass(frozen=True)
class ImportReport:
    """What became of the tensors.

    Attributes:
        tensors: that the checkpoint now holds.
        parameters: numbers in them.
        left_out: released names of tensors, or rows, that the released code does not read either.
        added: what the released checkpoint has no tensor for, and how it was filled.
    """

    tensors: int
    parameters: int
    left_out: tuple[str, ...]
    added: tuple[str, ...]


def import_released(
    source: str | Path,
    out: str | Path,
    *,
    base: str | Path | None = None,
    vision_tower: str | Path | None = None,
    allow_pickle: Iterable[str | Path] = (),
) -> ImportReport:
    """Turn a released checkpoint into one of ours, which can converse; every tensor is accounted for.

    Args:
        source: config.json of a `bunny-*` model with its weights, or with a LoRA adapter and
            `non_lora_trainables`.
        out: directory of the checkpoint.
        base: directory of the language model that an adapter was trained on.
        vision_tower: directory of the CLIP or SigLIP that config.json names; its config.json where it is a
            tower that is not known here, its weights where the checkpoint holds none.
        allow_pickle: pickled weight files that may be opened.

    Raises:
        CheckpointError: another kind of model, a file that is missing or damaged, tensors that are missing,
            unknown or of another shape, a vocabulary that the tokenizer disagrees with, or a pickle.
    """
    place, tower_place = Path(source), None if vision_tower is None else Path(vision_tower)
    released = read_json(place / "config.json")
    family = family_of(released, place)
    reader = WeightReader(allow_pickle)
    tower = tower_config_of(*_backbone(released, tower_place))
    tensors = _read_tensors(place, base, tower_place, reader)
    reader.check_all_used()
    with_tokenizer = place if base is None or (place / "tokenizer.json").is_file() else Path(base)
    tokenizer, had_image = _tokenizer(with_tokenizer, released, family)
    text = text_config_of(released, family, place / "config.json")
    if not is_lora(place):
        _check_rows(text, tensors, place)
    fitting = Fitting(tensors, place)
    fitting.drop_unread(tower)
    own = len(tokenizer) - (0 if had_image else 1)
    fitting.fit_vocabulary(own, len(tokenizer), has_bias=family.text_type == "phi")
    processor = SpatialBotProcessor(tokenizer, tokens_per_image=tower.tokens_per_image)
    model = assemble(_config(text, tower, processor), fitting.tensors, place)
    save_checkpoint(out, model, processor, conversation=_conversation(released, tower, family, tokenizer))
    count = sum(tensor.numel() for tensor in fitting.tensors.values())
    return ImportReport(len(fitting.tensors), count, tuple(fitting.left_out), tuple(fitting.added))


def _backbone(released: dict[str, Any], directory: Path | None) -> tuple[dict[str, Any], str]:
    """The published vision config of the tower, and where it comes from."""
    name = str(released["mm_vision_tower"])
    if directory is not None:
        found = read_json(directory / "config.json")
        kind = {"clip": "clip_vision_model", "siglip": "siglip_vision_model"}.get(
            str(found.get("model_type"))
        )
        if kind is not None:
            found = {**found["vision_config"], "model_type": kind}
        return found, str(directory)
    known = published_tower(name)
    if known is None:
        raise CheckpointError(
            f"config.json names the vision tower '{name}', which is not known here; give its directory as "
            "--vision-tower"
        )
    return dict(known), name


def _read_tensors(
    place: Path, base: str | Path | None, tower_place: Path | None, reader: WeightReader
) -> Tensors:
    """All tensors under our names; unknown ones keep their own."""
    if is_lora(place):
        if base is None:
            raise CheckpointError(f"{place} holds an adapter; give the language model under it as --base")
        tensors = read_lora(place, Path(base), reader)
    elif base is not None:
        raise CheckpointError(f"{place} holds a whole model, which needs no --base; leave the option out")
    else:
        tensors = reader.directory(place)
    named = {our_name(name): tensor for name, tensor in tensors.items()}
    if any(name.startswith(BACKBONE) for name in named):
        return named
    if tower_place is None:
        raise CheckpointError(
            f"{place} holds no tensors of the vision tower; give the directory of the one that config.json "
            "names (mm_vision_tower) as --vision-tower"
        )
    for name, tensor in reader.directory(tower_place).items():
        if not name.startswith(TEXT_SIDE):
            named[BACKBONE + name.removeprefix("vision_model.")] = tensor
    return named


def _tokenizer(place: Path, released: dict[str, Any], family: Family) -> tuple[PreTrainedTokenizerFast, bool]:
    """The checkpoint's own tokenizer with `<image>`, and whether it had that already."""
    file = place / "tokenizer.json"
    if not file.is_file():
        raise CheckpointError(
            f"{place} has no tokenizer.json; take it from the language model's own directory, or write it "
            "with transformers (AutoTokenizer.from_pretrained(..).save_pretrained(..))"
        )
    longest = released.get("tokenizer_model_max_length") or CONTEXT
    tokenizer = load_tokenizer(place, max_length=int(longest))
    if family.end not in tokenizer.get_vocab():
        raise CheckpointError(
            f"the tokenizer in {place} lacks {family.end!r}, with which a released {family.text_type} model "
            "ends its answers; take the tokenizer files of the same download"
        )
    tokenizer.eos_token = family.end
    return tokenizer, IMAGE in read_vocabulary(file)


def _check_rows(text: PreTrainedConfig, tensors: Tensors, place: Path) -> None:
    rows = tensors[EMBEDDING].shape[0] if EMBEDDING in tensors else text.vocab_size
    if rows != text.vocab_size:
        raise CheckpointError(
            f"{place}: config.json has a vocabulary of {text.vocab_size}, but {released_name(EMBEDDING)} has "
            f"{rows} rows; take both from one download"
        )


def _config(
    text: PreTrainedConfig, tower: PretrainedTowerConfig, processor: SpatialBotProcessor
) -> SpatialBotConfig:
    """The network's config; action tokens are in the vocabulary only if an export of ours brought them."""
    tokenizer, bins = processor.tokenizer, processor.action_bins
    special = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    fields = {**text.to_dict(), **special, "vocab_size": len(tokenizer)}
    return SpatialBotConfig(
        vision_config=tower,
        text_config=fields,
        action_bins=bins,
        first_action_token_id=processor.first_action_token_id if bins else 0,
        image_token_id=tokenizer.image_token_id,
        **special,
    )


def _conversation(
    released: dict[str, Any],
    tower: PretrainedTowerConfig,
    family: Family,
    tokenizer: PreTrainedTokenizerFast,
) -> ConversationConfig:
    """How these weights expect to be asked: wording, placeholders as `<image k>`, padding, depth encoding."""
    first = tokenizer("a")["input_ids"][:1]
    begins = first == [tokenizer.bos_token_id]
    padded = released.get("image_aspect_ratio") == "pad"
    red, green, blue = (int(value * 255) for value in tower.image_means[0])
    return ConversationConfig(
        image_width=tower.image_size,
        image_height=tower.image_size,
        image_padding=ImagePadding.MEAN if padded else ImagePadding.STRETCH,
        pad_color=(red, green, blue),
        template=ConversationTemplate(end=family.end, begin=tokenizer.bos_token if begins else ""),
        source={"model_type": released["model_type"], "vision_tower": str(released["mm_vision_tower"])},
    )
