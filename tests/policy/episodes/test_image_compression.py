"""Compressed pictures: depth comes back exactly, colour nearly, and what is damaged is named."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from spatialbot_policy.episodes.image_compression import (
    decode_color,
    decode_depth,
    encode_color,
    encode_depth,
)
from spatialbot_policy.errors import FrameError

DEPTHS = arrays.arrays(np.uint16, arrays.array_shapes(min_dims=2, max_dims=2, max_side=40))


@given(DEPTHS, st.sampled_from(["png", "delta"]))
def test_depth_of_any_kind_is_exact(depth, kind):
    np.testing.assert_array_equal(decode_depth(*encode_depth(depth, kind)), depth)


def test_jpeg_is_near_and_png_exact():
    rows, columns = np.mgrid[0:48, 0:64]
    color = np.stack([rows * 5, columns * 3, rows + columns], axis=-1).astype(np.uint8)
    near = decode_color(*encode_color(color, "jpeg", 95)).astype(int)
    assert np.abs(near - color).mean() < 2
    np.testing.assert_array_equal(decode_color(*encode_color(color, "png")), color)


@given(DEPTHS, st.data())
def test_a_cut_off_delta_is_named(depth, data):
    name, packed = encode_depth(depth, "delta")
    cut = data.draw(st.integers(0, len(packed) - 1))
    with pytest.raises(FrameError, match="cannot be read"):
        decode_depth(name, packed[:cut])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: encode_depth(np.full((2, 2), 70_000, np.uint32)), "does not fit 16 bits"),
        (lambda: encode_depth(np.zeros((2, 2), np.uint16), "rvl"), "png or delta"),
        (lambda: encode_color(np.zeros((2, 2, 3), np.uint8), "webp"), "jpeg or png"),
        (lambda: decode_color(*encode_depth(np.zeros((2, 2), np.uint16), "delta")), "is a depth image"),
    ],
)
def test_what_cannot_be_kept_is_refused(call, message):
    with pytest.raises(FrameError, match=message):
        call()
