"""Recordings of ROS 2 made without us: by a mapping of topics, with computed actions, or refused by name."""

from __future__ import annotations

import json

import numpy as np
import pytest
from rosbags.rosbag2 import Writer
from rosbags.rosbag2.enums import StoragePlugin
from tests.policy.interchange import bag_samples as bags
from tests.policy.interchange import interchange_samples as samples
from tests.policy.interchange.bag_samples import Bag

from spatialbot_policy.episode import Dataset
from spatialbot_policy.episodes.cdr import from_cdr, new, store, to_cdr
from spatialbot_policy.episodes.mcap_file import read_messages
from spatialbot_policy.episodes.topics import ARM_JOINTS, FINGER_JOINT
from spatialbot_policy.errors import EpisodeError, InterchangeError
from spatialbot_policy.interchange.deltas import GripperConvention
from spatialbot_policy.interchange.lerobot_export import LeRobotOptions, export_lerobot
from spatialbot_policy.interchange.lerobot_import import import_lerobot
from spatialbot_policy.interchange.rosbag_import import RosbagOptions, import_rosbags
from spatialbot_policy.interchange.rosbag_topics import read_map

TASK = "push the cup"
OPTIONS = RosbagOptions(names=bags.NAMES, instruction=TASK)


@pytest.mark.parametrize("storage", list(StoragePlugin))
@pytest.mark.parametrize(
    ("color", "depth"), [("rgb8", "16UC1"), ("png", "compressedDepth"), ("rgb8", "32FC1")]
)
def test_pictures_come_through_and_actions_are_computed(tmp_path, storage, color, depth):
    bag = bags.write(tmp_path / "bag", Bag(color, depth, storage=storage))
    report = import_rosbags(bag, tmp_path / "data", OPTIONS)
    reader = Dataset(tmp_path / "data").episode(0)
    reader.verify()
    arrays = reader.arrays()
    steps = (arrays["stamps"] - bags.START_NS) // bags.FRAME_NS
    assert steps.tolist() == list(range(0, 30, 3))
    for row, step in enumerate(steps.tolist()):
        np.testing.assert_array_equal(arrays["color"]["camera"][row], bags.color(step))
        millimetres = bags.depth(step).astype(np.uint32)
        if depth == "32FC1":
            millimetres[0, 0] = 0
        np.testing.assert_array_equal(arrays["depth"]["camera"][row], millimetres)
    np.testing.assert_allclose(arrays["actions"][:, 0], 0.02, atol=1e-6)
    np.testing.assert_allclose(arrays["actions"][:, 1:6], 0.0, atol=1e-9)
    assert arrays["actions"][0, 6] == 0.0 and arrays["actions"][-1, 6] == 1.0
    assert report.facts["actions computed from poses"] == 10 and report.facts["clipped share"] == 0.0
    assert (
        "computed" in report.changed["actions"] and reader.info.extra["actions"] == "computed from tool poses"
    )
    assert set(arrays["instructions"]) == {TASK} and reader.info.outcome.success is None


def test_a_recording_of_humble(tmp_path):
    """It holds no message definitions."""
    bag = bags.write_as_humble(tmp_path / "bag", Bag("png", "compressedDepth"))
    import_rosbags(bag, tmp_path / "data", OPTIONS)
    arrays = Dataset(tmp_path / "data").episode(0).arrays()
    assert len(arrays["stamps"]) == 10
    np.testing.assert_array_equal(arrays["color"]["camera"][0], bags.color(0))


def test_every_message_is_kept_at_its_rate(tmp_path):
    bag = bags.write(tmp_path / "bag")
    report = import_rosbags(bag, tmp_path / "data", OPTIONS)
    counts = Dataset(tmp_path / "data").episode(0).info.counts
    assert counts["/camera/camera/color/image_raw"] == 31
    assert counts["/spatialbot/ee_pose"] == 31 * 4 + 2
    assert counts["/joint_states"] == 31 * 4 + 2 - 4
    assert report.lost["joint states (joints_without_hand)"] == "4 messages"
    assert "/diagnostics_text" in report.lost
    saved = json.loads((tmp_path / "data/import_bag.json").read_text())
    assert saved["lost"] == report.lost


def test_jpeg_is_kept_as_it_is(tmp_path):
    bag = bags.write(tmp_path / "bag", Bag("jpeg", "compressedDepth"))
    import_rosbags(bag, tmp_path / "data", OPTIONS)
    found = Dataset(tmp_path / "data").episode(0).arrays()["color"]["camera"][0].astype(int)
    assert np.abs(found - bags.color(0)).mean() < 6
    assert Dataset(tmp_path / "data").info.cameras[0].color_encoding == "jpeg"
    assert (
        b"/camera/camera/color/image_raw/compressed"
        in (tmp_path / "data/episodes/000000/episode.mcap").read_bytes()
    )


