"""Runs a checkpoint for any number of robots: each step encodes one frame and reads one prompt."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from spatialbot_policy.config import PolicyConfig
from spatialbot_policy.errors import HistoryError, SpatialBotError
from spatialbot_policy.inference.action_decoder import ActionDecoder, not_finite
from spatialbot_policy.inference.compilation import Compiled
from spatialbot_policy.inference.fingerprint import fingerprint
from spatialbot_policy.inference.prefix import PrefixMemory, prompt_keys
from spatialbot_policy.inference.preparation import prepare
from spatialbot_policy.inference.session import FrameEmbedding, Session
from spatialbot_policy.inference.settings import EngineSettings
from spatialbot_policy.inference.stopwatch import Stopwatch
from spatialbot_policy.model.checkpoint import Checkpoint, load_checkpoint
from spatialbot_policy.pipeline import build_pipeline
from spatialbot_policy.step_timing import StepTiming
from spatialbot_policy.types import ActionChunk, IntArray, Observation, RgbdFrame

Request = tuple[Session, Observation]
DEFAULTS = EngineSettings()


@dataclass(frozen=True)
class StepAnswer:
    """What became of one request: a chunk with its bins, or an error.

    Attributes:
        chunk: the action; None when there is an error.
        bins: (dimensions,) behind it.
        error: why there is none.
        timing: of the stages; those of a batch's shared work count in full for each member.
    """

    chunk: ActionChunk | None
    bins: IntArray | None
    error: SpatialBotError | None
    timing: StepTiming

    def result(self) -> tuple[ActionChunk, IntArray]:
        """Chunk and bins.

        Raises:
            SpatialBotError: the error, where there is one instead.
        """
        if self.chunk is None or self.bins is None:
            raise self.error or HistoryError("a request has neither an answer nor an error; ask again")
        return self.chunk, self.bins


@dataclass
class _Asked:
    """One request on its way: filled from stage to stage, or left with an error."""

    session: Session
    observation: Observation
    ids: tuple[int, ...] = ()
    pixels: Tensor = field(default_factory=lambda: torch.empty(0))
    history: tuple[Observation, ...] = ()
    frames: tuple[FrameEmbedding, ...] = ()
    error: SpatialBotError | None = None
    bins: IntArray | None = None


class Engine:
    """A checkpoint ready to answer, for one robot or several at once.

    It takes the checkpoint's model over: dtype and device are changed in place. One thread at a time may ask.

    Args:
        checkpoint: model, processor and policy configuration that agree with each other.
        settings: how to run it.

    Attributes:
        config: what the checkpoint was trained with.
        fingerprint: hex SHA-256 over weights, decoding, policy.yaml and tokenizer.
        settings: as given.
    """

    def __init__(self, checkpoint: Checkpoint, settings: EngineSettings = DEFAULTS) -> None:
        self.config, self.settings = checkpoint.policy, settings
        self.fingerprint = fingerprint(checkpoint)
        self._model = prepare(checkpoint.model, settings)
        self._device = self._model.device  # which transformers looks up among all weights at each call
        self._processor = checkpoint.processor
        self._pipeline = build_pipeline(checkpoint.policy)
        parallel = None if settings.decoding == "checkpoint" else settings.decoding == "parallel"
        on_gpu = self._device.type != "cpu"
        self._decoder = ActionDecoder(self._model, parallel, settings.compile and on_gpu)
        encode = self._model.encode_images
        self._encode_images = Compiled(encode, "the vision tower") if settings.compile else encode
        self._prefix = PrefixMemory()
        self._numbers = itertools.count()

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path,
        settings: EngineSettings = DEFAULTS,
        expected: PolicyConfig | None = None,
    ) -> Engine:
        """Load a checkpoint directory.

        Args:
            path: of the directory.
            settings: how to run it.
            expected: the robot's or simulator's own configuration, if it has one.

        Raises:
            CheckpointError: a file is missing or damaged, its parts disagree, it is not what `expected` asks
                for, or there is no such device.
        """
        return cls(load_checkpoint(path, settings.device, expected), settings)

    def new_session(self) -> Session:
        """Begin to remember one more robot."""
        return Session(self.config)

    def warm_up(self) -> None:
        """Answer two made-up observations, which goes nowhere: no later answer takes longer than others."""
        session = self.new_session()
        for stamp_ns in (0, 1):
            frames = {}
            for camera in self.config.cameras:
                shape = (camera.height, camera.width)
                grey, far = np.full((*shape, 3), 128 + stamp_ns, np.uint8), np.full(shape, 1000, np.uint16)
                frames[camera.name] = RgbdFrame(camera.name, stamp_ns, grey, far)
            self.answer([(session, Observation(stamp_ns, "warm up", frames))])

    @torch.inference_mode()
    def answer(self, requests: Sequence[Request]) -> list[StepAnswer]:
        """Answer one observation of each of several sessions, in one batch.

        A refused observation is an error of its own answer alone and leaves its session as it was.

        Raises:
            HistoryError: a session comes twice in one batch.
        """
        if len({id(session) for session, _ in requests}) < len(requests):
            raise HistoryError("a session comes twice in one batch; ask for one observation after the other")
        watch = Stopwatch(self._device.type)
        asked = [_Asked(session, observation) for session, observation in requests]
        for one in asked:
            self._encode(one)
        sound = [one for one in asked if one.error is None]
        watch.lap("encode_ms")
        if sound:
            try:
                self._see(sound)
            except Exception:  # out of memory, say: no history may hold a frame that was not encoded
                for one in sound:
                    one.session.undo()
                raise
            watch.lap("vision_ms")
            self._decode(sound, watch)
        answers = [self._chunk(one) for one in asked]
        watch.lap("tokens_ms")
        timing = watch.timing()
        return [
            StepAnswer(chunk, one.bins, one.error, timing) for one, chunk in zip(asked, answers, strict=True)
        ]

    def _encode(self, one: _Asked) -> None:
        """Check an observation and take it into its history, or note why not."""
        try:
            one.ids = self._processor.prompt_ids(self._pipeline.prompt(one.observation.instruction))
            one.pixels = self._processor.stack_images(self._pipeline.encode_observation(one.observation))
            one.history = one.session.push(one.observation)
        except SpatialBotError as error:
            one.error = error

    def _see(self, asked: list[_Asked]) -> None:
        """Encode the newest images of all requests together; those that a session has just seen are known."""
        newest = {id(one): one.session.known(one.pixels) for one in asked}
        unseen = [one for one in asked if newest[id(one)] is None]
        if unseen:
            pixels = torch.cat([one.pixels for one in unseen]).to(self._device)
            embeds = self._encode_images(pixels).split(len(unseen[0].pixels))
            for one, images in zip(unseen, embeds, strict=True):
                newest[id(one)] = FrameEmbedding(next(self._numbers), one.pixels, images)
        for one in asked:
            one.frames = one.session.remember(one.history, cast(FrameEmbedding, newest[id(one)]))

    def _decode(self, asked: list[_Asked], watch: Stopwatch) -> None:
        """Read the prompts and decode their actions."""
        dimensions = self._pipeline.action_space.dimensions
        rows = self._processor.pad_rows([one.ids for one in asked])
        ids, mask = (rows[key].to(self._device) for key in ("input_ids", "attention_mask"))
        length = ids.shape[1]
        padded = None if len({len(one.ids) for one in asked}) == 1 else mask
        self._decoder.reserve(len(asked), length, dimensions)
        start, guess = 0, None
        if len(asked) == 1:
            guess = self._guess(asked[0].session)
            keys = prompt_keys(asked[0].ids, self._model.config.image_token_id, asked[0].frames)
            start = self._prefix.shared(keys) if self._decoder.keeps else 0
        self._prefix.forget()
        embeds = self._model.embed(
            ids, None, torch.cat([frame.embeds for one in asked for frame in one.frames])
        )
        logits = self._decoder.prefill(embeds[:, start:], padded, dimensions, start, guess)
        if len(asked) == 1:
            self._prefix.store(keys)
        watch.lap("prefill_ms")
        bins = self._decoder.finish(logits, padded, length, dimensions, guess)
        for one, values, finite in zip(asked, bins.values.cpu().numpy(), bins.finite.tolist(), strict=True):
            if finite:
                one.bins = one.session.bins = values
            else:
                one.error = not_finite()

    def _guess(self, session: Session) -> Tensor | None:
        """The session's last action, which the next one seldom differs from in every token."""
        if session.bins is None or not self._decoder.guesses:
            return None
        return torch.from_numpy(session.bins)[None].to(self._device)

    def _chunk(self, one: _Asked) -> ActionChunk | None:
        if one.bins is None:
            return None
        return ActionChunk(one.observation.stamp_ns, (self._pipeline.action_bins.inverse(one.bins),))
