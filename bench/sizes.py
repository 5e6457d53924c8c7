"""Which size nano should have: networks trained from nothing for the same processor time, and what each costs in use.

    python bench/sizes.py --data ../shared/datasets --minutes 6 [--only "patch 8" hybrid]
    python bench/sizes.py --shrink 1 --minutes 120

Every candidate is nano at 256 pixels with one thing changed; "384 pixels" is nano. Each is trained by the one training
loop on the same drawn scenes, with nano's recipe of its first stages, for as many steps as its share of processor time
buys (a few steps are timed first), in a process of its own on one thread. All are shrunk alike, side and windows
divided by --shrink, so that minutes teach them something; names are of the full size, and so is what it costs to embed
an image and to decode a prompt. Scores are the mean IoU of 32 scenes kept out, the same for all, and of the first
--images photographs of each of --sets. The convolutional stem and the hybrid encoder are no Segment Anything layout and
live here alone; they begin at random in place of the patches, which in all others have nano's head start.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from protocol import machine
from segtune.adapters.scopes import train_only
from segtune.data.augment import AugmentSettings
from segtune.data.dataset import Dataset, open_dataset
from segtune.data.drawn import drawn_dataset
from segtune.data.stream import stream
from segtune.models.allocator import keep_large_blocks
from segtune.models.sam.build import build_sam
from segtune.models.sam.head_start import give_head_start
from segtune.models.sam.layers import LayerNorm2d
from segtune.models.sam.model import Sam
from segtune.models.sam.sizes import NANO, SamSizes
from segtune.runs.pretrain_data import HELD_OUT
from segtune.runs.pretrain_settings import PretrainSettings, load_pretrain_settings
from segtune.runs.validation import score_means
from segtune.segment.given import given_prompt
from segtune.segment.session import Session
from segtune.training.batches import BatchSource
from segtune.training.checkpoints import CheckpointFolder
from segtune.training.examples import ExampleSource, ViewPlan
from segtune.training.log import TrainingLog
from segtune.training.loop import Training, train
from segtune.training.processes import Processes
from segtune.training.recipe import Recipe
from segtune.training.step import PromptedMasks

BASE = replace(NANO, side=256)
CANDIDATES: dict[str, SamSizes] = {
    "256 pixels": BASE,
    "384 pixels": NANO,
    "depth 4": replace(BASE, depth=4, global_blocks=(1, 3)),
    "depth 12": replace(BASE, depth=12, global_blocks=(2, 5, 8, 11)),
    "width 128": replace(BASE, width=128, heads=4, mlp_width=512),
    "width 288": replace(BASE, width=288, heads=9, mlp_width=1152),
    "windows of 4": replace(BASE, window=4),
    "no windows": replace(BASE, global_blocks=tuple(range(BASE.depth))),
    "patch 8": replace(BASE, patch=8),
    "512 pixels": replace(BASE, side=512),
    "512 pixels, patch 32": replace(BASE, side=512, patch=32),
    "decoder 64 wide": replace(BASE, prompt_width=64, decoder_heads=2, decoder_mlp_width=256, quality_width=64),
    "decoder 256 wide": replace(BASE, prompt_width=256, decoder_heads=8, decoder_mlp_width=1024, quality_width=256),
    "convolutional stem": BASE,
    "hybrid": replace(BASE, depth=4, global_blocks=(1, 3)),
}
MODES = ("click", "box", "clicks3")
SCENES, SCENE_SIDE = 32, 256
TIMED_STEPS = 6


class ConvolutionalStem(nn.Module):
    """Halve an image again and again by overlapping convolutions, down to one token a patch (Xiao et al. 2021).

    Args:
        patch: how many pixels one token stands for, a power of two.
        width: of the tokens.
        blocks: residual depthwise blocks at each of the two coarsest scales; with them it is a hybrid's front half.
    """

    def __init__(self, patch: int, width: int, blocks: int = 0) -> None:
        super().__init__()
        halvings = patch.bit_length() - 1
        widths = [3, *(width >> (halvings - number) for number in range(1, halvings + 1))]
        layers: list[nn.Module] = []
        for number, (narrow, wide) in enumerate(itertools.pairwise(widths)):
            layers += [nn.Conv2d(narrow, wide, 3, stride=2, padding=1), LayerNorm2d(wide), nn.GELU()]
            if number >= halvings - 2:
                layers += [ResidualBlock(wide) for _ in range(blocks)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, width, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """Map pixels [B, 3, side, side] to tokens [B, h, w, width]."""
        tokens: Tensor = self.layers(pixels)
        return tokens.permute(0, 2, 3, 1)


class ResidualBlock(nn.Module):
    """A depthwise convolution and an MLP over channels, added to what came in (ConvNeXt's block)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inside = nn.Sequential(
            nn.Conv2d(width, width, 7, padding=3, groups=width), LayerNorm2d(width),
            nn.Conv2d(width, 4 * width, 1), nn.GELU(), nn.Conv2d(4 * width, width, 1),
        )  # fmt: skip

    def forward(self, maps: Tensor) -> Tensor:
        """Map [B, width, h, w] to the same shape."""
        return maps + self.inside(maps)


