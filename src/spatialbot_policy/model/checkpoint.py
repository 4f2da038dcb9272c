"""Checkpoints: written whole or not at all, and their parts checked against each other when read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers.utils import logging as hf_logging

from spatialbot_policy.config import PolicyConfig, load_yaml, save_yaml
from spatialbot_policy.conversation import plain_template
from spatialbot_policy.conversation_config import ConversationConfig, ImagePadding
from spatialbot_policy.errors import CheckpointError, ConfigError
from spatialbot_policy.model.checkpoint_agreement import check_parts
from spatialbot_policy.model.checkpoint_directory import (
    CONVERSATION,
    POLICY,
    WEIGHTS,
    find_checkpoint,
    replace_directory,
)
from spatialbot_policy.model.configuration import SpatialBotConfig
from spatialbot_policy.model.modeling import SpatialBotForActionPrediction
from spatialbot_policy.model.processor import SpatialBotProcessor
from spatialbot_policy.prompt import answer_separator

# What transformers raises on files that are damaged or of another model.
READ_ERRORS = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    RuntimeError,
    AttributeError,
    SafetensorError,
    StrictDataclassError,
)
Promise = TypeVar("Promise", PolicyConfig, ConversationConfig)


@dataclass(frozen=True)
class Checkpoint:
    """What a policy's checkpoint directory holds, checked: the parts agree with each other."""

    model: SpatialBotForActionPrediction
    processor: SpatialBotProcessor
    policy: PolicyConfig


@dataclass(frozen=True)
class ConversationCheckpoint:
    """A checkpoint to converse with.

    Attributes:
        model: in evaluation mode.
        processor: its processor.
        conversation: wording, images and depth encoding it was trained with.
        policy: its policy configuration, if it also acts.
    """

    model: SpatialBotForActionPrediction
    processor: SpatialBotProcessor
    conversation: ConversationConfig
    policy: PolicyConfig | None = None


@dataclass(frozen=True)
class CheckpointParts:
    """A checkpoint without its weights, checked: the parts agree with each other.

    Attributes:
        place: directory that was read.
        config: of the network.
        processor: with the tokenizer.
        policy: what it was trained to act with, if it was.
        conversation: what it was trained to converse with, if it was.
    """

    place: Path
    config: SpatialBotConfig
    processor: SpatialBotProcessor
    policy: PolicyConfig | None
    conversation: ConversationConfig | None


def save_checkpoint(
    directory: str | Path,
    model: SpatialBotForActionPrediction,
    processor: SpatialBotProcessor,
    policy: PolicyConfig | None = None,
    conversation: ConversationConfig | None = None,
) -> None:
    """Write a checkpoint beside its place and rename it there; other files of the place are kept.

    Args:
        directory: where it is to be.
        model: the network.
        processor: its processor.
        policy: what it was trained to act with; None for one that only converses.
        conversation: what it was trained to converse with; None for one that only acts.

    Raises:
        CheckpointError: the parts disagree, the place holds something else, or it cannot be written.
            What was there before stays as it was.
    """
    target = Path(directory)
    check_parts(model.config, processor, policy, conversation, str(target))

    def write(partial: Path) -> None:
        with quiet():
            model.save_pretrained(partial)
            processor.save_pretrained(partial)
        for name, promise in ((POLICY, policy), (CONVERSATION, conversation)):
            if promise is not None:
                save_yaml(promise, partial / name)

    replace_directory(target, write)


def load_checkpoint(
    directory: str | Path, device: str = "cpu", expected: PolicyConfig | None = None
) -> Checkpoint:
    """Read a policy's checkpoint and check that its parts agree, and that they are what the caller expects.

    Args:
        directory: config.json, model.safetensors, tokenizer and processor files, policy.yaml.
        device: where the weights go.
        expected: the robot's or simulator's own configuration, if it has one.

    Returns:
        The model in evaluation mode and float32, its processor and its policy configuration.

    Raises:
        CheckpointError: a file is missing or damaged, two parts disagree, the checkpoint knows no actions, or
            there is no such device.
    """
    _check_device(device)
    parts = read_parts(directory)
    if parts.policy is None:
        raise CheckpointError(
            f"the checkpoint {directory} can converse (it has a {CONVERSATION}), but knows no actions (no "
            f"{POLICY}); ask it with `spatialbot ask`, or train it on episodes with `spatialbot train`"
        )
    if expected is not None:
        parts.policy.check_matches(expected)
    return Checkpoint(_read_model(parts, device), parts.processor, parts.policy)


