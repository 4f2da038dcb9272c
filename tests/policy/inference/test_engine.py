"""The engine: batches, what a prompt shares with the last one, parallel decoding, and what it remembers."""

from __future__ import annotations

import copy
import dataclasses
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.policy.inference.plain_generate import INSTRUCTIONS, STEP_NS, PlainGenerate, episodes, observation

from spatialbot_policy.config import PolicyConfig
from spatialbot_policy.errors import ActionError, ConfigError, FrameError, HistoryError, PromptError
from spatialbot_policy.inference import ActionDecoder, Engine, EngineSettings, LocalPolicy
from spatialbot_policy.inference.compilation import CompilationWarning
from spatialbot_policy.inference.fingerprint import fingerprint
from spatialbot_policy.inference.preparation import pick_dtype
from spatialbot_policy.model import SpatialBotForActionPrediction, SpatialBotProcessor, save_checkpoint
from spatialbot_policy.model.checkpoint import Checkpoint
from spatialbot_policy.types import Observation

Small = tuple[SpatialBotForActionPrediction, SpatialBotProcessor]


@pytest.fixture
def checkpoint(small: Small, policy_config: PolicyConfig) -> Checkpoint:
    return Checkpoint(*small, policy_config)


@pytest.fixture
def engine(checkpoint: Checkpoint) -> Engine:
    return Engine(checkpoint)


def seen(step: int, seed: int = 0, instruction: str = INSTRUCTIONS[0]) -> Observation:
    return observation("base", step * STEP_NS, np.random.default_rng([seed, step]), instruction)


def blind(shown: Observation) -> Observation:
    frame = shown.frames["base"]
    return dataclasses.replace(
        shown, frames={"base": dataclasses.replace(frame, depth_mm=np.zeros_like(frame.depth_mm))}
    )


def test_a_batch_answers_as_each_session_by_itself(engine: Engine) -> None:
    sessions, alone = [[engine.new_session() for _ in INSTRUCTIONS] for _ in range(2)]
    different = set()
    for step in range(1, 7):
        # Sessions of different age, with prompts of different length.
        asked = [
            (number, seen(step, number, text)) for number, text in enumerate(INSTRUCTIONS) if step > number
        ]
        together = engine.answer([(sessions[number], each) for number, each in asked])
        for (number, each), answer in zip(asked, together, strict=True):
            (expected,) = engine.answer([(alone[number], each)])
            assert answer.result()[1].tolist() == expected.result()[1].tolist()
            assert answer.result()[0].observation_stamp_ns == each.stamp_ns
            different.add(tuple(answer.result()[1].tolist()))
    assert len(different) > 5


def test_a_faulty_observation_is_an_error_of_its_own_alone(engine: Engine) -> None:
    sessions = [engine.new_session() for _ in range(5)]
    twins = [engine.new_session() for _ in range(5)]
    for group in (sessions, twins):
        engine.answer([(session, seen(2, number)) for number, session in enumerate(group)])
    long = "pick up the cup and " + "put it down and pick it up again and " * 100
    bad = {
        1: (blind(seen(3, 1)), FrameError),
        2: (seen(2, 2), HistoryError),
        3: (seen(3, 3, " "), PromptError),
        4: (seen(3, 4, long), FrameError),
    }
    mixed = [(session, bad.get(n, (seen(3, n), None))[0]) for n, session in enumerate(sessions)]
    answers = engine.answer(mixed)
    (expected,) = engine.answer([(twins[0], seen(3, 0))])
    assert answers[0].result()[1].tolist() == expected.result()[1].tolist()
    for number, (_, error) in bad.items():
        assert isinstance(answers[number].error, error) and answers[number].chunk is None
        with pytest.raises(error):
            answers[number].result()
    # What was refused left no trace: the next step is that of a session which never saw it.
    after = engine.answer([(session, seen(4, number)) for number, session in enumerate(sessions[1:], 1)])
    for number, answer in enumerate(after, 1):
        (expected,) = engine.answer([(twins[number], seen(4, number))])
        assert answer.result()[1].tolist() == expected.result()[1].tolist()


