"""What is written to an episode comes back, through this project's reader and through others'."""

from __future__ import annotations

import json
import tempfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from mcap.reader import make_reader
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore
from tests.policy import episode_samples as samples

from spatialbot_policy.episode import (
    CameraIntrinsics,
    Dataset,
    DatasetCamera,
    DatasetConfig,
    EpisodeInfo,
    EpisodeReader,
    EpisodeWriter,
    Outcome,
)
from spatialbot_policy.types import ActionStep, RgbdFrame, RobotState

finite = st.floats(-1e3, 1e3, allow_nan=False, width=64)
vector3 = hnp.arrays(np.float64, 3, elements=finite)


def test_observations_actions_and_transforms_come_back(tmp_path):
    reader = EpisodeReader(samples.record(tmp_path))
    observations = reader.observations()
    assert [item.stamp_ns for item in observations] == [samples.stamp(step) for step in range(5)]
    for step, observation in enumerate(observations):
        written, state = samples.frame(step), samples.state(step)
        assert observation.instruction == "pick up the red cup"
        np.testing.assert_array_equal(observation.frames["camera"].color, written.color)
        np.testing.assert_array_equal(observation.frames["camera"].depth_mm, written.depth_mm)
        assert observation.frames["camera"].depth_mm.dtype == np.uint16
        np.testing.assert_array_equal(observation.state.tcp_position_m, state.tcp_position_m)
        np.testing.assert_array_equal(observation.state.joint_positions_rad, state.joint_positions_rad)
        assert observation.state.gripper_closure == pytest.approx(state.gripper_closure, abs=1e-12)
    for step, (stamp_ns, action) in enumerate(reader.actions()):
        assert stamp_ns == samples.stamp(step)
        np.testing.assert_array_equal(action.as_vector(), samples.action(step).as_vector())
    assert reader.transforms()["red_cup"][:, 2].tolist() == [0, 1, 2, 3, 4]
    reader.verify()


def test_arrays_agree_with_observations(tmp_path):
    reader = EpisodeReader(samples.record(tmp_path))
    arrays = reader.arrays()
    for step, observation in enumerate(reader.observations()):
        assert arrays["stamps"][step] == observation.stamp_ns
        np.testing.assert_array_equal(arrays["color"]["camera"][step], observation.frames["camera"].color)
        np.testing.assert_array_equal(arrays["depth"]["camera"][step], observation.frames["camera"].depth_mm)
        np.testing.assert_array_equal(arrays["tcp_pose"][step][:3], observation.state.tcp_position_m)
        np.testing.assert_array_equal(arrays["joints"][step], observation.state.joint_positions_rad)
        assert arrays["closure"][step] == observation.state.gripper_closure
    assert arrays["actions"].shape == (5, 7) and arrays["executed"] is None
    assert not arrays["terminate"].any()


@settings(max_examples=25, deadline=None)
@given(data=st.data(), height=st.integers(1, 9), width=st.integers(1, 9), steps=st.integers(1, 3))
def test_any_frame_state_and_action_round_trips(data, height, width, steps):
    shape = (height, width)
    depths = st.one_of(
        hnp.arrays(np.uint16, shape), hnp.arrays(np.uint32, shape, elements=st.integers(0, 131071))
    )
    frames = [
        RgbdFrame("front", 1 + step, data.draw(hnp.arrays(np.uint8, (*shape, 3))), data.draw(depths))
        for step in range(steps)
    ]
    actions = [ActionStep(data.draw(vector3), data.draw(vector3), data.draw(finite), data.draw(st.booleans()))
               for _ in frames]  # fmt: skip
    joints = data.draw(hnp.arrays(np.float64, 7, elements=finite))
    instruction = data.draw(st.text(min_size=1).filter(lambda text: text.strip() and text.isprintable()))
    camera = CameraIntrinsics(width, height, 1.5, 2.5, 3.5, 4.5, (0.1, 0.2, 0.0, 0.0, 0.3))
    with tempfile.TemporaryDirectory() as directory:
        Dataset.create(directory, DatasetConfig("fr3", (DatasetCamera("front", width, height),)))
        with EpisodeWriter(directory, 3, EpisodeInfo(instruction, "pick", "T", 1)) as writer:
            for frame, action in zip(frames, actions, strict=True):
                writer.write_frame(frame, camera)
                writer.write_state(RobotState(frame.stamp_ns, joints[:3], samples.IDENTITY, 0.25, joints))
                writer.write_action(frame.stamp_ns, action)
                writer.write_action(frame.stamp_ns, action, executed=True)
            writer.commit(Outcome(True))
        reader = EpisodeReader(writer.path)
        reader.verify()
        assert reader.info.intrinsics["front"] == camera
        for written, read in zip(frames, reader.frames("front"), strict=True):
            assert read.stamp_ns == written.stamp_ns
            np.testing.assert_array_equal(read.color, written.color)
            np.testing.assert_array_equal(read.depth_mm, written.depth_mm)
        for executed in (False, True):
            for written, (_, read) in zip(actions, reader.actions(executed), strict=True):
                np.testing.assert_array_equal(read.as_vector(), written.as_vector())
                assert read.terminate == written.terminate
        for observation in reader.observations():
            assert observation.instruction == instruction
            np.testing.assert_array_equal(observation.state.joint_positions_rad, joints)


