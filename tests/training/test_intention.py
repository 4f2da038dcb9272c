"""What the words mean, as an auxiliary question: asked where actions are predicted, learned, and measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.training.training_samples import POLICY, small_recipe

from spatialbot_policy.model import load_checkpoint
from spatialbot_policy.pipeline import build_pipeline
from spatialbot_training.collate import Batch, Pick, collate
from spatialbot_training.distributed import Processes
from spatialbot_training.episode_cache import open_store
from spatialbot_training.examples import EpisodeExamples
from spatialbot_training.frame_store import FrameStore
from spatialbot_training.intention import intention_figures, intention_loss, meant_places
from spatialbot_training.learner import Learner, Totals
from spatialbot_training.network import build_network
from spatialbot_training.open_loop import demo_rows
from spatialbot_training.recipe import Recipe
from spatialbot_training.trainer import Trainer

ALONE = Processes(0, 1, torch.device("cpu"))
ROWS = (0, 4, 9, 22, 25)


@pytest.fixture
def source(train_set: Path, cache: Path, recipe: Recipe) -> EpisodeExamples:
    store = open_store((train_set,), POLICY, cache)
    pipeline = build_pipeline(POLICY)
    _, processor = build_network(recipe, {pipeline.prompt(text) for text in store.instructions})
    rng = np.random.default_rng(0)
    meant = rng.normal(size=(len(store), 5)).astype(np.float32)
    return EpisodeExamples(replace(store, meant=meant), pipeline, processor)


def learner_of(source: EpisodeExamples, recipe: Recipe) -> Learner:
    torch.manual_seed(0)
    texts = {source.pipeline.prompt(text) for text in source.store.instructions}
    return Learner(build_network(recipe, texts)[0], 0.3, intend=True)


def batch_of(source: EpisodeExamples, rows: tuple[int, ...] = ROWS) -> Batch:
    return collate([Pick(0, row) for row in rows], [source], source.processor)


def test_places_are_seen_from_the_tool_and_unknown_without_transforms() -> None:
    tool = np.array([[0.5, 0.1, 0.3, 0, 0, 0, 1], [0.5, 0.1, 0.3, 0, 0, 0, 1]])
    target = np.array([[0.6, 0.0, 0.3, 0, 0, 0, 1], [np.nan] * 7])
    goal = np.array([[0.7, 0.3, 0.0, 0, 0, 0, 1]] * 2)
    meant = meant_places(tool, {"target": target, "goal": goal, "object": tool})
    np.testing.assert_allclose(meant[0], [1, -1, 0, 2, 2], atol=1e-6)
    assert np.isnan(meant[1]).tolist() == [True] * 3 + [False] * 2
    assert np.isnan(meant_places(tool, {"object": tool})).all()


def test_each_action_token_of_a_prompt_is_asked_and_the_end_token_is_not(
    source: EpisodeExamples, recipe: Recipe
) -> None:
    learner, batch = learner_of(source, recipe), batch_of(source)
    with torch.no_grad():
        output = learner.model(
            **batch.inputs,
            image_embeds=batch.gather(learner.model.encode_images(batch.pixel_values)),
            output_answer_states=True,
        )
        states = output.answer_states.view(len(ROWS), 8, -1)[:, :7]
        answers = learner.intention(states.flatten(0, 1))
        expected = intention_loss(answers, batch.meant.repeat_interleave(7, dim=0))
        assert float(learner(batch)[2]) == pytest.approx(float(expected), rel=1e-5)
    assert learner.totals(batch).meant == len(ROWS) * 7 * 5
    plain = learner.model(
        **batch.inputs, image_embeds=batch.gather(learner.model.encode_images(batch.pixel_values))
    )
    assert plain.answer_states is None


def test_validation_asks_where_the_action_begins(source: EpisodeExamples, recipe: Recipe) -> None:
    """The answer does not depend on the recorded action, which comes after it."""
    learner = learner_of(source, recipe).eval()
    prompts = source.processor([source.prompt(row) for row in ROWS])
    other = replace(source, store=replace(source.store, actions=np.zeros_like(source.store.actions)))
    with torch.no_grad():
        asked = {name: prompts[name] for name in ("input_ids", "attention_mask")}
        one, two = (learner.answer(batch_of(some), asked).meant for some in (source, other))
        output = learner.model.language_model.get_decoder()(
            attention_mask=asked["attention_mask"],
            position_ids=(asked["attention_mask"].cumsum(1) - 1).clamp(min=0),
            inputs_embeds=learner.model.embed(
                asked["input_ids"], image_embeds=batch_of(source).gather(
                    learner.model.encode_images(batch_of(source).pixel_values)
                )
            ),
        )  # fmt: skip
        expected = learner.intention(output.last_hidden_state[:, -1])
    torch.testing.assert_close(one, two)
    torch.testing.assert_close(one, expected, rtol=1e-4, atol=1e-5)


def test_parts_of_a_batch_add_up(source: EpisodeExamples, recipe: Recipe) -> None:
    meant = source.store.meant.copy()
    meant[4, :3] = np.nan
    meant[9] = np.nan
    source = replace(source, store=replace(source.store, meant=meant))
    learner = learner_of(source, recipe)
    whole, parts = batch_of(source), [batch_of(source, ROWS[:2]), batch_of(source, ROWS[2:])]
    totals = Totals(*(sum(column) for column in zip(*map(learner.totals, parts), strict=True)))
    assert totals.meant == learner.totals(whole).meant == (3 * 5 + 2) * 7
    shares = [float(learner(part, totals=totals)[2].detach()) for part in parts]
    assert sum(shares) == pytest.approx(float(learner(whole)[2].detach()), rel=1e-5)


def test_without_any_answer_it_is_zero_with_a_gradient(source: EpisodeExamples, recipe: Recipe) -> None:
    source = replace(source, store=replace(source.store, meant=None))
    learner = learner_of(source, recipe)
    loss = learner(batch_of(source))[2]
    loss.backward()
    assert loss.item() == 0 and not learner.intention.linear.weight.grad.any()
    assert learner.totals(batch_of(source)).meant == 0


def test_figures_of_known_answers() -> None:
    meant = np.zeros((4, 5), dtype=np.float32)
    meant[3, :3] = np.nan
    answers = np.zeros_like(meant)
    answers[:, 0] = [0.1, 0.2, 0.4, 9]  # 10, 20 and 40 mm
    answers[:, 2] = 0.0
    answers[:, 4] = 0.05
    found = intention_figures(answers, meant)
    assert found == pytest.approx({"target_mm": 20.0, "goal_mm": 5.0, "target_right": 2 / 3})
    assert intention_figures(answers, np.full_like(meant, np.nan)) == {}


def test_a_run_learns_it_logs_it_and_leaves_the_head_behind(
    train_set: Path, validation_set: Path, cache: Path, tmp_path: Path
) -> None:
    recipe = small_recipe(train_set, validation_set, intention_weight=1.0, log_every=1, learning_rate=1e-2)
    trainer = Trainer(recipe, tmp_path / "run", cache, processes=ALONE)
    rate = {
        id(value): group["rate"] for group in trainer.loop.optimizer.param_groups for value in group["params"]
    }
    assert rate[id(trainer.learner.intention.linear.weight)] == 1.0
    result = trainer.run()
    lines = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert '"loss/intention": 0.0,' in lines[0] and '"loss/intention": 0.0,' not in lines[2]  # two phases
    for name in (
        "validation/target_mm",
        "validation/goal_mm",
        "validation/target_right",
        "validation/demo/goal_mm",
    ):
        assert f'"{name}"' in lines[-1]
    assert not [name for name in load_checkpoint(result).model.state_dict() if "intention" in name]


def test_it_is_off_by_default_and_accumulated_parts_are_the_whole(
    train_set: Path, cache: Path, tmp_path: Path
) -> None:
    def losses(micro_batch: int, weight: float) -> list[dict[str, float]]:
        recipe = small_recipe(
            train_set, micro_batch=micro_batch, bf16=False, intention_weight=weight, localisation_steps=1
        )
        return Trainer(recipe, tmp_path / f"{micro_batch}-{weight}", cache, processes=ALONE).take(4)

    whole, parts = losses(0, 0.5), losses(3, 0.5)
    for one, other in zip(whole, parts, strict=True):
        assert other == pytest.approx(one, rel=2e-5, abs=1e-5) and "loss/intention" in one
    assert whole[0]["loss/intention"] == 0 < whole[1]["loss/intention"]
    assert "loss/intention" not in losses(0, 0.0)[0]


def test_a_killed_run_goes_on_with_the_head(train_set: Path, cache: Path, tmp_path: Path) -> None:
    recipe = small_recipe(train_set, intention_weight=1.0, localisation_steps=0)
    whole = Trainer(recipe, tmp_path / "whole", cache, processes=ALONE).take(4)
    first = Trainer(recipe, tmp_path / "half", cache, processes=ALONE)
    assert first.take(2) == whole[:2]
    first._save_state()
    first.close()
    assert Trainer(recipe, tmp_path / "half", cache, processes=ALONE).take(2) == whole[2:]


def test_the_demonstrations_that_are_asked_come_from_all_over_the_store(train_set: Path, cache: Path) -> None:
    store: FrameStore = open_store((train_set,), POLICY, cache)
    assert len(demo_rows(store)) == 21
    some = replace(store, stills=store.episode == 1)
    assert set(store.episode[demo_rows(some)].tolist()) == {0, 2, 3, 4}
