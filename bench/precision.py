"""A training step in bf16 against one in fp32: how long each takes, for what trains of which model.

    python bench/precision.py [--device cuda] [--steps 5] [--only nano]

The gradient of one micro-batch of drawn scenes by the recipe's defaults, as `segtune fit` takes it, decoder alone with
what the frozen encoder makes at hand, as the cache has it. The two take turns; seconds are the processor's on one
thread without a GPU, the clock's on one, and the ratio is that of their medians. Weights of what has no packaged ones
are random: a product takes as long whatever it multiplies.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

from protocol import machine
from segtune.adapters.scopes import train_only
from segtune.data.augment import AugmentSettings
from segtune.data.drawn import drawn_dataset
from segtune.models.allocator import keep_large_blocks
from segtune.models.embedding_cache import EmbeddingCache
from segtune.models.family import PromptableModel
from segtune.models.open import open_model
from segtune.models.prefix import frozen_prefix
from segtune.models.sam.build import build_sam
from segtune.models.sam.sizes import SIZES
from segtune.runs.pretrain_data import HELD_OUT
from segtune.training.batches import Batch, BatchSource
from segtune.training.examples import ExampleSource, ViewPlan
from segtune.training.processes import Processes
from segtune.training.recipe import Recipe
from segtune.training.step import PromptedMasks

CASES = (
    ("nano", "full"), ("nano", "late:4"), ("nano", "lora:r=8,in=encoder+decoder"), ("nano", "decoder"),
    ("vit_b", "late:2"), ("vit_b", "decoder"),
)  # fmt: skip


def main() -> None:
    """Print a row a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=5, help="of each precision that are timed, after one that is not")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--only", nargs="+", help="bases")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_large_blocks()
    print(f"{machine()}, device {options.device}\n")
    print("| base | trains | fp32, s | bf16, s | times |\n|---|---|---|---|---|")
    for base, scope in CASES:
        if not options.only or base in options.only:
            fp32, bf16 = (statistics.median(times) for times in seconds(base, scope, options))
            print(f"| {base} | {scope} | {fp32:.2f} | {bf16:.2f} | {fp32 / bf16:.2f} |", flush=True)


def seconds(base: str, scope: str, options: argparse.Namespace) -> tuple[list[float], list[float]]:
    """Return what each timed step took, in fp32 and in bf16."""
    model = open_base(base).to(options.device)
    train_only(model, scope, seed=0)
    recipe = Recipe.model_validate({"workers": 0, "optimizer": {"batch": options.batch}})
    precisions = ("fp32", "bf16")
    with tempfile.TemporaryDirectory() as folder:
        prefix = frozen_prefix(model)
        cache = prefix and EmbeddingCache.for_model(model, Path(folder), prefix=prefix)
        scenes = drawn_dataset(options.batch, first=HELD_OUT)
        source = ExampleSource(
            scenes, model.preparation, model.mask_size, ViewPlan(AugmentSettings(), 0, 1), recipe.prompts, cache
        )
        batches = BatchSource(source, recipe, Processes())
        objectives = [PromptedMasks(model, with_precision(recipe, precision), cache) for precision in precisions]
        taken: tuple[list[float], list[float]] = ([], [])
        for step in range(options.steps + 1):
            for objective, times in zip(objectives, taken, strict=True):
                # Read anew: what the first step kept of the frozen part is there for the others.
                (batch,) = next(iter(batches.epoch(1)))
                spent = timed(objective, batch, model, options.device)
                times += [spent] if step else []
        return taken


def timed(objective: PromptedMasks, batch: Batch, model: PromptableModel, device: str) -> float:
    """Return the seconds of one gradient."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    model.zero_grad(set_to_none=True)
    settle(device)
    begun = clock()
    objective.accumulate(batch, objects=len(batch.prompts), step=1)
    settle(device)
    return clock() - begun


def settle(device: str) -> None:
    """Return when a GPU has done what it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def open_base(base: str) -> PromptableModel:
    """Return the packaged base, or one of a published shape with random weights."""
    torch.manual_seed(0)
    return (build_sam(SIZES[base]) if base in SIZES and base != "nano" else open_model(base)).train()


def with_precision(recipe: Recipe, precision: str) -> Recipe:
    """Return the recipe with another precision."""
    return recipe.model_copy(update={"optimizer": recipe.optimizer.model_copy(update={"precision": precision})})


if __name__ == "__main__":
    main()
