"""Everything that can be wrong with an episode of a data set, found without keeping it in memory."""

from __future__ import annotations

from spatialbot_policy.episodes.dataset import Dataset
from spatialbot_policy.episodes.info import INFO_FILE, EpisodeInfo
from spatialbot_policy.episodes.topics import depth_topic
from spatialbot_policy.errors import SpatialBotError


def problems_of(dataset: Dataset, index: int) -> list[str]:
    """Check one episode against the data set's contract, its own facts and its checksum, down to messages.

    Returns:
        a sentence for each problem; none for a good episode.
    """
    try:
        reader = dataset.episode(index)
        found = _breaches(dataset, index, reader.info)
    except SpatialBotError as error:
        return [str(error)]
    try:
        reader.verify()
    except (SpatialBotError, OSError) as error:
        found.append(str(error))
    return found


def _breaches(dataset: Dataset, index: int, info: EpisodeInfo) -> list[str]:
    """Where an episode does not keep to the contract or to its folder's name."""
    found = []
    if info.index != index:
        found.append(
            f"{INFO_FILE} says it is episode {info.index}: its folder was renamed or copied by hand; "
            "'spatialbot episodes merge' numbers copies"
        )
    cameras = {camera.name: camera for camera in dataset.info.cameras}
    if list(info.intrinsics) != list(cameras):
        found.append(f"it has the cameras {list(info.intrinsics)}, the data set {list(cameras)}")
    for name, view in info.intrinsics.items():
        camera = cameras.get(name)
        if camera is None:
            continue
        if (view.width, view.height) != (camera.width, camera.height):
            found.append(f"camera '{name}' is {view.width} x {view.height}, the data set says {camera}")
        has_depth = bool(info.counts.get(depth_topic(name)))
        if has_depth != camera.depth:
            delivers = "depth" if has_depth else "no depth"
            found.append(f"camera '{name}' has {delivers}, the data set says {camera}")
    return found
