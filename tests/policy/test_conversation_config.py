"""conversation.yaml comes back equal, and refuses what is out of range."""

from __future__ import annotations

from pathlib import Path

import pytest

from spatialbot_policy.config import load_yaml, save_yaml
from spatialbot_policy.conversation_config import ConversationConfig, ConversationTemplate, ImagePadding
from spatialbot_policy.depth import DepthVariant
from spatialbot_policy.errors import ConfigError

PLAIN = ConversationTemplate("", "", "", "\n", "<eos>", "<bos>")


@pytest.mark.parametrize(
    "config",
    [
        ConversationConfig(384, 384),
        ConversationConfig(
            64,
            48,
            ImagePadding.FIT,
            (0, 0, 0),
            None,
            ConversationTemplate("", "", "", "\n", "<eos>", "<bos>"),
            2,
        ),
        ConversationConfig(8, 8, depth_variant=DepthVariant.PAPER, source={"vision_tower": "a/b"}),
    ],
)
def test_it_comes_back_equal(config: ConversationConfig, tmp_path: Path) -> None:
    save_yaml(config, tmp_path / "conversation.yaml")
    assert load_yaml(ConversationConfig, tmp_path / "conversation.yaml") == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_width": 0}, "image_width"),
        ({"max_images": 0}, "max_images"),
        ({"pad_color": (0, 0, 256)}, "pad_color"),
        ({"schema": 2}, "schema 2"),
    ],
)
def test_values_out_of_range_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ConversationConfig(**{"image_width": 8, "image_height": 8, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("changes", [{"user": ""}, {"assistant": ""}, {"end": ""}])
def test_a_template_needs_both_names_and_an_end(changes: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="'user' and 'assistant', or neither, and 'end'"):
        ConversationTemplate(**changes)