def test_a_tower_that_fails_leaves_every_history_as_it_was(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions, twins = [[engine.new_session() for _ in range(2)] for _ in range(2)]
    for group in (sessions, twins):
        engine.answer([(session, seen(1, number)) for number, session in enumerate(group)])

    def fail(pixels: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(engine, "_encode_images", fail)
        with pytest.raises(RuntimeError, match="out of memory"):
            engine.answer([(session, seen(2, number)) for number, session in enumerate(sessions)])
    for number in range(2):
        (after,), (expected,) = (
            engine.answer([(group[number], seen(3, number))]) for group in (sessions, twins)
        )
        assert after.result()[1].tolist() == expected.result()[1].tolist()


def test_a_batch_of_nothing_and_of_faults_alone(engine: Engine) -> None:
    assert engine.answer([]) == []
    (answer,) = engine.answer([(engine.new_session(), blind(seen(1)))])
    assert isinstance(answer.error, FrameError)


def test_one_session_cannot_be_asked_twice_at_once(engine: Engine) -> None:
    session = engine.new_session()
    with pytest.raises(HistoryError, match="twice in one batch"):
        engine.answer([(session, seen(1)), (session, seen(2))])
    assert engine.answer([(session, seen(1))])[0].error is None


def counted(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[int]]:
    """Images that are encoded and positions that are read, from now on."""
    counts: dict[str, list[int]] = {"images": [], "positions": []}
    encode, prefill = engine._encode_images, ActionDecoder.prefill

    def count_images(pixels: torch.Tensor) -> torch.Tensor:
        counts["images"].append(len(pixels))
        return encode(pixels)

    def count_positions(self: ActionDecoder, embeds: torch.Tensor, *rest: object) -> torch.Tensor:
        counts["positions"].append(embeds.shape[1])
        return prefill(self, embeds, *rest)

    monkeypatch.setattr(engine, "_encode_images", count_images)
    monkeypatch.setattr(ActionDecoder, "prefill", count_positions)
    return counts


def test_the_same_frames_under_another_instruction_read_the_words_alone(
    engine: Engine, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = LocalPolicy(engine)
    plain = PlainGenerate(copy.deepcopy(checkpoint.model), checkpoint.processor, checkpoint.policy)
    counts = counted(engine, monkeypatch)
    for text in INSTRUCTIONS:
        policy.reset()
        plain.reset()
        shown = seen(1, 0, text)
        assert policy.predict_bins(shown).tolist() == plain.predict_bins(shown).tolist()
    assert counts["images"] == [2]
    images = 8 * checkpoint.processor.tokens_per_image
    prompts = [plain.pipeline.prompt(text) for text in INSTRUCTIONS]
    words = [len(checkpoint.processor.prompt_ids(prompt)) - images for prompt in prompts]
    assert counts["positions"][0] == images + words[0]
    assert all(read < count for read, count in zip(counts["positions"][1:], words[1:], strict=True))


def test_a_sliding_history_shares_the_leading_token_alone(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, counts = LocalPolicy(engine), counted(engine, monkeypatch)
    for step in range(1, 6):
        policy.act(seen(step))
    first, *rest = counts["positions"]
    assert rest == [first - 1] * 4
    assert counts["images"] == [2] * 5


def test_a_camera_that_shows_the_same_again_is_not_encoded_again(
    engine: Engine, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = LocalPolicy(engine)
    plain = PlainGenerate(copy.deepcopy(checkpoint.model), checkpoint.processor, checkpoint.policy)
    counts = counted(engine, monkeypatch)
    for step, picture in enumerate((1, 1, 2, 2, 2, 3), 1):
        shown = dataclasses.replace(seen(picture), stamp_ns=step * STEP_NS)
        assert policy.predict_bins(shown).tolist() == plain.predict_bins(shown).tolist()
    assert counts["images"] == [2] * 3


def test_sessions_and_batches_do_not_disturb_what_is_shared(engine: Engine, checkpoint: Checkpoint) -> None:
    """Two robots in turns, a batch in between, prompts that grow: the memory never holds another's prompt."""
    plain = [
        PlainGenerate(copy.deepcopy(checkpoint.model), checkpoint.processor, checkpoint.policy)
        for _ in range(2)
    ]
    sessions = [engine.new_session() for _ in range(2)]
    for step in range(1, 9):
        shown = [seen(step, number, INSTRUCTIONS[(step + number) % 4]) for number in range(2)]
        if step % 3:
            answers = [engine.answer([pair])[0] for pair in zip(sessions, shown, strict=True)]
        else:
            answers = engine.answer(list(zip(sessions, shown, strict=True)))
        for answer, each, reference in zip(answers, shown, plain, strict=True):
            assert answer.result()[1].tolist() == reference.predict_bins(each).tolist()


def test_parallel_decoding_is_one_forward_over_placeholders(
    small: Small, policy_config: PolicyConfig
) -> None:
    model, processor = small
    policy = LocalPolicy(Engine(Checkpoint(*small, policy_config), EngineSettings(decoding="parallel")))
    plain = PlainGenerate(model, processor, policy_config)
    different = set()
    for each in episodes(policy_config, 8, seed=3):
        if each is None:
            policy.reset()
            plain.reset()
            continue
        inputs = plain.pipeline(plain.history.push(each))
        batch = dict(processor(inputs.prompt, list(inputs.images)))
        places = torch.full((1, 6), model.config.first_action_token_id)
        batch["input_ids"] = torch.cat((batch["input_ids"], places), dim=1)
        batch["attention_mask"] = torch.ones_like(batch["input_ids"])
        with torch.inference_mode():
            logits = model(**batch, logits_to_keep=7).logits[0][:, model.config.action_token_slice]
        bins = policy.predict_bins(each).tolist()
        assert bins == logits.argmax(1).tolist()
        different.add(tuple(bins))
    assert len(different) > 3


def test_the_checkpoint_says_how_it_is_decoded(small: Small, policy_config: PolicyConfig) -> None:
    model, processor = small
    answers = {}
    for trained in ("sequential", "parallel"):
        for chosen in ("checkpoint", "sequential", "parallel"):
            twin = copy.deepcopy(model)
            twin.config.action_decoding = trained
            engine = Engine(Checkpoint(twin, processor, policy_config), EngineSettings(decoding=chosen))
            answers[trained, chosen] = LocalPolicy(engine).predict_bins(seen(1)).tolist()
    one, all_at_once = answers["sequential", "sequential"], answers["parallel", "parallel"]
    assert one != all_at_once
    assert answers["sequential", "checkpoint"] == answers["parallel", "sequential"] == one
    assert answers["parallel", "checkpoint"] == answers["sequential", "parallel"] == all_at_once


def test_weights_that_diverged_are_an_error_in_a_batch_too(engine: Engine) -> None:
    with torch.no_grad():
        engine._model.projector.linear_1.weight.fill_(float("nan"))
    answers = engine.answer([(engine.new_session(), seen(1)), (engine.new_session(), seen(1, 1))])
    for answer in answers:
        assert isinstance(answer.error, ActionError) and "not finite" in str(answer.error)


def test_warming_up_leaves_no_trace(engine: Engine, checkpoint: Checkpoint) -> None:
    plain = PlainGenerate(copy.deepcopy(checkpoint.model), checkpoint.processor, checkpoint.policy)
    engine.warm_up()
    policy = LocalPolicy(engine)
    for step in (1, 2):
        assert policy.predict_bins(seen(step)).tolist() == plain.predict_bins(seen(step)).tolist()


def test_the_stages_add_up_to_the_whole(engine: Engine) -> None:
    policy = LocalPolicy(engine)
    policy.act(seen(1))
    stages = policy.timing.as_dict()
    total = stages.pop("total_ms")
    assert all(value > 0 for value in stages.values())
    assert sum(stages.values()) == pytest.approx(total)


def test_a_fingerprint_tells_checkpoints_apart_and_survives_saving(
    small: Small, policy_config: PolicyConfig, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "it", *small, policy_config)
    first = Engine(Checkpoint(*small, policy_config)).fingerprint
    assert Engine.from_checkpoint(tmp_path / "it").fingerprint == first
    assert (
        LocalPolicy.from_checkpoint(tmp_path / "it", settings=EngineSettings(threads=1)).fingerprint == first
    )
    faster = dataclasses.replace(policy_config, rate_hz=20.0)
    assert fingerprint(Checkpoint(*small, faster)) != first
    with torch.no_grad():
        small[0].projector.linear_1.bias[0] += 1e-3
    assert fingerprint(Checkpoint(*small, policy_config)) != first


def test_half_precision_answers_nearly_the_same(small: Small, policy_config: PolicyConfig) -> None:
    full = LocalPolicy(Engine(Checkpoint(copy.deepcopy(small[0]), small[1], policy_config)))
    half = LocalPolicy(Engine(Checkpoint(*small, policy_config), EngineSettings(dtype="bfloat16")))
    assert small[0].language_model.dtype is torch.bfloat16
    assert small[0].vision_tower.stem.weight.dtype is torch.float32  # its millimetres need it
    same = [
        full.predict_bins(seen(step, step))[0] == half.predict_bins(seen(step, step))[0]
        for step in range(1, 25)
    ]
    assert np.mean(same) > 0.7


def test_small_models_stay_in_full_precision_when_the_choice_is_left_to_the_engine(small: Small) -> None:
    assert pick_dtype(small[0], EngineSettings(dtype="auto")) is torch.float32
    assert pick_dtype(small[0], EngineSettings(dtype="bfloat16")) is torch.bfloat16


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dtype": "int8"}, "'dtype' is 'int8'"),
        ({"decoding": "fast"}, "checkpoint"),
        ({"threads": 0}, "threads"),
    ],
)
def test_settings_that_are_not_known_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        EngineSettings(**changes)


def test_memory_is_bounded_by_the_longest_prompt(engine: Engine) -> None:
    cache = engine._decoder._reader._cache
    policy, sizes = LocalPolicy(engine), []
    for step in range(1, 40):
        policy.act(seen(step, 0, INSTRUCTIONS[step % 4]))
        sizes.append(cache.nbytes)
    assert sizes[0] > 0 and len(set(sizes)) == 1
    assert policy._session.frames == 4


@pytest.mark.slow
def test_memory_does_not_grow_over_ten_thousand_steps(small: Small, policy_config: PolicyConfig) -> None:
    import psutil

    policy, process = LocalPolicy(Checkpoint(*small, policy_config)), psutil.Process()
    shown = [seen(number, number) for number in range(1, 9)]
    rss: list[int] = []
    for step in range(1, 10_001):
        if step % 500 == 0:
            policy.reset()
            rss.append(process.memory_info().rss)
        policy.act(dataclasses.replace(shown[step % 8], stamp_ns=step * STEP_NS))
    assert max(rss[4:]) - rss[3] < 8 * 2**20


@pytest.mark.parametrize("name", ["eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiled_steps_give_the_same_tokens(
    small: Small, policy_config: PolicyConfig, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    translate = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **options: translate(f, backend=name))
    plain = PlainGenerate(copy.deepcopy(small[0]), small[1], policy_config)
    engine = Engine(Checkpoint(*small, policy_config), EngineSettings(compile=True))
    engine._decoder = ActionDecoder(small[0], compiled=True)  # as the engine does on a GPU
    policy = LocalPolicy(engine)
    with warnings.catch_warnings():
        warnings.simplefilter("error", CompilationWarning)
        for step in range(1, 6):
            shown = seen(step, 0, INSTRUCTIONS[step % 3])
            assert policy.predict_bins(shown).tolist() == plain.predict_bins(shown).tolist()


def test_without_a_compiler_it_runs_as_it_is(
    small: Small, policy_config: PolicyConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*tensors: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(torch, "compile", lambda f, **options: refuse)
    plain = PlainGenerate(copy.deepcopy(small[0]), small[1], policy_config)
    engine = Engine(Checkpoint(*small, policy_config), EngineSettings(compile=True))
    engine._decoder = ActionDecoder(small[0], compiled=True)
    policy = LocalPolicy(engine)
    with pytest.warns(CompilationWarning, match="no C\\+\\+ compiler") as caught:
        bins = policy.predict_bins(seen(1)).tolist()
    assert len(caught) == 2  # tower and language model
    assert bins == plain.predict_bins(seen(1)).tolist()
    assert policy.predict_bins(seen(2)).tolist() == plain.predict_bins(seen(2)).tolist()
