"""Peak memory of a LoRA step of the `0.5b` size: four RGB-D frames, batch 1, bf16, checkpointing, on the CPU.

python -m benchmarks.bench_memory prints the peaks after each stage, the formula's prediction, and the figures
as one line of JSON. It needs 8 GB and some minutes; weights are random, which changes no size. Tensors of a
megabyte and more are mapped by themselves, so that freeing one gives its memory back; `--heap glibc` leaves
them on glibc's heap, where the holes between them cost as much again.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import resource
import time
from dataclasses import dataclass

import numpy as np
import psutil
import torch
from torch import Tensor, nn

from spatialbot_policy.action_space import ActionSpace
from spatialbot_policy.config import CameraConfig, PolicyConfig
from spatialbot_policy.depth import DepthVariant
from spatialbot_policy.model import SpatialBotForActionPrediction, SpatialBotProcessor
from spatialbot_policy.model.factory import build_model
from spatialbot_policy.model.sizes import load_size
from spatialbot_policy.model.tokenizer import train_tokenizer
from spatialbot_policy.prompt import PromptStyle, build_prompt
from spatialbot_training.parts import LoraSettings, PartsConfig, prepare_parts

SIZE, FRAMES, STEPS = "0.5b", 4, 2
PARTS = PartsConfig(vision="frozen", projector="full", language="lora", frozen_dtype="bfloat16")
LORA = LoraSettings(r=128, alpha=256.0)
INSTRUCTION = "pick up the red cup and put it on the left board"
GIB = 2**30
M_MMAP_THRESHOLD, LARGE_BLOCK = -3, 2**20  # of malloc.h


@dataclass(frozen=True)
class Prediction:
    """What a step needs, in bytes; on a GPU the same without the interpreter, plus the CUDA context.

    Attributes:
        frozen: weights that do not learn: 2 bytes each in bfloat16.
        trained: weights that learn, in float32 with gradient and two moments of AdamW: 16 bytes each.
        checkpoints: the input of every decoder layer, kept for the backward pass.
        layer: what one decoder layer keeps while it is computed again.
    """

    frozen: int
    trained: int
    checkpoints: int
    layer: int

    @property
    def total(self) -> int:
        """All of them: the peak stands in the backward pass of a layer."""
        return self.frozen + self.trained + self.checkpoints + self.layer


def predict(model: nn.Module, tokens: int) -> Prediction:
    """Prediction for prompts of L `tokens` in all, of width d, feed-forward width f and N layers.

    frozen = 2 n_frozen; trained = 16 n_trained; checkpoints = 4 N L d, since the residual stream is float32
    where the projector's output enters as float32; layer = L (78 d + 23 f). Of the last, 60 d + 20 f are a
    plain layer's: float32 norms and residuals, bfloat16 inputs and outputs of its seven linear layers. The
    other 18 d + 3 f are its adapters': each linear layer's input after dropout in bfloat16, and the mask, one
    byte a value. Scores of attention are never held: the fused kernels compute them again.
    """
    text = model.config.text_config
    width, inner, layers = text.hidden_size, text.intermediate_size, text.num_hidden_layers
    counts = {True: 0, False: 0}
    for value in model.parameters():
        counts[value.requires_grad] += value.numel()
    layer = tokens * (78 * width + 23 * inner)
    return Prediction(2 * counts[False], 16 * counts[True], 4 * layers * tokens * width, layer)


def build() -> tuple[SpatialBotForActionPrediction, SpatialBotProcessor, PolicyConfig]:
    """The size with random weights, prepared as config/train/embodied.yaml does."""
    size = load_size(SIZE)
    side = int(str(size.vision["image_size"]))
    policy = PolicyConfig((CameraConfig("camera", side, side),), depth_variant=DepthVariant.PAPER)
    tokenizer = train_tokenizer([INSTRUCTION], ActionSpace(), 512, max_length=8192)
    model, processor = build_model(size, policy, tokenizer)
    prepare_parts(model, PARTS, LORA)
    model.activation_checkpointing_enable({"use_reentrant": False})
    return model, processor, policy


def inputs_of(processor: SpatialBotProcessor, policy: PolicyConfig) -> dict[str, Tensor]:
    """One sample: four RGB-D frames of noise and an answer."""
    camera, rng = policy.cameras[0], np.random.default_rng(0)
    images = [rng.integers(0, 256, (camera.height, camera.width, 3), np.uint8) for _ in range(2 * FRAMES)]
    prompt = build_prompt(INSTRUCTION, len(images), PromptStyle.REFERENCE)
    return dict(processor([prompt], [images], np.full((1, 7), 50)))


def peak_gib() -> float:
    """Largest resident set of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--heap", choices=("mapped", "glibc"), default="mapped", help="where large tensors live"
    )
    heap = parser.parse_args().heap
    libc = ctypes.CDLL("libc.so.6")
    if heap == "mapped":
        libc.mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)
    start = peak_gib()
    model, processor, policy = build()
    built = peak_gib()
    # building made the weights in float32: give what was freed back before anything is measured
    libc.malloc_trim(0)
    resident = psutil.Process().memory_info().rss / GIB
    inputs = inputs_of(processor, policy)
    tokens = inputs["input_ids"].numel()
    optimizer = torch.optim.AdamW([value for value in model.parameters() if value.requires_grad], lr=1e-4)
    seconds = []
    for _ in range(STEPS):  # the second step has the optimizer's moments too
        began = time.monotonic()
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(**inputs, answer_logits_only=True).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append(time.monotonic() - began)
    prediction = predict(model, tokens)
    figures: dict[str, object] = {
        "heap": heap,
        "tokens in the prompt": tokens,
        "trained parameters, millions": round(prediction.trained / 16 / 1e6, 1),
        "frozen parameters, millions": round(prediction.frozen / 2 / 1e6, 1),
        "imports, GiB": round(start, 2),
        "peak after building, GiB": round(built, 2),
        "resident before the first step, GiB": round(resident, 2),
        "peak of two steps, GiB": round(peak_gib(), 2),
        "predicted without the interpreter, GiB": round(prediction.total / GIB, 2),
        **{f"predicted {part}, GiB": round(value / GIB, 2) for part, value in vars(prediction).items()},
        "seconds a step": round(seconds[-1], 1),
    }
    for name, value in figures.items():
        print(f"{name:<42} {value:>10}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
