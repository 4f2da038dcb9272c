"""Films play back as what was filmed, and stay small."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from spatialbot_policy.types import Observation, RgbdFrame
from spatialbot_sim.evaluation.film import BAR, SIDE, Film, join_mp4, read_mp4

WORDS = "take the farthest purple box and put it onto the right board, as seen from where the robot is"


def filmed(moments: int, cameras: tuple[str, ...] = ("camera",), depth: bool = True) -> Film:
    """A scene that turns from dark to bright, larger than the film."""
    film = Film()
    for number in range(moments):
        scene = np.full((512, 512, 3), 20 + 8 * number, np.uint8)
        depth_mm = np.full((128, 128), 700 + number, np.uint16) if depth else None
        frames = {
            name: RgbdFrame(name, number, np.full((128, 128, 3), 200, np.uint8), depth_mm) for name in cameras
        }
        film.add(scene, Observation(number, WORDS, frames))
    return film


def test_a_film_plays_back_and_is_small(tmp_path):
    path = tmp_path / "videos" / "film.mp4"
    filmed(12).write_video(path, WORDS, "success in 11 steps", True, 10.0)
    frames = list(read_mp4(path))
    assert len(frames) == 11 + 12  # the last picture is held for 1.2 seconds
    assert frames[0].shape == (SIDE + BAR, SIDE * 3 // 2, 3)
    brightness = [float(frame[100:300, 100:300].mean()) for frame in frames[:11]]
    assert np.allclose(brightness, [20 + 8 * number for number in range(11)], atol=4)
    assert frames[0][SIDE:].max() > 150  # the instruction is written under the picture
    assert frames[-1][:33, :SIDE].max() > 150 > frames[10][:33, :SIDE].max()  # the outcome at the end only
    assert path.stat().st_size < 100_000


@pytest.mark.parametrize(("cameras", "width"), [(("camera", "wrist"), 2 * SIDE), ((), SIDE)])
def test_each_camera_has_its_column(cameras, width):
    assert {picture.shape for picture in filmed(3, cameras).pictures()} == {(SIDE, width, 3)}


def test_a_colour_camera_has_no_depth_below_it():
    picture = filmed(1, depth=False).pictures()[0]
    assert (picture[: SIDE // 2, SIDE:] == 200).all() and not picture[SIDE // 2 :, SIDE:].any()


@pytest.mark.parametrize("moments", [1, 4, 30])
def test_a_strip_shows_the_first_and_the_last_moment(tmp_path, moments):
    path = tmp_path / "strip.png"
    filmed(moments).write_strip(path)
    strip = cv2.imread(str(path))
    assert strip[50, 50, 0] == 20
    assert strip[-50, strip.shape[1] * 2 // 3 + 50, 0] == 20 + 8 * (moments - 1)


def test_films_are_joined_in_order(tmp_path):
    paths = [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    for path, moments in zip(paths, (3, 5), strict=True):
        filmed(moments).write_video(path, WORDS, "failed", False, 10.0)
    join_mp4(paths, tmp_path / "both.mp4", 10.0)
    assert len(list(read_mp4(tmp_path / "both.mp4"))) == sum(len(list(read_mp4(path))) for path in paths)
