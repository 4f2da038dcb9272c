"""What an evaluation leaves behind: figures as JSON, a Markdown table and an HTML report."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spatialbot_policy import provenance
from spatialbot_policy.config import PolicyConfig, to_dict
from spatialbot_sim.evaluation.log import Entry
from spatialbot_sim.evaluation.plan import EvaluationPlan
from spatialbot_sim.evaluation.report import write_html
from spatialbot_sim.evaluation.summary import (
    FamilySummary,
    compare,
    comparison_to_json,
    markdown,
    summarise,
)
from spatialbot_sim.task.robot import SPATIAL_TASK

SCHEMA = 1
RESULT, MARKDOWN = "evaluation.json", "report.md"


@dataclass(frozen=True)
class Evaluation:
    """What came of an evaluation.

    Attributes:
        entries: every episode, errors among them.
        summaries: figures for each policy and family.
        compared: plain data of the comparison of two policies.
        files: what was written: JSON, Markdown and HTML.
    """

    entries: tuple[Entry, ...]
    summaries: tuple[FamilySummary, ...]
    compared: dict[str, Any] | None
    files: tuple[Path, ...]

    @property
    def errors(self) -> int:
        """Episodes that ended in an error."""
        return sum(entry.result is None for entry in self.entries)


def write_files(
    plan: EvaluationPlan,
    entries: tuple[Entry, ...],
    configs: Mapping[str, PolicyConfig],
    weights: Mapping[str, str],
    seconds: float,
) -> Evaluation:
    """Write JSON, Markdown and HTML."""
    summaries = summarise(entries, plan.task)
    compared = None
    if plan.against is not None:
        counts = compare(entries, plan.checkpoint, plan.against, plan.task)
        compared = comparison_to_json(plan.checkpoint, plan.against, counts)
    facts = _facts(plan, weights, seconds)
    data = {
        "schema": SCHEMA,
        "plan": plan.to_json(),
        "seeds": list(plan.seeds),
        "policies": {
            name: {"sha256": weights.get(name), "config": to_dict(configs[name]) if name in configs else None}
            for name in plan.policies
        },
        "summary": [summary.to_json() for summary in summaries],
        "comparison": compared,
        "episodes": [entry.to_json() for entry in entries],
        "seconds": round(seconds, 1),
        "git_commit": provenance.git_commit(),
        "versions": provenance.versions(),
        "machine": provenance.machine(),
    }
    title = f"{plan.task}: " + " against ".join(plan.policies)
    temporary = plan.out / f".{RESULT}.new"
    temporary.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, plan.out / RESULT)
    (plan.out / MARKDOWN).write_text(markdown(title, summaries, compared, facts), encoding="utf-8")
    page = write_html(plan.out, title, summaries, compared, entries, facts)
    files = (plan.out / RESULT, plan.out / MARKDOWN, page)
    return Evaluation(entries, tuple(summaries), compared, files)


def _facts(plan: EvaluationPlan, weights: Mapping[str, str], seconds: float) -> dict[str, object]:
    """How it was measured, for people."""
    machine, versions = provenance.machine(), provenance.versions()
    return {
        "seeds": f"{plan.seeds.start} to {plan.seeds.stop - 1}",
        "instructions": plan.phrasing if plan.task == SPATIAL_TASK else "fixed",
        "steps at most": plan.max_steps,
        **{f"sha256 of {name}": digest for name, digest in weights.items()},
        "commit": provenance.git_commit() or "unknown",
        "machine": f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB",
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "seconds of the last run": round(seconds),
    }
