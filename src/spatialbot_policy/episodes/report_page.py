"""The page of a data set's report: its frame with style and filter, tables, and drawings as SVG."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

import numpy as np

from spatialbot_policy.types import FloatArray

_COLORS = ("#4c78a8", "#d1495b", "#6a994e", "#f2a541", "#7b5ea7", "#2a9d8f", "#7f8c9b")

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em; }}
table {{ border-collapse: collapse; margin: .5em 1.5em .5em 0; align-self: flex-start; }}
th, td {{ text-align: left; padding: .1em .8em .1em 0; border-bottom: 1px solid #8884; }}
.row {{ display: flex; flex-wrap: wrap; }}
figure {{ margin: .5em 1em .5em 0; }} figcaption {{ font-size: 12px; }}
details {{ border-top: 1px solid #8886; padding: .3em 0; }} summary {{ cursor: pointer; }}
img {{ display: block; max-width: 100%; margin: .2em 0; }}
.tag {{ font-size: 12px; border-radius: 4px; padding: 0 .4em; margin-left: .4em; background: #8883; }}
.success {{ background: #6a994e66; }} .mark {{ background: #f2a54166; }} .bad {{ color: #d1495b; }}
input {{ font: inherit; width: 100%; padding: .3em; margin: 1em 0; box-sizing: border-box; }}
</style></head><body>
<h1>{title}</h1>
{summary}
<input id="filter" placeholder="only episodes with these words" aria-label="filter">
<p><span id="shown">{count}</span> of {count} episodes</p>
<main>
{episodes}
</main>
<script>
const all = [...document.querySelectorAll("main > details")];
const words = all.map(item => item.textContent.toLowerCase());
document.getElementById("filter").addEventListener("input", event => {{
  const wanted = event.target.value.toLowerCase().split(/\\s+/).filter(Boolean);
  let shown = 0;
  all.forEach((item, number) => {{
    item.hidden = !wanted.every(word => words[number].includes(word));
    shown += !item.hidden;
  }});
  document.getElementById("shown").textContent = shown;
}});
</script></body></html>
"""


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """An HTML table; everything in it is text."""
    head = "".join(f"<th>{escape(text)}</th>" for text in headings)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(value))}</td>" for value in row) + "</tr>" for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def bars(counts: Sequence[int], low: float, high: float) -> str:
    """A histogram, with its ends written below; heights are roots, so that rare values show."""
    width, height = 9, 60
    peak = max(max(counts, default=0), 1) ** 0.5
    parts = [
        f'<rect x="{place * width}" y="{height - height * count**0.5 / peak:.1f}" width="{width - 1}" '
        f'height="{height * count**0.5 / peak:.1f}" fill="{_COLORS[0]}"><title>{count}</title></rect>'
        for place, count in enumerate(counts)
    ]
    total = width * len(counts)
    style = f'y="{height + 12}" font-size="10" fill="currentColor"'
    ends = f'<text x="0" {style}>{low:g}</text><text x="{total}" {style} text-anchor="end">{high:g}</text>'
    return f'<svg width="{total}" height="{height + 14}" role="img">{"".join(parts)}{ends}</svg>'


def curves(seconds: FloatArray, lines: Sequence[tuple[str, FloatArray]], points: int = 200) -> str:
    """Curves below each other, one for each name; values from 0 to 1 fill the height of a row."""
    width, height = 800, 26
    chosen = np.unique(np.linspace(0, len(seconds) - 1, min(points, len(seconds))).round().astype(int))
    span = float(seconds[-1]) or 1.0
    parts = []
    for row, (name, values) in enumerate(lines):
        top = row * height
        path = " ".join(
            f"{70 + (width - 70) * seconds[place] / span:.1f},"
            f"{top + height - 2 - (height - 4) * min(max(float(values[place]), 0.0), 1.0):.1f}"
            for place in chosen
        )
        color = _COLORS[row % len(_COLORS)]
        parts.append(
            f'<text x="0" y="{top + 17}" font-size="11" fill="currentColor">{escape(name)}</text>'
            f'<polyline fill="none" stroke="{color}" points="{path}"/>'
        )
    bottom = height * len(lines)
    parts.append(
        f'<text x="{width}" y="{bottom + 11}" font-size="10" fill="currentColor" text-anchor="end">'
        f"{span:.1f} s</text>"
    )
    return f'<svg viewBox="0 0 {width} {bottom + 14}" width="100%" role="img">{"".join(parts)}</svg>'
