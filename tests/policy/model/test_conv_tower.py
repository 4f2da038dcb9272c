"""The conv tower decodes depth exactly, reads metric keypoints, and refuses what it cannot see."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spatialbot_policy import depth
from spatialbot_policy.depth import MAX_MM, DepthVariant
from spatialbot_policy.errors import ConfigError, FrameError
from spatialbot_policy.model.conv_tower import ConvTower, ConvTowerConfig
from spatialbot_policy.model.depth_planes import DEPTH_DECODERS
from spatialbot_policy.model.vision_tower import build_tower

SMALL = {"channels": (8, 8, 16), "keypoints": 4, "keypoint_features": 2, "hidden_size": 16}


def tower(variant: str | None = "paper", **changes: object) -> ConvTower:
    torch.manual_seed(0)
    return ConvTower(ConvTowerConfig(**{**SMALL, "depth_variant": variant, **changes})).eval()


def frame(depth_mm: np.ndarray, variant: str = "paper", seed: int = 0) -> torch.Tensor:
    """Random colour and the encoded depth: (2, 3, H, W)."""
    color = np.random.default_rng(seed).integers(0, 256, (*depth_mm.shape, 3), dtype=np.uint8)
    image = depth.encode(depth_mm, DepthVariant(variant))
    return torch.from_numpy(np.stack([color, image])).permute(0, 3, 1, 2)


@pytest.mark.parametrize("variant", list(DepthVariant))
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_decoding_is_the_inverse_of_the_codec(variant: DepthVariant, data: st.DataObject) -> None:
    largest = MAX_MM[variant]
    points = [value for value in (0, 1, 31, 32, 1023, 1024, 5000, 65535, 65536, largest) if value <= largest]
    drawn = data.draw(st.lists(st.integers(0, largest), min_size=1, max_size=30))
    depth_mm = np.array([points + drawn], dtype=np.uint32)
    image = torch.from_numpy(depth.encode(depth_mm, variant)).permute(2, 0, 1)
    assert DEPTH_DECODERS[variant.value](image).tolist() == depth_mm.tolist()


@pytest.mark.parametrize("variant", [None, "paper", "released", "uint24"])
def test_shapes(variant: str | None) -> None:
    net = tower(variant)
    images = torch.randint(0, 256, (4, 3, 64, 32), dtype=torch.uint8)
    frames = 4 // net.config.images_per_frame
    assert net.frame_features(images).shape == (frames, net.config.frame_feature_size)
    assert net(images).shape == (4, 2, 16)


def test_variants_see_the_same_depth() -> None:
    depth_mm = np.random.default_rng(1).integers(0, 1500, (32, 32)).astype(np.uint16)
    features = [tower(v).frame_features(frame(depth_mm, v)) for v in ("paper", "released", "uint24")]
    assert torch.equal(features[0], features[1])
    assert torch.equal(features[0], features[2])


def read_keypoints(net: ConvTower, images: torch.Tensor) -> torch.Tensor:
    """(keypoints, values): u, v, valid, z, u z, v z, ..."""
    count = net.config.keypoints
    flat = net.frame_features(images)[0, : -net.config.channels[2]]
    return flat.view(count, -1)


def test_metric_depth_survives_to_the_millimetre_under_autocast() -> None:
    net = tower()
    near = read_keypoints(net, frame(np.full((64, 64), 700, np.uint16)))
    with torch.autocast("cpu", torch.bfloat16):
        far = read_keypoints(net, frame(np.full((64, 64), 701, np.uint16)))
    # 1 m of range is mapped to 2, so a millimetre is 0.002.
    assert torch.allclose(far[:, 3] - near[:, 3], torch.tensor(0.002), atol=1e-5)
    assert far.dtype == torch.float32


def test_invalid_pixels_do_not_pull_the_depth() -> None:
    net = tower()
    depth_mm = np.full((64, 64), 700, np.uint16)
    depth_mm[::2] = 0
    read = read_keypoints(net, frame(depth_mm))
    assert torch.allclose(read[:, 2], torch.tensor(1.0))
    assert torch.allclose(read[:, 3], torch.tensor((0.7 - 0.9) / 0.5), atol=1e-5)


def test_invalid_cells_are_left_out_of_the_depth() -> None:
    net = tower()
    depth_mm = np.full((64, 64), 700, np.uint16)
    depth_mm[:, :32] = 0
    read = read_keypoints(net, frame(depth_mm))
    assert ((read[:, 2] > 0.01) & (read[:, 2] < 0.9999)).all()
    assert torch.allclose(read[:, 3], torch.tensor((0.7 - 0.9) / 0.5), atol=1e-4)


def test_sharp_heatmaps_find_the_cell() -> None:
    """With one bright patch and a heatmap on brightness, u and v are the patch's centre."""
    net = tower(None)
    with torch.no_grad():
        net.heatmaps.weight.zero_()
        net.heatmaps.weight[:, 0] = 100.0
    image = torch.zeros((1, 3, 64, 64), dtype=torch.uint8)
    fine = torch.zeros((1, 8, 16, 16))
    fine[0, 0, 3, 12] = 1.0
    _, values = net._planes(image, None)
    read = net._keypoints(fine, values).view(4, -1)
    assert torch.allclose(read[:, 0], torch.tensor((2 * 12 + 1) / 16 - 1), atol=1e-4)
    assert torch.allclose(read[:, 1], torch.tensor((2 * 3 + 1) / 16 - 1), atol=1e-4)
    assert torch.allclose(read[:, -2], torch.tensor(1.0), atol=1e-3)
    assert torch.allclose(read[:, -1], torch.tensor(0.0), atol=1e-2)


def test_frames_do_not_mix() -> None:
    net = tower()
    one, two = (frame(np.full((32, 32), d, np.uint16), seed=d) for d in (600, 900))
    both = net(torch.cat([one, two]))
    assert torch.allclose(both[:2], net(one), atol=1e-5)
    assert torch.allclose(both[2:], net(two), atol=1e-5)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros((3, 3, 32, 32), dtype=torch.uint8), "followed by its depth image"),
        (torch.zeros((2, 3, 32, 32)), "uint8"),
        (torch.zeros((2, 1, 32, 32), dtype=torch.uint8), "uint8"),
        (torch.zeros((2, 3, 40, 32), dtype=torch.uint8), "16 divides"),
    ],
)
def test_wrong_images_are_refused(images: torch.Tensor, message: str) -> None:
    with pytest.raises(FrameError, match=message):
        tower()(images)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth_variant": "jet"}, "unknown vision_config.depth_variant 'jet'"),
        ({"channels": (8, 8)}, "three multiples"),
        ({"channels": (8, 12, 16)}, "three multiples"),
        ({"depth_range_m": (1.0, 0.5)}, "near < far"),
    ],
)
def test_wrong_shapes_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ConvTowerConfig(**{**SMALL, **changes})


def test_unknown_tower_is_refused() -> None:
    config = ConvTowerConfig(**SMALL)
    other = type("Other", (), {"model_type": "vit", "hidden_size": config.hidden_size})()
    with pytest.raises(ConfigError, match="unknown vision tower 'vit'.*conv"):
        build_tower(other)