def load_conversation(directory: str | Path, device: str = "cpu") -> ConversationCheckpoint:
    """Read a checkpoint to converse with it; one that was trained on actions alone is read as well.

    A policy without conversation.yaml is asked without any wording around, with its cameras' image size.

    Raises:
        CheckpointError: a file is missing or damaged, two parts disagree, or there is no such device.
    """
    _check_device(device)
    parts = read_parts(directory)
    conversation = parts.conversation
    if conversation is None:
        conversation = _conversation_of(cast(PolicyConfig, parts.policy), parts.processor)
    return ConversationCheckpoint(_read_model(parts, device), parts.processor, conversation, parts.policy)


def read_parts(directory: str | Path) -> CheckpointParts:
    """Read everything but the weights.

    Raises:
        CheckpointError: a file is missing or damaged, or two parts disagree.
    """
    place = find_checkpoint(Path(directory))
    policy = _promise(PolicyConfig, place / POLICY)
    conversation = _promise(ConversationConfig, place / CONVERSATION)
    with quiet():
        config = cast(SpatialBotConfig, _read(place, "config.json", SpatialBotConfig))
        processor = cast(SpatialBotProcessor, _read(place, "tokenizer and processor", SpatialBotProcessor))
    check_parts(config, processor, policy, conversation, str(place))
    return CheckpointParts(place, config, processor, policy, conversation)


def _conversation_of(policy: PolicyConfig, processor: SpatialBotProcessor) -> ConversationConfig:
    camera, tokenizer = policy.cameras[0], processor.tokenizer
    return ConversationConfig(
        image_width=camera.width,
        image_height=camera.height,
        image_padding=ImagePadding.FIT,
        pad_color=(0, 0, 0),
        depth_variant=policy.depth_variant,
        template=plain_template(
            tokenizer.bos_token or "", tokenizer.eos_token, answer_separator(policy.prompt)
        ),
        max_images=policy.history_length * len(policy.cameras) * (2 if policy.depth_variant else 1),
    )


def _promise(cls: type[Promise], file: Path) -> Promise | None:
    """The configuration in the file; None if there is no such file."""
    if not file.is_file():
        return None
    try:
        return load_yaml(cls, file)
    except ConfigError as error:
        raise CheckpointError(f"{error}; take the {file.name} that was saved with the weights") from error


def _read_model(parts: CheckpointParts, device: str) -> SpatialBotForActionPrediction:
    """The network in evaluation mode and float32."""
    with quiet():
        model, report = _read(
            parts.place, WEIGHTS, SpatialBotForActionPrediction, dtype=torch.float32,
            use_safetensors=True, output_loading_info=True,
        )  # fmt: skip
    wrong = {key: sorted(map(str, names)) for key, names in report.items() if key.endswith("_keys") and names}
    if wrong:
        raise CheckpointError(
            f"{parts.place / WEIGHTS} does not fit config.json: {wrong}; copy or save it again"
        )
    model.vision_tower.to(memory_format=torch.channels_last)
    return cast(SpatialBotForActionPrediction, model.to(device).eval())


def _check_device(device: str) -> None:
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # as torch says that it has none
        reason = str(error).splitlines()[0][:80]
        raise CheckpointError(f"torch cannot use the device '{device}' ({reason}); use cpu") from error


def _read(place: Path, part: str, cls: Any, **options: Any) -> Any:
    """`cls.from_pretrained` on local files, with any failure named."""
    try:
        return cls.from_pretrained(place, local_files_only=True, **options)
    except READ_ERRORS as error:
        raise CheckpointError(
            f"cannot read {part} of the checkpoint {place}: {error}; the files are damaged or of another "
            "model: copy the checkpoint again (git lfs pull, if it came from a repository)"
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Leave out transformers' own progress bars: a few megabytes need none."""
    shown = hf_logging.is_progress_bar_enabled()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            hf_logging.enable_progress_bar()
