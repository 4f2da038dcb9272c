"""Episodes on disk: write, read and recover recordings that Foxglove and `ros2 bag` open as well.

    DATASET/dataset.yaml                  the contract: robot, cameras, action space, topics
    DATASET/episodes/000042/episode.mcap  standard ROS 2 messages, CDR, zstd chunks
    DATASET/episodes/000042/episode.json  facts, outcome, counts, checksum
    DATASET/episodes/000042.partial/      being written, or left by a crash

This module is the entrance; the package `episodes` has a file for each step behind it.
"""

from spatialbot_policy.episodes.dataset import Dataset, DatasetCamera, DatasetConfig
from spatialbot_policy.episodes.info import SCHEMA_VERSION, EpisodeInfo, Outcome
from spatialbot_policy.episodes.join import STILLS_SPACING_NS
from spatialbot_policy.episodes.reader import EpisodeArrays, EpisodeReader
from spatialbot_policy.episodes.recovery import Recovery, recover
from spatialbot_policy.episodes.topics import CameraIntrinsics
from spatialbot_policy.episodes.writer import EpisodeWriter

__all__ = [
    "SCHEMA_VERSION",
    "STILLS_SPACING_NS",
    "CameraIntrinsics",
    "Dataset",
    "DatasetCamera",
    "DatasetConfig",
    "EpisodeArrays",
    "EpisodeInfo",
    "EpisodeReader",
    "EpisodeWriter",
    "Outcome",
    "Recovery",
    "recover",
]
