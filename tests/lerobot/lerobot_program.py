"""Runs in an environment that has the `lerobot` package: loads a data set, dumps it, and trains on it.

Arguments: directory of the data set, and the .npz to write. Nothing of this project is imported.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader


def import_torchvision() -> torch.library.Library | None:
    """Import it, if need be with the one operator declared whose absence ends the import.

    The wheels of the package index are built for CUDA, and find no library beside a torch for the CPU.
    Nothing here calls the operator. The declaration lasts as long as what is returned.
    """
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "FRAGMENT")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return library
    return None


def train(dataset, steps: int) -> list[float]:
    """Fit a linear model from the state and the mean colour to the action; returns the losses."""
    torch.manual_seed(0)
    loader = DataLoader(dataset, batch_size=8, shuffle=True, num_workers=0)
    first = next(iter(loader))
    cameras = [key for key in dataset.meta.camera_keys if not key.endswith("_depth")]

    def inputs(batch):
        means = [batch[key].mean(dim=(2, 3)) for key in cameras]
        return torch.cat([batch["observation.state"].float(), *means], dim=1)

    model = torch.nn.Linear(inputs(first).shape[1], first["action"].shape[1])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses: list[float] = []
    while len(losses) < steps:
        for batch in loader:
            loss = torch.nn.functional.mse_loss(model(inputs(batch)), batch["action"].float())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss))
    return losses[:steps]


def main(root: Path, out: Path) -> None:
    """Write the frames in order, the task of each, and the losses of some steps of training."""
    operators = import_torchvision()
    import lerobot
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    torch.set_num_threads(1)
    dataset = LeRobotDataset("spatialbot/export", root=root)
    found: dict[str, list[np.ndarray]] = {}
    tasks = []
    for index in range(len(dataset)):
        item = dataset[index]
        tasks.append(item.pop("task"))
        for key, value in item.items():
            found.setdefault(key, []).append(np.asarray(value))
    # a window of time, as policies ask for it: 0.1 s back and ahead
    window = {"action": [-1 / dataset.fps, 0.0, 1 / dataset.fps]}
    windowed = LeRobotDataset("spatialbot/export", root=root, delta_timestamps=window)[1]["action"]
    np.savez(
        out,
        **{key: np.stack(values) for key, values in found.items()},
        tasks=np.array(tasks),
        window=np.asarray(windowed),
        losses=np.array(train(dataset, 30)),
        version=np.array(lerobot.__version__),
    )
    del operators


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
