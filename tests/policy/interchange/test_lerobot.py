"""LeRobot v3 there and back: nothing lost that it can hold, and what it cannot is said."""

from __future__ import annotations

import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.policy.interchange import interchange_samples as samples

from spatialbot_policy.episode import Dataset, EpisodeInfo, EpisodeWriter
from spatialbot_policy.errors import InterchangeError
from spatialbot_policy.interchange.deltas import GripperConvention
from spatialbot_policy.interchange.image_bytes import DepthForm
from spatialbot_policy.interchange.lerobot_export import LeRobotOptions, export_lerobot
from spatialbot_policy.interchange.lerobot_foreign import LeRobotImportOptions
from spatialbot_policy.interchange.lerobot_import import import_lerobot
from spatialbot_policy.interchange.lerobot_video import VideoWriter, psnr_db, read_frames
from spatialbot_policy.types import ActionStep

IMAGES = LeRobotOptions(video=False)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    cameras=st.sampled_from([("camera",), ("camera", "wrist")]),
    depth=st.booleans(),
    state=st.booleans(),
    executed=st.booleans(),
    deepest=st.sampled_from([1, 3000, 65535, 131071]),
    megabytes=st.sampled_from([0.0, 100.0]),
)
def test_there_and_back(tmp_path_factory, lengths, cameras, depth, state, executed, deepest, megabytes):
    place = tmp_path_factory.mktemp("trip")
    for seed, steps in enumerate(lengths):
        samples.record(place / "data", seed, steps, cameras, depth, state, executed, deepest)
    export_lerobot(place / "data", place / "out", LeRobotOptions(video=False, file_megabytes=megabytes))
    report = import_lerobot(place / "out", place / "back")
    samples.assert_same(place / "data", place / "back")
    assert not report.lost


def test_there_and_back_by_video(tmp_path):
    for seed, steps in enumerate((5, 1, 7)):
        samples.record(tmp_path / "data", seed, steps)
    report = export_lerobot(tmp_path / "data", tmp_path / "out")
    import_lerobot(tmp_path / "out", tmp_path / "back")
    samples.assert_same(tmp_path / "data", tmp_path / "back", colour=False)
    stated = report.facts["psnr_db.camera"]
    errors = []
    for before, after in zip(
        Dataset(tmp_path / "data").episodes(), Dataset(tmp_path / "back").episodes(), strict=True
    ):
        colors = [reader.arrays()["color"]["camera"].astype(float) for reader in (before, after)]
        errors += ((colors[0] - colors[1]) ** 2).mean(axis=(1, 2, 3)).tolist()
    assert psnr_db(max(errors)) == pytest.approx(stated["worst"])
    assert psnr_db(float(np.mean(errors))) == pytest.approx(stated["mean"])
    assert stated["worst"] > 30
    info = json.loads((tmp_path / "out/meta/info.json").read_text())
    assert info["features"]["observation.images.camera"]["info"]["video.worst_psnr_db"] == pytest.approx(
        stated["worst"], abs=0.01
    )