def test_our_own_names_need_no_mapping(tmp_path):
    bag = bags.write(tmp_path / "bag", Bag(ours=True, instruction="lift the cup"))
    names = {"/hand/joints": "gripper"}
    import_rosbags(bag, tmp_path / "data", RosbagOptions(names=names))
    assert Dataset(tmp_path / "data").episode(0).info.instruction == "lift the cup"


def test_recorded_actions_are_taken_byte_by_byte(tmp_path):
    """A file of our own, as `ros2 bag` would have recorded the same topics."""
    path = samples.record(tmp_path / "ours") / "episode.mcap"
    report = import_rosbags(path, tmp_path / "data", RosbagOptions())
    first, second = (Dataset(tmp_path / name).episode(0).arrays() for name in ("ours", "data"))
    sent = ~np.isnan(first["executed"][:, 0])  # a step of a raw recording is an executed action
    for name in ("stamps", "tcp_pose", "joints", "closure", "executed"):
        np.testing.assert_array_equal(first[name][sent], second[name])
    assert (
        Dataset(tmp_path / "data").episode(0).info.counts == Dataset(tmp_path / "ours").episode(0).info.counts
    )
    assert "actions" not in report.changed and not report.lost


def test_velocities_come_along(tmp_path):
    bag = bags.write(tmp_path / "bag", Bag(velocity=0.25))
    import_rosbags(bag, tmp_path / "data", OPTIONS)
    file = tmp_path / "data/episodes/000000/episode.mcap"
    types = {"/joint_states": "sensor_msgs/msg/JointState"}
    message = from_cdr(next(iter(read_messages(file, types))).data, types["/joint_states"], "x")
    assert message.name == [*ARM_JOINTS, FINGER_JOINT] and len(message.position) == 8
    assert message.velocity[:7].tolist() == [0.25] * 7 and np.isnan(message.velocity[7])


def test_recordings_of_a_folder_are_episodes_and_more_can_be_added(tmp_path):
    for name in ("a", "b"):
        bags.write(tmp_path / "bags" / name)
    import_rosbags(tmp_path / "bags", tmp_path / "data", OPTIONS)
    import_rosbags(tmp_path / "bags/a", tmp_path / "data", OPTIONS)
    dataset = Dataset(tmp_path / "data")
    assert [reader.info.extra["recording"] for reader in dataset.episodes()] == ["a", "b", "a"]


def test_no_depth_is_marked(tmp_path):
    bag = bags.write(tmp_path / "bag", Bag(depth="none"))
    names = {name: ours for name, ours in bags.NAMES.items() if name != "/cam/depth"}
    report = import_rosbags(bag, tmp_path / "data", RosbagOptions(names=names, instruction=TASK))
    assert "none" in report.changed["depth"]
    assert Dataset(tmp_path / "data").info.depth_cameras == {"camera": False}


def test_other_names_are_listed_and_asked_for(tmp_path):
    bag = bags.write(tmp_path / "bag")
    with pytest.raises(
        InterchangeError, match=r"no colour camera.*--map .*/cam/rgb \(sensor_msgs/msg/Image, 31"
    ):
        import_rosbags(bag, tmp_path / "data")
    wrong = {**bags.NAMES, "/robot/tool": "/joint_states", "/robot/joints": "/spatialbot/ee_pose"}
    with pytest.raises(InterchangeError, match="/robot/.* is .*, .* is .*; map another topic"):
        import_rosbags(bag, tmp_path / "data", RosbagOptions(names=wrong, instruction=TASK))
    with pytest.raises(InterchangeError, match="/cam/wrong, which it does not have"):
        names = {**bags.NAMES, "/cam/wrong": "/tf"}
        import_rosbags(bag, tmp_path / "data", RosbagOptions(names=names, instruction=TASK))
    with pytest.raises(InterchangeError, match="no topic of the contract"):
        names = {**bags.NAMES, "/diagnostics_text": "/elsewhere"}
        import_rosbags(bag, tmp_path / "data", RosbagOptions(names=names, instruction=TASK))
    with pytest.raises(InterchangeError, match="no CameraInfo"):
        names = {name: ours for name, ours in bags.NAMES.items() if name != "/cam/info"}
        import_rosbags(bag, tmp_path / "data", RosbagOptions(names=names, instruction=TASK))
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("bag", "options", "reason"),
    [
        (Bag(), RosbagOptions(names=bags.NAMES), "--instruction"),
        (Bag(hand=False), None, "with the hand lacks"),
        (Bag(tool=False), None, "/spatialbot/ee_pose lacks"),
        (Bag(jump_at=15), None, "clock of .* jumps"),
        (Bag(unstamped=True), None, "without a stamp.*--stamps receive"),
        (Bag(stamp_offset_ns=-(10**18)), None, "clocks of camera and robot disagree"),
        (
            Bag(),
            RosbagOptions(names=bags.NAMES, instruction=TASK, gripper=GripperConvention.SIGNED_OPEN),
            "",
        ),
    ],
)
def test_bad_recordings_are_refused(tmp_path, bag, options, reason):
    names = {name: ours for name, ours in bags.NAMES.items() if (bag.hand or ours != "gripper")}
    names = {name: ours for name, ours in names.items() if bag.tool or name != "/robot/tool"}
    path = bags.write(tmp_path / "bag", bag)
    chosen = options or RosbagOptions(names=names, instruction=TASK)
    if not reason:
        return
    with pytest.raises(InterchangeError, match=reason):
        import_rosbags(path, tmp_path / "data", chosen)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["bag"]


