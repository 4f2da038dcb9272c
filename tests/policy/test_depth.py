"""Depth codec: the reference's formulas, exact inverses, and every wrong unit refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from spatialbot_policy.depth import (
    MAX_MM,
    DepthVariant,
    ObjectDepth,
    decode,
    encode,
    metric_from_relative,
    object_depth,
    to_millimetres,
)
from spatialbot_policy.errors import FrameError

TEST_POINTS = [0, 1, 31, 32, 1023, 1024, 5000, 65535, 65536, 131071]
SPREAD = {DepthVariant.PAPER: 2, DepthVariant.RELEASED: 4}


def reference(depth: np.ndarray, factor: int) -> np.ndarray:
    """The papers' formula, word by word, in wide integers."""
    d = depth.astype(np.int64)
    return np.stack([(d // 1024) * factor, ((d // 32) % 32) * 8, (d % 32) * 8], axis=-1)


@pytest.mark.parametrize("variant", SPREAD)
@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_whole_range_equals_the_reference_and_comes_back(variant, dtype):
    top = min(MAX_MM[variant], np.iinfo(dtype).max)
    depth = np.arange(top + 1, dtype=dtype).reshape(256, -1)
    image = encode(depth, variant)
    assert image.dtype == np.uint8 and image.flags.c_contiguous
    np.testing.assert_array_equal(image, reference(depth, SPREAD[variant]))
    np.testing.assert_array_equal(decode(image, variant), depth)


@pytest.mark.parametrize("millimetres", TEST_POINTS)
def test_reference_test_points(millimetres):
    depth = np.array([[millimetres]], np.uint32)
    for variant in DepthVariant:
        if millimetres > MAX_MM[variant]:
            with pytest.raises(FrameError, match=f"{millimetres} mm is outside the range 0..65535 mm"):
                encode(depth, variant)
        else:
            assert decode(encode(depth, variant), variant)[0, 0] == millimetres


def test_uint24_is_big_endian_and_spans_24_bits():
    depth = np.array([[0, 0x010203, 2**24 - 1]], np.uint32)
    image = encode(depth, DepthVariant.UINT24)
    assert image.tolist() == [[[0, 0, 0], [1, 2, 3], [255, 255, 255]]]
    assert decode(image, DepthVariant.UINT24).dtype == np.uint32
    assert encode(np.array([[0x0203]], np.uint16), DepthVariant.UINT24).tolist() == [[[0, 2, 3]]]


@pytest.mark.parametrize("variant", DepthVariant)
def test_out_of_range_names_value_and_range(variant):
    deep = np.array([[1, MAX_MM[variant] + 1]], np.uint32)
    with pytest.raises(
        FrameError, match=rf"{MAX_MM[variant] + 1} mm.*0\.\.{MAX_MM[variant]} mm.*{variant.value}"
    ):
        encode(deep, variant)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(list(DepthVariant)),
    hnp.arrays(
        st.sampled_from([np.uint16, np.uint32]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=9),
        elements=st.integers(0, 65535),
    ),
    st.sampled_from(["as is", "read-only", "transposed", "every second column", "upside down"]),
)
def test_any_layout_comes_back(variant, depth, layout):
    if layout == "read-only":
        depth.setflags(write=False)
    depth = {"transposed": depth.T, "every second column": depth[:, ::2], "upside down": depth[::-1]}.get(
        layout, depth
    )
    image = encode(depth, variant)
    image.setflags(write=False)
    np.testing.assert_array_equal(decode(image, variant), depth)
    mirrored = decode(image[:, ::-1], variant)
    np.testing.assert_array_equal(mirrored, depth[:, ::-1])


@pytest.mark.parametrize("variant", DepthVariant)
def test_encoding_into_a_kept_image(variant):
    depth = np.random.default_rng(0).integers(0, 65536, (300, 257)).astype(np.uint16)  # more than one block
    kept = np.full((300, 257, 3), 77, np.uint8)
    assert encode(depth, variant, out=kept) is kept
    np.testing.assert_array_equal(kept, encode(depth, variant))
    for out in (
        kept[:, ::2],
        kept[:-1],
        kept.astype(np.int16),
        np.zeros((257, 300, 3), np.uint8).swapaxes(0, 1),
    ):
        with pytest.raises(FrameError, match="out must be"):
            encode(depth, variant, out=out)


@pytest.mark.parametrize("variant", SPREAD)
@pytest.mark.parametrize("channel", range(3))
def test_decode_refuses_interpolated_values(variant, channel):
    image = encode(np.full((2, 2), 5000, np.uint16), variant)
    image[1, 1, channel] += 1
    with pytest.raises(FrameError, match="never writes.*nearest"):
        decode(image, variant)


def test_codec_refuses_other_types():
    with pytest.raises(FrameError, match="to_millimetres"):
        encode(np.ones((2, 2), np.float32), DepthVariant.PAPER)
    with pytest.raises(FrameError, match="to_millimetres"):
        encode(np.ones((0, 2), np.uint16), DepthVariant.PAPER)
    with pytest.raises(FrameError, match=r"\(H, W, 3\) uint8"):
        decode(np.ones((2, 2), np.uint8), DepthVariant.PAPER)


def test_metres_become_millimetres_and_invalid_becomes_zero():
    depth = np.array([[0.5, 1.2344, np.nan], [np.inf, -np.inf, -1.0], [0.0, 10.0, 131.071]], np.float32)
    result = to_millimetres(depth)
    assert result.dtype == np.uint32
    assert result.tolist() == [[500, 1234, 0], [0, 0, 0], [0, 10000, 131071]]


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(np.uint32, (3, 4), elements=st.integers(0, 131071)))
def test_every_millimetre_survives_metres(depth):
    np.testing.assert_array_equal(to_millimetres(depth / 1000, "m"), depth)
    np.testing.assert_array_equal(to_millimetres((depth / 1000).astype(np.float32), "m"), depth)


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int32, np.uint32, np.int64])
def test_integers_are_millimetres(dtype):
    result = to_millimetres(np.array([[0, 32767]], dtype))
    assert result.tolist() == [[0, 32767]]
    assert result.dtype == (np.uint16 if np.dtype(dtype).itemsize == 2 else np.uint32)


