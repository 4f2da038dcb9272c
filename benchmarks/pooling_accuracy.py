"""What pooling the image tokens (576 to 144 or 64) costs in accuracy: three readers, alike otherwise.

`python -m benchmarks pooling_accuracy` trains them on frozen features of the shipped checkpoint's tower and
measures held-out localisation and open-loop actions. No pretrained CLIP is needed: the tower's last feature
map, which tells tool, objects and boards apart, stands for its patches. Fitted from 32 x 32 cells to 24 x 24,
a cell is 5.3 of 128 pixels; a patch of CLIP at 336 pixels is 14, the same 1/24 of the image's side. Each cell
also says where it is and how deep, as CLIP's position embeddings and the depth image do. A reader is the
project's projector and a small Qwen2 from fresh weights; it answers from the prompt's last hidden state.
All readers of a seed begin with the same weights and see the same batches for as many steps: few by default,
after which they locate but do not act yet; more with --steps. Times are the processor's own, on one thread.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.pooled_reader import LONGEST, ROWS, TEXT, Frames, Reader, choose_rows, read_frames, same_scale
from spatialbot_policy.action_space import ACTION_NAMES
from spatialbot_policy.model import load_checkpoint
from spatialbot_policy.model.checkpoint import Checkpoint
from spatialbot_policy.pipeline import build_pipeline
from spatialbot_training.episode_cache import open_store
from spatialbot_training.examples import EpisodeExamples
from spatialbot_training.localisation import localisation_errors_mm, localisation_loss

ROOT = Path(__file__).resolve().parent.parent
TOKENS = (576, 144, 64)
HELD_OUT = 320  # stills, and as many demonstrated steps


def batches(count: int, size: int, steps: int, seed: int) -> Iterator[np.ndarray]:
    """`steps` batches of places, in shuffled passes over all of them."""
    rng, left = np.random.default_rng(seed), np.zeros(0, dtype=np.int64)
    for _ in range(steps):
        if len(left) < size:
            left = np.concatenate([left, rng.permutation(count)])
        yield left[:size]
        left = left[size:]


def train_reader(reader: Reader, frames: Frames, source: EpisodeExamples, options: argparse.Namespace,
                 seed: int) -> float:  # fmt: skip
    """Train with a warm-up and a cosine; returns the median seconds of a step."""
    optimizer = torch.optim.AdamW(reader.parameters(), lr=options.rate, betas=(0.9, 0.98), weight_decay=0.01)
    warm = max(1, options.steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / warm, 0.5 + 0.5 * math.cos(math.pi * step / options.steps)),
    )
    targets, seconds, recent = frames.targets, [], []
    reader.train()
    for step, places in enumerate(batches(len(frames.rows), options.batch, options.steps, seed), start=1):
        start = time.process_time()
        acting, where = reader(frames, places, source)
        locating = localisation_loss(where, targets[places])
        optimizer.zero_grad()
        (acting + options.locate_weight * locating).backward()
        nn.utils.clip_grad_norm_(reader.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        seconds.append(time.process_time() - start)
        recent.append((acting.item(), locating.item()))
        if step % 100 == 0:
            loss, place = np.mean(recent, axis=0)
            print(
                f"  {reader.pooled or ROWS**2} tokens, seed {seed}, step {step}: {loss:.3f} {place:.3f}",
                flush=True,
            )
            recent = []
    return statistics.median(seconds)


def figures(
    bins: np.ndarray, located: np.ndarray, frames: Frames, source: EpisodeExamples
) -> dict[str, float]:
    """Medians of the localisation errors, and errors and exact bins of each dimension of the actions."""
    space = source.pipeline.action_space
    recorded = space.encode_vectors(np.asarray(frames.store.actions[frames.rows]))
    gap = np.abs(space.decode_vectors(bins) - space.decode_vectors(recorded))
    errors = localisation_errors_mm(located, frames.targets.numpy())
    report = {f"{group}_mm": errors[group] for group in ("tool", "objects", "boards")}
    for column, (name, unit) in enumerate(zip(ACTION_NAMES, ["mm"] * 3 + ["mrad"] * 3, strict=False)):
        report[f"{name}_{unit}"] = float(gap[:, column].mean()) * 1000
    report |= {
        f"{name}_exact": float((bins == recorded)[:, column].mean())
        for column, name in enumerate(ACTION_NAMES)
    }
    return report


def constant_figures(train: Frames, held_out: Frames, source: EpisodeExamples) -> dict[str, float]:
    """What blind answers get: the training frames' medians, and for exact bins the most frequent ones."""
    count, space = len(held_out.rows), source.pipeline.action_space
    recorded = space.encode_vectors(np.asarray(train.store.actions[train.rows]))
    place = np.tile(np.nanmedian(train.targets.numpy(), axis=0), (count, 1))
    frequent = np.array([np.bincount(column).argmax() for column in recorded.T])
    middle = np.median(recorded, axis=0).astype(np.int64)
    near, often = (figures(np.tile(bins, (count, 1)), place, held_out, source) for bins in (middle, frequent))
    return {name: (often if name.endswith("_exact") else near)[name] for name in near}


