"""A checkpoint as a policy: the cached history gives the answer that all images together give."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from spatialbot_policy.config import CameraConfig, PolicyConfig
from spatialbot_policy.depth import DepthVariant
from spatialbot_policy.errors import ActionError, CheckpointError, FrameError, HistoryError, PromptError
from spatialbot_policy.history import History
from spatialbot_policy.inference import ActionDecoder, LocalPolicy
from spatialbot_policy.model import SpatialBotForActionPrediction, SpatialBotProcessor, save_checkpoint
from spatialbot_policy.model.checkpoint import Checkpoint
from spatialbot_policy.pipeline import build_pipeline
from spatialbot_policy.types import Observation, Policy, RgbdFrame

Small = tuple[SpatialBotForActionPrediction, SpatialBotProcessor]
STEP_NS = 100_000_000


def observation(step: int, seed: int = 0, instruction: str = "pick up the red cup") -> Observation:
    rng = np.random.default_rng([seed, step])
    frame = RgbdFrame(
        "base",
        step * STEP_NS,
        rng.integers(0, 256, (48, 64, 3), dtype=np.uint8),
        rng.integers(1, 1500, (48, 64)).astype(np.uint16),
    )
    return Observation(step * STEP_NS, instruction, {"base": frame})


@pytest.fixture
def policy(small: Small, policy_config: PolicyConfig) -> LocalPolicy:
    return LocalPolicy(Checkpoint(*small, policy_config))


def bins_without_cache(small: Small, config: PolicyConfig, history: tuple[Observation, ...]) -> list[int]:
    """The answer to the whole prompt with all of its images."""
    inputs = build_pipeline(config)(history)
    batch = small[1](inputs.prompt, list(inputs.images))
    return ActionDecoder(small[0]).decode(batch, 7)[0].tolist()


def test_cached_frames_give_the_same_answer_as_all_images(
    small: Small, policy: LocalPolicy, policy_config: PolicyConfig
) -> None:
    history = History(policy_config.history_length, policy_config.max_gap_ns)
    answers = set()
    for step in (1, 2, 3, 4, 5, 6, 30, 31):  # the pause after 6 restarts the history
        seen = observation(step)
        bins = policy.predict_bins(seen)
        assert bins.tolist() == bins_without_cache(small, policy_config, history.push(seen))
        answers.add(tuple(bins.tolist()))
    assert policy.gaps == 1
    assert len(answers) > 1


def test_a_step_encodes_the_newest_frame_alone(policy: LocalPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[int] = []
    encode = policy._engine._encode_images

    def count(pixels: torch.Tensor) -> torch.Tensor:
        encoded.append(len(pixels))
        return encode(pixels)

    monkeypatch.setattr(policy._engine, "_encode_images", count)
    for step in range(1, 8):
        policy.act(observation(step))
    assert encoded == [2] * 7
    assert policy._session.frames == 4


def test_act_answers_the_observation(policy: LocalPolicy, policy_config: PolicyConfig) -> None:
    chunk = policy.act(observation(3))
    assert chunk.observation_stamp_ns == 3 * STEP_NS
    (step,) = chunk.steps
    assert np.abs(step.translation_m).max() <= policy_config.action_space.translation_bound_m
    assert 0 <= step.gripper_closure <= 1


def test_reset_forgets_stamps_and_frames(policy: LocalPolicy) -> None:
    first = [policy.predict_bins(observation(step)).tolist() for step in (1, 2, 3)]
    policy.reset()
    policy.act(observation(1, seed=9))  # the same stamp with another picture
    policy.reset()
    assert [policy.predict_bins(observation(step)).tolist() for step in (1, 2, 3)] == first


def test_two_cameras(tmp_path: Path) -> None:
    from spatialbot_policy.model import build_tiny

    config = PolicyConfig(cameras=(CameraConfig("base", 32, 32), CameraConfig("wrist", 32, 32)))
    torch.manual_seed(0)
    small = build_tiny(config, ["pick"], vocab_size=260, vision={"channels": (8, 8, 16), "keypoints": 4})
    save_checkpoint(tmp_path / "tiny", *small, config)
    policy: Policy = LocalPolicy.from_checkpoint(tmp_path / "tiny", expected=config)
    seen = observation(1)
    wrist = dataclasses.replace(seen.frames["base"], camera="wrist")
    both = dataclasses.replace(seen, frames={"base": seen.frames["base"], "wrist": wrist})
    assert len(policy.act(both).steps) == 1
    with pytest.raises(FrameError, match="camera 'wrist' is missing"):
        policy.act(observation(2))


def invalid_depth(seen: Observation) -> Observation:
    frame = seen.frames["base"]
    blind = dataclasses.replace(frame, depth_mm=np.zeros_like(frame.depth_mm))
    return dataclasses.replace(seen, frames={"base": blind})


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (invalid_depth(observation(3)), FrameError, "all invalid"),
        (dataclasses.replace(observation(3), frames={}), FrameError, "camera 'base' is missing"),
        (observation(2), HistoryError, "does not come after"),
        (observation(3, instruction=" "), PromptError, "empty"),
    ],
)
def test_a_refused_observation_leaves_no_trace(
    policy: LocalPolicy, bad: Observation, error: type[Exception], message: str
) -> None:
    for step in (1, 2):
        policy.act(observation(step))
    with pytest.raises(error, match=message):
        policy.act(bad)
    after = policy.predict_bins(observation(3)).tolist()
    policy.reset()
    expected = [policy.predict_bins(observation(step)).tolist() for step in (1, 2, 3)]
    assert after == expected[-1]


def test_weights_that_diverged_never_move_the_arm(small: Small, policy: LocalPolicy) -> None:
    with torch.no_grad():
        small[0].projector.linear_1.weight.fill_(float("nan"))
    with pytest.raises(ActionError, match="not finite"):
        policy.act(observation(1))


def test_from_checkpoint_checks_the_request(
    small: Small, policy_config: PolicyConfig, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "tiny", *small, policy_config)
    other = dataclasses.replace(policy_config, depth_variant=DepthVariant.UINT24)
    with pytest.raises(CheckpointError, match="paper != uint24"):
        LocalPolicy.from_checkpoint(tmp_path / "tiny", expected=other)
    loaded = LocalPolicy.from_checkpoint(tmp_path / "tiny", expected=policy_config)
    direct = LocalPolicy(Checkpoint(*small, policy_config))
    for seen in (observation(1), observation(2)):
        assert loaded.predict_bins(seen).tolist() == direct.predict_bins(seen).tolist()
