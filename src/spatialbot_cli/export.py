"""`spatialbot export`: write a checkpoint in the layout that the authors' code reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro
from rich.console import Console


@dataclass(frozen=True)
class ExportArguments:
    """Export a checkpoint into another layout."""

    checkpoint: tyro.conf.Positional[Path]
    """Directory of the checkpoint."""
    out: Path
    """Directory to write."""
    layout: Literal["released"] = "released"
    """released: as SpatialBot and Bunny publish their models."""
    shard_size: str = "5GB"
    """Largest weight file; a larger model is split."""


def main(argv: list[str]) -> int:
    """Run the verb; returns the exit code."""
    arguments = tyro.cli(ExportArguments, args=argv, prog="spatialbot export")
    from spatialbot_policy.model.released_export import export_released

    report = export_released(arguments.checkpoint, arguments.out, arguments.shard_size)
    console = Console(highlight=False, soft_wrap=True)
    for line in report.left_out:
        console.print(f"left out: {line}", markup=False)
    console.print(
        f"{report.tensors} tensors, {report.parameters:,} parameters: {arguments.out}", markup=False
    )
    return 0
