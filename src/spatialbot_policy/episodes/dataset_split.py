"""Divides a data set in two, for training and validation, so that both have the same mixture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spatialbot_policy.episodes.copying import copy_episode
from spatialbot_policy.episodes.dataset import Dataset
from spatialbot_policy.episodes.dataset_index import Entry, Progress, list_episodes
from spatialbot_policy.episodes.relation import relation_of
from spatialbot_policy.errors import EpisodeError

BALANCES: dict[str, Callable[[Entry], str]] = {
    "relation": lambda entry: relation_of(entry.info),
    "instruction": lambda entry: entry.info.instruction,
    "family": lambda entry: entry.info.family,
    "none": lambda entry: "",
}
"""What both halves may have in the same mixture."""


@dataclass(frozen=True)
class Split:
    """Numbers of the episodes of each half, ascending."""

    train: tuple[int, ...]
    val: tuple[int, ...]


def choose_split(entries: Sequence[Entry], share: float, balance: str = "relation", seed: int = 0) -> Split:
    """Choose episodes for validation at random, in proportion from each kind.

    Episodes of one scene (same task and scene seed) stay together, so that no scene is on both sides.

    Args:
        entries: of the data set.
        share: of the episodes that go to validation, between 0 and 1.
        balance: a key of `BALANCES`.
        seed: of the choice.

    Raises:
        EpisodeError: a share or balance that is not possible, or a half that would be empty.
    """
    if not 0.0 < share < 1.0:
        raise EpisodeError(f"--share {share:g} is no share for validation; give one between 0 and 1, as 0.1")
    if balance not in BALANCES:
        raise EpisodeError(f"--balance '{balance}' is unknown; choose from {', '.join(BALANCES)}")
    strata: dict[str, list[list[int]]] = {}
    for scene in _scenes(entries):
        kind = BALANCES[balance](scene[0])
        strata.setdefault(kind, []).append([entry.index for entry in scene])
    rng = np.random.default_rng(seed)
    val: list[int] = []
    owed = 0.0  # what rounding left of earlier kinds, so that the whole share comes out right
    for _, scenes in sorted(strata.items()):
        owed += share * sum(map(len, scenes))
        for number in rng.permutation(len(scenes)):
            if len(scenes[number]) / 2 <= owed:
                val += scenes[number]
                owed -= len(scenes[number])
    train = {entry.index for entry in entries} - set(val)
    if not train or not val:
        raise EpisodeError(
            f"a share of {share:g} of {len(entries)} episodes leaves a half empty; record more, or give "
            "another --share"
        )
    return Split(tuple(sorted(train)), tuple(sorted(val)))


def _scenes(entries: Sequence[Entry]) -> list[list[Entry]]:
    scenes: dict[tuple[object, ...], list[Entry]] = {}
    for entry in entries:
        info = entry.info
        key = (info.task, info.seed) if info.seed is not None else (info.task, None, entry.index)
        scenes.setdefault(key, []).append(entry)
    return list(scenes.values())


def split(
    dataset: Dataset,
    train: Path,
    val: Path,
    share: float,
    balance: str = "relation",
    seed: int = 0,
    link: bool = True,
    on_progress: Progress = lambda done, total: None,
) -> Split:
    """Write two new data sets; the one divided stays as it is.

    Args:
        dataset: what is divided.
        train: folder of the larger half, which must not hold episodes yet.
        val: the other one.
        share: as for `choose_split`.
        balance: as there.
        seed: as there.
        link: share the files of messages as hard links where the file system can.
        on_progress: called with (episodes written, episodes in all).

    Raises:
        EpisodeError: a folder that is in use, an episode that cannot be opened, or no room.
    """
    if len({path.resolve() for path in (dataset.directory, train, val)}) < 3:
        raise EpisodeError("--train, --val and the data set must be three folders")
    for path in (train, val):
        if (path / "episodes").is_dir() and any((path / "episodes").iterdir()):
            raise EpisodeError(f"{path} holds episodes already; give an empty folder, nothing is mixed in")
    listing = list_episodes(dataset)
    if listing.damaged:
        index, reason = next(iter(listing.damaged.items()))
        raise EpisodeError(f"episode {index} cannot be divided off: {reason}")
    chosen = choose_split(listing.entries, share, balance, seed)
    targets = [Dataset.create(path, dataset.info) for path in (train, val)]  # both, before either is filled
    done = 0
    for target, indices in zip(targets, (chosen.train, chosen.val), strict=True):
        for index in indices:
            copy_episode(dataset.episode(index), target, link, _origin(dataset, index))
            done += 1
            on_progress(done, len(listing.entries))
    return chosen


def _origin(dataset: Dataset, index: int) -> dict[str, object]:
    return {"copied_from": {"dataset": dataset.directory.resolve().name, "index": index}}
