"""What pooling the image tokens (576 to 144 or 64) saves: prefill and decoding of the `0.5b` architecture.

python -m benchmarks.bench_pooling prints a table, then the figures as one line of JSON. The layers are the
published ones in shape, with fresh weights; there are fewer of them, and a small vocabulary, so that it runs
on a CPU. Times grow in proportion to the layers, so the ratios are those of the whole model. The times are
the processor's own: with one thread that is what a quiet machine takes, whatever else runs on this one.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from spatialbot_policy.config import CameraConfig, PolicyConfig
from spatialbot_policy.depth import DepthVariant
from spatialbot_policy.model import SpatialBotForActionPrediction, build_model, load_size, train_tokenizer
from spatialbot_policy.model.sizes import ModelSize
from spatialbot_policy.prompt import build_prompt

SIZE = "0.5b"
POOLINGS = (None, 144, 64)
INSTRUCTION = "pick up the red cup and put it on the left board"
BYTES_PER_VALUE = 2  # of a bfloat16 cache


@dataclass
class Case:
    """One pooling: its network, the prompt of four RGB-D frames, and the times that were measured."""

    tokens_per_image: int
    model: SpatialBotForActionPrediction
    inputs: dict[str, Tensor]
    tower_ms: list[float]
    prefill_ms: list[float]
    token_ms: list[float]


def build_case(size: ModelSize, policy: PolicyConfig, layers: int, pooled: int | None) -> Case:
    """The size with `layers` layers in both transformers, and a prompt with its frames' embeddings."""
    vision = dict(size.vision)
    clip = dict(vision["backbones"][0], num_hidden_layers=layers + 1)  # the last one is not read
    small = size.changed(
        text={"num_hidden_layers": layers, "vocab_size": 512},
        vision={"backbones": [clip], "pooled_tokens": pooled},
    )
    tokenizer = train_tokenizer([INSTRUCTION], policy.action_space, 300, max_length=32768)
    torch.manual_seed(0)
    model, processor = build_model(small, policy, tokenizer)
    images = 2 * policy.history_length
    inputs = dict(processor(build_prompt(INSTRUCTION, images, policy.prompt)))
    tokens = model.config.vision_config.tokens_per_image
    inputs["image_embeds"] = torch.randn(images, tokens, model.config.text_config.hidden_size)
    return Case(tokens, model.eval(), inputs, [], [], [])


@torch.inference_mode()
def measure(case: Case, frame: Tensor) -> None:
    """One step: the newest frame through the tower, the whole prompt, and one more token."""
    start = time.process_time()
    case.model.encode_images(frame)
    seen = time.process_time()
    output = case.model(**case.inputs, use_cache=True, logits_to_keep=1)
    read = time.process_time()
    mask = case.inputs["attention_mask"]
    mask = torch.cat([mask, mask.new_ones(1, 1)], dim=1)
    token = output.logits[:, -1].argmax(dim=1, keepdim=True)
    case.model(input_ids=token, attention_mask=mask, past_key_values=output.past_key_values, use_cache=True)
    end = time.process_time()
    for times, seconds in (
        (case.tower_ms, seen - start),
        (case.prefill_ms, read - seen),
        (case.token_ms, end - read),
    ):
        times.append(seconds * 1e3)


def summary(case: Case, first: Case, size: ModelSize) -> dict[str, float]:
    """Medians, how much faster the prefill is than without pooling, and the whole size's cache."""
    prompt = case.inputs["input_ids"].shape[1]
    layers, width = int(str(size.text["num_hidden_layers"])), int(str(size.text["hidden_size"]))
    prefill = statistics.median(case.prefill_ms)
    return {
        "prompt_tokens": prompt,
        "tower_ms": statistics.median(case.tower_ms),
        "prefill_ms": prefill,
        "token_ms": statistics.median(case.token_ms),
        "prefill_speedup": statistics.median(first.prefill_ms) / prefill,
        "cache_mb_full_depth": 2 * prompt * layers * width * BYTES_PER_VALUE / 1e6,
    }


def main() -> None:
    """Print the table and the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--layers", type=int, default=2, help="layers of both transformers")
    parser.add_argument("--repeats", type=int, default=3, help="steps of each pooling, taken in turns")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    size = load_size(SIZE)
    policy = PolicyConfig(
        cameras=(CameraConfig("camera", 336, 336),), depth_variant=DepthVariant.PAPER, history_length=4
    )
    cases = [build_case(size, policy, arguments.layers, pooled) for pooled in POOLINGS]
    frame = torch.randint(0, 256, (2, 3, 336, 336), dtype=torch.uint8)
    for case in cases:
        measure(case, frame)  # warm up
        case.tower_ms, case.prefill_ms, case.token_ms = [], [], []
    for _ in range(arguments.repeats):
        for case in cases:
            measure(case, frame)
    results = {str(case.tokens_per_image): summary(case, cases[0], size) for case in cases}
    print(f"{SIZE} with {arguments.layers} layers, 8 images (4 RGB-D frames), float32, one thread")
    print(f"{'per image':<10}{'prompt':>8}{'tower ms':>10}{'prefill ms':>12}{'token ms':>10}{'speed-up':>10}")
    for tokens, row in results.items():
        print(
            f"{tokens:<10}{row['prompt_tokens']:>8}{row['tower_ms']:>10.0f}{row['prefill_ms']:>12.0f}"
            f"{row['token_ms']:>10.1f}{row['prefill_speedup']:>9.1f}x"
        )
    print(json.dumps({"size": SIZE, "layers": arguments.layers, "threads": 1, "image_tokens": results}))


if __name__ == "__main__":
    main()
