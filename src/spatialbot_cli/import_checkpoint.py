"""`spatialbot import`: turn a released SpatialBot or Bunny checkpoint into one of this project."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console


@dataclass(frozen=True)
class ImportArguments:
    """Import a released checkpoint: a whole model, or a LoRA adapter on its language model."""

    source: tyro.conf.Positional[Path]
    """Directory with the released config.json and weights."""
    out: Path
    """Directory of the checkpoint to write."""
    base: Path | None = None
    """Language model that a LoRA adapter was trained on."""
    vision_tower: Path | None = None
    """CLIP or SigLIP that config.json names, where SOURCE lacks its weights or its size is not known here."""
    allow_pickle: tyro.conf.UseAppendAction[tuple[Path, ...]] = ()
    """A pickled weight file (.bin) that may be opened; once for each file. Pickles can run any code."""


def main(argv: list[str]) -> int:
    """Run the verb; returns the exit code."""
    arguments = tyro.cli(ImportArguments, args=argv, prog="spatialbot import")
    from spatialbot_policy.model.released import import_released

    report = import_released(
        arguments.source,
        arguments.out,
        base=arguments.base,
        vision_tower=arguments.vision_tower,
        allow_pickle=arguments.allow_pickle,
    )
    console = Console(highlight=False, soft_wrap=True)
    for title, lines in (("left out", report.left_out), ("added", report.added)):
        for line in lines:
            console.print(f"{title}: {line}", markup=False)
    console.print(
        f"{report.tensors} tensors, {report.parameters:,} parameters: {arguments.out}", markup=False
    )
    console.print(f'next: spatialbot ask --checkpoint {arguments.out} --image FILE "QUESTION"', markup=False)
    return 0