def main() -> None:
    """Train each candidate and print its row."""
    options = parse_arguments()
    how = f"shrunk by {options.shrink}, {options.minutes:g} minutes of one core each, seed {options.seed}"
    print(f"# Sizes, {how}\n\n{machine()}\n")
    heads = ["", "steps", *(f"scenes {mode}" for mode in MODES)]
    heads += [f"{name} {mode}" for name in options.sets for mode in MODES]
    heads += ["embed ms", "decode ms", "weights MB"]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}", flush=True)
    for name in options.only or CANDIDATES:
        # A fresh process for each: what one leaves in caches and memory must not help or hinder the next.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            print(f"| {name} | {' | '.join(pool.apply(measure, (name, options)))} |", flush=True)


def measure(name: str, options: argparse.Namespace) -> list[str]:
    """Train one candidate and return its cells."""
    torch.set_num_threads(1)
    keep_large_blocks()
    settings = recipe_of(options)
    seconds = time_a_step(build(name, settings.training.seed, options.shrink), settings)
    steps = max(1, round(60 * options.minutes / seconds))
    model = build(name, settings.training.seed, options.shrink)
    run(model, settings, steps)
    cells = [str(steps)]
    for part in (drawn_dataset(SCENES, side=SCENE_SIDE, first=HELD_OUT), *photographs(options)):
        means = score_means(model, part, modes=MODES)
        cells += [f"{means[mode]['iou']:.3f}" for mode in MODES]
    weights = sum(parameter.numel() for parameter in model.parameters()) * 2 / 1e6
    full = build(name, settings.training.seed)
    return [*cells, *(f"{1000 * value:.0f}" for value in time_in_use(full)), f"{weights:.1f}"]


def recipe_of(options: argparse.Namespace) -> PretrainSettings:
    """Return the settings of a pretraining of nano's first stages, in one process."""
    told = {
        "training.optimizer.batch": 8, "training.optimizer.micro_batch": 8, "training.prompts.corrections": 1,
        "training.prompts.refinements": 0, "training.prompts.size_weight": 1.0, "training.prompts.objects_per_image": 6,
        "training.workers": 0, "training.seed": options.seed, "training.optimizer.warmup_steps": 30,
        "training.optimizer.precision": "bf16",
    }  # fmt: skip
    return load_pretrain_settings(out="unused", overrides=[f"{key}={value}" for key, value in told.items()]).settings


def build(name: str, seed: int, shrink: int = 1) -> Sam:
    """Return a candidate with fresh weights and its head start."""
    drawn = torch.Generator().manual_seed(seed)
    named = CANDIDATES[name]
    sizes = replace(named, side=named.side // shrink, window=named.window // shrink)
    model = build_sam(sizes, generator=drawn)
    give_head_start(model, drawn)
    torch.manual_seed(seed)
    if name == "convolutional stem":
        model.image_encoder.patch_embed = ConvolutionalStem(sizes.patch, sizes.width)
    elif name == "hybrid":
        model.image_encoder.patch_embed = ConvolutionalStem(sizes.patch, sizes.width, blocks=2)
    return model


def time_a_step(model: Sam, settings: PretrainSettings) -> float:
    """Return the processor's seconds a step takes, the drawing of its scenes included."""
    run(model, settings, 2)  # what is done once only
    begun = time.process_time()
    run(model, settings, TIMED_STEPS)
    return (time.process_time() - begun) / TIMED_STEPS


def run(model: Sam, settings: PretrainSettings, steps: int) -> None:
    """Train a model for some steps, in place."""
    recipe: Recipe = settings.training.model_copy(update={"epochs": 1, "epoch_steps": steps, "steps": steps})
    scenes = drawn_dataset(recipe.optimizer.batch * steps, side=model.side)
    views = ViewPlan(AugmentSettings.none(), recipe.seed)
    images = stream([(scenes, 1.0)], len(scenes))
    source = ExampleSource(images, model.preparation, model.mask_size, views, recipe.prompts)
    train_only(model, "full")
    with tempfile.TemporaryDirectory() as folder:
        train(
            Training(
                model=model,
                objective=PromptedMasks(model, recipe),
                batches=BatchSource(source, recipe, Processes()),
                recipe=recipe,
                validate=None,
                checkpoints=CheckpointFolder(Path(folder) / "checkpoints"),
                open_log=lambda keep, step: TrainingLog(Path(folder), keep=keep, step=step),
            )
        )
    model.eval()


def photographs(options: argparse.Namespace) -> list[Dataset]:
    """Return the first images of each set; none where there is no such folder."""
    return [open_dataset(options.data / name)[: options.images] for name in options.sets]


def time_in_use(model: Sam) -> tuple[float, float]:
    """Return the medians of the processor's seconds to embed an image of 512 pixels and to decode a prompt on it."""
    image = drawn_dataset(1, side=512, first=HELD_OUT)[0].image
    embeds, decodes = [], []
    for _ in range(9):
        begun = time.process_time()
        session = Session(model, image)
        embeds.append(time.process_time() - begun)
        begun = time.process_time()
        session.decode([given_prompt(session.size, points=[(200, 200)])])
        decodes.append(time.process_time() - begun)
    return statistics.median(embeds), statistics.median(decodes)


def parse_arguments() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=6, help="of one core, a candidate")
    parser.add_argument("--shrink", type=int, default=2, help="divide sides and windows by this")
    parser.add_argument("--only", nargs="*", choices=CANDIDATES, help="these candidates")
    parser.add_argument("--data", type=Path, default=Path("../shared/datasets"))
    parser.add_argument("--sets", nargs="*", default=["voc_objects", "kvasir_seg"])
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
