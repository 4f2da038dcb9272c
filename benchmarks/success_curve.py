"""`python -m benchmarks.success_curve OUT.png EVALUATION.json ...`: success against steps or episodes.

First evaluate the checkpoints that a run kept (schedule.keep_every), or those of runs on more and more
episodes, with `spatialbot evaluate`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from spatialbot_policy.errors import ConfigError

Point = tuple[float, float, float, float]
"""x, rate, and the ends of its 95 % Wilson interval."""


@dataclass(frozen=True)
class CurveArguments:
    """Draw success against training, one line with its 95 % Wilson band for each family."""

    out: Annotated[Path, tyro.conf.Positional]
    """The picture, a PNG."""
    files: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """evaluation.json of each point."""
    x: tuple[float, ...] = ()
    """Where each file's points stand, in the order of the files, e.g. episodes per family; when left out, the
    training step that the checkpoint says."""
    x_label: str | None = None
    """What x is."""
    log_x: bool = False
    """A logarithmic x axis."""
    shift: str = "none"
    """Which shift to draw."""
    policy: str | None = None
    """Which policy, where a file has several checkpoints: a part of its name; the first when left out."""


def read_points(
    files: list[Path], xs: tuple[float, ...] = (), shift: str = "none", policy: str | None = None
) -> dict[str, list[Point]]:
    """Collect the points of each family in the order of x.

    Raises:
        ConfigError: a file cannot be read or has nothing to draw, or files and x do not go together.
    """
    if xs and len(xs) != len(files):
        raise ConfigError(f"there are {len(files)} files and {len(xs)} values of x; give one for each")
    points: dict[str, list[Point]] = {}
    for number, path in enumerate(files):
        data = _read(path)
        name = _checkpoint(path, data, policy)
        x = xs[number] if xs else _step(path, data, name)
        rows = [
            row
            for row in data["summary"]
            if row["policy"] == name and row["family"] != "all" and row.get("shift", "none") == shift
        ]
        if not rows:
            raise ConfigError(f"{path} has no episodes of {name} under shift '{shift}'")
        for row in rows:
            if row["rate"] is not None:
                points.setdefault(row["family"], []).append((x, row["rate"], *row["wilson_95"]))
    return {family: sorted(found) for family, found in points.items()}


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    if not isinstance(data, dict) or not {"policies", "summary"} <= set(data):
        raise ConfigError(f"{path} is no evaluation.json; spatialbot evaluate writes it")
    return data


def _checkpoint(path: Path, data: dict[str, Any], policy: str | None) -> str:
    names = [name for name, found in data["policies"].items() if found["config"] and (policy or "") in name]
    if not names:
        raise ConfigError(f"{path} has no checkpoint{f' named like {policy!r}' if policy else ''} to draw")
    return names[0]


def _step(path: Path, data: dict[str, Any], name: str) -> float:
    step = data["policies"][name]["config"].get("training", {}).get("step")
    if not isinstance(step, int):
        raise ConfigError(f"{path}: {name} does not say at which training step it was saved; give --x")
    return step


def plot(points: dict[str, list[Point]], out: Path, x_label: str, log_x: bool = False) -> None:
    """Draw one line with its 95 % Wilson band for each family."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6.4, 3.6))
    for family, found in points.items():
        xs, rates, low, high = zip(*found, strict=True)
        axis.plot(xs, rates, marker="o", label=family)
        axis.fill_between(xs, low, high, alpha=0.2)
    axis.set(xlabel=x_label, ylabel="success in closed loop", ylim=(0, 1.03))
    if log_x:
        axis.set_xscale("log")
    axis.grid(alpha=0.3)
    axis.legend()
    figure.tight_layout()
    figure.savefig(out, dpi=90)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> None:
    """Plot, and print the points as a table."""
    chosen = tyro.cli(CurveArguments, args=arguments, prog="python -m benchmarks.success_curve")
    try:
        points = read_points(list(chosen.files), chosen.x, chosen.shift, chosen.policy)
    except ConfigError as error:
        raise SystemExit(str(error)) from error
    plot(points, chosen.out, chosen.x_label or ("" if chosen.x else "training step"), chosen.log_x)
    for family, found in points.items():
        for x, rate, low, high in found:
            print(f"{family}\t{x:g}\t{100 * rate:.0f} %\t{100 * low:.0f} to {100 * high:.0f} %")


if __name__ == "__main__":
    main()
