"""Checkpoint directories: written whole or not at all, and checked against each other when read."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers.utils import logging as hf_logging

from spatialbot_policy.config import PolicyConfig, load_yaml, save_yaml
from spatialbot_policy.errors import CheckpointError, ConfigError
from spatialbot_policy.model.configuration import SpatialBotConfig
from spatialbot_policy.model.modeling import SpatialBotForActionPrediction
from spatialbot_policy.model.processor import SpatialBotProcessor

WEIGHTS = "model.safetensors"
POLICY = "policy.yaml"
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
FILES = ("config.json", WEIGHTS, "processor_config.json", "tokenizer.json", "tokenizer_config.json", POLICY)


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint directory holds, checked: the parts agree with each other."""

    model: SpatialBotForActionPrediction
    processor: SpatialBotProcessor
    policy: PolicyConfig


def save_checkpoint(
    directory: str | Path,
    model: SpatialBotForActionPrediction,
    processor: SpatialBotProcessor,
    policy: PolicyConfig,
) -> None:
    """Write a checkpoint beside its place and rename it there; other files of the place are kept.

    Raises:
        CheckpointError: the parts disagree, the place holds something else, or it cannot be written.
            What was there before stays as it was.
    """
    target = Path(directory)
    _check_agreement(model.config, processor, policy, str(target))
    if target.exists() and not _replaceable(target):
        raise CheckpointError(f"{target} exists and is no checkpoint; choose another directory or remove it")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.partial-", dir=target.parent))
        try:
            with _quiet():
                model.save_pretrained(partial)
                processor.save_pretrained(partial)
            save_yaml(policy, partial / POLICY)
            if target.exists():
                _keep_other_files(target, partial)
            _settle(partial)
            _swap(partial, target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise CheckpointError(
            f"cannot write the checkpoint {target}: {error}; check space and permissions"
        ) from error


def load_checkpoint(
    directory: str | Path, device: str = "cpu", expected: PolicyConfig | None = None
) -> Checkpoint:
    """Read a checkpoint and check that its parts agree, and that they are what the caller expects.

    Args:
        directory: config.json, model.safetensors, tokenizer and processor files, policy.yaml.
        device: where the weights go.
        expected: the robot's or simulator's own configuration, if it has one.

    Returns:
        The model in evaluation mode and float32, its processor and its policy configuration.

    Raises:
        CheckpointError: a file is missing or damaged, two parts disagree, or there is no such device.
    """
    _check_device(device)
    place = _find(Path(directory))
    try:
        policy = load_yaml(PolicyConfig, place / POLICY)
    except ConfigError as error:
        raise CheckpointError(f"{error}; take the policy.yaml that was saved with the weights") from error
    if expected is not None:
        policy.check_matches(expected)
    with _quiet():
        config = cast(SpatialBotConfig, _read(place, "config.json", SpatialBotConfig))
        processor = cast(SpatialBotProcessor, _read(place, "tokenizer and processor", SpatialBotProcessor))
        _check_agreement(config, processor, policy, str(place))
        model, report = _read(
            place, WEIGHTS, SpatialBotForActionPrediction, dtype=torch.float32,
            use_safetensors=True, output_loading_info=True,
        )  # fmt: skip
    wrong = {key: sorted(map(str, names)) for key, names in report.items() if key.endswith("_keys") and names}
    if wrong:
        raise CheckpointError(f"{place / WEIGHTS} does not fit config.json: {wrong}; copy or save it again")
    model.vision_tower.to(memory_format=torch.channels_last)
    return Checkpoint(model.to(device).eval(), processor, policy)


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


def _find(directory: Path) -> Path:
    """The directory that holds the checkpoint; the previous one if a save was interrupted midway."""
    place = directory
    if not directory.exists() and _previous(directory).exists():
        place = _previous(directory)
    if not place.is_dir():
        raise CheckpointError(
            f"there is no checkpoint directory {directory} (in {Path.cwd()}); check the path or run training"
        )
    missing = [name for name in FILES if not (place / name).is_file()]
    if missing:
        pickled = sorted(file.name for pattern in ("*.bin", "*.pt", "*.pth") for file in place.glob(pattern))
        hint = f" ({pickled[0]} is pickled and is not read; convert it to {WEIGHTS})" if pickled else ""
        raise CheckpointError(
            f"the checkpoint {directory} lacks {', '.join(missing)}{hint}; copy it whole, or save it again "
            "with spatialbot_policy.model.save_checkpoint"
        )
    return place


def _check_agreement(
    config: SpatialBotConfig, processor: SpatialBotProcessor, policy: PolicyConfig, where: str
) -> None:
    """Compare what config.json, the tokenizer and policy.yaml say of the same thing."""
    tower, tokenizer = config.vision_config, processor.tokenizer
    variant = None if policy.depth_variant is None else policy.depth_variant.value
    cameras = [f"{camera.name} {camera.width}x{camera.height}" for camera in policy.cameras]
    pairs: dict[str, tuple[object, object]] = {
        "action bins of config.json and policy.yaml": (config.action_bins, policy.action_space.bins),
        "depth variant of config.json and policy.yaml": (tower.depth_variant, variant),
        "cameras of config.json and policy.yaml": (config.cameras or cameras, cameras),
        "history length of config.json and policy.yaml": (
            config.history_length or policy.history_length,
            policy.history_length,
        ),
        "kind of action of config.json and policy.yaml": (
            config.action_kind or policy.action_space.kind,
            policy.action_space.kind,
        ),
        "action tokens of config.json and the tokenizer": (config.action_bins, processor.action_bins),
        "first action token of config.json and the tokenizer": (
            config.first_action_token_id,
            processor.first_action_token_id,
        ),
        "image token of config.json and the tokenizer": (
            config.image_token_id,
            tokenizer.convert_tokens_to_ids("<image>"),
        ),
        "tokens per image of config.json and processor_config.json": (
            tower.tokens_per_image,
            processor.tokens_per_image,
        ),
        "vocabulary of config.json and the tokenizer": (
            max(config.text_config.vocab_size, len(tokenizer)),
            config.text_config.vocab_size,
        ),
    }
    wrong = [f"{what}: {first} and {second}" for what, (first, second) in pairs.items() if first != second]
    if wrong:
        raise CheckpointError(
            f"the parts of the checkpoint {where} disagree: {'; '.join(wrong)}. Take all files from one "
            "save, or train with one policy configuration"
        )


def _replaceable(target: Path) -> bool:
    return target.is_dir() and ((target / "config.json").is_file() or not any(target.iterdir()))


def _keep_other_files(source: Path, partial: Path) -> None:
    """Copy what the save did not write, such as a model card, but no weights of another form."""
    for item in source.iterdir():
        copy = partial / item.name
        if copy.exists() or item.name.endswith((".safetensors", ".index.json")):
            continue
        if item.is_dir():
            shutil.copytree(item, copy, symlinks=True)
        else:
            shutil.copy2(item, copy, follow_symlinks=False)


def _settle(partial: Path) -> None:
    """Make the files readable as usual and bring them to the disk before the rename."""
    partial.chmod(0o755)
    for file in (partial / name for name in FILES):
        file.chmod(0o644)
        with file.open("rb") as stream:
            os.fsync(stream.fileno())


def _previous(target: Path) -> Path:
    return target.with_name(f".{target.name}.previous")


def _swap(partial: Path, target: Path) -> None:
    """Rename the new directory into its place; whatever happens, one whole checkpoint remains."""
    previous = _previous(target)
    if target.exists():
        shutil.rmtree(previous, ignore_errors=True)
        target.rename(previous)
    try:
        partial.rename(target)
    except OSError:
        if previous.exists():
            previous.rename(target)
        raise
    shutil.rmtree(previous, ignore_errors=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out transformers' own progress bars: a few megabytes need none."""
    shown = hf_logging.is_progress_bar_enabled()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            hf_logging.enable_progress_bar()
