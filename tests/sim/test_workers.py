"""Workers that die or fail: their jobs are tried again, then counted as errors, never lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.sim.worker_jobs import make_broken_worker, make_worker

from spatialbot_sim.workers import run_jobs


def run(folder: Path, jobs, workers: int = 2):
    said: list[str] = []
    finished = list(run_jobs(make_worker, (str(folder),), jobs, workers, report=said.append))
    assert sorted(end.job for end in finished) == sorted(jobs)  # each exactly once
    return {end.job[1]: end for end in finished}, said


def tries(folder: Path, number: int) -> int:
    return len(list(folder.glob(f"{number}-*")))


def test_every_job_is_done_once(tmp_path):
    jobs = [("work", number) for number in range(6)]
    ends, said = run(tmp_path, jobs)
    assert {number: end.result for number, end in ends.items()} == {number: number for number in range(6)}
    assert said == [] and len(list(tmp_path.iterdir())) == 6


@pytest.mark.parametrize(("what", "code"), [("exit", "exit code 3"), ("kill", "exit code -9")])
def test_a_worker_that_dies_is_reported_and_its_job_counted_as_an_error(tmp_path, what, code):
    ends, said = run(tmp_path, [(what, 0), ("work", 1), ("work", 2)])
    assert ends[0].result is None and code in ends[0].error
    assert ends[1].result == 1 and ends[2].result == 2
    assert tries(tmp_path, 0) == 2
    assert len(said) == 2 and "trying again" in said[0] and code in said[1]


def test_a_failure_that_passes_is_made_good_by_the_second_try(tmp_path):
    ends, said = run(tmp_path, [("exit once", 0), ("raise once", 1)], workers=1)
    assert ends[0].result == 0 and ends[1].result == 1
    assert ends[0].error is None and len(said) == 2


def test_an_exception_keeps_its_traceback(tmp_path):
    ends, said = run(tmp_path, [("raise", 0)])
    assert ends[0].error.startswith("Traceback") and "in handle" in ends[0].error
    assert "ValueError: job 0 is bad" in ends[0].error and tries(tmp_path, 0) == 2
    assert "ValueError: job 0 is bad; trying again" in said[0]


def test_a_worker_that_cannot_start_its_handler_says_why():
    (end,) = run_jobs(make_broken_worker, (), [1], workers=1, report=lambda text: None)
    assert end.result is None and "RuntimeError: no renderer" in end.error
