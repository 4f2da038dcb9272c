"""`spatialbot collect`: recipes and their mistakes, and the cost that it states."""

from __future__ import annotations

from pathlib import Path

import pytest

from spatialbot_cli import main as cli
from spatialbot_policy.episode import Outcome
from spatialbot_sim.collection import collect as module
from spatialbot_sim.collection.cost import read_runs
from spatialbot_sim.workers import Finished

RECIPE = """
parts:
  - {families: [pick, size], demos: 2}
  - {families: [pick], stills: 1, vary: true}
workers: 3
"""


@pytest.fixture
def recipe(tmp_path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def played(monkeypatch):
    """Workers that record nothing: each job succeeds at once, as an episode of 40 steps. Returns the jobs."""
    jobs = []

    class Info:
        steps = 40

        @staticmethod
        def load(path: Path) -> type[Info]:
            return Info

    def run_jobs(make_handler, arguments, wanted, workers, report):
        for job in wanted:
            jobs.append((job, workers))
            yield Finished(job, Outcome(success=True))

    monkeypatch.setattr(module, "run_jobs", run_jobs)
    monkeypatch.setattr(module, "EpisodeInfo", Info)
    return jobs


def test_a_recipe_s_parts_are_collected_and_their_cost_is_kept(tmp_path, recipe, played, capsys):
    out = tmp_path / "set"
    assert cli.main(["collect", "--recipe", str(recipe), "--out", str(out)]) == 0
    assert [job.key[1:] for job, _ in played] == [
        ("pick", "demo", 0),
        ("size", "demo", 0),
        ("pick", "demo", 1),
        ("size", "demo", 1),
        ("pick", "stills", 0),
    ]
    assert [workers for _, workers in played] == [3, 3, 3, 3, 1]  # not more than there is to do
    told = " ".join(capsys.readouterr().out.split())
    assert "part 1" in told and "part 2" in told and "5 episodes, 200 frames" in told
    assert [run["asked"]["vary"] for run in read_runs(out)] == [False, True]


def test_workers_may_differ_from_the_recipe_s(tmp_path, recipe, played):
    arguments = ["collect", "--recipe", str(recipe), "--out", str(tmp_path / "set"), "--workers", "1"]
    assert cli.main(arguments) == 0
    assert {workers for _, workers in played} == {1}


@pytest.mark.parametrize("option", [["--demos", "3"], ["--vary"], ["--policy", "somewhere"], ["-f", "size"]])
def test_what_the_recipe_says_cannot_be_said_beside_it(tmp_path, recipe, option, capsys):
    out = tmp_path / "set"
    assert cli.main(["collect", "--recipe", str(recipe), "--out", str(out), *option]) == 2
    assert "the recipe says what to collect; leave --" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--policy", "nowhere"], "there is no checkpoint directory nowhere"),
        (["--policy", "nowhere", "--policy-share", "2"], "policy_share is above 0 and at most 1"),
        (["--policy", "nowhere", "--relabel", "expert", "--stills", "3"], "nobody drives in stills"),
        (["--recipe", "nowhere.yaml"], "cannot read nowhere.yaml"),
        (["--workers", "0"], "workers (0)"),
    ],
)
def test_bad_requests_are_one_line_and_leave_nothing(tmp_path, capsys, arguments, message):
    out = tmp_path / "out"
    assert cli.main(["collect", "--out", str(out), *arguments]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not out.exists()
