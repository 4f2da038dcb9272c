"""The model sizes as files: `config/model/NAME.yaml` to the fields that a network is built from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from spatialbot_policy.config import load_yaml
from spatialbot_policy.errors import ConfigError
from spatialbot_policy.resources import share_directory


@dataclass(frozen=True)
class PublishedParameters:
    """Parameters of the published models that a size is made of, each counted whole.

    Attributes:
        language: of the language model with its head, tied weights counted once.
        backbones: of each vision backbone, with the layers that are not used here.
    """

    language: int
    backbones: tuple[int, ...]


@dataclass(frozen=True)
class ModelSize:
    """What one size is made of.

    Attributes:
        name: of the size, and of its file.
        text: fields of the language model's transformers config, `model_type` among them. Without
            `vocab_size` the vocabulary is the tokenizer's.
        vision: fields of the tower's config, `model_type` ("conv" or "pretrained") among them.
        projector: `projector_type` of the model's config.
        bin_smoothing: standard deviation of the soft labels of action tokens in bins; 0 = one-hot.
        published: parameters of the published models; None for a size of our own.

    Raises:
        ConfigError: a part without its `model_type`.
    """

    name: str
    text: dict[str, object]
    vision: dict[str, object]
    projector: str = "mlp2x_gelu"
    bin_smoothing: float = 1.0
    published: PublishedParameters | None = None

    def __post_init__(self) -> None:
        for part, fields in (("text", self.text), ("vision", self.vision)):
            if not isinstance(fields.get("model_type"), str):
                raise ConfigError(
                    f"{part} of the size '{self.name}' needs a model_type, such as qwen2 or conv"
                )

    def changed(
        self,
        *,
        text: Mapping[str, object] | None = None,
        vision: Mapping[str, object] | None = None,
        bin_smoothing: float | None = None,
    ) -> ModelSize:
        """The same size with some fields otherwise; its published counts no longer hold."""
        return dataclasses.replace(
            self,
            text={**self.text, **(text or {})},
            vision={**self.vision, **(vision or {})},
            bin_smoothing=self.bin_smoothing if bin_smoothing is None else bin_smoothing,
            published=None if text or vision else self.published,
        )


def size_names() -> list[str]:
    """The sizes that come with this project."""
    return sorted(path.stem for path in _directory().glob("*.yaml"))


def load_size(name: str | Path) -> ModelSize:
    """Read a size by its name, or from a YAML file of one's own.

    Raises:
        ConfigError: no such size or file, or one that cannot be used.
    """
    file = Path(name)
    if file.suffix not in (".yaml", ".yml"):
        file = _directory() / f"{name}.yaml"
        if not file.is_file():
            raise ConfigError(
                f"there is no model size '{name}'; use one of {', '.join(size_names())}, or a YAML file"
            )
    return load_yaml(ModelSize, file)


def _directory() -> Path:
    return share_directory() / "config" / "model"
