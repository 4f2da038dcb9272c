"""The HTML report of an evaluation: one file with the tables and a strip of pictures for each film."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

import cv2
import numpy as np

from spatialbot_sim.evaluation.failures import FailureKind
from spatialbot_sim.evaluation.film import encode_picture
from spatialbot_sim.evaluation.log import NOMINAL, Entry
from spatialbot_sim.evaluation.outcome import outcome
from spatialbot_sim.evaluation.tables import Table

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; color: #222; }
table { border-collapse: collapse; margin: 1em 0; } th, td { padding: .3em .8em; text-align: left; }
th { border-bottom: 2px solid #999; } td { border-bottom: 1px solid #ddd; }
figure { margin: 1.5em 0; } img { width: 100%; border-radius: 4px; background: #111; }
figcaption { margin-bottom: .4em; } .good { color: #177a2b; font-weight: 600; }
.bad { color: #b3261e; font-weight: 600; } .quiet { color: #777; }
"""


def write_html(
    out: Path,
    title: str,
    tables: Sequence[Table],
    failures: Sequence[FailureKind],
    entries: Sequence[Entry],
    facts: dict[str, object],
) -> Path:
    """Write report.html, which needs no other file; only the links to the films point beside it."""
    failed = [entry for failure in failures for entry in failure.filmed]
    others = [entry for entry in entries if entry.result and entry.result.filmstrip and entry not in failed]
    parts = [f"<h1>{escape(title)}</h1>"]
    for table in tables:
        parts += [f"<h2>{escape(table.title)}</h2>" if table.title else "", _table(table.header, table.rows)]
        parts.append(f'<p class="quiet">{escape(table.note)}</p>' if table.note else "")
    if failed or others:
        parts.append(
            '<p class="quiet">Pictures of filmed episodes: the scene, and what the policy sees, colour above '
            "depth. Time runs from left to right, then down.</p>"
        )
    parts += [_failures(out, failure) for failure in failures if failure.filmed]
    parts.append("<h2>Filmed episodes</h2>" if others else "")
    parts += [_figure(out, entry) for entry in others]
    parts.append("<h2>How it was measured</h2>")
    parts.append(_table(("what", "value"), [(name, str(value)) for name, value in facts.items()]))
    body = "\n".join(parts)
    path = out / "report.html"
    path.write_text(
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>\n{body}\n</body></html>\n",
        encoding="utf-8",
    )
    return path


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    lines = ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"


def _failures(out: Path, failure: FailureKind) -> str:
    """The filmed failures of a kind under how many there are."""
    name = f"{failure.family}: {failure.kind.replace('_', ' ')}"
    several = len(failure.counts) > 1 or NOMINAL not in failure.counts
    shifts = ", ".join(f"{shift} {count}" for shift, count in failure.counts.items())
    count = f"{failure.total} of {failure.policy}" + (f": {shifts}" if several else "")
    figures = "".join(_figure(out, entry) for entry in failure.filmed)
    return f'<h3>{escape(name)} <span class="quiet">{escape(count)}</span></h3>{figures}'


def _figure(out: Path, entry: Entry) -> str:
    result = entry.result
    strip = cv2.imread(str(out / result.filmstrip)) if result else None
    if result is None or strip is None:
        return ""
    picture = np.asarray(cv2.cvtColor(strip, cv2.COLOR_BGR2RGB), dtype=np.uint8)
    data = base64.b64encode(encode_picture(picture, ".jpg")).decode("ascii")
    kind = "good" if result.success else "bad"
    shift = "" if entry.shift == NOMINAL else entry.shift
    where = " ".join(part for part in (entry.family, shift, f"seed {entry.seed}", entry.policy) if part)
    if result.replayed:
        where += f"; played again for the film, it ended otherwise: {result.replayed}"
    return (
        f"<figure><figcaption>“{escape(result.instruction)}”<br>"
        f'<span class="{kind}">{escape(outcome(entry))}</span> '
        f'<span class="quiet">{escape(where)}</span> '
        f'<a href="{escape(result.video)}">film</a></figcaption>'
        f'<img alt="{escape(result.instruction)}" src="data:image/jpeg;base64,{data}"></figure>'
    )
