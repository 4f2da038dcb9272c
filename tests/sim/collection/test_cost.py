"""What collecting costs is added up over runs, and a damaged file is named before anything is recorded."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from spatialbot_policy.errors import TaskError
from spatialbot_sim.collection.collect import collect
from spatialbot_sim.collection.cost import COST_FILE, Cost, Meter, append_cost, read_runs, total_cost
from spatialbot_sim.collection.plan import CollectPlan

COST = Cost(episodes=3, frames=120, seconds=20.5, core_seconds=37.0)


def test_runs_are_appended_and_added_up(tmp_path):
    plan = CollectPlan(tmp_path, families=("pick", "size"), demos=3, vary=True)
    assert read_runs(tmp_path) == [] and total_cost([]) == Cost()
    append_cost(plan, COST, {"success": 2, "dropped": 1}, errors=0)
    append_cost(replace(plan, policy=tmp_path / "tiny", policy_share=0.6), COST, {}, errors=1, driver="ab12")
    first, second = read_runs(tmp_path)
    assert first["outcomes"] == {"success": 2, "dropped": 1} and first["driver"] == ""
    assert first["asked"] == second["asked"] | {"policy": None, "policy_share": 0.8}
    assert "out" not in first["asked"] and first["asked"]["vary"] is True
    assert second["driver"] == "ab12" and second["asked"]["policy"] == str(tmp_path / "tiny")
    assert total_cost([first, second]) == Cost(6, 240, 41.0, 74.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == [COST_FILE]


@pytest.mark.parametrize("text", ["{", "[]", '{"runs": [{"episodes": 1}]}', '{"runs": 3}'])
def test_a_damaged_file_is_named_and_left(tmp_path, text):
    (tmp_path / COST_FILE).write_text(text)
    with pytest.raises(TaskError, match=r"collection.json is damaged .*; move it away"):
        collect(CollectPlan(tmp_path, demos=1))
    assert (tmp_path / COST_FILE).read_text() == text


def test_a_meter_counts_the_time_of_processes_that_ended():
    meter = Meter()
    subprocess.run([sys.executable, "-c", "sum(range(5_000_000))"], check=True)
    meter.add(40)
    meter.add(2)
    cost = meter.read()
    assert (cost.episodes, cost.frames) == (2, 42)
    assert cost.core_seconds > 0 and cost.seconds > 0
    json.dumps(vars(cost))
