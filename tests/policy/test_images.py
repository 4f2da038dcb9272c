"""The one resize: aspect kept, depth picked and never blended."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from spatialbot_policy.depth import DepthVariant, decode, encode
from spatialbot_policy.errors import FrameError
from spatialbot_policy.images import PadSquare, ResizePad, Stretch, to_rgb

SIZES = st.integers(1, 24)


def test_equal_size_passes_untouched():
    color, depth = np.ones((6, 8, 3), np.uint8), np.ones((6, 8), np.uint16)
    resize = ResizePad(8, 6)
    assert resize(color) is color and resize.nearest(depth) is depth


@pytest.mark.parametrize(
    ("size", "expected_rows"), [((480, 640), slice(16, 112)), ((128, 128), slice(0, 128))]
)
def test_aspect_is_kept_and_the_rest_is_black(size, expected_rows):
    inside = np.zeros(128, bool)
    inside[expected_rows] = True
    color = ResizePad(128, 128)(np.full((*size, 3), 200, np.uint8))
    depth = ResizePad(128, 128).nearest(np.full(size, 900, np.uint16))
    assert (color[inside] == 200).all() and (color[~inside] == 0).all()
    assert (depth[inside] == 900).all() and (depth[~inside] == 0).all()


def test_tall_images_are_padded_at_the_sides():
    color = ResizePad(4, 4)(np.full((8, 4, 3), 9, np.uint8))
    assert color[:, :, 0].tolist() == [[0, 9, 9, 0]] * 4


def test_shrinking_averages_and_growing_interpolates_colour():
    checks = np.indices((8, 8)).sum(0) % 2 * 200
    color = np.repeat(checks[..., None], 3, axis=2).astype(np.uint8)
    assert (ResizePad(4, 4)(color) == 100).all()
    steps = np.zeros((2, 2, 3), np.uint8)
    steps[:, 1] = 200
    assert len(np.unique(ResizePad(8, 8)(steps))) > 2


@settings(max_examples=40, deadline=None)
@given(
    hnp.arrays(np.uint32, st.tuples(SIZES, SIZES), elements=st.integers(1, 131071)),
    SIZES,
    SIZES,
    st.sampled_from([DepthVariant.PAPER, DepthVariant.UINT24]),
)
def test_depth_is_never_interpolated_and_commutes_with_encoding(depth, width, height, variant):
    resize = ResizePad(width, height)
    small = resize.nearest(depth)
    assert small.shape == (height, width) and small.dtype == depth.dtype
    assert set(np.unique(small)) <= set(np.unique(depth)) | {0}
    encoded = resize.nearest(encode(depth, variant))
    np.testing.assert_array_equal(encoded, encode(small, variant))
    np.testing.assert_array_equal(decode(encoded, variant), small)


@settings(max_examples=30, deadline=None)
@given(SIZES, SIZES, SIZES, SIZES)
def test_colour_and_depth_cover_the_same_pixels(width, height, new_width, new_height):
    resize = ResizePad(new_width, new_height)
    color = resize(np.full((height, width, 3), 255, np.uint8))
    depth = resize.nearest(np.full((height, width), 1, np.uint16))
    assert color.shape == (new_height, new_width, 3)
    np.testing.assert_array_equal(color[..., 0] > 0, depth > 0)


def test_nearest_picks_the_pixel_under_the_centre():
    row = np.arange(6, dtype=np.uint16)[None]
    assert ResizePad(3, 1).nearest(np.repeat(row, 2, axis=0)).tolist() == [[1, 3, 5]]


def test_colour_encodings():
    rgb = np.array([[[1, 2, 3]]], np.uint8)
    alpha = np.array([[[9]]], np.uint8)
    assert to_rgb(rgb, "rgb8") is rgb
    assert to_rgb(rgb[..., ::-1], "bgr8").tolist() == rgb.tolist()
    assert to_rgb(np.concatenate([rgb, alpha], -1), "rgba8").tolist() == rgb.tolist()
    assert to_rgb(np.concatenate([rgb[..., ::-1], alpha], -1), "bgra8").tolist() == rgb.tolist()
    assert to_rgb(np.array([[7]], np.uint8), "mono8").tolist() == [[[7, 7, 7]]]


@pytest.mark.parametrize(
    ("image", "encoding", "message"),
    [
        (np.zeros((2, 2, 3), np.uint8), "yuv422", "'yuv422' is not supported.*rgb8"),
        (np.zeros((2, 2, 3), np.uint8), "rgba8", "4 uint8 channels"),
        (np.zeros((2, 2, 3), np.uint16), "rgb8", "uint16"),
        (np.zeros((0, 2, 3), np.uint8), "rgb8", r"\(0, 2, 3\)"),
    ],
)
def test_other_encodings_are_refused(image, encoding, message):
    with pytest.raises(FrameError, match=message):
        to_rgb(image, encoding)


def test_bad_sizes_are_refused():
    with pytest.raises(FrameError, match="0 x 4"):
        ResizePad(0, 4)
    with pytest.raises(FrameError, match="non-empty"):
        ResizePad(4, 4).nearest(np.zeros((0, 4), np.uint16))


@given(st.integers(1, 24), st.integers(1, 24))
def test_padding_to_a_square_keeps_every_pixel_in_the_middle(height, width):
    color = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    side, fill = max(height, width), (122, 116, 104)
    square = PadSquare(side, side, fill)(color)
    top, left = (side - height) // 2, (side - width) // 2
    inside = np.zeros((side, side), bool)
    inside[top : top + height, left : left + width] = True
    assert np.array_equal(square[inside].reshape(color.shape), color)
    assert (square[~inside] == fill).all()
    assert np.array_equal(PadSquare(side, side, fill).nearest(color), square)


def test_a_square_is_resized_as_pillow_does():
    color = np.random.default_rng(0).integers(0, 256, (30, 30, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(color).resize((12, 12), Image.Resampling.BICUBIC))
    assert np.array_equal(PadSquare(12, 12)(color), expected)
    assert np.array_equal(Stretch(12, 12)(color), expected)


def test_stretching_takes_the_whole_image_whatever_its_shape():
    color = np.zeros((4, 8, 3), np.uint8)
    color[:, 4:] = 200
    stretched = Stretch(4, 4)(color)
    assert stretched.shape == (4, 4, 3) and stretched[0, 0, 0] < 50 and stretched[0, 3, 0] > 150
    assert Stretch(8, 4)(color) is color


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 20))
def test_stretched_and_padded_depth_holds_no_new_value(height, width, side):
    depth_mm = np.random.default_rng(1).integers(1, 60_000, (height, width)).astype(np.uint16)
    seen = set(depth_mm.ravel().tolist())
    assert set(Stretch(side, side).nearest(depth_mm).ravel().tolist()) <= seen
    image = encode(depth_mm, DepthVariant.RELEASED)
    square = PadSquare(side, side).nearest(image)
    pixels = {tuple(pixel) for pixel in square.reshape(-1, 3).tolist()}
    assert pixels <= {tuple(pixel) for pixel in image.reshape(-1, 3).tolist()} | {(127, 127, 127)}


def test_sizes_colours_and_arrays_that_are_none_are_refused():
    with pytest.raises(FrameError, match="at least 1 pixel"):
        Stretch(0, 4)
    with pytest.raises(FrameError, match="three values in 0..255"):
        PadSquare(4, 4, (0, 0, 300))
    for fit in (Stretch(4, 4), PadSquare(4, 4)):
        with pytest.raises(FrameError, match="uint8"):
            fit(np.zeros((4, 4, 3), np.float32))
    with pytest.raises(FrameError, match="non-empty"):
        Stretch(4, 4).nearest(np.zeros((0, 4), np.uint16))
