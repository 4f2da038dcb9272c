"""Parquet for Hugging Face `datasets`: loaded by the library, equal to the episodes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.policy.interchange import interchange_samples as samples

from spatialbot_policy.episode import Dataset
from spatialbot_policy.errors import InterchangeError
from spatialbot_policy.interchange.image_bytes import DepthForm
from spatialbot_policy.interchange.parquet_export import ParquetOptions, export_parquet

datasets = pytest.importorskip("datasets")


def load(root, cache):
    files = str(root / "data" / "*.parquet")
    return datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(cache))


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    cameras=st.sampled_from([("camera",), ("camera", "wrist")]),
    depth=st.booleans(),
    state=st.booleans(),
    megabytes=st.sampled_from([0.0, 400.0]),
)
def test_rows_are_the_steps(tmp_path_factory, lengths, cameras, depth, state, megabytes):
    place = tmp_path_factory.mktemp("parquet")
    for seed, steps in enumerate(lengths):
        samples.record(place / "data", seed, steps, cameras, depth, state)
    export_parquet(place / "data", place / "out", ParquetOptions(file_megabytes=megabytes))
    rows = iter(load(place / "out", place / "cache"))
    for reader in Dataset(place / "data").episodes():
        arrays = reader.arrays()
        for step, stamp in enumerate(arrays["stamps"].tolist()):
            row = next(rows)
            assert (row["episode"], row["step"], row["stamp_ns"]) == (reader.info.index, step, stamp)
            assert row["instruction"] == arrays["instructions"][step]
            np.testing.assert_array_equal(row["action"], arrays["actions"][step])
            assert row["terminate"] == arrays["terminate"][step]
            sent = arrays["executed"]
            if sent is None or np.isnan(sent[step]).any():
                assert row["executed_action"] is None
            else:
                np.testing.assert_array_equal(row["executed_action"], sent[step])
            if state:
                np.testing.assert_array_equal(row["tool_pose"], arrays["tcp_pose"][step])
                np.testing.assert_array_equal(row["joints_rad"], arrays["joints"][step])
                assert row["gripper_closure"] == arrays["closure"][step]
            else:
                assert row["tool_pose"] is None and row["gripper_closure"] is None
            for item in row["transforms"]:
                np.testing.assert_array_equal(item["pose"], arrays["transforms"][item["frame"]][step])
            for camera in cameras:
                found = np.array(row[f"image.{camera}"])
                np.testing.assert_array_equal(found, arrays["color"][camera][step])
                if depth:
                    image = row[f"image.{camera}_depth"]
                    assert image.mode == "I;16"
                    np.testing.assert_array_equal(np.array(image), arrays["depth"][camera][step])
    assert next(rows, None) is None


def test_facts_lie_beside(tmp_path):
    samples.record(tmp_path / "data")
    report = export_parquet(tmp_path / "data", tmp_path / "out")
    lines = (tmp_path / "out/episodes.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["seed"] == 0 and len(lines) == 1
    assert json.loads((tmp_path / "out/dataset.json").read_text())["rate_hz"] == 10.0
    assert report.facts == {"episodes": 1, "rows": 6}


def test_deep_images_need_another_form(tmp_path):
    samples.record(tmp_path / "data", deepest=100_000)
    with pytest.raises(InterchangeError, match="camera 'camera'.*--depth paper"):
        export_parquet(tmp_path / "data", tmp_path / "out")
    export_parquet(tmp_path / "data", tmp_path / "out", ParquetOptions(depth=DepthForm.PAPER))
