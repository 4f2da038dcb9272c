"""Key maps: the shipped files, how they meet a policy's cameras, and what is no map."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.policy.serving.stand_ins import CONFIG

from spatialbot_policy.config import CameraConfig, save_yaml
from spatialbot_policy.errors import ConfigError
from spatialbot_policy.serving.key_maps import NATIVE, CameraKeys, KeyMap, load_key_map

TWO = replace(CONFIG, cameras=(CameraConfig("base", 8, 8), CameraConfig("wrist", 8, 8)))
EXTERIOR = "observation/exterior_image_1_left"
THREE = replace(CONFIG, cameras=(*TWO.cameras, CameraConfig("side", 8, 8)))


def test_the_native_file_is_the_native_map():
    assert load_key_map("native") == NATIVE


def test_native_keys_follow_the_names_of_the_cameras():
    keys = NATIVE.of_policy(TWO)
    assert keys.cameras["wrist"].depth_mm == "observation/wrist/depth_mm"
    assert keys.known == (
        "prompt", "observation/stamp_ns", "reset",
        "observation/base/color", "observation/base/depth_mm", "observation/base/stamp_ns",
        "observation/wrist/color", "observation/wrist/depth_mm", "observation/wrist/stamp_ns",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "first", "second", "ignored"),
    [
        (
            "droid",
            "observation/exterior_image_1_left",
            "observation/wrist_image_left",
            "observation/joint_position",
        ),
        ("libero", "observation/image", "observation/wrist_image", "observation/state"),
    ],
)
def test_the_maps_of_openpi(name, first, second, ignored):
    keys = load_key_map(name).of_policy(TWO)
    assert [camera.color for camera in keys.cameras.values()] == [first, second]
    assert ignored in keys.accepted and ignored not in keys.known
    one = load_key_map(name).of_policy(CONFIG)
    assert list(one.cameras) == ["front"] and one.cameras["front"].color == first
    assert second in one.accepted and second not in one.known
    with pytest.raises(ConfigError, match=r"has 2 cameras, the policy 3 \(base, wrist, side\)"):
        load_key_map(name).of_policy(THREE)


def test_a_policy_that_needs_depth_needs_a_key_for_it(tmp_path):
    flat = KeyMap((CameraKeys("image"),), ignore=("state",))
    save_yaml(flat, tmp_path / "mine.yaml")
    assert load_key_map(tmp_path / "mine.yaml") == flat
    with pytest.raises(ConfigError, match="no depth_mm of 'front'"):
        flat.of_policy(CONFIG)
    assert flat.of_policy(replace(CONFIG, depth_variant=None)).known[-1] == "image"


@pytest.mark.parametrize(
    ("cameras", "changes", "message"),
    [
        ((), {}, "at least one camera"),
        ((CameraKeys(""),), {}, "at least one camera"),
        ((CameraKeys("a"),), {"prompt": ""}, "needs 'prompt'"),
        ((CameraKeys("a", "a"),), {}, "'a' means two things"),
        ((CameraKeys("prompt"),), {}, "'prompt' means two things"),
        ((CameraKeys("a"),), {"ignore": ("a",)}, "'a' means two things"),
    ],
)
def test_what_is_no_map_is_refused(cameras, changes, message):
    with pytest.raises(ConfigError, match=message):
        KeyMap(cameras, **changes)


def test_names_of_cameras_that_make_two_keys_equal_are_found():
    odd = KeyMap((CameraKeys("{camera}", "{camera}_depth"),))
    cameras = (CameraConfig("a", 8, 8), CameraConfig("a_depth", 8, 8))
    with pytest.raises(ConfigError, match="'a_depth' means two things"):
        odd.of_policy(replace(CONFIG, cameras=cameras))


def test_an_unknown_map_is_answered_with_the_known_ones(tmp_path):
    with pytest.raises(ConfigError, match="no key map 'aloha'; choose from droid, libero, native"):
        load_key_map("aloha")
    with pytest.raises(ConfigError, match="cannot read"):
        load_key_map(tmp_path / "none.yaml")
