"""What an evaluation leaves behind: figures as JSON, a Markdown table and an HTML report."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spatialbot_policy import provenance
from spatialbot_policy.config import PolicyConfig, to_dict
from spatialbot_sim.evaluation.comparison import Comparisons, compare_all
from spatialbot_sim.evaluation.failures import failure_kinds
from spatialbot_sim.evaluation.log import Entry
from spatialbot_sim.evaluation.plan import EvaluationPlan
from spatialbot_sim.evaluation.report import write_html
from spatialbot_sim.evaluation.summary import FamilySummary, summarise
from spatialbot_sim.evaluation.tables import Table, all_tables, to_markdown
from spatialbot_sim.task.robot import SPATIAL_TASK

SCHEMA = 2
RESULT, MARKDOWN = "evaluation.json", "report.md"


@dataclass(frozen=True)
class Evaluation:
    """What came of an evaluation.

    Attributes:
        entries: every episode, errors among them.
        summaries: figures for each policy, shift and family.
        compared: two policies, and the shifts with the nominal scenes.
        tables: the same for people.
        files: what was written: JSON, Markdown and HTML.
    """

    entries: tuple[Entry, ...]
    summaries: tuple[FamilySummary, ...]
    compared: Comparisons
    tables: tuple[Table, ...]
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
    compared, failures = compare_all(plan, entries), failure_kinds(plan, entries)
    commits = sorted({entry.commit or "unknown" for entry in entries})
    facts = _facts(plan, weights, commits, seconds)
    data = {
        "schema": SCHEMA,
        "plan": plan.to_json(),
        "seeds": list(plan.seeds),
        "policies": {
            name: {"sha256": weights.get(name), "config": to_dict(configs[name]) if name in configs else None}
            for name in plan.policies
        },
        "summary": [summary.to_json() for summary in summaries],
        "comparisons": compared.to_json(),
        "failures": [failure.to_json() for failure in failures],
        "episodes": [entry.to_json() for entry in entries],
        "seconds": round(seconds, 1),
        "git_commits": commits,
        "git_dirty": any(commit.endswith("-dirty") for commit in commits),
        "versions": provenance.versions(),
        "machine": provenance.machine(),
    }
    title = f"{plan.task}: " + " against ".join(plan.policies)
    temporary = plan.out / f".{RESULT}.new"
    temporary.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, plan.out / RESULT)
    tables = all_tables(summaries, compared, failures)
    (plan.out / MARKDOWN).write_text(to_markdown(title, tables, facts), encoding="utf-8")
    page = write_html(plan.out, title, tables, failures, entries, facts)
    files = (plan.out / RESULT, plan.out / MARKDOWN, page)
    return Evaluation(entries, tuple(summaries), compared, tuple(tables), files)


def _facts(
    plan: EvaluationPlan, weights: Mapping[str, str], commits: Sequence[str], seconds: float
) -> dict[str, object]:
    """How it was measured, for people."""
    machine, versions = provenance.machine(), provenance.versions()
    return {
        "seeds": f"{plan.seeds.start} to {plan.seeds.stop - 1}",
        "instructions": plan.phrasing if plan.task == SPATIAL_TASK else "fixed",
        "shifts": ", ".join(plan.shifts),
        "steps at most": plan.max_steps,
        **{f"sha256 of {name}": digest for name, digest in weights.items()},
        "commit": ", ".join(commits),
        "machine": f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB",
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "seconds of the last run": round(seconds),
    }
