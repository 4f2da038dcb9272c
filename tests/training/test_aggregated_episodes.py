"""Training takes episodes that a policy drove whatever came of them: their actions are an expert's."""

from __future__ import annotations

import json
from pathlib import Path

from tests.training.training_samples import POLICY, record

from spatialbot_policy.episode import Dataset
from spatialbot_training.episode_cache import open_store


def test_a_driven_episode_is_learned_from_although_it_failed(tmp_path: Path) -> None:
    record(tmp_path / "data", 1, "demo", 5)
    record(tmp_path / "data", 2, "demo", 6, success=False)
    record(tmp_path / "data", 3, "demo", 7, success=False)
    file = Dataset(tmp_path / "data").episode(2).path / "episode.json"
    facts = json.loads(file.read_text())
    facts["extra"]["aggregated"] = {"policy": "ab12", "policy_share": 0.8, "policy_steps": 4}
    file.write_text(json.dumps(facts))
    assert len(open_store((tmp_path / "data",), POLICY, tmp_path / "cache")) == 5 + 7
