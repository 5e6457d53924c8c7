"""Make nano's weights: train it from nothing on drawn scenes, first small, then at its full size, and pack them.

    torchrun --nproc-per-node 2 tools/pretrain_nano.py --out runs/nano
    torchrun --nproc-per-node 2 tools/pretrain_nano.py --out runs/nano --resume --install
    torchrun --nproc-per-node 2 tools/pretrain_nano.py --out runs/more --go-on-from nano --first 44800 --install

The first stage sees scenes of half the size, where a step costs a quarter; the second goes on at nano's own, with the
position tables enlarged and more corrections. `--go-on-from` leaves the first stage out and trains a model further, on
scenes it has not seen. `--install` writes the result into the package, as segtune opens it under the name "nano".
`--optimizer adamw` and `--plain` leave out what was added last, to see what each brings.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

import torch

import segtune.models
from segtune.core.files import read_json
from segtune.data.drawn import drawn_dataset
from segtune.models.open import open_model
from segtune.models.sam.build import build_sam
from segtune.models.sam.head_start import give_head_start
from segtune.models.sam.resize import resized
from segtune.models.sam.sizes import NANO
from segtune.models.save import save_model
from segtune.runs.pretrain import Pretraining, pretrain
from segtune.runs.validation import score_means
from segtune.training.loop import score_of
from segtune.training.recipe import LossRecipe, OptimizerRecipe, PromptRecipe, Recipe

HELD_OUT = 900_000_000
"""Scenes from this seed on are for validation; training counts up from 0."""

FIRST = {"random_click": 0.3, "click": 0.1, "jittered_box": 0.3, "loose_box": 0.1, "point_box": 0.1, "mask": 0.1}

LOSS = {"bce": 0.5, "dice": 0.5}
"""From fresh weights SAM's 20 focal to 1 dice settles for empty masks: with p near 0 both have next to no slope."""


def main() -> None:
    """Train both stages and, if asked to, install the result."""
    arguments = parse_arguments()
    if arguments.go_on_from is not None:
        nano = open_model(arguments.go_on_from)
        run_stage(
            nano,
            arguments,
            "more",
            images=arguments.large_images,
            first=arguments.first,
            lr=arguments.lr,
            corrections=2,
        )
        install(nano, arguments, ["more"])
        return
    sizes = replace(NANO, side=NANO.side // 2)
    generator = torch.Generator().manual_seed(arguments.seed)
    small = build_sam(sizes, generator=generator)
    if not arguments.plain:
        give_head_start(small, generator)
    run_stage(small, arguments, "small", images=arguments.images, first=0, lr=arguments.lr, corrections=1)
    nano = resized(small, NANO.side)
    more = arguments.large_images
    run_stage(nano, arguments, "large", images=more, first=arguments.images, lr=arguments.lr / 2, corrections=2)
    install(nano, arguments, ["small", "large"])


def install(nano, arguments, stages) -> None:
    """Write the result into the package if asked to, its plan after that of the weights it went on from."""
    if not arguments.install or int(os.environ.get("RANK", "0")):
        return
    target = Path(segtune.models.__file__).parent / "nano"
    record = read_json(target / "segtune.json")["plan"] if arguments.go_on_from == "nano" else {}
    for name in stages:
        record[name if name not in record else f"{name}_{len(record)}"] = read_json(arguments.out / name / "plan.json")
    save_model(nano, target, extra={"made_by": "tools/pretrain_nano.py", "plan": record}, half=True)


def run_stage(model, arguments, name, *, images, first, lr, corrections) -> None:
    """Train one stage, or take up where it was left; a finished stage only loads its weights."""
    recipe = Recipe(
        epochs=1,
        patience=None,
        checkpoint_steps=50,
        seed=arguments.seed,
        workers=arguments.workers,
        prompts=PromptRecipe(
            first=FIRST, objects_per_image=arguments.objects, corrections=corrections, refinements=0
        ),
        loss=LossRecipe(weights=LOSS),
        optimizer=OptimizerRecipe(
            kind=arguments.optimizer, lr=lr, weight_decay=0.1, layer_decay=1.0, clip=1.0, warmup_steps=100,
            final_lr=0.02, batch=arguments.batch, micro_batch=arguments.batch, precision=arguments.precision,
        ),
    )  # fmt: skip
    out = arguments.out / name
    held_out = drawn_dataset(arguments.held_out, side=model.side, first=HELD_OUT)

    def validate():
        scores = score_means(model, held_out, modes=("click", "box", "clicks3"))
        print(
            name,
            f"{score_of(scores):.3f}",
            {mode: round(values["iou"], 3) for mode, values in scores.items()},
            flush=True,
        )
        return scores

    resume = arguments.resume and (out / "checkpoints" / "last.json").is_file()
    pretrain(
        model,
        Pretraining(images, first, model.side, recipe),
        out,
        validate=validate,
        device=arguments.device,
        resume=resume,
    )


def parse_arguments() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=28800, help="scenes of the first stage")
    parser.add_argument("--large-images", type=int, default=16000, help="scenes of the second")
    parser.add_argument("--go-on-from", metavar="MODEL", help="train this model further instead of a fresh one")
    parser.add_argument("--first", type=int, default=0, help="with --go-on-from: seed of the first scene")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--optimizer", choices=("muon", "adamw"), default="muon")
    parser.add_argument("--plain", action="store_true", help="begin with plain random weights, without the head start")
    parser.add_argument("--batch", type=int, default=16, help="images a step")
    parser.add_argument("--objects", type=int, default=8, help="objects prompted an image")
    parser.add_argument("--held-out", type=int, default=32)
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--install", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