def test_stills_take_the_instruction_of_their_stamp(tmp_path):
    samples.dataset(tmp_path)
    texts = ["take the ball", "take the cup", "take the cup", "take the box"]
    with EpisodeWriter(tmp_path, 0, samples.info(kind="stills")) as writer:
        for number, text in enumerate(texts):
            stamp_ns = 1 + number * 20_000_000_000
            if number in (0, 1, 3):
                writer.write_instruction(stamp_ns, text)
            writer.write_frame(samples.frame(number, stamp_ns=stamp_ns), samples.intrinsics())
            objects = {"ball": (np.ones(3), samples.IDENTITY)} if number % 2 else {}
            writer.write_transforms(stamp_ns, objects)
        writer.commit({"success": True})
    reader = EpisodeReader(writer.path)
    assert [item.instruction for item in reader.observations()] == texts
    assert reader.observations()[0].state is None and reader.actions() == [] and reader.states() == []
    assert np.isnan(reader.transforms()["ball"][:, 0]).tolist() == [True, False, True, False]


def test_stills_that_a_history_could_join_are_refused(tmp_path):
    samples.dataset(tmp_path)
    with EpisodeWriter(tmp_path, 0, samples.info(kind="stills")) as writer:
        for step in range(2):
            writer.write_frame(samples.frame(step), samples.intrinsics())
        with pytest.raises(ValueError, match="space their stamps wider"):
            writer.commit({"success": True})


def test_executed_actions_may_be_fewer(tmp_path):
    samples.dataset(tmp_path)
    with EpisodeWriter(tmp_path, 0, samples.info()) as writer:
        for step in range(3):
            samples.write_step(writer, step)
            if step != 1:
                writer.write_action(samples.stamp(step), samples.action(step), executed=True)
        writer.commit({"success": False, "failure": "dropped"})
    reader = EpisodeReader(writer.path)
    assert [stamp for stamp, _ in reader.actions(executed=True)] == [samples.stamp(0), samples.stamp(2)]
    assert np.isnan(reader.arrays()["executed"][1]).all()
    assert reader.info.outcome == Outcome(False, "dropped")


def test_two_cameras_one_of_them_without_depth(tmp_path):
    cameras = (DatasetCamera("camera", 24, 16), DatasetCamera("wrist", 8, 8, depth=False))
    Dataset.create(tmp_path, DatasetConfig("fr3", cameras))
    wrist = np.full((8, 8, 3), 9, np.uint8)
    with EpisodeWriter(tmp_path, 0, samples.info()) as writer:
        for step in range(2):  # the wrist camera first: the order of the contract counts, not that of writing
            writer.write_frame(RgbdFrame("wrist", samples.stamp(step), wrist), samples.intrinsics(8, 8))
            samples.write_step(writer, step)
        writer.commit({"success": True})
    reader = EpisodeReader(writer.path)
    assert reader.cameras == ("camera", "wrist")
    assert set(reader.arrays()["depth"]) == {"camera"}
    assert list(reader.observations()[1].frames) == ["camera", "wrist"]


