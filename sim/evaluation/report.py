"""The HTML report of an evaluation: one file with the tables and a strip of pictures for each film."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from spatialbot_sim.evaluation.film import encode_picture
from spatialbot_sim.evaluation.log import Entry
from spatialbot_sim.evaluation.summary import HEADER, FamilySummary

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
    summaries: Sequence[FamilySummary],
    compared: dict[str, Any] | None,
    entries: Sequence[Entry],
    facts: dict[str, object],
) -> Path:
    """Write report.html, which needs no other file; only the links to the films point beside it."""
    filmed = [entry for entry in entries if entry.result and entry.result.filmstrip]
    parts = [
        f"<h1>{escape(title)}</h1>",
        _table(HEADER, [summary.row() for summary in summaries]),
        _comparison(compared) if compared else "",
        "<h2>Filmed episodes</h2>" if filmed else "",
        '<p class="quiet">Each picture: the scene, and what the policy sees, colour above depth. '
        "Time runs from left to right, then down.</p>"
        if filmed
        else "",
        *(_figure(out, entry) for entry in filmed),
        "<h2>How it was measured</h2>",
        _table(("what", "value"), [(name, str(value)) for name, value in facts.items()]),
    ]
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


def _comparison(compared: dict[str, Any]) -> str:
    rows = []
    for family, count in compared["families"].items():
        cells = [str(count[key]) for key in ("both", "only_first", "only_second", "neither")]
        rows.append((family, *cells, f"{100 * count['difference']:+.0f} points", f"{count['mcnemar_p']:.3g}"))
    header = ("family", "both", "only first", "only second", "neither", "difference", "McNemar p")
    title = f"{compared['first']} against {compared['second']}, scene by scene"
    return f"<h2>{escape(title)}</h2>{_table(header, rows)}"


def _figure(out: Path, entry: Entry) -> str:
    result = entry.result
    strip = cv2.imread(str(out / result.filmstrip)) if result else None
    if result is None or strip is None:
        return ""
    picture = np.asarray(cv2.cvtColor(strip, cv2.COLOR_BGR2RGB), dtype=np.uint8)
    data = base64.b64encode(encode_picture(picture, ".jpg")).decode("ascii")
    kind = "good" if result.success else "bad"
    where = " ".join(part for part in (entry.family, f"seed {entry.seed}", entry.policy) if part)
    return (
        f"<figure><figcaption>“{escape(result.instruction)}”<br>"
        f'<span class="{kind}">{escape(outcome(entry))}</span> '
        f'<span class="quiet">{escape(where)}</span> <a href="{escape(result.video)}">film</a></figcaption>'
        f'<img alt="{escape(result.instruction)}" src="data:image/jpeg;base64,{data}"></figure>'
    )


def outcome(entry: Entry) -> str:
    """An episode's end in a few words."""
    if entry.result is None:
        return "error: " + entry.error.strip().splitlines()[-1]
    if entry.result.success:
        return f"success in {entry.result.steps} steps"
    return f"failed after {entry.result.steps} steps: {entry.result.failure.replace('_', ' ')}"