def main() -> None:
    """Train and measure, print a table, then the figures as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "checkpoints" / "tiny")
    parser.add_argument("--train", type=Path, default=ROOT / "datasets" / "train")
    parser.add_argument("--held-out", type=Path, default=ROOT / "datasets" / "val")
    parser.add_argument("--cache", type=Path, default=ROOT / "datasets" / ".cache", help="decoded episodes")
    parser.add_argument("--stills", type=int, default=4800, help="to learn from")
    parser.add_argument("--demos", type=int, default=1200, help="demonstrated steps to learn from")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--locate-weight", type=float, default=4.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--jobs", type=int, default=2, help="readers trained at once, a core for each")
    options = parser.parse_args()
    torch.set_num_threads(1)
    checkpoint = load_checkpoint(options.checkpoint)
    policy = checkpoint.policy
    stores = [open_store([place], policy, options.cache) for place in (options.train, options.held_out)]
    rng = np.random.default_rng(0)
    chosen = [
        choose_rows(stores[0], options.stills, options.demos, rng),
        choose_rows(stores[1], HELD_OUT, HELD_OUT, rng),
    ]
    started = time.process_time()
    train, held_out = same_scale(
        *(read_frames(checkpoint, *pair) for pair in zip(stores, chosen, strict=True))
    )
    print(
        f"features of {len(train.rows)} + {len(held_out.rows)} frames: {time.process_time() - started:.0f} s"
    )
    rows = measure(checkpoint, train, held_out, options)
    print_table(rows)
    settings = {name: getattr(options, name) for name in ("steps", "batch", "rate", "locate_weight", "seeds")}
    frames = {"train": [options.stills, options.demos], "held_out": [HELD_OUT, HELD_OUT]}
    print(json.dumps({**settings, "stills_and_demonstrated": frames, "reader": TEXT, "tokens": rows}))


def measure(
    checkpoint: Checkpoint, train: Frames, held_out: Frames, options: argparse.Namespace
) -> dict[str, list[dict[str, float]]]:
    """The figures of every seed by tokens of an image, and those of constant answers."""
    policy = replace(checkpoint.policy, history_length=1, depth_variant=None)  # one fused image in a prompt
    pipeline, tokenizer = build_pipeline(policy), checkpoint.processor.tokenizer
    tokenizer.model_max_length = LONGEST

    def one(tokens: int, seed: int) -> dict[str, float]:
        torch.manual_seed(seed)
        reader = Reader(policy, tokenizer, train.cells.shape[1], None if tokens == ROWS**2 else tokens)
        seen, asked = (EpisodeExamples(some.store, pipeline, reader.processor) for some in (train, held_out))
        seconds = train_reader(reader, train, seen, options, seed)
        loss, bins, located = reader.answer(held_out, asked)
        report = figures(bins, located, held_out, asked)
        print(f"  {tokens} tokens, seed {seed}: {json.dumps(report)}", flush=True)
        return {"step_s": seconds, "action_loss": loss, **report}

    blind = EpisodeExamples(held_out.store, pipeline, checkpoint.processor)
    rows: dict[str, list[dict[str, float]]] = {}
    for tokens, report in in_processes(one, [(tokens, seed) for seed in options.seeds for tokens in TOKENS],
                                       options.jobs):  # fmt: skip
        rows.setdefault(str(tokens), []).append(report)
    return {"constant": [constant_figures(train, held_out, blind)], **rows}


def in_processes(
    work: Callable[[int, int], dict[str, float]], cases: Sequence[tuple[int, int]], jobs: int
) -> list[tuple[int, dict[str, float]]]:
    """Each case in a process of its own, forked so that all share the features; the answers in order.

    Raises:
        RuntimeError: a process ended without an answer.
    """
    context = get_context("fork")
    waiting, running, done = list(cases), {}, {}
    while waiting or running:
        while waiting and len(running) < jobs:
            case = waiting.pop(0)
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(
                target=lambda end, case: end.send(work(*case)), args=(theirs, case), daemon=True
            )
            process.start()
            theirs.close()
            running[ours] = case
        for ours in wait(list(running)):
            case = running.pop(ours)
            try:
                done[case] = ours.recv()
            except EOFError:
                raise RuntimeError(f"the reader of {case[0]} tokens, seed {case[1]}, ended early") from None
    return [(case[0], done[case]) for case in cases]


def print_table(rows: dict[str, list[dict[str, float]]]) -> None:
    """One line for each number of tokens: means over the seeds."""
    names = list(next(reversed(rows.values()))[0])
    print(f"{'':<10}" + "".join(f"{name:>15}" for name in names))
    for tokens, seeds in rows.items():
        means = [float(np.mean([one.get(name, math.nan) for one in seeds])) for name in names]
        print(f"{tokens:<10}" + "".join(f"{mean:>15.3f}" for mean in means))


if __name__ == "__main__":
    main()