def test_episode_json_holds_the_facts(tmp_path):
    samples.dataset(tmp_path)
    extra = {"camera_seed": np.int64(4), "offsets": np.array([1.5, 2.0]), "nested": {"a": [1]}}
    facts = EpisodeInfo("pick it", "pick", "T", 5, extra=extra)
    with EpisodeWriter(tmp_path, 2, facts) as writer:
        samples.write_step(writer, 0)
        written = writer.commit({"success": np.bool_(True)})
    data = json.loads((writer.path / "episode.json").read_text())
    assert data["extra"] == {"camera_seed": 4, "offsets": [1.5, 2.0], "nested": {"a": [1]}}
    assert data["start_ns"] == data["end_ns"] == samples.stamp(0)
    assert data["counts"]["/camera/camera/color/image_raw"] == 1 and data["index"] == 2
    assert data["outcome"] == {"success": True, "failure": None, "recovered": False}
    assert EpisodeReader(writer.path).info.intrinsics == written.intrinsics


def test_a_ros2_bag_reader_opens_the_file(tmp_path):
    path = samples.record(tmp_path, steps=3)
    store = get_typestore(Stores.ROS2_HUMBLE)
    with AnyReader([path / "episode.mcap"], default_typestore=store) as bag:
        counts = {connection.topic: connection.msgcount for connection in bag.connections}
        images = [item for item in bag.messages() if item[0].topic.endswith("/color/image_raw")]
        color = bag.deserialize(images[2][2], images[2][0].msgtype)
    assert counts == EpisodeReader(path).info.counts
    assert images[2][1] == samples.stamp(2) == color.header.stamp.sec * 10**9 + color.header.stamp.nanosec
    np.testing.assert_array_equal(color.data.reshape(16, 24, 3), samples.frame(2).color)


def test_the_file_follows_the_topic_contract(tmp_path):
    path = samples.record(tmp_path, steps=2)
    store = get_typestore(Stores.ROS2_HUMBLE)
    with open(path / "episode.mcap", "rb") as file:
        reader = make_reader(file, validate_crcs=True)
        assert reader.get_header().profile == "ros2"
        channels = {}
        for schema, channel, message in reader.iter_messages():
            assert schema.encoding == "ros2msg" and channel.message_encoding == "cdr"
            assert message.log_time == message.publish_time
            store.deserialize_cdr(message.data, schema.name)
            channels[channel.topic] = schema.name
    assert channels == {
        "/camera/camera/color/image_raw": "sensor_msgs/msg/Image",
        "/camera/camera/aligned_depth_to_color/image_raw": "sensor_msgs/msg/Image",
        "/camera/camera/color/camera_info": "sensor_msgs/msg/CameraInfo",
        "/spatialbot/instruction": "std_msgs/msg/String",
        "/spatialbot/action": "sensor_msgs/msg/JointState",
        "/joint_states": "sensor_msgs/msg/JointState",
        "/spatialbot/ee_pose": "geometry_msgs/msg/PoseStamped",
        "/tf": "tf2_msgs/msg/TFMessage",
    }


def test_depth_beyond_16_bits_is_metres_in_the_file(tmp_path):
    samples.dataset(tmp_path)
    depth = np.full((16, 24), 65_536, np.uint32)
    depth[0, 0] = 0
    with EpisodeWriter(tmp_path, 0, samples.info()) as writer:
        color = samples.frame(0).color
        writer.write_frame(RgbdFrame("camera", samples.stamp(0), color, depth), samples.intrinsics())
        writer.write_action(samples.stamp(0), samples.action(0))
        writer.commit({"success": True})
    store = get_typestore(Stores.ROS2_HUMBLE)
    with open(writer.path / "episode.mcap", "rb") as file:
        topic = "/camera/camera/aligned_depth_to_color/image_raw"
        ((schema, _, message),) = make_reader(file).iter_messages(topics=[topic])
    image = store.deserialize_cdr(message.data, schema.name)
    assert image.encoding == "32FC1"
    assert image.data.view(np.float32)[1] == np.float32(65.536)
    np.testing.assert_array_equal(EpisodeReader(writer.path).arrays()["depth"]["camera"][0], depth)


def test_listing_a_data_set_decodes_nothing(tmp_path):
    for index in (0, 4):
        samples.record(tmp_path, index)
        mcap = tmp_path / f"episodes/{index:06d}/episode.mcap"
        mcap.write_bytes(b"\0" * mcap.stat().st_size)
    found = Dataset(tmp_path).episodes()
    assert [(item.info.index, item.info.steps) for item in found] == [(0, 5), (4, 5)]
    assert Dataset(tmp_path).free_index() == 5
