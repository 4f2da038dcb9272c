"""The vision tower of the larger sizes: CLIP, SigLIP or DINOv2, alone or side by side."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, AutoModel
from transformers.configuration_utils import PreTrainedConfig
from transformers.modeling_utils import PreTrainedModel

from spatialbot_policy.errors import ConfigError, FrameError
from spatialbot_policy.model.depth_planes import DEPTH_DECODERS

# Model type -> whether a class token comes before the patches.
BACKBONES = {"clip_vision_model": True, "siglip_vision_model": False, "dinov2": True}
POOLED_TOKENS = (None, 64, 144)


class PretrainedTowerConfig(PreTrainedConfig):
    """Which pretrained transformers see an image, and how many tokens it becomes.

    Attributes:
        backbones: the published vision config of each transformer, as a dictionary with its `model_type`:
            `clip_vision_model`, `siglip_vision_model` or `dinov2`.
        select_layers: for each backbone, the hidden state whose patches are read, as transformers counts
            `hidden_states`: 0 = embeddings, -1 = output of the last layer before the final norm. The released
            SpatialBot and Bunny read -2. Layers above are not built.
        image_size: height and width of the images in pixels, for all backbones.
        image_means: mean of R, G and B for each backbone, on a scale of 0 .. 1.
        image_stds: the same for the standard deviation.
        pooled_tokens: average the patch grid down to 12 x 12 = 144 or 8 x 8 = 64; None keeps every patch.
        depth_variant: "paper", "released" or "uint24" when a depth image follows each colour image.
            The backbones see it as they see a colour image, as in the released model.

    Raises:
        ConfigError: a backbone that is not known, a layer that it lacks, or lists of different lengths.
    """

    model_type = "pretrained"

    # transformers compares with the defaults when it saves, so there must be some.
    backbones: list[dict[str, Any]] | tuple[dict[str, Any], ...] = ({"model_type": "clip_vision_model"},)
    select_layers: list[int] | tuple[int, ...] = (-2,)
    image_size: int = 336
    image_means: list[list[float]] | tuple[tuple[float, ...], ...] = ((0.5, 0.5, 0.5),)
    image_stds: list[list[float]] | tuple[tuple[float, ...], ...] = ((0.5, 0.5, 0.5),)
    pooled_tokens: int | None = None
    depth_variant: str | None = None

    def __post_init__(self, **kwargs: object) -> None:
        super().__post_init__(**kwargs)
        self.backbones = [dict(backbone) for backbone in self.backbones]
        self.select_layers = list(self.select_layers)
        self.image_means = [list(mean) for mean in self.image_means]
        self.image_stds = [list(std) for std in self.image_stds]
        count = len(self.backbones)
        lengths = {len(self.select_layers), len(self.image_means), len(self.image_stds)}
        if not count or lengths != {count}:
            raise ConfigError(
                f"vision_config has {count} backbones; give at least one, and as many select_layers, "
                "image_means and image_stds"
            )
        rows = [*self.image_means, *self.image_stds]
        if any(len(row) != 3 for row in rows) or any(min(std) <= 0 for std in self.image_stds):
            raise ConfigError(
                "vision_config.image_means and image_stds are three numbers for each backbone, stds above 0"
            )
        if self.depth_variant is not None and self.depth_variant not in DEPTH_DECODERS:
            raise ConfigError(
                f"unknown vision_config.depth_variant '{self.depth_variant}'; "
                f"use one of {', '.join(DEPTH_DECODERS)} or null for colour alone"
            )
        for index in range(count):
            self._check_backbone(index)
        if self.pooled_tokens not in POOLED_TOKENS or (self.pooled_tokens or 0) > self.grid_size**2:
            raise ConfigError(
                f"vision_config.pooled_tokens must be null, 64 or 144 and at most {self.grid_size**2}, the "
                f"patches of an image, got {self.pooled_tokens}"
            )

    def _check_backbone(self, index: int) -> None:
        given = self.backbones[index]
        if given.get("model_type") not in BACKBONES:
            raise ConfigError(
                f"vision_config.backbones[{index}] has model_type {given.get('model_type')!r}; use one of "
                f"{', '.join(BACKBONES)}"
            )
        config = self.published_config(index)
        if not 1 <= self._layers_used(index) <= config.num_hidden_layers:
            raise ConfigError(
                f"vision_config.select_layers[{index}] = {self.select_layers[index]} reads a layer that "
                f"backbone {index} lacks; it has {config.num_hidden_layers} layers"
            )
        if self.image_size < config.patch_size:
            raise ConfigError(
                f"vision_config.image_size {self.image_size} holds no patch of {config.patch_size} pixels"
            )

    def published_config(self, index: int) -> PreTrainedConfig:
        """The config of a backbone as it was published, with all its layers."""
        fields = {key: value for key, value in self.backbones[index].items() if key != "model_type"}
        return CONFIG_MAPPING[self.backbones[index]["model_type"]](**fields)

    def backbone_config(self, index: int) -> PreTrainedConfig:
        """The config of a backbone as it is built: up to the layer that is read, no pooling head."""
        config = self.published_config(index)
        config.num_hidden_layers = self._layers_used(index)
        if config.model_type == "siglip_vision_model":
            config.vision_use_head = False
        return config

    def _layers_used(self, index: int) -> int:
        chosen, layers = self.select_layers[index], self.published_config(index).num_hidden_layers
        return chosen if chosen >= 0 else layers + 1 + chosen

    @property
    def grid_size(self) -> int:
        """Rows and columns of the first backbone's patches; the others are fitted to them."""
        return int(self.image_size // self.published_config(0).patch_size)

    @property
    def tokens_per_image(self) -> int:
        """Tokens that a colour or depth image becomes."""
        return self.pooled_tokens or self.grid_size**2

    @property
    def images_per_frame(self) -> int:
        """1: the backbones see every image by itself, so a conversation may show colour without depth."""
        return 1

    @property
    def hidden_size(self) -> int:
        """Width of a token before the projector: the backbones' widths together."""
        return sum(int(self.published_config(index).hidden_size) for index in range(len(self.backbones)))

    @property
    def frame_feature_size(self) -> int:
        """Length of the vector that `PretrainedTower.frame_features` gives for an image."""
        return self.tokens_per_image * self.hidden_size


class PretrainedTower(nn.Module):
    """Patches of one or several pretrained transformers, concatenated patch by patch and pooled if asked.

    The backbones run in the precision of their weights (or under autocast); the features are float32. A
    backbone's final norm and DINOv2's mask token are kept, so that its published tensors are complete up
    to the layer that is read, but they do not reach the features and are never trained.
    """

    float32_only = False

    def __init__(self, config: PretrainedTowerConfig) -> None:
        super().__init__()
        self.config = config
        configs = [config.backbone_config(index) for index in range(len(config.backbones))]
        self.backbones = nn.ModuleList(AutoModel.from_config(backbone) for backbone in configs)
        self._rows, self._frame_size = config.grid_size, config.frame_feature_size
        self._tokens, self._width = config.tokens_per_image, config.hidden_size
        self.requires_grad_(True)

    def reset_parameters(self) -> None:
        """Nothing to do here: transformers initialises each backbone by the backbone's own rules."""

    def requires_grad_(self, requires_grad: bool = True) -> PretrainedTower:
        """Freeze or train the tower; what does not reach the features stays frozen."""
        super().requires_grad_(requires_grad)
        for parameter in self.idle_parameters():
            parameter.requires_grad_(False)
        return self

    def idle_parameters(self) -> list[nn.Parameter]:
        """Parameters that do not reach the features, and would have no gradient."""
        idle: list[nn.Parameter] = []
        for backbone in self.backbones:
            for name, parameter in backbone.named_parameters():
                if name.startswith(("post_layernorm.", "layernorm.")) or name == "embeddings.mask_token":
                    idle.append(parameter)
        return idle

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) uint8 -> (N, tokens_per_image, hidden_size) float32, N counting depth images."""
        return self.tokens(self.frame_features(images))

    def tokens(self, features: Tensor) -> Tensor:
        """(frames, F) frame features -> (images, tokens_per_image, hidden_size) float32."""
        return features.float().reshape(-1, self._tokens, self._width)

    def token_layers(self) -> list[nn.Module]:
        """None: the frame features are the tokens."""
        return []

    def frame_features(self, images: Tensor) -> Tensor:
        """Give each image's tokens as one vector.

        Args:
            images: (N, 3, image_size, image_size) uint8, colour and depth images in any order.

        Returns:
            (N, F) float32; F is `config.frame_feature_size`.

        Raises:
            FrameError: images of another type or size.
        """
        self._check(images)
        scaled = images.float() / 255.0
        grids = [self._grid(index, scaled) for index in range(len(self.backbones))]
        grids = [grid if grid.shape[-1] == self._rows else fit_grid(grid, self._rows) for grid in grids]
        joined = pool_grid(torch.cat(grids, dim=1), self.config.pooled_tokens)
        return joined.flatten(2).transpose(1, 2).reshape(-1, self._frame_size)

    def _grid(self, index: int, images: Tensor) -> Tensor:
        """(N, 3, H, W) in 0 .. 1 -> (N, C, rows, columns) float32 patches of one backbone."""
        mean, std = (
            images.new_tensor(values[index]).view(3, 1, 1)
            for values in (self.config.image_means, self.config.image_stds)
        )
        backbone = cast(PreTrainedModel, self.backbones[index])
        hidden = _hidden_state(backbone, ((images - mean) / std).to(backbone.dtype))
        patches = hidden[:, 1:] if BACKBONES[backbone.config.model_type] else hidden
        rows = images.shape[2] // backbone.config.patch_size
        return patches.float().transpose(1, 2).unflatten(2, (rows, -1))

    def _check(self, images: Tensor) -> None:
        size = self.config.image_size
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1:] != (3, size, size):
            raise FrameError(
                f"the tower takes (N, 3, {size}, {size}) uint8 images, got {tuple(images.shape)} "
                f"{images.dtype}; prepare them with SpatialBotProcessor, cameras of {size} x {size}"
            )


def _hidden_state(backbone: PreTrainedModel, pixels: Tensor) -> Tensor:
    """(N, 3, H, W) normalised -> (N, tokens, C), the output of the last layer before the final norm."""
    config, parts = backbone.config, cast(Any, backbone)
    if config.model_type == "dinov2":  # always interpolates its position embeddings
        return cast(Tensor, parts.encoder(parts.embeddings(pixels)).last_hidden_state)
    other_size = config.image_size != pixels.shape[2]
    embedded = parts.embeddings(pixels, interpolate_pos_encoding=other_size)
    if config.model_type == "clip_vision_model":
        embedded = parts.pre_layrnorm(embedded)
    return cast(Tensor, parts.encoder(inputs_embeds=embedded).last_hidden_state)


def fit_grid(grid: Tensor, rows: int) -> Tensor:
    """(N, C, h, w) -> (N, C, rows, rows), bilinear."""
    return F.interpolate(grid, size=(rows, rows), mode="bilinear", align_corners=False)


def pool_grid(grid: Tensor, tokens: int | None) -> Tensor:
    """Average neighbours: (N, C, h, w) -> (N, C, r, r) with r * r = tokens; None keeps every patch."""
    return grid if tokens is None else F.adaptive_avg_pool2d(grid, math.isqrt(tokens))
