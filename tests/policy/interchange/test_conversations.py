"""SpatialQA-E conversations: what the authors' format needs, and the same model inputs as from episodes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.policy.interchange import interchange_samples as samples
from tests.training.conversation_samples import TEMPLATE, make_processor

from spatialbot_policy.action_space import ActionSpace
from spatialbot_policy.config import CameraConfig, PolicyConfig
from spatialbot_policy.conversation import read_entry
from spatialbot_policy.conversation_config import ConversationConfig, ImagePadding
from spatialbot_policy.depth import DepthVariant
from spatialbot_policy.episode import Dataset
from spatialbot_policy.errors import InterchangeError
from spatialbot_policy.history import History
from spatialbot_policy.interchange.conversations_export import ConversationOptions, export_conversations
from spatialbot_policy.interchange.image_bytes import DepthForm
from spatialbot_policy.pipeline import build_pipeline
from spatialbot_policy.prompt import PromptStyle, action_text_of
from spatialbot_training.conversation_data import ConversationExamples

SPACE = ActionSpace(**samples.ACTIONS)


def load(root: Path) -> list[dict]:
    return json.loads((root / "conversations.json").read_text(encoding="utf-8"))


def policy(variant: DepthVariant, style: PromptStyle) -> PolicyConfig:
    camera = CameraConfig("camera", samples.SIZE, samples.SIZE)
    return PolicyConfig((camera,), depth_variant=variant, prompt=style, action_space=SPACE)


@pytest.mark.parametrize("style", list(PromptStyle))
@pytest.mark.parametrize(
    ("form", "variant"),
    [
        (DepthForm.MILLIMETRES, DepthVariant.PAPER),
        (DepthForm.MILLIMETRES, DepthVariant.RELEASED),
        (DepthForm.PAPER, DepthVariant.PAPER),
        (DepthForm.UINT24, DepthVariant.UINT24),
    ],
)
def test_model_inputs_are_those_of_the_episode(tmp_path, style, form, variant):
    samples.record(tmp_path / "data", steps=6)
    export_conversations(tmp_path / "data", tmp_path / "out", ConversationOptions(style, depth=form))
    config = ConversationConfig(
        samples.SIZE, samples.SIZE, ImagePadding.MEAN, depth_variant=variant, template=TEMPLATE
    )
    examples = ConversationExamples(tmp_path / "out/conversations.json", config, make_processor())
    pipeline, history = build_pipeline(policy(variant, style)), History(4, 500_000_000)
    observations = Dataset(tmp_path / "data").episode(0).observations()
    assert len(examples) == len(observations)
    for number, observation in enumerate(observations):
        inputs = pipeline(history.push(observation))
        shown = [image for key in examples.example(number).frames for image in examples.frame(key)]
        assert len(shown) == len(inputs.images) == 8
        for found, expected in zip(shown, inputs.images, strict=True):
            np.testing.assert_array_equal(found, expected)
        question = load(tmp_path / "out")[number]["conversations"][0]["value"]
        assert question == pipeline.question(observation.instruction)


@pytest.mark.parametrize("style", list(PromptStyle))
def test_answers_are_the_recorded_actions(tmp_path, style):
    samples.record(tmp_path / "data", steps=5)
    report = export_conversations(tmp_path / "data", tmp_path / "out", ConversationOptions(style))
    actions = Dataset(tmp_path / "data").episode(0).actions()
    for entry, (_, action) in zip(load(tmp_path / "out"), actions, strict=True):
        turns, _ = read_entry(entry)
        text = action_text_of(turns[-1].text, style)
        np.testing.assert_array_equal(SPACE.from_text(text), SPACE.to_bins(action))
    assert report.facts["clipped actions"] == 0
    assert 0 < report.facts["largest rounding m"] <= 0.0005 + 1e-12
    assert "terminate flag" in report.lost


def test_images_are_written_once_and_shared(tmp_path):
    samples.record(tmp_path / "data", steps=5)
    export_conversations(tmp_path / "data", tmp_path / "out")
    entries = load(tmp_path / "out")
    assert len(list((tmp_path / "out/images/000000").iterdir())) == 2 * 5
    first, last = entries[0]["image"], entries[-1]["image"]
    assert len(set(first)) == 2 and len(first) == 8
    assert last == [
        f"images/000000/camera_{step:06d}{end}.png" for step in (4, 3, 2, 1) for end in ("", "_d")
    ]
    assert [entry["id"] for entry in entries] == [f"000000_{step:06d}" for step in range(5)]


def test_action_tokens(tmp_path):
    samples.record(tmp_path / "data", steps=2)
    export_conversations(tmp_path / "data", tmp_path / "out", ConversationOptions(tokens=True))
    action = Dataset(tmp_path / "data").episode(0).actions()[0][1]
    answer = load(tmp_path / "out")[0]["conversations"][1]["value"]
    assert answer == f"The robot should {''.join(SPACE.to_tokens(SPACE.to_bins(action)))}."


def test_two_cameras_are_too_many_images(tmp_path):
    samples.record(tmp_path / "data", cameras=("camera", "wrist"))
    with pytest.raises(InterchangeError, match="16 images.*--camera"):
        export_conversations(tmp_path / "data", tmp_path / "out")
    export_conversations(tmp_path / "data", tmp_path / "out", ConversationOptions(cameras=("wrist",)))
    assert load(tmp_path / "out")[0]["image"][0] == "images/000000/wrist_000000.png"
    with pytest.raises(InterchangeError, match="no camera 'left'"):
        export_conversations(tmp_path / "data", tmp_path / "more", ConversationOptions(cameras=("left",)))


def test_colour_alone(tmp_path):
    samples.record(tmp_path / "data", cameras=("camera", "wrist"), depth=False)
    report = export_conversations(tmp_path / "data", tmp_path / "out")
    assert len(load(tmp_path / "out")[0]["image"]) == 8 and "depth" in report.changed
    samples.record(tmp_path / "deep")
    report = export_conversations(tmp_path / "deep", tmp_path / "flat", ConversationOptions(depth=None))
    assert len(load(tmp_path / "flat")[0]["image"]) == 4 and "depth" in report.lost


def test_depth_that_does_not_fit_leaves_nothing(tmp_path):
    samples.record(tmp_path / "data", deepest=100_000)
    with pytest.raises(InterchangeError, match="--depth paper"):
        export_conversations(tmp_path / "data", tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_a_data_set_of_stills_has_nothing_to_say(tmp_path):
    samples.record(tmp_path / "data", kind="stills")
    with pytest.raises(InterchangeError, match=r"no episode to export \(000000: stills"):
        export_conversations(tmp_path / "data", tmp_path / "out")
