"""An epoch from the cache against an epoch that encodes every image again, at a published shape with random weights.

    python bench/cache.py --images 6
    python bench/cache.py --images 6 --preset default
    python bench/cache.py --images 6 --train late:2
    python bench/cache.py --images 6 --train late:2 --base sam2
    python bench/cache.py --images 6 --precision bf16

With a frozen encoder the cache holds embeddings; where late layers train, what comes in front of them. The images are
those of the demo, nearly each with one object, as in the data the preset was made for; of many objects an image the
decoder's share grows and the ratio falls. Both sides are the same loop at the same precision, each in a process of its
own; the cached side's filling epoch is timed apart. Random weights cost what trained ones do. The processor's seconds
are less disturbed by other programs than the clock's (with OMP_NUM_THREADS=1, when no thread spins).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from protocol import machine

BASES = {"vit_b": "SAM ViT-B", "sam2": "SAM 2.1 tiny"}


def main() -> None:
    """Time both sides, in turn, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=6)
    parser.add_argument("--preset", choices=("slides", "default"), default="slides")
    parser.add_argument("--base", choices=tuple(BASES), default="vit_b")
    parser.add_argument("--train", default="decoder", help="what trains, as in segtune fit: decoder, late:2")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="of the steps, on both sides")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--side", choices=("cached", "again"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(time_side(arguments)))
        return
    found = {"cached": [], "again": []}
    for _ in range(arguments.repeats):
        for side, results in found.items():
            words = [sys.argv[0], "--images", str(arguments.images), "--preset", arguments.preset]
            words += ["--train", arguments.train, "--base", arguments.base, "--side", side]
            words += ["--precision", arguments.precision]
            done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
            results.append(json.loads(done.stdout.splitlines()[-1]))
    cached, again = (sorted(results, key=lambda one: one["epoch"])[len(results) // 2] for results in found.values())
    print(f"Preset {arguments.preset}, --train {arguments.train}, {arguments.images} images of 1024 pixels, ", end="")
    print(f"shape of {BASES[arguments.base]}, {arguments.precision}. {machine()}\n")
    print("| | s an epoch | s an image | processor s an epoch | peak GiB |\n|---|---|---|---|---|")
    for name, one in (("encoding every image again", again), ("from the cache", cached)):
        each = one["epoch"] / arguments.images
        print(f"| {name} | {one['epoch']:.1f} | {each:.2f} | {one['processor']:.1f} | {one['peak']:.2f} |")
    print(f"\nRatio {again['epoch'] / cached['epoch']:.1f}, of the processor's seconds ", end="")
    print(f"{again['processor'] / cached['processor']:.1f}. Filling took {cached['fill']:.1f} s and ", end="")
    print(f"{cached['bytes'] / arguments.images / 2**20:.2f} MiB a view.")


def draw_base(name: str):
    """Return a base of a published shape with random weights."""
    import torch

    generator = torch.Generator().manual_seed(0)
    if name == "vit_b":
        from segtune.models.sam.build import build_sam
        from segtune.models.sam.sizes import VIT_B

        return build_sam(VIT_B, generator=generator)
    from segtune.models.sam2 import LAYOUT
    from segtune.models.transformers_files import build, draw_weights

    return draw_weights(build(LAYOUT, {}), generator)  # transformers' defaults are the published tiny


def time_side(arguments: argparse.Namespace) -> dict[str, float]:
    """Train two epochs; the second is the one that counts, in the first the cached side fills its cache."""
    import resource

    from segtune.adapters.scopes import train_only
    from segtune.data.augment import AugmentSettings
    from segtune.data.drawn import drawn_dataset
    from segtune.models.allocator import keep_large_blocks
    from segtune.models.embedding_cache import EmbeddingCache
    from segtune.models.prefix import frozen_prefix
    from segtune.runs.settings import load_settings
    from segtune.training.batches import BatchSource
    from segtune.training.checkpoints import CheckpointFolder
    from segtune.training.examples import ExampleSource, ViewPlan
    from segtune.training.log import TrainingLog
    from segtune.training.loop import Training, train
    from segtune.training.processes import Processes
    from segtune.training.step import PromptedMasks

    keep_large_blocks()
    precision = f"training.optimizer.precision={arguments.precision}"
    given = load_settings(
        preset=arguments.preset, data="drawn", out="none", epochs=2, train=arguments.train, overrides=[precision]
    )
    recipe = given.settings.training.model_copy(update={"workers": 0, "patience": None})
    with tempfile.TemporaryDirectory() as place:
        model = draw_base(arguments.base)
        train_only(model, arguments.train)
        prefix, cached = frozen_prefix(model), arguments.side == "cached"
        if prefix is None:
            raise SystemExit(f"--train {arguments.train} leaves nothing of the image encoder to keep.")
        cache = EmbeddingCache.for_model(model, Path(place) / "cache", prefix=prefix) if cached else None
        views = ViewPlan(AugmentSettings.none(), 0, 1 if cached else None)
        data = drawn_dataset(arguments.images, side=1024, theme="demo")  # one object on nearly each image
        source = ExampleSource(data, model.preparation, model.mask_size, views, recipe.prompts, cache)
        marks = []

        def mark() -> dict[str, dict[str, float]]:
            marks.append((time.perf_counter(), time.process_time()))
            return {"none": {"iou": 0.0}}

        train(
            Training(
                model=model,
                objective=PromptedMasks(model, recipe, cache),
                batches=BatchSource(source, recipe, Processes()),
                recipe=recipe,
                validate=mark,
                checkpoints=CheckpointFolder(Path(place) / "checkpoints"),
                open_log=lambda keep, step: TrainingLog(Path(place), keep=keep, step=step),
            )
        )
        size = cache.size_bytes if cache is not None else 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    (began, _), (filled, before), (ended, after) = marks
    return {"fill": filled - began, "epoch": ended - filled, "processor": after - before, "peak": peak, "bytes": size}


if __name__ == "__main__":
    main()
