"""Closed-loop evaluation: what it refuses, how it counts errors, and that it goes on where it was."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.policy.serving.digest_policy import CONFIG as SERVED
from tests.policy.serving.digest_policy import DigestHost, LoopThread, RealServer
from tests.sim.checkpoints import write_checkpoint
from tests.sim.policies import make_with_failing_expert

import spatialbot_sim.evaluation.evaluate as module
from spatialbot_policy.config import CameraConfig
from spatialbot_policy.errors import CheckpointError, ConfigError, TaskError
from spatialbot_sim.evaluation.evaluate import evaluate
from spatialbot_sim.evaluation.plan import EvaluationPlan
from spatialbot_sim.evaluation.rollout import EpisodeResult
from spatialbot_sim.task.seeds import EVAL_SEEDS
from spatialbot_sim.task.workplace import IMAGE_SIZE
from spatialbot_sim.workers import Finished

FIRST = EVAL_SEEDS.start


@pytest.fixture
def played(monkeypatch):
    """Workers that play nothing: episodes with an odd seed succeed. Returns the jobs they were given."""
    jobs = []

    def run_jobs(make_handler, arguments, wanted, workers, report):
        for job in wanted:
            jobs.append(job)
            success = bool(job.seed % 2)
            result = EpisodeResult(job.seed, job.family, "", success, "" if success else "timeout", 9, 0.1)
            yield Finished(job, result)

    monkeypatch.setattr(module, "run_jobs", run_jobs)
    return jobs


@pytest.fixture
def server():
    """A policy server whose policy sees what the simulator shows."""
    loop = LoopThread()
    camera = CameraConfig("camera", IMAGE_SIZE, IMAGE_SIZE)
    made = RealServer(loop, DigestHost(replace(SERVED, cameras=(camera,)), salt=5))
    yield made
    made.stop()
    loop.close()


def test_a_server_is_evaluated_under_the_name_of_its_checkpoint(tmp_path, played, server):
    plan = EvaluationPlan(server.url, tmp_path, {"pick": 2}, video=0)
    evaluation = evaluate(plan)
    assert [job.policy for job in played] == [server.url] * 2 and not evaluation.errors
    assert f"{5:064x}" in (tmp_path / "evaluation.json").read_text()
    server.restart(DigestHost(server.host.config, salt=6))
    with pytest.raises(ConfigError, match="sha256"):  # another checkpoint does not go on where the first was
        evaluate(plan)


def test_a_server_for_another_robot_is_refused(tmp_path, played, server):
    server.restart(DigestHost(replace(server.host.config, rate_hz=20.0)))
    with pytest.raises(CheckpointError, match="rate_hz: 20.0 != 10.0"):
        evaluate(EvaluationPlan(server.url, tmp_path / "out"))
    assert not played


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"episodes": {"nosuch": 1}}, "unknown family 'nosuch'; the families are: pick, position"),
        ({"episodes": {}}, "at least one family"),
        ({"episodes": {"pick": 0}}, "at least one family, one episode"),
        ({"first_seed": 0}, "seed 0 is not for evaluation"),
        ({"first_seed": FIRST - 1}, f"seed {FIRST - 1} is not for evaluation"),
        ({"first_seed": EVAL_SEEDS.stop - 1}, f"seed {EVAL_SEEDS.stop} is not for evaluation"),
        ({"phrasing": "loud"}, "unknown phrasing 'loud'"),
        ({"task": "PickCube-v1"}, "'PickCube-v1' has no families"),
        ({"task": "LiftPegUpright-v1", "episodes": {"": 2}}, "no scripted expert; tasks with one are"),
        ({"against": "expert"}, "cannot be compared with itself"),
        (
            {"shifts": ("training",)},
            "'training' is what training shows and no evaluation; take: none, colors",
        ),
        ({"shifts": ("none", "fog")}, "unknown shift 'fog'; there are: none, colors"),
        ({"shifts": ()}, "one shift"),
        ({"shifts": ("all", "all")}, "name each shift once"),
        ({"shift_episodes": 0}, "at least one family, one episode"),
        ({"baselines": ("oracle",)}, "unknown baseline 'oracle'; there are: expert, do-nothing"),
        ({"task": "PickCube-v1", "episodes": {"": 1}, "shifts": ("light",)}, "has no shift 'light'"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(tmp_path, values, message):
    with pytest.raises(TaskError, match=message):
        EvaluationPlan(**{"checkpoint": "expert", "out": tmp_path, "episodes": {"pick": 2}} | values)


def test_a_missing_checkpoint_stops_before_anything_is_written(tmp_path, played):
    plan = EvaluationPlan(str(tmp_path / "none"), tmp_path / "out")
    with pytest.raises(CheckpointError, match="there is no checkpoint directory"):
        evaluate(plan)
    assert not (tmp_path / "out").exists() and played == []


def test_policies_and_families_take_turns_on_the_same_seeds(tmp_path):
    plan = EvaluationPlan("expert", tmp_path, {"pick": 2, "size": 1}, against="do-nothing", video=1)
    assert [(job.policy, job.family, job.seed - FIRST, job.film) for job in plan.jobs()] == [
        ("expert", "pick", 0, True),
        ("do-nothing", "pick", 0, True),
        ("expert", "size", 0, True),
        ("do-nothing", "size", 0, True),
        ("expert", "pick", 1, False),
        ("do-nothing", "pick", 1, False),
    ]


def test_shifts_have_the_same_seeds_and_may_have_fewer(tmp_path):
    values = {"shifts": ("none", "light"), "shift_episodes": 1, "baselines": ("expert", "do-nothing")}
    plan = EvaluationPlan("expert", tmp_path, {"pick": 2}, video=1, **values)
    assert [(job.policy, job.shift, job.seed - FIRST, job.film) for job in plan.jobs()] == [
        ("expert", "none", 0, True),
        ("do-nothing", "none", 0, True),
        ("expert", "light", 0, False),
        ("do-nothing", "light", 0, False),
        ("expert", "none", 1, False),
        ("do-nothing", "none", 1, False),
    ]
    assert list(replace(plan, shifts=("light",)).seeds) == [FIRST]


def test_a_plan_without_shifts_is_that_of_earlier_evaluations(tmp_path):
    plan = EvaluationPlan("expert", tmp_path, {"pick": 2}).to_json()
    assert not {"shifts", "shift_episodes", "baselines", "film_failures"} & set(plan)
    assert EvaluationPlan("expert", tmp_path, shifts=("all",)).to_json()["shifts"] == ("all",)


def test_only_what_is_missing_is_played_again(tmp_path, played):
    plan = EvaluationPlan("expert", tmp_path, {"pick": 4}, video=0, film_failures=1)
    evaluate(plan)
    assert len(played) == 5 and played[-1].film  # the first failure once more, for its film
    lines = (tmp_path / "results.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "results.jsonl").write_text("".join(lines[:2]) + lines[2][:30])  # killed while it wrote
    played.clear()
    seen = []
    result = evaluate(plan, on_episode=lambda entry, done, total: seen.append((done, total)))
    assert [job.seed - FIRST for job in played] == [2, 3, 0]
    assert seen == [(2, 4), (3, 4), (4, 4)]
    assert [entry.seed - FIRST for entry in result.entries] == [0, 1, 2, 3]
    played.clear()
    evaluate(plan, fresh=True)
    assert len(played) == 5


def test_another_plan_in_the_same_place_is_refused(tmp_path, played):
    evaluate(EvaluationPlan("expert", tmp_path, {"pick": 2}))
    before = (tmp_path / "evaluation.json").read_bytes()
    with pytest.raises(ConfigError, match="episodes was {'pick': 2} and now is {'pick': 3}"):
        evaluate(EvaluationPlan("expert", tmp_path, {"pick": 3}))
    with pytest.raises(ConfigError, match="checkpoint was expert and now is do-nothing"):
        evaluate(EvaluationPlan("do-nothing", tmp_path, {"pick": 2}))
    assert (tmp_path / "evaluation.json").read_bytes() == before
    evaluate(EvaluationPlan("expert", tmp_path, {"pick": 2}, workers=1))  # how many workers is no matter


def test_an_evaluation_without_any_result_stops_and_says_why(tmp_path, monkeypatch):
    def run_jobs(make_handler, arguments, wanted, workers, report):
        yield from (Finished(job, None, "Traceback\nRuntimeError: no renderer") for job in wanted)

    monkeypatch.setattr(module, "run_jobs", run_jobs)
    with pytest.raises(
        TaskError, match="first 5 episodes all ended in an error.*no renderer.*spatialbot doctor"
    ):
        evaluate(EvaluationPlan("expert", tmp_path, {"pick": 100}))
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 5


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    """An evaluation by real workers whose expert fails in every second scene."""
    return tmp_path_factory.mktemp("evaluation")


@pytest.fixture(scope="module")
def plan(out) -> EvaluationPlan:
    episodes = {"pick": 2, "position": 1}
    return EvaluationPlan("expert", out, episodes, against="do-nothing", max_steps=60, video=0, workers=1)


def test_errors_are_counted_apart(plan, out):
    said: list[str] = []
    result = evaluate(plan, report=said.append, make=make_with_failing_expert)
    pick = result.summaries[0]
    assert (pick.policy, pick.family) == ("expert", "pick")
    assert (pick.episodes, pick.successes, pick.errors, pick.failures) == (1, 1, 1, {})
    assert result.errors == 1
    (error,) = [entry.error for entry in result.entries if entry.error]
    assert "Traceback" in error and "the policy broke" in error
    assert len(said) == 2 and "trying again" in said[0]
    (compared,) = result.compared.policies
    assert compared.families["pick"].only_first == 1  # the scene with the error is left out
    data = json.loads((out / "evaluation.json").read_text())
    assert data["schema"] == 2 and data["seeds"] == [FIRST, FIRST + 1]
    (commit,) = data["git_commits"]
    assert len(commit.removesuffix("-dirty")) == 40 and data["git_dirty"] == commit.endswith("-dirty")
    assert {episode["commit"] for episode in data["episodes"]} == {commit}
    assert [episode.get("success") for episode in data["episodes"]] == [True, False, True, False, None, False]
    assert data["summary"][0]["wilson_95"] == pytest.approx([0.2065, 1.0], abs=1e-3)
    assert data["versions"]["mani-skill"] != "missing" and data["machine"]["cores"] >= 1
    assert "| expert | pick | 1/1 |" in (out / "report.md").read_text()


def test_an_episode_that_ended_in_an_error_is_played_again(plan, out):
    counts = []
    result = evaluate(plan, on_episode=lambda entry, done, total: counts.append((done, total)))
    assert counts == [(5, 6), (6, 6)]
    assert result.errors == 0 and result.summaries[0].successes == 2
    assert "| expert | pick | 2/2 |" in (out / "report.md").read_text()


def test_rgb_and_rgbd_policies_with_other_cameras_share_their_scenes(tmp_path):
    rgbd = write_checkpoint(tmp_path / "rgbd", ("camera", "wrist"), depth=True)
    rgb = write_checkpoint(tmp_path / "rgb", ("camera",), depth=False)
    shifts = ("none", "depth")
    plan = EvaluationPlan(
        rgbd, tmp_path / "out", {"pick": 1, "illusion": 1}, against=rgb, max_steps=4, video=0, workers=1
    )
    result = evaluate(replace(plan, shifts=shifts, film_failures=1, baselines=("expert", "do-nothing")))
    assert not result.errors and len(result.entries) == 16
    words = {(entry.policy, entry.family): entry.result.instruction for entry in result.entries}
    assert len(set(words.values())) == 2  # the same scenes for all
    data = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    found = data["comparisons"]["policies"]
    assert [(item["first"]["policy"], item["second"]["shift"]) for item in found] == [
        (rgbd, "none"),
        (rgbd, "depth"),
    ]
    assert found[0]["mean_over_families"]["difference"] == 0.0
    low, high = found[0]["mean_over_families"]["interval_95"]
    assert low < 0.0 < high
    assert len({policy["sha256"] for policy in data["policies"].values()}) == 3  # none for the baselines
    drops = data["comparisons"]["drops"]
    assert [item["first"]["policy"] for item in drops] == [rgbd, rgb, "expert", "do-nothing"]
    kinds = {(item["policy"], item["kind"]): item for item in data["failures"]}
    assert kinds[rgb, "never_lifted"]["shifts"] == {"none": 1, "depth": 1}
    assert kinds["do-nothing", "never_lifted"]["filmstrips"] == []
    strips = [strip for item in data["failures"] for strip in item["filmstrips"]]
    assert strips and all((tmp_path / "out" / strip).stat().st_size > 0 for strip in strips)
    assert not any(episode["replayed"] for episode in data["episodes"])  # each ended as before
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<img") == len(strips) and "pick: never lifted" in page
    assert "| mean over families |" in (tmp_path / "out" / "report.md").read_text()
