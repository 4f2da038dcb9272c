"""Counting what instructions ask for: the object's own word, not the board's; each still by itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spatialbot_policy.episode import (
    CameraIntrinsics,
    Dataset,
    DatasetCamera,
    DatasetConfig,
    EpisodeInfo,
    EpisodeWriter,
)
from spatialbot_policy.types import ActionStep, RgbdFrame
from spatialbot_sim.collection.balance import ASPECTS, asked_for, balance
from spatialbot_sim.task.scene import sample_scene
from spatialbot_sim.task.specs import Family

STILLS = (
    "put the left red cup on the right board, as the camera sees it",
    "grab the biggest blue box and put it on the left board",
    "please bring the real green cup over to the left board",
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "put the left red cup on the right board, as the camera sees it",
            ("left", "camera", "right", "cup"),
        ),
        ("pick up the red ball and set it down on the left board", ("none", "none", "left", "ball")),
        ("carry the widest blue box to the right board", ("wider", "none", "right", "box")),
        (
            "fetch the middle cup and put it on the left board, seen by the robot",
            ("between", "robot", "left", "cup"),
        ),
        ("stack the red cube on the green cube", ("none", "none", "none", "none")),
    ],
)
def test_the_words_of_an_instruction(text, words):
    assert tuple(asked_for(text).values()) == words


@pytest.mark.parametrize("family", Family)
def test_every_instruction_of_the_suite_is_understood(family):
    for seed in range(80):
        scene = sample_scene(family, seed)
        found = asked_for(scene.instruction)
        assert found["shape"] == scene.target.shape.value
        assert (found["viewer"] != "none") == (family is Family.POSITION)
        assert (found["relation"] != "none") == (family in (Family.POSITION, Family.SIZE))
        side = scene.boards[scene.goal if found["viewer"] != "camera" else 1 - scene.goal].side
        assert found["board"] == side


def write(directory: Path, index: int, kind: str, texts: tuple[str, ...], **extra: object) -> None:
    info = EpisodeInfo(texts[0], "size", "Squares", index, kind=kind, extra=extra)
    with EpisodeWriter(directory, index, info) as writer:
        for number, text in enumerate(texts):
            stamp_ns = (1 + 20 * number) * 1_000_000_000
            picture = np.zeros((8, 8, 3), np.uint8), np.full((8, 8), 900, np.uint16)
            writer.write_instruction(stamp_ns, text)
            writer.write_frame(RgbdFrame("camera", stamp_ns, *picture), CameraIntrinsics(8, 8, 9, 9, 4, 4))
            writer.write_action(stamp_ns, ActionStep(np.zeros(3), np.zeros(3), 0.0))
        writer.commit({"success": True})


def test_a_demonstration_counts_once_and_each_still_by_itself(tmp_path):
    contract = DatasetConfig("panda", (DatasetCamera("camera", 8, 8),), {"kind": "delta_pose"}, 10.0)
    dataset = Dataset.create(tmp_path, contract)
    write(tmp_path, 0, "stills", STILLS)
    write(tmp_path, 1, "demo", STILLS[:1] * 2)
    write(tmp_path, 2, "demo", STILLS[1:2], aggregated={"policy": "ab12"})
    told = []
    counts = balance(dataset, lambda *numbers: told.append(numbers))
    assert tuple(counts) == ASPECTS and told == [(1, 3), (2, 3), (3, 3)]
    assert counts["kind"] == {"stills": 3, "demo": 1, "aggregated": 1}
    assert counts["relation"] == {"left": 2, "larger": 2, "none": 1}
    assert counts["board"] == {"right": 2, "left": 3}
    assert counts["viewer"] == {"camera": 2, "none": 3} and counts["shape"] == {"cup": 3, "box": 2}
    assert counts["family"] == {"size": 5}
