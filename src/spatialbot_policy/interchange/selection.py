"""Which episodes of a data set are exported, and which streams all of them have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from spatialbot_policy.episode import Dataset, DatasetConfig, EpisodeReader
from spatialbot_policy.episodes import topics
from spatialbot_policy.episodes.dataset_index import Progress
from spatialbot_policy.errors import EpisodeError, InterchangeError
from spatialbot_policy.interchange.loss_report import LossReport

__all__ = ["SHARED_TOPICS", "Progress", "no_progress", "select_demos", "shared_topics"]

SHARED_TOPICS = (topics.POSE_TOPIC, topics.JOINTS_TOPIC)


def no_progress(done: int, total: int) -> None:
    """Say nothing."""


def select_demos(
    directory: Path, indices: Sequence[int], only_success: bool, report: LossReport
) -> tuple[DatasetConfig, list[EpisodeReader]]:
    """Open the demonstrations to export; what is left out is noted in the report.

    Args:
        directory: of the data set.
        indices: of the episodes; none takes all.
        only_success: leave out episodes that are not known to have succeeded.
        report: gets the reason for each episode that is left out.

    Raises:
        EpisodeError: no data set, or no episode with an index that was asked for.
        InterchangeError: nothing is left to export.
    """
    dataset = Dataset(directory)
    readers = []
    for index in indices or dataset.indices():
        try:
            reader = dataset.episode(index)
        except EpisodeError as error:
            if indices:
                raise
            report.skip(f"{index:06d}", str(error))
            continue
        outcome = reader.info.outcome
        if reader.info.kind != "demo":
            report.skip(f"{index:06d}", "stills: unrelated scenes without actions")
        elif only_success and not (outcome and outcome.success):
            report.skip(f"{index:06d}", "not known to have succeeded")
        else:
            readers.append(reader)
    for partial in dataset.partials():
        report.skip(f"{partial:06d}.partial", "not committed: run 'spatialbot episodes recover' first")
    if not readers:
        reasons = "; ".join(f"{name}: {why}" for name, why in list(report.skipped.items())[:3])
        raise InterchangeError(
            f"{directory} has no episode to export" + (f" ({reasons})" if reasons else "; record some first")
        )
    for reader in readers:
        report.count_messages(reader.info)
    return dataset.info, readers


def shared_topics(readers: Sequence[EpisodeReader]) -> tuple[str, ...]:
    """Those of `SHARED_TOPICS` that the episodes have: all of them or none.

    Raises:
        InterchangeError: some episodes have one and others lack it, for which a table has no place.
    """
    found = []
    for topic in SHARED_TOPICS:
        having = [bool(reader.info.counts.get(topic)) for reader in readers]
        if any(having) and not all(having):
            raise InterchangeError(
                f"{readers[having.index(False)].path} has no messages on {topic}, "
                f"{readers[having.index(True)].path} has; export them apart with --index"
            )
        if all(having):
            found.append(topic)
    return tuple(found)
