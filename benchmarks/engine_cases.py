"""The networks that bench_engine measures: the shipped `tiny`, and `0.5b` with fresh weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.reference_loop import own_tokens, qwen_tokens
from benchmarks.scenes import INSTRUCTION
from spatialbot_policy.config import CameraConfig, PolicyConfig
from spatialbot_policy.depth import DepthVariant
from spatialbot_policy.model import build_model, build_tiny, load_size, train_tokenizer
from spatialbot_policy.model.checkpoint import Checkpoint, load_checkpoint

SHIPPED = Path(__file__).resolve().parents[1] / "checkpoints" / "tiny"


@dataclass(frozen=True)
class Case:
    """One network and how long it is measured.

    Attributes:
        name: of the case.
        source: where the weights are from.
        made: in float32.
        text_tokens: tokens of an action as free text in this size's tokenizer.
        target: how many times faster than the reference loop the engine has to be.
        warm_up: steps of each loop before the first that counts.
        turns: of all loops.
        calls: steps of a loop in one turn.
        batches: sizes of the batches whose throughput is measured.
    """

    name: str
    source: str
    made: Checkpoint
    text_tokens: int
    target: float
    warm_up: int
    turns: int
    calls: int
    batches: tuple[int, ...]


def tiny_case() -> Case:
    """The shipped checkpoint, or the same network with fresh weights: the time does not depend on them."""
    if SHIPPED.is_dir():
        made, source = load_checkpoint(SHIPPED), "checkpoints/tiny"
    else:
        policy = PolicyConfig((CameraConfig("camera", 128, 128),), depth_variant=DepthVariant.PAPER)
        torch.manual_seed(0)
        model, processor = build_tiny(policy, [f"Instruct the robot to {INSTRUCTION}"])
        made, source = Checkpoint(model.eval(), processor, policy), "fresh weights"
    return Case("tiny", source, made, own_tokens(made), 8.0, 1, 6, 20, (1, 2, 4, 8))


def half_billion_case(layers: int | None, pooled: int | None) -> Case:
    """Qwen1.5-0.5B and CLIP ViT-L/14-336 in shape; four RGB-D frames, so eight images.

    Args:
        layers: of both transformers; None for all of them. Fewer are for development alone.
        pooled: tokens of each image; None for the 576 that the tower gives.
    """
    size = load_size("0.5b")
    if layers is not None:
        clip = dict(size.vision["backbones"][0], num_hidden_layers=layers + 1)  # type: ignore[index]
        size = size.changed(text={"num_hidden_layers": layers}, vision={"backbones": [clip]})
    if pooled is not None:
        size = size.changed(vision={"pooled_tokens": pooled})
    policy = PolicyConfig((CameraConfig("camera", 336, 336),), depth_variant=DepthVariant.PAPER)
    tokenizer = train_tokenizer([INSTRUCTION], policy.action_space, 300, max_length=32768)
    torch.manual_seed(0)
    model, processor = build_model(size, policy, tokenizer)
    made = Checkpoint(model.eval(), processor, policy)
    name = "0.5b" if pooled is None else f"0.5b-{pooled}"
    source = "fresh weights" if layers is None else f"fresh weights, {layers} layers"
    return Case(name, source, made, qwen_tokens(), 4.0, 0, 2, 1, (1, 2))


CASES = ("tiny", "0.5b", "0.5b-144", "0.5b-64")


def build_case(name: str, layers: int | None) -> Case:
    """Build one of CASES."""
    if name == "tiny":
        return tiny_case()
    return half_billion_case(layers, int(name.split("-")[1]) if "-" in name else None)
