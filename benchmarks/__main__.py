"""`python -m benchmarks [NAME ...]`: runs benchmarks one after the other and keeps their figures as JSON.

Without names it runs those that take minutes; what trains networks for longer runs by its name alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks import report
from spatialbot_policy.provenance import machine

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
BY_NAME = ("pooling_accuracy",)


def run(name: str) -> dict[str, object]:
    """Run one benchmark in a process of its own, its output shown as it comes, and return its figures.

    Raises:
        RuntimeError: it failed, or its last line of output is not a JSON object.
    """
    last = ""
    with subprocess.Popen(
        [sys.executable, "-m", f"benchmarks.{name}"], stdout=subprocess.PIPE, text=True, cwd=HERE.parent
    ) as process:
        for line in process.stdout or ():
            print(f"  {line}", end="", flush=True)
            last = line
    if process.returncode != 0:
        raise RuntimeError(f"exit status {process.returncode}")
    try:
        figures = json.loads(last)
    except ValueError as error:
        raise RuntimeError(f"its last line is not JSON: {last.strip()!r}") from error
    if not isinstance(figures, dict):
        raise RuntimeError(f"its last line is not a JSON object: {last.strip()!r}")
    return figures


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all short ones; 1 when one failed, 2 for an unknown name."""
    short = sorted(path.stem for path in HERE.glob("bench_*.py"))
    known = [*short, *BY_NAME]
    wanted = [name if name in known else f"bench_{name}" for name in names] or short
    unknown = [name for name in wanted if name not in known]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; choose from {', '.join(known)}", file=sys.stderr)
        return 2
    RESULTS.mkdir(exist_ok=True)
    failures = 0
    for name in wanted:
        print(f"{name}:", flush=True)
        try:
            figures = run(name)
        except RuntimeError as error:
            print(f"  failed: {error}", file=sys.stderr)
            failures += 1
            continue
        text = json.dumps({"machine": machine(), "figures": figures}, indent=2)
        (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    report.write(RESULTS)
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
