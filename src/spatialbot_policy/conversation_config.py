"""What a conversing checkpoint promises: conversation.yaml as frozen dataclasses."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from spatialbot_policy.depth import DepthVariant
from spatialbot_policy.errors import ConfigError

RELEASED_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)


class ImagePadding(str, Enum):
    """How an image that is not square becomes the model's image."""

    MEAN = "mean"  # padded on both sides with the mean colour, then resized: the released checkpoints
    STRETCH = "stretch"  # resized to the model's width and height whatever its shape
    FIT = "fit"  # as a policy's camera images: spatialbot_policy.images


@dataclass(frozen=True)
class ConversationTemplate:
    """Wording around the turns; the defaults are those of the released checkpoints on Phi-2.

    A conversation reads `{begin}{system}{separator}{user}: {question}{separator}{assistant}: {answer}{end}`,
    and goes on with `{user}: ` directly after `{end}`; without names `{question}{separator}{answer}{end}`.

    Attributes:
        system: the sentence before all turns.
        user: name of the one who asks; empty for turns without names.
        assistant: name of the one who answers; empty for turns without names.
        separator: text after the system's sentence and after each question.
        end: text of the token that ends an answer.
        begin: text of the token that starts a conversation; empty when there is none.

    Raises:
        ConfigError: one name without the other, or no end of an answer.
    """

    system: str = RELEASED_SYSTEM
    user: str = "USER"
    assistant: str = "ASSISTANT"
    separator: str = " "
    end: str = "<|endoftext|>"
    begin: str = ""

    def __post_init__(self) -> None:
        if bool(self.user) != bool(self.assistant) or not self.end:
            raise ConfigError(
                f"a template needs 'user' and 'assistant', or neither, and 'end', got {self.user!r}, "
                f"{self.assistant!r} and {self.end!r}; fill them in"
            )


@dataclass(frozen=True)
class ConversationConfig:
    """What a checkpoint was trained to converse with: conversation.yaml.

    Attributes:
        image_width: of the model's image in pixels.
        image_height: of the model's image in pixels.
        image_padding: how an image of another shape is brought to that size.
        pad_color: RGB of the padding.
        depth_variant: encoding of depth images; None for a model that sees colour only.
        template: wording around the turns.
        max_images: images that one conversation may hold.
        schema: version of this file's form.
        source: free-form summary of where the weights come from, for people; an export takes the released
            `model_type` and the name of the `vision_tower` from here.

    Raises:
        ConfigError: a value outside its range.
    """

    image_width: int
    image_height: int
    image_padding: ImagePadding = ImagePadding.MEAN
    pad_color: tuple[int, int, int] = (127, 127, 127)
    depth_variant: DepthVariant | None = DepthVariant.RELEASED
    template: ConversationTemplate = field(default_factory=ConversationTemplate)
    max_images: int = 8
    schema: int = 1
    source: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.schema != 1:
            raise ConfigError(f"schema {self.schema} is not known here, only 1; update the software")
        if self.image_width < 1 or self.image_height < 1 or self.max_images < 1:
            raise ConfigError(
                f"image_width, image_height and max_images must be positive, got {self.image_width}, "
                f"{self.image_height} and {self.max_images}"
            )
        if not all(0 <= value <= 255 for value in self.pad_color):
            raise ConfigError(f"pad_color must be three values in 0..255, got {self.pad_color}")
