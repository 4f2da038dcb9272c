"""RealSenseSource on the SDK's software device: pairing, alignment, units, and what cannot be opened."""

from __future__ import annotations

import time

import numpy as np
import pytest

rs = pytest.importorskip("pyrealsense2")

from tests.ros.nodes.software_camera import FOCAL, SoftwareCamera  # noqa: E402

from spatialbot_policy.errors import ConfigError  # noqa: E402
from spatialbot_ros.cameras.realsense import RealSenseSource, StreamSettings, to_mm  # noqa: E402

SETTINGS = StreamSettings(64, 48, 30)


@pytest.fixture
def opened():
    made = []

    def open_source(camera: SoftwareCamera, settings: StreamSettings = SETTINGS) -> RealSenseSource:
        source = RealSenseSource(camera.device, settings)
        made.append(source)
        source.start()
        return source

    yield open_source
    for source in made:
        source.close()


def take(source: RealSenseSource, count: int = 1):
    frames = []
    for _ in range(20):
        frame = source.wait(0.5)
        if frame is not None:
            frames.append(frame)
        if len(frames) == count:
            return frames
    raise AssertionError(f"{len(frames)} of {count} frames came")


def test_start_tells_the_intrinsics_of_the_colour_camera():
    source = RealSenseSource(SoftwareCamera().device, SETTINGS)
    seen = source.start()
    source.close()
    assert (seen.width, seen.height, seen.fx, seen.cx, seen.cy) == (64, 48, FOCAL, 32.0, 24.0)


def test_colour_and_depth_of_one_stamp_become_one_frame(opened):
    camera = SoftwareCamera()
    source = opened(camera)
    for step in range(3):
        camera.give(1000.0 + step * 33.25, value=step, depth=500 + step)
        (frame,) = take(source)
        assert frame.stamp_ns == 1_000_000_000 + step * 33_250_000
        assert not frame.host_clock
        assert frame.color.shape == (48, 64, 3) and (frame.color == step).all()
        assert frame.depth_mm.dtype == np.uint16 and (frame.depth_mm[1:-1, 1:-1] == 500 + step).all()


def test_a_stamp_in_system_time_counts_as_the_hosts(opened):
    camera = SoftwareCamera()
    source = opened(camera)
    camera.give(1_700_000_000_000.0, 1, host_clock=True)
    (frame,) = take(source)
    assert frame.host_clock and frame.stamp_ns == 1_700_000_000_000_000_000


def test_a_lost_depth_image_loses_its_frame_only(opened):
    camera = SoftwareCamera()
    source = opened(camera)
    camera.give(1000.0, 1)
    assert take(source)[0].color[0, 0, 0] == 1
    camera.give_color(1033.0, np.full((48, 64, 3), 2, np.uint8))
    camera.give(1066.0, 3)
    assert take(source)[0].color[0, 0, 0] == 3


def test_nothing_is_none_after_the_timeout(opened):
    assert opened(SoftwareCamera()).wait(0.01) is None


def test_depth_is_aligned_to_the_colour_camera(opened):
    """A square 1 m away moves by focal length times baseline."""
    camera = SoftwareCamera(baseline_m=0.1)
    source = opened(camera)
    depth = np.zeros((48, 64), np.uint16)
    depth[20:28, 20:28] = 1000
    camera.give_depth(1000.0, depth)
    camera.give_color(1000.0, np.zeros((48, 64, 3), np.uint8))
    (frame,) = take(source)
    rows, columns = np.nonzero(frame.depth_mm)
    assert abs(rows.mean() - 23.5) < 1 and abs(columns.mean() - (23.5 + FOCAL * 0.1)) < 1


def test_depth_in_tenths_of_a_millimetre_is_converted(opened):
    """A D405 counts in units of 0.1 mm."""
    camera = SoftwareCamera(unit_m=0.0001)
    source = opened(camera)
    camera.give(1000.0, 0, depth=1234)
    (frame,) = take(source)
    assert frame.depth_mm.dtype == np.uint16 and frame.depth_mm[20, 20] == 123


def test_depth_beyond_16_bits_of_millimetres_is_kept():
    far = np.array([[30_000, 0]], np.uint16)
    assert to_mm(far, 0.004).tolist() == [[120_000, 0]] and to_mm(far, 0.004).dtype == np.uint32


def test_a_size_that_the_camera_does_not_have_is_refused_with_those_it_has():
    source = RealSenseSource(SoftwareCamera().device, StreamSettings(640, 480, 30))
    with pytest.raises(ConfigError, match=r"no color and no depth at 640 x 480.*color 64 x 48 at 30"):
        source.start()


def test_without_a_camera_the_error_says_what_to_do():
    with pytest.raises(ConfigError, match="no RealSense camera.*(plug|connected)"):
        RealSenseSource.connected("no-such-serial")


def test_a_recording_of_the_sdk_plays_back_as_it_was(tmp_path):
    path, camera = tmp_path / "recorded.db3", SoftwareCamera()
    recorder = rs.recorder(str(path), camera.device)
    source = RealSenseSource(recorder, SETTINGS)
    source.start()
    for step in range(15):
        camera.give(1000.0 + 33.25 * step, value=step, depth=700 + step)
        take(source)
        time.sleep(0.033)  # it plays back at the pace of recording
    source.close()
    del source, recorder  # the SDK writes the end of the file when nobody holds it any more

    played = RealSenseSource.recorded(path, SETTINGS)
    assert played.start().fx == FOCAL
    frames = take(played, 3)  # not the first ones of the file: its sensors start one after the other
    played.close()
    for frame in frames:
        step = int(frame.color[0, 0, 0])
        assert frame.stamp_ns == 1_000_000_000 + step * 33_250_000
        assert frame.depth_mm[20, 20] == 700 + step


def test_a_recording_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"recorded_file.*missing\.bag does not exist"):
        RealSenseSource.recorded(tmp_path / "missing.bag")


def test_a_file_that_is_no_recording_is_refused(tmp_path):
    path = tmp_path / "other.bag"
    path.write_bytes(b"no bag")
    with pytest.raises(ConfigError, match="is no recording"):
        RealSenseSource.recorded(path)
