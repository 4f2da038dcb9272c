"""`python -m benchmarks.success_curve OUT.png EVALUATION.json ...`: success against training steps.

First evaluate the checkpoints that a run kept (schedule.keep_every) with `spatialbot evaluate`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from spatialbot_policy.errors import ConfigError

Point = tuple[int, float, float, float]


def read_points(files: list[Path]) -> dict[str, list[Point]]:
    """Collect (training step, rate, low, high) by family, in the order of training.

    Raises:
        ConfigError: a file holds no evaluation of a checkpoint that says at which step it was saved.
    """
    points: dict[str, list[Point]] = {}
    for path in files:
        data = json.loads(path.read_text(encoding="utf-8"))
        configs = {name: policy["config"] for name, policy in data["policies"].items() if policy["config"]}
        for row in data["summary"]:
            if row["policy"] not in configs or row["family"] == "all":
                continue
            step = configs[row["policy"]].get("training", {}).get("step")
            if not isinstance(step, int) or row["rate"] is None:
                raise ConfigError(f"{path}: {row['policy']} does not say at which training step it was saved")
            points.setdefault(row["family"], []).append((step, row["rate"], *row["wilson_95"]))
    return {family: sorted(found) for family, found in points.items()}


def plot(points: dict[str, list[Point]], out: Path) -> None:
    """Draw one line with its 95 % Wilson band for each family."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6.4, 3.6))
    for family, found in points.items():
        steps, rates, low, high = zip(*found, strict=True)
        axis.plot(steps, rates, marker="o", label=family)
        axis.fill_between(steps, low, high, alpha=0.2)
    axis.set(xlabel="training step", ylabel="success in closed loop", ylim=(0, 1.03))
    axis.grid(alpha=0.3)
    axis.legend()
    figure.tight_layout()
    figure.savefig(out, dpi=90)
    plt.close(figure)


def main(arguments: list[str]) -> int:
    """Plot, and print the points as a table."""
    if len(arguments) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    points = read_points([Path(name) for name in arguments[1:]])
    plot(points, Path(arguments[0]))
    for family, found in points.items():
        for step, rate, low, high in found:
            print(f"{family}\t{step}\t{100 * rate:.0f} %\t{100 * low:.0f} to {100 * high:.0f} %")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
