"""Frames with pose files, as SpatialQA-E was released: read strictly, with the file at fault named."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from spatialbot_policy.episode import Dataset
from spatialbot_policy.errors import InterchangeError
from spatialbot_policy.interchange.deltas import GripperConvention
from spatialbot_policy.interchange.pose_json_files import read_pose
from spatialbot_policy.interchange.pose_json_import import PoseOptions, import_poses
from spatialbot_policy.interchange.step_writer import NO_JOINTS

TURN = Rotation.from_euler("xyz", [np.pi, 0.0, 0.02])
FRAMES = 5


def position(step: int) -> list[float]:
    return [0.5 + 0.01 * step, 0.0, 0.3 - 0.005 * step]


def turn(step: int) -> Rotation:
    return Rotation.from_euler("xyz", [0.0, 0.0, 0.03 * step]) * TURN


def color(step: int) -> np.ndarray:
    return np.random.default_rng(step).integers(0, 256, (12, 20, 3), dtype=np.uint8)


def depth(step: int) -> np.ndarray:
    return np.random.default_rng(step + 50).integers(300, 2000, (12, 20)).astype(np.uint16)


def write(
    folder: Path, instruction: str = "pick up the cup", with_depth: bool = True, **more: object
) -> Path:
    for name in ("rgb", "end_effector_pose", *(["depth"] if with_depth else [])):
        (folder / name).mkdir(parents=True)
    for step in range(FRAMES):
        cv2.imwrite(str(folder / f"rgb/frame_{step:04d}.png"), cv2.cvtColor(color(step), cv2.COLOR_RGB2BGR))
        if with_depth:
            cv2.imwrite(str(folder / f"depth/frame_{step:04d}.png"), depth(step))
        record = {
            "position": position(step),
            "orientation": turn(step).as_quat().tolist(),
            "gripper_width": 0.08 if step < 3 else 0.0,
            **more,
        }
        (folder / f"end_effector_pose/frame_{step:04d}.json").write_text(json.dumps(record))
    if instruction:
        (folder / "instruction.txt").write_text(instruction)
    return folder


def test_frames_become_steps(tmp_path):
    write(tmp_path / "in/ep0")
    write(tmp_path / "in/ep1", "put it down")
    report = import_poses(tmp_path / "in", tmp_path / "data")
    dataset = Dataset(tmp_path / "data")
    assert [reader.info.instruction for reader in dataset.episodes()] == ["pick up the cup", "put it down"]
    reader = dataset.episode(0)
    reader.verify()
    arrays = reader.arrays()
    assert len(arrays["stamps"]) == FRAMES - 1 and set(np.diff(arrays["stamps"])) == {100_000_000}
    for step in range(FRAMES - 1):
        np.testing.assert_array_equal(arrays["color"]["camera"][step], color(step))
        np.testing.assert_array_equal(arrays["depth"]["camera"][step], depth(step))
    np.testing.assert_allclose(arrays["actions"][:, :3], [[0.01, 0.0, -0.005]] * 4, atol=1e-9)
    np.testing.assert_allclose(arrays["actions"][:, 3:6], [[0.0, 0.0, 0.03]] * 4, atol=1e-9)
    assert arrays["actions"][:, 6].tolist() == [0.0, 0.0, 1.0, 1.0]
    np.testing.assert_allclose(arrays["tcp_pose"][:, :3], [position(step) for step in range(4)])
    assert np.isnan(arrays["joints"]).all() and np.isnan(NO_JOINTS).all()
    assert arrays["closure"].tolist() == [0.0, 0.0, 0.0, 1.0]
    assert report.facts["largest step m"] == pytest.approx(0.01) and report.facts["clipped share"] == 0.0
    assert reader.info.extra["unknown"] == ["outcome", "arm joints", "intrinsics"]


def forms(step: int) -> dict[str, object]:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn(step).as_matrix(), position(step)
    x, y, z, w = turn(step).as_quat().tolist()
    named = dict(zip("xyz", position(step), strict=True)), {"x": x, "y": y, "z": z, "w": w}
    return {
        "lists": {"position": position(step), "quaternion": [x, y, z, w]},
        "ros": {"pose": {"position": named[0], "orientation": named[1]}},
        "matrix": {"pose": matrix.tolist()},
        "bare matrix": matrix.tolist(),
        "libfranka": {"O_T_EE": matrix.T.reshape(-1).tolist()},
        "seven": [*position(step), x, y, z, w],
    }


@pytest.mark.parametrize("form", sorted(forms(0)))
def test_forms_of_a_pose(tmp_path, form):
    path = tmp_path / "pose.json"
    path.write_text(json.dumps(forms(2)[form]))
    pose = read_pose(path).pose
    np.testing.assert_allclose(pose[:3], position(2), atol=1e-9)
    assert (Rotation.from_quat(pose[3:]) * turn(2).inv()).magnitude() == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "cannot be read as JSON"),
        ('{"joints": [1, 2]}', "no pose in a known form"),
        ('{"position": [0, 0], "orientation": [0, 0, 0, 1]}', "3 numbers"),
        ('{"position": {"x": 0, "y": 1}, "orientation": [0, 0, 0, 1]}', r"lacks \['z'\]"),
        ('{"position": [0, 0, 0], "orientation": [1, 2, 3, 4]}', "length 5.477"),
        ('{"position": [0, 0, NaN], "orientation": [0, 0, 0, 1]}', "finite"),
        ('{"position": ["a", 0, 0], "orientation": [0, 0, 0, 1]}', "numbers are expected"),
        ('{"pose": [[1,0,0,0],[0,2,0,0],[0,0,1,0],[0,0,0,1]]}', "are no pose"),
        ('{"position": [0, 0, 0], "orientation": [0, 0, 0, 1], "gripper": "open"}', "'open' is no number"),
    ],
)
def test_what_is_no_pose_names_the_file(tmp_path, content, reason):
    path = tmp_path / "pose7.json"
    path.write_text(content)
    with pytest.raises(InterchangeError, match=rf"pose7\.json.*{reason}"):
        read_pose(path)


def test_files_at_fault_are_named(tmp_path):
    folder = write(tmp_path / "in")
    (folder / "depth/frame_0002.png").rename(tmp_path / "kept.png")
    with pytest.raises(
        InterchangeError, match=r"frame_0002\.json has no partner: frame 2 lacks a depth image"
    ):
        import_poses(folder, tmp_path / "data")
    cv2.imwrite(str(folder / "depth/frame_0002.png"), (depth(2) // 8).astype(np.uint8))
    with pytest.raises(InterchangeError, match=r"depth/frame_0002\.png is uint8"):
        import_poses(folder, tmp_path / "data")
    cv2.imwrite(str(folder / "depth/frame_0002.png"), depth(2)[:6])
    with pytest.raises(InterchangeError, match=r"frame_0002\.png is 20 x 6.*aligned"):
        import_poses(folder, tmp_path / "data")
    (tmp_path / "kept.png").replace(folder / "depth/frame_0002.png")
    (folder / "rgb/frame_0003.png").write_bytes(b"\x89PNG")
    with pytest.raises(InterchangeError, match=r"rgb/frame_0003\.png cannot be decoded"):
        import_poses(folder, tmp_path / "data")
    (folder / "rgb/cover.png").write_bytes(b"x")
    with pytest.raises(InterchangeError, match=r"cover\.png has no number"):
        import_poses(folder, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_what_the_files_do_not_say(tmp_path):
    folder = write(tmp_path / "in", instruction="", with_depth=False)
    with pytest.raises(InterchangeError, match="instruction.txt or give --instruction"):
        import_poses(folder, tmp_path / "data")
    options = PoseOptions("pick it up", rate_hz=5.0, intrinsics=(30.0, 30.0, 10.0, 6.0))
    report = import_poses(folder, tmp_path / "data", options)
    reader = Dataset(tmp_path / "data").episode(0)
    assert reader.info.intrinsics["camera"].fx == 30.0 and "intrinsics" not in report.changed
    assert np.diff(reader.arrays()["stamps"])[0] == 200_000_000 and "depth" in report.changed
    with pytest.raises(InterchangeError, match="choose --gripper"):
        import_poses(folder, tmp_path / "more", PoseOptions("x", gripper=GripperConvention.FINGER_M))
    with pytest.raises(InterchangeError, match="holds no folder 'end_effector_pose'"):
        import_poses(tmp_path / "data", tmp_path / "more")


def test_a_file_without_a_gripper(tmp_path):
    folder = write(tmp_path / "in")
    for path in (folder / "end_effector_pose").iterdir():
        record = json.loads(path.read_text())
        del record["gripper_width"]
        path.write_text(json.dumps(record))
    with pytest.raises(InterchangeError, match=r"frame_0000\.json says nothing of the gripper"):
        import_poses(folder, tmp_path / "data")


def test_times_in_the_files_count(tmp_path):
    folder = write(tmp_path / "in")
    for step, path in enumerate(sorted((folder / "end_effector_pose").iterdir())):
        path.write_text(json.dumps({**json.loads(path.read_text()), "timestamp": 100 + 0.25 * step}))
    import_poses(folder, tmp_path / "data")
    stamps = Dataset(tmp_path / "data").episode(0).arrays()["stamps"]
    assert stamps[0] == 100 * 10**9 and set(np.diff(stamps)) == {250_000_000}
    path.write_text(json.dumps({**json.loads(path.read_text()), "timestamp": 99.0}))
    with pytest.raises(InterchangeError, match=r"frame_0004\.json: the time goes from 100.75 to 99.0 s"):
        import_poses(folder, tmp_path / "more")
