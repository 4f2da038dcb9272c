"""Episodes whose pictures lie compressed read as any other; old data sets read as before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from mcap.reader import make_reader
from tests.policy import episode_samples as samples
from tests.policy.episodes.test_episode_raw import COLOR, DEPTH, info, write_streams

from spatialbot_policy.episode import Dataset, DatasetCamera, EpisodeReader, EpisodeWriter, recover
from spatialbot_policy.episodes import messages, topics
from spatialbot_policy.episodes.dataset import DatasetConfig
from spatialbot_policy.episodes.mcap_file import read_messages
from spatialbot_policy.episodes.packed import PackedImage, plain_cdr
from spatialbot_policy.errors import EpisodeError

WAYS = [("jpeg", "png"), ("jpeg", "delta"), ("raw", "delta"), ("jpeg", "raw")]


def packed_dataset(directory: Path, color: str, depth: str) -> Dataset:
    camera = DatasetCamera("camera", 24, 16, True, color, depth)
    return Dataset.create(directory, DatasetConfig("fr3", (camera,)))


def record(directory: Path, raw: bool) -> EpisodeReader:
    with EpisodeWriter(directory, 0, info() if raw else samples.info()) as writer:
        if raw:
            write_streams(writer)
        else:
            for step in range(4):
                samples.write_step(writer, step)
        writer.commit({"success": True})
    return EpisodeReader(writer.path)


@pytest.mark.parametrize(("color", "depth"), WAYS)
@pytest.mark.parametrize("raw", [True, False])
def test_pictures_come_back_whatever_they_lay_as(tmp_path, color, depth, raw):
    packed_dataset(tmp_path / "packed", color, depth)
    samples.dataset(tmp_path / "plain")
    packed, plain = record(tmp_path / "packed", raw), record(tmp_path / "plain", raw)
    packed.verify()
    assert packed.info.counts == plain.info.counts and packed.info.steps == plain.info.steps
    found, wanted = packed.arrays(), plain.arrays()
    np.testing.assert_array_equal(found["depth"]["camera"], wanted["depth"]["camera"])
    np.testing.assert_array_equal(found["actions"], wanted["actions"])
    if color == "raw":
        np.testing.assert_array_equal(found["color"]["camera"], wanted["color"]["camera"])
    else:
        assert found["color"]["camera"].shape == wanted["color"]["camera"].shape


def test_the_file_names_them_as_image_transport_does(tmp_path):
    packed_dataset(tmp_path, "jpeg", "png")
    path = record(tmp_path, True).path / "episode.mcap"
    with open(path, "rb") as file:
        summary = make_reader(file).get_summary()
    found = {channel.topic: summary.schemas[channel.schema_id].name for channel in summary.channels.values()}
    assert found[f"{COLOR}/compressed"] == found[f"{DEPTH}/compressedDepth"] == topics.COMPRESSED_IMAGE
    assert COLOR not in found and DEPTH not in found
    assert summary.statistics.message_count == sum(record_counts(path).values())


def record_counts(path: Path) -> dict[str, int]:
    counts: dict[str, int] = {}
    for message in read_messages(path, topics.topic_types(("camera",))):
        counts[message.topic] = counts.get(message.topic, 0) + 1
    return counts


def test_a_replay_gets_images(tmp_path):
    packed_dataset(tmp_path, "jpeg", "delta")
    reader = record(tmp_path, True)
    depths = []
    for message in read_messages(reader.path / "episode.mcap", {DEPTH: topics.IMAGE}):
        assert isinstance(message.data, PackedImage)
        plain = messages.decode(plain_cdr(message.data, DEPTH), topics.IMAGE, DEPTH)
        assert messages.stamp_of(plain) == messages.stamp_of(
            messages.decode(message.data, topics.IMAGE, DEPTH)
        )
        depths.append(messages.decode_depth(plain, DEPTH))
    np.testing.assert_array_equal(depths[0], samples.frame(0).depth_mm)


def test_a_crash_leaves_packed_pictures_that_are_recovered(tmp_path):
    packed_dataset(tmp_path, "jpeg", "delta")
    with EpisodeWriter(tmp_path, 0, info()) as writer:
        write_streams(writer)
    (result,) = recover(tmp_path)
    assert (result.recovered, result.steps) == (True, 3)
    Dataset(tmp_path).episode(0).verify()


def test_depth_that_16_bits_cannot_hold_stays_as_it_came(tmp_path):
    packed_dataset(tmp_path, "raw", "delta")
    frame = samples.frame(0)
    far = frame.depth_mm.astype(np.uint32) + 100_000
    with EpisodeWriter(tmp_path, 0, samples.info()) as writer:
        writer.write_frame(type(frame)("camera", frame.stamp_ns, frame.color, far), samples.intrinsics())
        writer.write_state(samples.state(0))
        writer.write_action(samples.stamp(0), samples.action(0))
        writer.commit({"success": True})
    np.testing.assert_array_equal(EpisodeReader(writer.path).arrays()["depth"]["camera"][0], far)


def test_only_a_data_set_with_packed_pictures_has_the_newer_schema(tmp_path):
    plain = samples.dataset(tmp_path / "plain")
    packed = packed_dataset(tmp_path / "packed", "jpeg", "raw")
    assert plain.info.schema == 1 and packed.info.schema == 2
    text = (tmp_path / "plain" / "dataset.yaml").read_text()
    assert "encoding" not in text and yaml.safe_load(text)["schema"] == 1
    assert Dataset(tmp_path / "packed").info == packed.info
    with pytest.raises(EpisodeError, match="another contract"):
        packed_dataset(tmp_path / "packed", "raw", "raw")


def test_an_unknown_encoding_is_refused():
    with pytest.raises(EpisodeError, match="colour is kept as raw or jpeg"):
        DatasetCamera("camera", 24, 16, True, "webp")
