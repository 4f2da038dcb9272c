"""Episodes on disk: write, read and recover recordings that Foxglove and `ros2 bag` open as well.

    DATASET/dataset.yaml                  the contract: robot, cameras, action space, topics: `dataset`
    DATASET/episodes/000042/episode.mcap  standard ROS 2 messages, CDR, zstd chunks: `episode_file`
    DATASET/episodes/000042/episode.json  facts, outcome, counts, checksum: `episode_info`
    DATASET/episodes/000042.partial/      being written, or left by a crash: `episode_recovery`

This module is the entrance. Behind it, in the order data takes: `episode_topics` names topics and types,
`episode_messages` converts to and from CDR (`episode_cdr`), `episode_intake` looks at what was received and
marks what is odd (`episode_marks`), `episode_packed` compresses pictures, `episode_file` appends chunks
(`mcap_chunks`) as long as the disk has room (`disk_reserve`), `episode_writer` records and commits
(`episode_finish`), `episode_join` says which messages make one step, of a raw recording `episode_raw`, and
`episode_reader` gives observations or arrays. After a crash `episode_survey` finds what can be read and
`mcap_resume` completes the file.
"""

from spatialbot_policy.dataset import Dataset, DatasetCamera, DatasetConfig
from spatialbot_policy.episode_info import SCHEMA_VERSION, EpisodeInfo, Outcome
from spatialbot_policy.episode_join import STILLS_SPACING_NS
from spatialbot_policy.episode_reader import EpisodeArrays, EpisodeReader
from spatialbot_policy.episode_recovery import Recovery, recover
from spatialbot_policy.episode_topics import CameraIntrinsics
from spatialbot_policy.episode_writer import EpisodeWriter

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
