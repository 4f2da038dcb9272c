"""Records one episode: everything goes into `000042.partial/`, which becomes `000042/` in one rename."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from spatialbot_policy.episodes import messages, topics
from spatialbot_policy.episodes.dataset import Dataset, episode_path, partial_path
from spatialbot_policy.episodes.finish import finish_episode, remove_abandoned, remove_partial
from spatialbot_policy.episodes.info import MCAP_FILE, EpisodeInfo, Outcome
from spatialbot_policy.episodes.intake import RawIntake, pack
from spatialbot_policy.episodes.join import check_join, required_topics
from spatialbot_policy.episodes.mcap_file import McapSink
from spatialbot_policy.episodes.raw import count_raw_steps
from spatialbot_policy.episodes.survey import survey
from spatialbot_policy.episodes.topics import CameraIntrinsics
from spatialbot_policy.errors import EpisodeError
from spatialbot_policy.provenance import git_commit, software_version
from spatialbot_policy.types import ActionStep, FloatArray, RgbdFrame, RobotState

_log = logging.getLogger(__name__)


class EpisodeWriter:
    """Writes one episode; use it in a `with` block and end it by `commit` or `discard`.

    A block that is left without either, by an exception for instance, leaves the `.partial` directory, from
    which `spatialbot episodes recover` makes an episode. Within a topic stamps must increase; messages of
    one step share a stamp. Workers in several processes may write different indices at once.
    """

    def __init__(
        self, dataset_dir: Path | str, index: int, info: EpisodeInfo, *, restart: bool = False
    ) -> None:
        """Claim the index and open the files.

        Args:
            dataset_dir: a data set made by `Dataset.create`.
            index: number of the episode, from 0; it must be free.
            info: instruction, family, task, seed, robot, kind and extra; the writer fills in the rest.
            restart: begin again where a crashed worker left a `.partial` of the same seed and task.

        Raises:
            EpisodeError: no data set, or the index is taken.
        """
        self._dataset = Dataset(dataset_dir)
        self._final = episode_path(self._dataset.directory, index)
        self._partial = partial_path(self._dataset.directory, index)
        self._cameras = {camera.name: camera for camera in self._dataset.info.cameras}
        self._intrinsics: dict[str, CameraIntrinsics] = {}
        self._stamps: dict[str, list[int]] = {}
        self._intake = RawIntake(self._cameras)
        self._attached: list[str] = []
        self._instruction: tuple[int, str] | None = None
        self._info = dataclasses.replace(
            info, index=index, software_version=software_version(), git_commit=git_commit()
        )
        self._required = required_topics(self._dataset.info.depth_cameras, info.kind)
        self._info.to_json()  # refuses what JSON cannot hold before anything is on disk
        self._claim(restart)
        self._info.save(self._partial, durable=False)  # of an episode that holds nothing yet
        types = topics.topic_types(tuple(self._cameras))
        types |= {topic + topics.SET_ASIDE: kind for topic, kind in types.items()}
        make = McapSink.for_raw if self._info.join_tolerance_ns else McapSink
        try:
            self._sink = make(self._partial / MCAP_FILE, types)
        except OSError as error:
            raise EpisodeError(
                f"{self._partial} cannot be written ({error.strerror}); make room on the disk, or see to the "
                "permission to write"
            ) from error

    def _claim(self, restart: bool) -> None:
        if restart and self._partial.is_dir():
            remove_abandoned(self._partial, self._info)
        try:
            self._partial.mkdir(parents=True)
        except (PermissionError, NotADirectoryError) as error:
            raise EpisodeError(
                f"{self._partial} cannot be made ({error.strerror}); see to the permission to write, or "
                "record into another data set"
            ) from error
        except FileExistsError as error:
            raise EpisodeError(
                f"{self._partial} exists: another worker writes it, or one crashed; run 'spatialbot "
                f"episodes recover {self._dataset.directory}' or take another index"
            ) from error
        if self._final.exists():  # looked at after the claim, so that no commit can come between
            self._partial.rmdir()
            raise EpisodeError(
                f"{self._final} exists; take another index (Dataset.free_index()), none is overwritten"
            )

    @property
    def path(self) -> Path:
        """Directory of the episode once it is committed."""
        return self._final

    def write_frame(self, frame: RgbdFrame, intrinsics: CameraIntrinsics) -> None:
        """Append colour, camera info and, where the frame has it, depth.

        The first frame also records the episode's instruction when none was written before.

        Raises:
            EpisodeError: the camera, its size or its depth disagree with `dataset.yaml`, the intrinsics
                change within the episode, or the stamp does not increase.
        """
        self._check_frame(frame, intrinsics)
        if self._instruction is None:
            self.write_instruction(frame.stamp_ns, self._info.instruction)
        camera, stamp_ns = frame.camera, frame.stamp_ns
        self._write(topics.color_topic(camera), stamp_ns, messages.encode_color(frame))
        if frame.depth_mm is not None:
            self._write(topics.depth_topic(camera), stamp_ns, messages.encode_depth(frame, frame.depth_mm))
        data = messages.encode_camera_info(camera, stamp_ns, intrinsics)
        self._write(topics.camera_info_topic(camera), stamp_ns, data)
        self._intrinsics[camera] = intrinsics

    def _check_frame(self, frame: RgbdFrame, intrinsics: CameraIntrinsics) -> None:
        camera = self._cameras.get(frame.camera)
        height, width = frame.color.shape[:2]
        if camera is None:
            raise EpisodeError(
                f"camera '{frame.camera}' is not in the data set, which has {sorted(self._cameras)}; rename "
                "the camera or create another data set"
            )
        if (width, height) != (camera.width, camera.height) or (frame.depth_mm is not None) != camera.depth:
            depth = "depth" if frame.depth_mm is not None else "no depth"
            raise EpisodeError(
                f"camera '{frame.camera}': got {width} x {height} with {depth}, the data set says {camera}; "
                "set the camera accordingly or create another data set"
            )
        known = self._intrinsics.get(frame.camera, intrinsics)
        if (intrinsics.width, intrinsics.height) != (width, height) or known != intrinsics:
            raise EpisodeError(
                f"camera '{frame.camera}': intrinsics {intrinsics} do not fit the {width} x {height} image "
                f"or differ from the first frame's ({known}); an episode has one set of intrinsics per "
                "camera"
            )

    def write_state(self, state: RobotState) -> None:
        """Append joints and tool pose."""
        joints, pose = messages.encode_state(state)
        self._write(topics.JOINTS_TOPIC, state.stamp_ns, joints)
        self._write(topics.POSE_TOPIC, state.stamp_ns, pose)

    def write_action(self, stamp_ns: int, action: ActionStep, executed: bool = False) -> None:
        """Append a commanded action, or the executed one, at the stamp of the observation it answers."""
        topic = topics.EXECUTED_TOPIC if executed else topics.ACTION_TOPIC
        self._write(topic, stamp_ns, messages.encode_action(stamp_ns, action))

    def write_instruction(self, stamp_ns: int, text: str) -> None:
        """Append an instruction that holds from `stamp_ns` on; for stills before the frame it belongs to."""
        if not text.strip():
            raise EpisodeError("an instruction must not be empty; pass the task in words")
        if self._instruction == (stamp_ns, text):
            return
        self._write(topics.INSTRUCTION_TOPIC, stamp_ns, messages.encode_instruction(text))
        self._instruction = (stamp_ns, text)

    def write_transforms(
        self, stamp_ns: int, transforms: Mapping[str, tuple[FloatArray, FloatArray]]
    ) -> None:
        """Append poses in the base frame: name to (3,) position in metres and (4,) quaternion x, y, z, w."""
        self._write(topics.TF_TOPIC, stamp_ns, messages.encode_transforms(stamp_ns, transforms))

    def write_raw(self, topic: str, log_ns: int, data: bytes) -> None:
        """Append one message as it was received; which of them make up a step is found when it is read.

        Args:
            topic: name in the topic contract.
            log_ns: when it was received.
            data: the message in CDR.

        Raises:
            EpisodeError: the episode is not raw (`EpisodeInfo.join_tolerance_ms`), the topic is not in the
                contract, the first message of a topic is not what the data set says, or the disk is full.
        """
        if self._info.join_tolerance_ns == 0:
            raise EpisodeError("raw messages need an EpisodeInfo whose join_tolerance_ms is more than 0")
        self._require_open()
        name, log_ns, data = self._intake.take(topic, log_ns, data)
        self._sink.write(name, log_ns, data)

    def flush_old(self) -> None:
        """Hand to the system what has waited for half a second; to be called where messages may pause.

        Raises:
            EpisodeError: the disk is full.
        """
        self._sink.flush_old()

    def attach(self, name: str, data: bytes, media_type: str = "text/plain", log_ns: int = 0) -> None:
        """Put a file into the episode, such as the robot's description; `extra` names it.

        Raises:
            EpisodeError: the disk is full.
        """
        self._require_open()
        self._sink.attach(name, media_type, data, log_ns)
        self._attached = sorted({*self._attached, name})

    @property
    def cut_off(self) -> str:
        """Why the episode ends here, as on a full disk; "" while it can be written."""
        return self._sink.cut_off

    def annotate(self, facts: Mapping[str, object]) -> None:
        """Add to the `extra` of `episode.json` what is only known at the end.

        Raises:
            EpisodeError: JSON cannot hold it.
        """
        info = dataclasses.replace(self._info, extra={**self._info.extra, **facts})
        info.to_json()
        self._info = info

    def _write(self, topic: str, stamp_ns: int, data: bytes) -> None:
        self._require_open()
        self._sink.write(topic, stamp_ns, pack(self._cameras, topic, data))
        self._stamps.setdefault(topic, []).append(stamp_ns)

    def _require_open(self) -> None:
        if self._sink.closed:
            raise EpisodeError(
                f"{self._final.name} is already committed, discarded or left; open another writer"
            )

    def commit(self, outcome: Outcome | Mapping[str, object]) -> EpisodeInfo:
        """Finish the file, write `episode.json` and rename the directory to its final name.

        Args:
            outcome: an `Outcome` or a mapping such as `{"success": False, "failure": "dropped"}`.

        Returns:
            the complete facts, as `episode.json` holds them.

        Raises:
            EpisodeError: a step lacks a message, or there is none; the `.partial` stays.
        """
        result = Outcome.of(outcome)
        self._require_open()
        self._sink.flush()  # from here on it is known what is in the file
        stamps, intrinsics = self._written()
        steps = self._count_steps(stamps, intrinsics)
        self.annotate(self._marks())
        self._sink.finish()
        chosen = {name: intrinsics[name] for name in self._cameras}
        self._info = finish_episode(self._partial, self._final, self._info, self._sink, chosen, result, steps)
        self._sink.close()
        return self._info

    def _written(self) -> tuple[Mapping[str, Sequence[int]], Mapping[str, CameraIntrinsics]]:
        """Header stamps by topic and intrinsics by camera of what is in the file."""
        raw = self._info.join_tolerance_ns > 0
        if not self._sink.cut_off:
            return (self._intake.stamps, self._intake.intrinsics) if raw else (self._stamps, self._intrinsics)
        if not raw:
            raise EpisodeError(self._sink.cut_off)
        types = topics.topic_types(tuple(self._cameras))
        try:
            found = survey(self._partial / MCAP_FILE, types, self._cameras)
        except EpisodeError as error:  # not even one chunk found room
            raise EpisodeError(self._sink.cut_off) from error
        return found.header_stamps, found.intrinsics

    def _marks(self) -> dict[str, object]:
        marks = self._intake.facts()
        if self._attached:
            marks["attachments"] = self._attached
        if self._sink.cut_off:
            marks["cut_off"] = self._sink.cut_off
        return marks

    def _count_steps(
        self, stamps: Mapping[str, Sequence[int]], intrinsics: Mapping[str, CameraIntrinsics]
    ) -> int:
        where, tolerance_ns = str(self._partial), self._info.join_tolerance_ns
        if tolerance_ns == 0:
            return check_join(stamps, self._required, self._info.kind, where)
        return count_raw_steps(stamps, self._dataset.info.depth_cameras, intrinsics, tolerance_ns, where)

    def discard(self) -> None:
        """Remove what was written; the index is free again.

        Raises:
            EpisodeError: the episode is already committed, discarded or left.
        """
        self._require_open()
        self._sink.close()
        remove_partial(self._partial)

    def __enter__(self) -> EpisodeWriter:
        """Return the writer itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave a complete file in the `.partial` directory unless the episode was committed or discarded."""
        if self._sink.closed:
            return
        self.leave()
        if error is None:
            _log.warning("%s was neither committed nor discarded", self._partial)

    def leave(self) -> None:
        """Leave a complete file in the `.partial` directory, for `spatialbot episodes recover`."""
        self._sink.finish()
        self._sink.close()
