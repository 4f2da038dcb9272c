"""The tables of an evaluation, as text in cells: for Markdown, for HTML and for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spatialbot_sim.evaluation.comparison import Comparison, Comparisons
from spatialbot_sim.evaluation.failures import FailureKind
from spatialbot_sim.evaluation.log import NOMINAL
from spatialbot_sim.evaluation.statistics import MeanDifference
from spatialbot_sim.evaluation.summary import FamilySummary

SHIFTS, FAILURES = "Success under each shift", "Failures by kind"

Row = tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A title, "" for none, a header and rows of as many cells."""

    title: str
    header: Row
    rows: tuple[Row, ...]
    note: str = ""


def all_tables(
    summaries: Sequence[FamilySummary], compared: Comparisons, failures: Sequence[FailureKind]
) -> list[Table]:
    """Every table that an evaluation has something to say in."""
    tables = [success_table(summaries)]
    if compared.drops:
        tables.append(shift_table(summaries, compared))
    tables += [policy_table(comparison) for comparison in compared.policies]
    if failures:
        tables.append(failure_table(failures, _shifts(summaries)))
    return tables


def success_table(summaries: Sequence[FamilySummary]) -> Table:
    """A row for each policy, shift and family."""
    header: Row = (
        "policy",
        "shift",
        "family",
        "success",
        "rate",
        "95 % interval",
        "steps",
        "failures",
        "errors",
    )
    note = (
        "Rates leave errors out; intervals are Wilson's. `steps` is the mean over the successes. "
        "An error is an episode that the simulator or a worker could not finish."
    )
    rows = [_success_row(summary) for summary in summaries]
    if all(summary.shift == NOMINAL for summary in summaries):  # one shift that needs no column
        header, rows = _without(header, 1), [_without(row, 1) for row in rows]
    return Table("", header, tuple(rows), note)


def _success_row(summary: FamilySummary) -> Row:
    failures = ", ".join(f"{kind} {count}" for kind, count in summary.failures.items()) or "-"
    steps = "-" if summary.mean_steps is None else f"{summary.mean_steps:.0f}"
    score = f"{summary.successes}/{summary.episodes}"
    named = (summary.policy, summary.shift, summary.family)
    return (*named, score, _rate(summary), _wilson(summary), steps, failures, str(summary.errors))


def shift_table(summaries: Sequence[FamilySummary], compared: Comparisons) -> Table:
    """Families against shifts for each policy, and what each shift costs."""
    shifts = _shifts(summaries)
    cells = {(item.policy, item.family, item.shift): _short(item) for item in summaries}
    drops = {(item.first[0], item.second[1]): item.mean for item in compared.drops}
    single = {item.policy: item.mean for item in compared.mean_drops}
    rows: list[Row] = []
    for policy, family in dict.fromkeys((summary.policy, summary.family) for summary in summaries):
        rows.append((policy, family, *(cells.get((policy, family, shift), "-") for shift in shifts), ""))
        if (policy, family) == _last(summaries, policy):
            lost = ("" if shift == NOMINAL else points(drops[policy, shift]) for shift in shifts)
            rows.append((policy, "mean drop", *lost, points(single.get(policy))))
    note = (
        "The same seeds in each shift; rates with 95 % Wilson intervals. The drop is the nominal success "
        "minus the shifted one in points on the scenes that both finished, averaged over the families, with "
        "Agresti's and Min's 95 % interval; its mean over the single shifts leaves the shift `all` out."
    )
    return Table(SHIFTS, ("policy", "family", *shifts, "single shifts"), tuple(rows), note)


def policy_table(comparison: Comparison) -> Table:
    """One policy against the other, scene by scene."""
    rows: list[Row] = [
        (
            family,
            *(str(cell) for cell in (count.both, count.only_first, count.only_second, count.neither)),
            f"{100 * count.difference:+.0f} points",
            f"{count.p_value:.3g}",
        )
        for family, count in comparison.families.items()
    ]
    rows.append(("mean over families", "", "", "", "", points(comparison.mean), ""))
    (first, shift), (second, _) = comparison.first, comparison.second
    under = "" if shift == NOMINAL else f", shift {shift}"
    header = ("family", "both", "only first", "only second", "neither", "difference", "McNemar p")
    note = "The mean counts each family alike; its 95 % interval is Agresti's and Min's for matched pairs."
    return Table(f"{first} against {second}, scene by scene{under}", header, tuple(rows), note)


def failure_table(failures: Sequence[FailureKind], shifts: Sequence[str]) -> Table:
    """How often each kind of failure came, in each shift."""
    several = len(shifts) > 1
    rows = [
        (
            failure.policy,
            failure.family,
            failure.kind,
            str(failure.total),
            *(str(failure.counts.get(shift, 0)) for shift in shifts if several),
        )
        for failure in failures
    ]
    header = ("policy", "family", "kind", "episodes", *(shift for shift in shifts if several))
    return Table(FAILURES, header, tuple(rows))


def points(mean: MeanDifference | None) -> str:
    """A difference in points with its interval."""
    if mean is None:
        return "-"
    return f"{100 * mean.difference:+.1f} ({100 * mean.low:+.1f} to {100 * mean.high:+.1f})"


def to_markdown(title: str, tables: Sequence[Table], facts: dict[str, object]) -> str:
    """The report as Markdown: the tables, and how it was measured."""
    parts = [f"# {title}"]
    for table in tables:
        lines = [table.header, ("---",) * len(table.header), *table.rows]
        rows = "\n".join("| " + " | ".join(row) + " |" for row in lines)
        parts += [part for part in (f"## {table.title}" if table.title else "", rows, table.note) if part]
    parts += ["## How it was measured", "\n".join(f"- {name}: {value}" for name, value in facts.items())]
    return "\n\n".join(parts) + "\n"


def _shifts(summaries: Sequence[FamilySummary]) -> list[str]:
    return list(dict.fromkeys(summary.shift for summary in summaries))


def _last(summaries: Sequence[FamilySummary], policy: str) -> tuple[str, str]:
    """The last row of a policy: the sum of its families where there are several."""
    return policy, [summary.family for summary in summaries if summary.policy == policy][-1]


def _short(summary: FamilySummary) -> str:
    low, high = summary.interval
    return f"{_rate(summary)} ({100 * low:.0f} to {100 * high:.0f})"


def _rate(summary: FamilySummary) -> str:
    return "-" if summary.rate is None else f"{100 * summary.rate:.0f} %"


def _wilson(summary: FamilySummary) -> str:
    return " to ".join(f"{100 * end:.1f}" for end in summary.interval) + " %"


def _without(cells: Row, column: int) -> Row:
    return cells[:column] + cells[column + 1 :]