def test_float_millimetres_need_their_unit():
    depth = np.full((4, 4), 850.4, np.float32)
    for unit in (None, "m"):
        with pytest.raises(FrameError, match="median of 850.*unit='mm'"):
            to_millimetres(depth, unit)
    assert (to_millimetres(depth, "mm") == 850).all()


@pytest.mark.parametrize(
    ("depth", "unit", "message"),
    [
        (np.ones((2, 2), np.uint16), "m", "cannot be in metres"),
        (np.ones((2, 2), np.uint16), "feet", "unknown depth unit 'feet'"),
        (np.ones((2, 2), np.uint8), None, "8-bit.*visualisation"),
        (np.ones((2, 2), bool), None, "no depth image"),
        (np.full((2, 2), -5, np.int16), None, "from -5 to -5.*overflows"),
        (np.full((2, 2), 2**24, np.uint32), None, "16777216 mm"),
        (np.array([[1.0, 1.0, 20000.0]]), "m", "20000000 mm.*24 bits"),
        (np.ones((2, 2, 1), np.uint16), None, r"\(2, 2, 1\)"),
        (np.ones((0, 2), np.uint16), None, "non-empty"),
    ],
)
def test_wrong_units_and_types_are_refused(depth, unit, message):
    with pytest.raises(FrameError, match=message):
        to_millimetres(depth, unit)


def test_relative_depth_meets_its_limits_and_is_no_plain_inverse():
    result = metric_from_relative(np.array([0.0, 0.5, 1.0]), 0.5, 10.0)
    np.testing.assert_allclose(result, [10.0, 1 / ((2 - 0.1) * 0.5 + 0.1), 0.5])


@settings(max_examples=40, deadline=None)
@given(st.floats(0.01, 1), st.floats(1.01, 131), st.floats(0, 1))
def test_relative_depth_inverts(d_min, d_max, fraction):
    metres = d_min + fraction * (d_max - d_min)
    relative = (1 / metres - 1 / d_max) / (1 / d_min - 1 / d_max)
    np.testing.assert_allclose(
        metric_from_relative(np.array([min(1, max(0, relative))]), d_min, d_max), metres
    )


@pytest.mark.parametrize("limits", [(0.0, 1.0), (2.0, 1.0), (1.0, np.inf), (np.nan, 1.0)])
def test_relative_depth_refuses_limits(limits):
    with pytest.raises(FrameError, match="d_min_m < d_max_m"):
        metric_from_relative(np.zeros(2), *limits)


@pytest.mark.parametrize("value", [-0.1, 1.1, np.nan])
def test_relative_depth_refuses_values_outside_its_scale(value):
    with pytest.raises(FrameError, match=r"0\.\.1"):
        metric_from_relative(np.array([0.5, value]), 0.5, 10.0)


def test_object_depth_over_a_mask():
    depth = np.zeros((10, 10), np.uint16)
    depth[2:7, 2:7] = 1000
    depth[4, 4] = 1500
    depth[2, 2], depth[6, 6] = 60000, 0  # one outlier and one hole, both inside the mask
    mask = np.zeros((10, 10), bool)
    mask[2:7, 2:7] = True
    result = object_depth(depth, (2, 2, 7, 7), mask)
    values = depth[2:7, 2:7].ravel()[:-1].astype(float)
    assert result == ObjectDepth(
        1500, round(np.percentile(values, 95)), round(np.percentile(values, 5)), round(values.mean())
    )
    assert result.max_mm < 60000


def test_object_depth_of_a_ring_is_on_the_ring():
    depth = np.full((9, 9), 2000, np.uint16)
    mask = np.ones((9, 9), bool)
    mask[2:7, 2:7] = False
    depth[mask] = 700
    assert object_depth(depth, (0, 0, 9, 9), mask).center_mm == 700


def test_object_depth_without_mask_is_the_box_centre():
    depth = np.arange(1, 101, dtype=np.uint16).reshape(10, 10)
    assert object_depth(depth, (2, 4, 5, 9)) == ObjectDepth(int(depth[6, 3]))


def test_object_depth_refuses_what_has_no_answer():
    depth = np.zeros((4, 4), np.uint16)
    with pytest.raises(FrameError, match="centre of box.*invalid"):
        object_depth(depth, (0, 0, 4, 4))
    with pytest.raises(FrameError, match="no pixel of the mask"):
        object_depth(depth, (0, 0, 4, 4), np.ones((4, 4), bool))
    with pytest.raises(FrameError, match="does not lie in the 4 x 4"):
        object_depth(depth, (0, 0, 5, 4))
    with pytest.raises(FrameError, match=r"mask must be \(4, 4\) bool"):
        object_depth(depth, (0, 0, 4, 4), np.ones((3, 4), bool))
