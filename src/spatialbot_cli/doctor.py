"""`spatialbot doctor`: check this machine and print how to mend what is missing."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from spatialbot_cli import machine_checks as checks
from spatialbot_cli.machine_checks import Check

CHECKS: tuple[Callable[[], Check], ...] = (
    checks.check_python,
    checks.check_torch,
    lambda: checks.check_package("numpy", (1, 26)),
    lambda: checks.check_package("transformers", (5, 0)),
    checks.check_render_device,
    checks.check_ros2,
    checks.check_camera_libraries,
    checks.check_disk,
    checks.check_memory,
    checks.check_checkpoint,
)

MARKS = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "fail": "[bold red]FAIL[/]"}


def main(argv: list[str]) -> int:
    """Run every check; 1 when one of them fails, otherwise 0."""
    parser = argparse.ArgumentParser(
        prog="spatialbot doctor",
        description="Check Python, torch, the render device, ROS 2, camera libraries, disk, memory and the "
        "shipped checkpoint. Exit status 1 when something fails; a note is no failure.",
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    options = parser.parse_args(argv)
    if options.json:
        found = [check() for check in CHECKS]
        print(json.dumps([dataclasses.asdict(check) for check in found], indent=2))
    else:
        console = Console()
        # The test picture compiles shaders, which takes seconds.
        with console.status("checking this machine"):
            found = [check() for check in CHECKS]
        report(found, console)
    return int(any(check.status == "fail" for check in found))


def report(found: Sequence[Check], console: Console) -> None:
    """Print one row for each finding, then each mend on a line of its own so that it can be copied."""
    table = Table(box=None, pad_edge=False)
    for column in ("check", "", "found"):
        table.add_column(column, overflow="fold")
    for check in found:
        table.add_row(check.name, MARKS[check.status], escape(check.detail))
    console.print(table)
    for title, status in (("To mend:", "fail"), ("If you need it:", "note")):
        wanted = [check for check in found if check.status == status and check.mend]
        if wanted:
            console.print(f"\n[bold]{title}[/]")
        for check in wanted:
            console.print(f"  {check.name}: {escape(check.mend)}", soft_wrap=True, highlight=False)
