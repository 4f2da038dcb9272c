"""Small files of conversations with images on disk, and a processor that reads them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tests.training.training_samples import POLICY

from spatialbot_policy.conversation_config import ConversationConfig, ConversationTemplate, ImagePadding
from spatialbot_policy.depth import DepthVariant
from spatialbot_policy.model import SpatialBotProcessor, train_tokenizer

SIZE = 16
TEMPLATE = ConversationTemplate(end="<eos>", begin="<bos>")
CONFIG = ConversationConfig(
    SIZE, SIZE, ImagePadding.MEAN, depth_variant=DepthVariant.RELEASED, template=TEMPLATE
)


def make_processor() -> SpatialBotProcessor:
    """A byte-level tokenizer with room for long conversations."""
    tokenizer = train_tokenizer(
        ["USER: how far is it? ASSISTANT:"], POLICY.action_space, 300, max_length=2048
    )
    return SpatialBotProcessor(tokenizer, tokens_per_image=2)


def write_images(folder: Path) -> None:
    """`a.png`, `b.png` in colour and `a_d.png`, `b_d.png` in millimetres."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name in "ab":
        color = rng.integers(0, 256, (12, 20, 3), dtype=np.uint8)
        Image.fromarray(color).save(folder / f"{name}.png")
        depth_mm = rng.integers(400, 1500, (12, 20)).astype(np.uint16)
        Image.fromarray(depth_mm).save(folder / f"{name}_d.png")


def entry(images: Sequence[str], *said: str) -> dict[str, object]:
    """A conversation of alternating turns; the images stand before the first one."""
    shown = "".join(f"<image {number + 1}>\n" for number in range(len(images)))
    roles = ("human", "gpt")
    turns = [{"from": roles[place % 2], "value": text} for place, text in enumerate(said)]
    turns[0]["value"] = shown + turns[0]["value"]
    return {"id": said[-1], "image": list(images), "conversations": turns}


def write_file(folder: Path, entries: Sequence[object], name: str = "talk.json") -> Path:
    """The JSON beside the images."""
    write_images(folder)
    file = folder / name
    file.write_text(json.dumps(entries, ensure_ascii=False, indent=1), encoding="utf-8")
    return file
