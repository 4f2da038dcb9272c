"""Image files: depth is told from colour by its bits, and nothing damaged is let through."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spatialbot_policy.conversation_config import ConversationConfig, ImagePadding
from spatialbot_policy.depth import DepthVariant, decode, encode
from spatialbot_policy.errors import ConversationError
from spatialbot_policy.image_files import ConversationImages, read_depth, read_picture

COLOR = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
DEPTH = np.random.default_rng(1).integers(1, 60_000, (12, 16)).astype(np.uint16)


def write(path: Path, array: np.ndarray, mode: str | None = None) -> Path:
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path)
    return path


def test_colour_comes_as_rgb(tmp_path: Path) -> None:
    assert np.array_equal(read_picture(write(tmp_path / "a.png", COLOR)), COLOR)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1"])
def test_pictures_of_other_modes_are_photographs(tmp_path: Path, mode: str) -> None:
    picture = read_picture(write(tmp_path / "a.png", COLOR, mode))
    assert picture.shape == COLOR.shape and picture.dtype == np.uint8


def test_sixteen_bits_are_millimetres(tmp_path: Path) -> None:
    file = write(tmp_path / "d.png", DEPTH)
    assert np.array_equal(read_picture(file), DEPTH) and np.array_equal(read_depth(file), DEPTH)


def test_thirty_two_bits_are_millimetres_and_floats_are_metres(tmp_path: Path) -> None:
    deep = np.full((4, 4), 70_000, np.int32)
    assert np.array_equal(read_picture(write(tmp_path / "d.tiff", deep)), deep)
    assert (read_picture(write(tmp_path / "f.tiff", np.full((4, 4), 1.5, np.float32))) == 1500).all()


def test_twenty_four_bits_are_depth_where_depth_is_asked_for(tmp_path: Path) -> None:
    deep = np.full((4, 4), 70_000, np.uint32)
    file = write(tmp_path / "d.png", encode(deep, DepthVariant.UINT24))
    assert np.array_equal(read_depth(file), deep)
    with pytest.raises(ConversationError, match="8 bits a pixel and is no depth image"):
        read_depth(write(tmp_path / "grey.png", COLOR, "L"))


def test_a_missing_a_cut_and_a_foreign_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConversationError, match=r"no image .*none\.png"):
        read_picture(tmp_path / "none.png")
    big = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    whole = write(tmp_path / "a.jpg", big).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("no image")
    for name in ("cut.jpg", "text.png"):
        for read in (read_picture, read_depth):
            with pytest.raises(ConversationError, match=rf"{name} cannot be decoded"):
                read(tmp_path / name)


def test_depth_is_encoded_before_it_is_resized_and_never_blended(tmp_path: Path) -> None:
    config = ConversationConfig(6, 6, ImagePadding.STRETCH, depth_variant=DepthVariant.RELEASED)
    image = ConversationImages(config).read(write(tmp_path / "d.png", DEPTH))
    assert image.shape == (6, 6, 3)
    assert set(decode(image, DepthVariant.RELEASED).ravel().tolist()) <= set(DEPTH.ravel().tolist())


@pytest.mark.parametrize(
    ("depth", "variant", "message"),
    [
        (np.zeros((4, 4), np.uint16), DepthVariant.PAPER, "invalid .0. everywhere"),
        (np.full((4, 4), 70_000, np.uint32), DepthVariant.RELEASED, "outside the range 0..65535"),
        (np.full((4, 4), 700, np.uint16), None, "sees colour alone"),
    ],
)
def test_depth_that_the_checkpoint_cannot_use_is_refused(
    depth: np.ndarray, variant: DepthVariant | None, message: str
) -> None:
    images = ConversationImages(ConversationConfig(4, 4, depth_variant=variant))
    with pytest.raises(ConversationError, match=f"cup.png.*{message}"):
        images.prepare(depth, "cup.png")