@pytest.mark.parametrize("bag", [Bag(jump_at=15), Bag(unstamped=True), Bag(stamp_offset_ns=-(10**18))])
def test_times_of_receipt_help_where_clocks_disagree(tmp_path, bag):
    path = bags.write(tmp_path / "bag", bag)
    options = RosbagOptions(names=bags.NAMES, instruction=TASK, by_receipt=True)
    report = import_rosbags(path, tmp_path / "data", options)
    arrays = Dataset(tmp_path / "data").episode(0).arrays()
    assert len(arrays["stamps"]) == 10 and "header stamps" in report.lost
    assert arrays["stamps"][0] == bags.START_NS + bags.LATE_NS


def test_a_topic_that_changes_its_type(tmp_path):
    with Writer(tmp_path / "bag", version=9) as writer:
        for log_ns, message in ((1, new("std_msgs/msg/String", data="a")), (2, bags.info_message(2))):
            connection = writer.add_connection("/x", message.__msgtype__, typestore=store())
            writer.write(connection, log_ns, to_cdr(message))
    with pytest.raises(InterchangeError, match=r"/x changes its type from std_msgs/msg/String"):
        import_rosbags(tmp_path / "bag", tmp_path / "data", OPTIONS)


def test_damage_and_newer_schemas_are_named(tmp_path):
    with pytest.raises(InterchangeError, match="no rosbag2 recording"):
        import_rosbags(tmp_path, tmp_path / "data", OPTIONS)
    bag = bags.write(tmp_path / "bag", Bag(storage=StoragePlugin.MCAP))
    text = (bag / "metadata.yaml").read_text()
    (bag / "metadata.yaml").write_text(text.replace("version: 9", "version: 99", 1))
    with pytest.raises(InterchangeError, match="99"):
        import_rosbags(bag, tmp_path / "data", OPTIONS)
    (bag / "metadata.yaml").write_text(text)
    file = next(bag.glob("*.mcap"))
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(InterchangeError, match="bag"):
        import_rosbags(bag, tmp_path / "data", OPTIONS)
    (tmp_path / "old.bag").write_bytes(b"#ROSBAG V2.0\n")
    with pytest.raises(InterchangeError, match="rosbags-convert"):
        import_rosbags(tmp_path / "old.bag", tmp_path / "data", OPTIONS)
    assert not (tmp_path / "data").exists()


def test_a_data_set_of_another_kind_stays_as_it_is(tmp_path):
    bag = bags.write(tmp_path / "bag")
    import_rosbags(bag, tmp_path / "data", OPTIONS)
    before = sorted(path.name for path in (tmp_path / "data/episodes").iterdir())
    with pytest.raises(EpisodeError, match="another contract"):
        other = RosbagOptions(names=bags.NAMES, instruction=TASK, rate_hz=5.0)
        import_rosbags(bag, tmp_path / "data", other)
    assert sorted(path.name for path in (tmp_path / "data/episodes").iterdir()) == before


def test_mappings_from_options_and_files(tmp_path):
    file = tmp_path / "map.yaml"
    file.write_text("/a: /tf\n/b: /joint_states\n")
    assert read_map(("/a=gripper",), file) == {"/a": "gripper", "/b": "/joint_states"}
    with pytest.raises(InterchangeError, match="THEIRS=OURS"):
        read_map(("/a",))
    file.write_text("- a\n")
    with pytest.raises(InterchangeError, match="must hold lines"):
        read_map((), file)


def test_a_raw_episode_goes_on_to_lerobot_step_by_step(tmp_path):
    """Also one whose colour lies as JPEG: compressing it again on the way back would lose again."""
    import_rosbags(bags.write(tmp_path / "bag", Bag("jpeg")), tmp_path / "data", OPTIONS)
    report = export_lerobot(tmp_path / "data", tmp_path / "out", LeRobotOptions(video=False))
    assert report.to_dict()["lost"]["rate of /spatialbot/ee_pose"].startswith("116 tool poses between")
    back = import_lerobot(tmp_path / "out", tmp_path / "back")
    assert "contract" in back.changed
    first, second = (Dataset(tmp_path / name).episode(0).arrays() for name in ("data", "back"))
    for name in ("stamps", "actions", "tcp_pose", "joints", "terminate"):
        np.testing.assert_array_equal(first[name], second[name])
    for name in ("color", "depth"):
        np.testing.assert_array_equal(first[name]["camera"], second[name]["camera"])