def test_units_are_in_the_names(tmp_path):
    samples.record(tmp_path / "data")
    export_lerobot(tmp_path / "data", tmp_path / "out", IMAGES)
    info = json.loads((tmp_path / "out/meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0" and info["fps"] == 10 and info["robot_type"] == "fr3"
    assert info["features"]["action"]["names"] == [
        "dx_m", "dy_m", "dz_m", "droll_rad", "dpitch_rad", "dyaw_rad", "gripper_closure",
    ]  # fmt: skip
    assert info["features"]["observation.state"]["names"][:3] == ["x_m", "y_m", "z_m"]
    assert info["features"]["observation.images.camera_depth"]["info"]["depth.encoding"] == "paper"


def test_statistics_are_those_of_the_numbers(tmp_path):
    for seed in (0, 1):
        samples.record(tmp_path / "data", seed, steps=4 + seed)
    export_lerobot(tmp_path / "data", tmp_path / "out", IMAGES)
    stats = json.loads((tmp_path / "out/meta/stats.json").read_text())
    readers = Dataset(tmp_path / "data").episodes()
    actions = np.concatenate([reader.arrays()["actions"] for reader in readers])
    colors = np.concatenate([reader.arrays()["color"]["camera"] for reader in readers]) / 255.0
    for name in ("min", "max", "mean", "std"):
        np.testing.assert_allclose(stats["action"][name], getattr(actions, name)(axis=0), atol=1e-12)
        found = np.array(stats["observation.images.camera"][name])
        np.testing.assert_allclose(found[:, 0, 0], getattr(colors, name)(axis=(0, 1, 2)), atol=1e-9)
    assert stats["action"]["count"] == [9]


def test_the_report_names_what_is_lost(tmp_path):
    samples.record(tmp_path / "data")
    samples.record(tmp_path / "data", seed=1, kind="stills")
    samples.record(tmp_path / "data", seed=2, success=False)
    report = export_lerobot(tmp_path / "data", tmp_path / "out", LeRobotOptions(only_success=True))
    assert "dB PSNR" in report.lost["colour of camera 'camera'"]
    assert report.skipped.keys() == {"000001", "000002"}
    saved = json.loads((tmp_path / "out/loss_report.json").read_text())
    assert saved["lost"] == report.lost and saved["facts"]["episodes"] == 1
    assert "left out: 000001: stills" in report.to_text()


def test_pauses_are_told(tmp_path):
    Dataset.create(tmp_path / "data", samples.contract())
    with EpisodeWriter(tmp_path / "data", 0, EpisodeInfo("wait", "", "", None)) as writer:
        for step, stamp in enumerate((0, 100, 200, 900, 1000)):
            stamp_ns = samples.START_NS + stamp * 1_000_000
            frame = samples.frame(np.random.default_rng(step), "camera", stamp_ns, True, 100)
            writer.write_frame(frame, samples.LENS)
            writer.write_action(stamp_ns, ActionStep(np.zeros(3), np.zeros(3), 0.0))
        writer.commit({"success": True})
    report = export_lerobot(tmp_path / "data", tmp_path / "out", IMAGES)
    assert report.lost["pauses"].startswith("1 times more") and "0.70 s" in report.lost["pauses"]


def test_depth_beyond_the_encoding_is_refused(tmp_path):
    samples.record(tmp_path / "data", deepest=200_000)
    with pytest.raises(InterchangeError, match="uint24"):
        export_lerobot(tmp_path / "data", tmp_path / "out", IMAGES)
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.partial").exists()
    export_lerobot(tmp_path / "data", tmp_path / "out", LeRobotOptions(video=False, depth=DepthForm.UINT24))
    with pytest.raises(InterchangeError, match="wrap at 32767"):
        LeRobotOptions(depth=DepthForm.MILLIMETRES)


def test_episodes_with_and_without_states_are_not_mixed(tmp_path):
    samples.record(tmp_path / "data", seed=0)
    samples.record(tmp_path / "data", seed=1, state=False)
    with pytest.raises(InterchangeError, match="export them apart"):
        export_lerobot(tmp_path / "data", tmp_path / "out", IMAGES)
    export_lerobot(tmp_path / "data", tmp_path / "out", LeRobotOptions(video=False, indices=(1,)))


def test_what_is_there_is_never_written_into(tmp_path):
    samples.record(tmp_path / "data")
    (tmp_path / "out").mkdir()
    with pytest.raises(InterchangeError, match="exists"):
        export_lerobot(tmp_path / "data", tmp_path / "out", IMAGES)
    export_lerobot(tmp_path / "data", tmp_path / "good", IMAGES)
    with pytest.raises(InterchangeError, match="no data set of this project"):
        import_lerobot(tmp_path / "good", tmp_path / "out")
    with pytest.raises(ValueError, match="another contract"):
        samples.record(tmp_path / "other", cameras=("wrist",))
        import_lerobot(tmp_path / "good", tmp_path / "other")
    import_lerobot(tmp_path / "good", tmp_path / "data")
    assert Dataset(tmp_path / "data").indices() == [0, 1]


def test_a_killed_export_is_named(tmp_path):
    samples.record(tmp_path / "data")
    (tmp_path / "out.partial").mkdir()
    with pytest.raises(InterchangeError, match="killed"):
        export_lerobot(tmp_path / "data", tmp_path / "out", IMAGES)


def test_damage_is_named(tmp_path):
    samples.record(tmp_path / "data")
    export_lerobot(tmp_path / "data", tmp_path / "out")
    video = tmp_path / "out/videos/observation.images.camera/chunk-000/file-000.mp4"
    whole = video.read_bytes()
    video.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InterchangeError, match="file-000.mp4"):
        import_lerobot(tmp_path / "out", tmp_path / "back")
    assert not (tmp_path / "back").exists()
    (tmp_path / "out/data/chunk-000/file-000.parquet").write_bytes(b"PAR1")
    with pytest.raises(InterchangeError, match=r"file-000\.parquet"):
        import_lerobot(tmp_path / "out", tmp_path / "back")
    info = tmp_path / "out/meta/info.json"
    info.write_text(info.read_text().replace("v3.0", "v2.1"))
    with pytest.raises(InterchangeError, match="convert_dataset_v21_to_v30"):
        import_lerobot(tmp_path / "out", tmp_path / "back")
    with pytest.raises(InterchangeError, match="no LeRobot data set"):
        import_lerobot(tmp_path, tmp_path / "back")


def foreign(root, action_names, state=None, state_names=None, tasks=("lift it",), frames=5):
    """A data set as others write one: no sidecar, 32-bit numbers, colour video alone."""
    rng = np.random.default_rng(0)
    size = len(action_names)
    writer = VideoWriter(root / "videos/observation.images.top/chunk-000/file-000.mp4", 32, 32, 5, 10)
    for _ in range(frames):
        writer.write(samples.frame(rng, "top", 1, False, 1).color)
    writer.close()
    features = {
        "observation.images.top": {
            "dtype": "video", "shape": [32, 32, 3], "names": ["height", "width", "channels"]
        },
        "action": {"dtype": "float32", "shape": [size], "names": list(action_names)},
        "next.reward": {"dtype": "float32", "shape": [1], "names": None},
    }  # fmt: skip
    columns = {
        "action": pa.array([[0.01 * step] * size for step in range(frames)], pa.list_(pa.float32(), size)),
        "next.reward": pa.array([0.0] * frames, pa.float32()),
        "timestamp": pa.array([step / 5 for step in range(frames)], pa.float32()),
        "frame_index": pa.array(range(frames)),
        "episode_index": pa.array([0] * frames),
        "index": pa.array(range(frames)),
        "task_index": pa.array([0] * frames),
    }
    if state is not None:
        features["observation.state"] = {"dtype": "float32", "shape": [len(state[0])], "names": state_names}
        columns["observation.state"] = pa.array(state, pa.list_(pa.float32(), len(state[0])))
    info = {
        "codebase_version": "v3.0", "robot_type": "panda", "fps": 5, "features": features,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    }  # fmt: skip
    for folder in ("meta/episodes/chunk-000", "data/chunk-000"):
        (root / folder).mkdir(parents=True)
    (root / "meta/info.json").write_text(json.dumps(info))
    pq.write_table(pa.table(columns), root / "data/chunk-000/file-000.parquet")
    pq.write_table(
        pa.table({"task_index": [0], "__index_level_0__": list(tasks)}), root / "meta/tasks.parquet"
    )
    episode = {
        "episode_index": 0,
        "length": frames,
        "tasks": list(tasks),
        "data/chunk_index": 0,
        "data/file_index": 0,
    }
    key = "videos/observation.images.top"
    episode |= {f"{key}/chunk_index": 0, f"{key}/file_index": 0, f"{key}/from_timestamp": 0.0}
    pq.write_table(pa.Table.from_pylist([episode]), root / "meta/episodes/chunk-000/file-000.parquet")


DELTAS = ("delta_x", "delta_y", "delta_z", "delta_roll", "delta_pitch", "delta_yaw", "gripper")


def test_a_foreign_data_set_with_delta_actions(tmp_path):
    foreign(tmp_path / "in", DELTAS)
    options = LeRobotImportOptions(gripper=GripperConvention.OPENING)
    report = import_lerobot(tmp_path / "in", tmp_path / "data", options)
    reader = Dataset(tmp_path / "data").episode(0)
    arrays = reader.arrays()
    np.testing.assert_allclose(arrays["actions"][:, 0], np.arange(5) * 0.01, atol=1e-7)
    np.testing.assert_allclose(arrays["actions"][:, 6], 1 - np.arange(5) * 0.01, atol=1e-7)
    assert np.diff(arrays["stamps"]).tolist() == pytest.approx([200_000_000] * 4, abs=20)
    assert reader.info.instruction == "lift it" and reader.info.outcome.success is None
    assert reader.info.extra["unknown"] == ["outcome", "intrinsics"]
    assert (
        "feature next.reward" in report.lost and "intrinsics" in report.changed and "depth" in report.changed
    )


def test_a_foreign_data_set_with_poses_alone(tmp_path):
    states = [[0.1 * step, 0, 0.3, 0, 0, 0, 1, 0.0 if step < 3 else -1.0] for step in range(5)]
    names = {"motors": ["x", "y", "z", "qx", "qy", "qz", "qw", "hand"]}
    foreign(tmp_path / "in", [f"j{number}" for number in range(7)], states, names)
    with pytest.raises(InterchangeError, match=r"observation.state.hand.*--map"):
        import_lerobot(tmp_path / "in", tmp_path / "data")
    options = LeRobotImportOptions(
        names={"observation.state.hand": "gripper_closure"},
        gripper=GripperConvention.SIGNED_OPEN,
        intrinsics={"top": (30.0, 30.0, 16.0, 16.0)},
    )
    report = import_lerobot(tmp_path / "in", tmp_path / "data", options)
    arrays = Dataset(tmp_path / "data").episode(0).arrays()
    np.testing.assert_allclose(arrays["actions"][:, 0], [0.1] * 4, atol=1e-6)
    assert arrays["actions"][:, 6].tolist() == [0.5, 0.5, 1.0, 1.0]
    assert report.facts["clipped share"] == 1.0 and report.facts["largest step m"] == pytest.approx(0.1)
    assert "last frame" in report.changed["actions"] and np.isnan(arrays["joints"]).all()
    with pytest.raises(InterchangeError, match="choose --gripper"):
        import_lerobot(
            tmp_path / "in",
            tmp_path / "more",
            LeRobotImportOptions(names={"observation.state.hand": "gripper_closure"}),
        )


def test_a_foreign_data_set_without_a_task(tmp_path):
    foreign(tmp_path / "in", DELTAS, tasks=("",))
    with pytest.raises(InterchangeError, match="--instruction"):
        import_lerobot(tmp_path / "in", tmp_path / "data")
    import_lerobot(tmp_path / "in", tmp_path / "data", LeRobotImportOptions(instruction="lift it"))
    with pytest.raises(InterchangeError, match="none of dx"):
        import_lerobot(
            tmp_path / "in", tmp_path / "more", LeRobotImportOptions(names={"action.0": "sideways"})
        )


def test_video_refuses_what_it_cannot_hold(tmp_path):
    with pytest.raises(InterchangeError, match="even"):
        VideoWriter(tmp_path / "a.mp4", 31, 32, 10, 18)
    writer = VideoWriter(tmp_path / "b.mp4", 32, 32, 10, 0)
    for level in (10, 200):
        writer.write(np.full((32, 32, 3), level, np.uint8))
    writer.close()
    assert [frame[0, 0, 0] for frame in read_frames(tmp_path / "b.mp4", 0.0, 2)] == pytest.approx(
        [10, 200], abs=2
    )
    with pytest.raises(InterchangeError, match="ends 3 frames before"):
        list(read_frames(tmp_path / "b.mp4", 0.0, 5))
    assert psnr_db(0.0) == math.inf
