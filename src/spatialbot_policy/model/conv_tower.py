"""The convolutional vision tower of the `tiny` size: fused RGB-D in, metric keypoints out."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import initialization as init
from transformers.configuration_utils import PreTrainedConfig

from spatialbot_policy.errors import ConfigError, FrameError
from spatialbot_policy.model.depth_planes import DEPTH_DECODERS

MAX_LOG_SCALE = math.log(100.0)


class ConvTowerConfig(PreTrainedConfig):
    """Shape of the convolutional tower.

    Attributes:
        channels: channels at 1/4, 1/8 and 1/16 of the image's size.
        keypoints: number of spatial soft-argmax heatmaps.
        keypoint_features: feature channels read out under each heatmap.
        tokens_per_image: tokens that each image slot of the prompt receives.
        hidden_size: width of a token before the projector.
        depth_variant: "paper", "released" or "uint24"; None for colour images alone.
        depth_range_m: the distances that are mapped to [-1, 1].
    """

    model_type = "conv"

    channels: list[int] | tuple[int, ...] = (32, 64, 128)
    keypoints: int = 32
    keypoint_features: int = 8
    tokens_per_image: int = 2
    hidden_size: int = 192
    norm_groups: int = 8
    depth_variant: str | None = None
    depth_range_m: list[float] | tuple[float, ...] = (0.4, 1.4)

    def __post_init__(self, **kwargs: object) -> None:
        super().__post_init__(**kwargs)
        self.channels = list(self.channels)
        self.depth_range_m = list(self.depth_range_m)
        if len(self.channels) != 3 or any(count % self.norm_groups for count in self.channels):
            raise ConfigError(
                f"vision_config.channels must be three multiples of norm_groups={self.norm_groups}, "
                f"got {self.channels}"
            )
        if self.depth_variant is not None and self.depth_variant not in DEPTH_DECODERS:
            raise ConfigError(
                f"unknown vision_config.depth_variant '{self.depth_variant}'; "
                f"use one of {', '.join(DEPTH_DECODERS)} or null for colour alone"
            )
        near, far = self.depth_range_m
        if not 0.0 <= near < far:
            raise ConfigError(f"vision_config.depth_range_m must be 0 <= near < far, got {near}, {far}")

    @property
    def images_per_frame(self) -> int:
        """2 when a depth image follows each colour image, else 1."""
        return 1 if self.depth_variant is None else 2

    @property
    def frame_feature_size(self) -> int:
        """Length of the vector that `ConvTower.frame_features` gives for a frame."""
        spatial = 2 if self.depth_variant is None else 6
        return self.keypoints * (spatial + self.keypoint_features + 2) + self.channels[2]


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with one group norm between them, added to their input."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.GroupNorm(groups, channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        return F.relu(x + self.second(F.relu(self.norm(self.first(x)))))


class ConvTower(nn.Module):
    """U-shaped convolutions at stride 4, then keypoints with float32 coordinates and metric depth.

    A colour image and the depth image after it are one frame and pass through the network together.
    Everything from the heatmaps on is float32 even under autocast, because one millimetre of a
    600 mm field of view must survive. Under each heatmap the tower reads u, v, depth z and the
    products u z and v z, in which a pinhole camera's metric position is linear.
    """

    float32_only = True

    def __init__(self, config: ConvTowerConfig) -> None:
        super().__init__()
        self.config = config
        fine, middle, coarse = config.channels
        groups = config.norm_groups
        self.stem = nn.Conv2d(3 if config.depth_variant is None else 5, fine, 4, stride=4)
        self.position = nn.Conv2d(2, fine, 1, bias=False)
        self.fine_in = ResidualBlock(fine, groups)
        self.to_middle = nn.Conv2d(fine, middle, 2, stride=2)
        self.middle_in = ResidualBlock(middle, groups)
        self.to_coarse = nn.Conv2d(middle, coarse, 2, stride=2)
        self.coarse = nn.Sequential(ResidualBlock(coarse, groups), ResidualBlock(coarse, groups))
        self.coarse_up = nn.Conv2d(coarse, middle, 1)
        self.middle_out = ResidualBlock(middle, groups)
        self.middle_up = nn.Conv2d(middle, fine, 1)
        self.fine_out = ResidualBlock(fine, groups)
        self.heatmaps = nn.Linear(fine, config.keypoints)
        self.readout = nn.Linear(fine, config.keypoint_features)
        self.log_scale = nn.Parameter(torch.zeros(config.keypoints))
        tokens = config.tokens_per_image * config.images_per_frame
        self.to_tokens = nn.Linear(config.frame_feature_size, tokens * config.hidden_size)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise all weights: variance-preserving, residual branches small, broad heatmaps."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                init.kaiming_normal_(module.weight, nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                init.normal_(module.weight, std=module.in_features**-0.5)
            elif isinstance(module, nn.GroupNorm):
                init.ones_(module.weight)
            bias = getattr(module, "bias", None)
            if bias is not None:
                init.zeros_(bias)
        for module in self.modules():
            if isinstance(module, ResidualBlock):
                init.normal_(module.second.weight, std=0.3 * (9 * module.second.in_channels) ** -0.5)
        init.constant_(self.log_scale, math.log(5.0))

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) uint8 -> (N, tokens_per_image, hidden_size) float32, N counting depth images."""
        return self.tokens(self.frame_features(images))

    def tokens(self, features: Tensor) -> Tensor:
        """(frames, F) frame features -> (images, tokens_per_image, hidden_size) float32."""
        with torch.autocast(features.device.type, enabled=False):
            flat: Tensor = self.to_tokens(features.float())
        return flat.view(-1, self.config.tokens_per_image, self.config.hidden_size)

    def token_layers(self) -> list[nn.Module]:
        """The layer behind the frame features, linear in them: with the projector it learns what to tell."""
        return [self.to_tokens]

    def frame_features(self, images: Tensor) -> Tensor:
        """Describe each frame as one vector, on which tokens and auxiliary heads are linear.

        Args:
            images: (N, 3, H, W) uint8, colour and depth images in turn (colour alone without depth).

        Returns:
            (frames, F) float32; F is `config.frame_feature_size`.
        """
        fine, coarse, values = self.maps(images)
        with torch.autocast(images.device.type, enabled=False):
            keypoints = self._keypoints(fine.float(), values)
            return torch.cat([keypoints, coarse.float().mean((2, 3))], dim=1)

    def maps(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the frame features are read from, cell by cell.

        Args:
            images: as `frame_features` takes them.

        Returns:
            (frames, C, H/4, W/4) and (frames, C', H/16, W/16) features, and (frames, cells, V) of each cell
            of the finer grid: u, v and, with depth, valid, z, u z and v z.
        """
        color, depth_m = self._split(images)
        with torch.autocast(images.device.type, enabled=False):
            # In float32: a stem in bfloat16 would round the depth to 4 mm before any difference is taken.
            planes, values = self._planes(color, depth_m)
            x = self.stem(planes) + self.position(_grid(planes.shape[2] // 4, planes.shape[3] // 4, planes))
        return *self._trunk(F.relu(x)), values

    def _split(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """(N, 3, H, W) -> colour (frames, 3, H, W) uint8 and depth (frames, H, W) metres or None."""
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
            raise FrameError(
                f"the conv tower takes (N, 3, H, W) uint8 images, got {tuple(images.shape)} {images.dtype}; "
                "prepare them with SpatialBotProcessor"
            )
        if images.shape[2] % 16 or images.shape[3] % 16:
            raise FrameError(
                f"the conv tower takes heights and widths that 16 divides, got "
                f"{images.shape[2]} x {images.shape[3]}; set the cameras' width and height so"
            )
        if self.config.depth_variant is None:
            return images, None
        if images.shape[0] % 2:
            raise FrameError(
                f"got {images.shape[0]} images, but each colour image must be followed by its depth image; "
                "use depth_variant: null for a policy without depth"
            )
        pairs = images.unflatten(0, (-1, 2))
        depth_mm = DEPTH_DECODERS[self.config.depth_variant](pairs[:, 1])
        return pairs[:, 0], depth_mm.float() / 1000.0

    def _planes(self, color: Tensor, depth_m: Tensor | None) -> tuple[Tensor, Tensor]:
        """Build the stem's input planes and the values that the keypoints read out.

        Returns:
            planes (frames, 3 or 5, H, W) channels-last, and values (frames, cells, 2 or 5):
            u, v and, with depth, valid, z and both products, each averaged over the valid pixels.
        """
        rgb = color.float() / 127.5 - 1.0
        height, width = rgb.shape[2] // 4, rgb.shape[3] // 4
        grid = _grid(height, width, rgb).expand(rgb.shape[0], -1, -1, -1)
        if depth_m is None:
            return rgb.contiguous(memory_format=torch.channels_last), grid.flatten(2).transpose(1, 2)
        near, far = self.config.depth_range_m
        valid = (depth_m > 0).float()
        scaled = ((2.0 * depth_m - near - far) / (far - near)).clamp(-2.0, 2.0) * valid
        pooled = F.avg_pool2d(torch.stack([valid, scaled], dim=1), 4)
        share, z = pooled[:, :1], pooled[:, 1:] / pooled[:, :1].clamp(min=1e-6)
        here = (share > 0).float()
        planes = torch.cat([rgb, scaled[:, None], valid[:, None]], dim=1)
        values = torch.cat([grid, here, z, grid * z], dim=1)
        return planes.contiguous(memory_format=torch.channels_last), values.flatten(2).transpose(1, 2)

    def _trunk(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Stem output -> features at 1/4 and at 1/16 of the image's size."""
        fine = self.fine_in(x)
        middle = self.middle_in(F.relu(self.to_middle(fine)))
        coarse = self.coarse(F.relu(self.to_coarse(middle)))
        middle = self.middle_out(middle + _double(self.coarse_up(coarse)))
        return self.fine_out(fine + _double(self.middle_up(middle))), coarse

    def _keypoints(self, fine: Tensor, values: Tensor) -> Tensor:
        """(N, C, h, w) features and (N, cells, V) values -> (N, keypoints * per-keypoint size)."""
        cells = fine.flatten(2).transpose(1, 2)
        scale = self.log_scale.clamp(max=MAX_LOG_SCALE).exp()
        log_p = F.log_softmax(self.heatmaps(cells) * scale, dim=1)
        p = log_p.exp()
        entropy = -(p * log_p).sum(1) / math.log(cells.shape[1])
        read = p.transpose(1, 2) @ torch.cat([values, self.readout(cells)], dim=2)
        if self.config.depth_variant is not None:
            # Depth and its products are averages over the cells that have depth at all.
            share = read[:, :, 2:3]
            read = torch.cat([read[:, :, :3], read[:, :, 3:6] / share.clamp(min=1e-3), read[:, :, 6:]], dim=2)
        summary = torch.stack([p.amax(1), entropy], dim=2)
        return torch.cat([read, summary], dim=2).flatten(1)


def _double(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, 2 H, 2 W), bilinear."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def _grid(height: int, width: int, like: Tensor) -> Tensor:
    """(1, 2, height, width) u and v of the cells' centres in [-1, 1]."""
    v = (torch.arange(height, device=like.device, dtype=like.dtype) * 2 + 1) / height - 1
    u = (torch.arange(width, device=like.device, dtype=like.dtype) * 2 + 1) / width - 1
    return torch.stack([u.expand(height, width), v[:, None].expand(height, width)])[None]
