"""`spatialbot merge`: what a run trained of a larger model, put back into that model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True)
class MergeArguments:
    """Make an ordinary checkpoint of an adapter and the weights that its run started from."""

    source: Annotated[Path, tyro.conf.Positional]
    """Directory of a run that trained an adapter, or its `adapter/`."""
    out: Path
    """Directory of the checkpoint."""


def main(argv: list[str]) -> int:
    """Run the verb; returns the exit code."""
    arguments = tyro.cli(MergeArguments, args=argv, prog="spatialbot merge")
    from spatialbot_training.adapter import merge_adapter

    print(f"checkpoint: {merge_adapter(arguments.source, arguments.out)}")
    return 0
