"""What test-time augmentation and mask clean-up gain: one model in the matrix as it is, with each view, each clean-up.

    python bench/refine.py --sets kvasir_seg dsb2018_nuclei magnetic_tile --images 40

Each folder below --data is a data set as `segtune check` takes it. The plain row has mean IoU, each other row the gain
over it on the same images and prompts, with its paired 95 % interval over images, or over groups where they are known;
bold where the interval leaves 0 out. It is what `segtune evaluate --tta ... --refine ...` tells of one of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from protocol import machine

if TYPE_CHECKING:
    from segtune.evaluation.results import Difference

PLAIN = "plain"

SETS = ("kvasir_seg", "dsb2018_nuclei", "magnetic_tile")
CLEANUPS = ("largest", "holes=100", "specks=100", "opening=2", "closing=2", "smooth=2")


def main() -> None:
    """Print a table for each data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/datasets"))
    parser.add_argument("--sets", nargs="*", default=SETS)
    parser.add_argument("--images", type=int, default=40, help="the first so many of each set")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--modes", nargs="*", default=["click", "clicks3", "box"])
    parser.add_argument("--tta", nargs="*", default=["flip", "flips", "scale", "jitter"], help="views, one row each")
    parser.add_argument("--refine", nargs="*", default=CLEANUPS, help="clean-ups, one row each")
    arguments = parser.parse_args()

    from segtune.data.dataset import open_dataset
    from segtune.models.allocator import keep_large_blocks
    from segtune.models.open import open_model

    keep_large_blocks()
    model = open_model(arguments.model)
    print(f"{machine()}; {arguments.model}, first {arguments.images} images of each set\n")
    for name in arguments.sets:
        dataset = open_dataset(arguments.data / name)[: arguments.images]
        print(f"| {name} | {' | '.join(arguments.modes)} |\n|{'---|' * (len(arguments.modes) + 1)}")
        for row in score(model, dataset, arguments):
            print(f"| {' | '.join(row)} |", flush=True)
        print()


def score(model, dataset, arguments: argparse.Namespace) -> Iterator[list[str]]:
    """Yield the rows of one data set."""
    from segtune.evaluation.matrix import evaluate
    from segtune.segment.refine import parse_cleanup
    from segtune.segment.views import averaged

    models = {PLAIN: model} | {view: averaged(model, [view]) for view in arguments.tta}
    models |= dict.fromkeys(arguments.refine, model)
    cleanups = {way: parse_cleanup(way) for way in arguments.refine}
    # Of the plain one, so that it comes against each other in the differences.
    result = evaluate(models, dataset, modes=arguments.modes, baselines=False, cleanups=cleanups, subject=PLAIN)
    means = result.means(PLAIN)
    yield ["plain, IoU", *(f"{means[mode]['iou']:.3f}" for mode in arguments.modes)]
    less = {(one.against, one.mode): one for one in result.differences if one.metric == "iou"}
    for way in [*arguments.tta, *arguments.refine]:
        yield [way, *(gain(less[way, mode]) for mode in arguments.modes)]


def gain(less: Difference) -> str:
    """Say what another way gains over the plain one, given what the plain one gains over it."""
    told = f"{-less.mean:+.3f}"
    if less.low is None:
        return told
    return f"{f'**{told}**' if less.better or less.worse else told} ({-less.high:+.3f} to {-less.low:+.3f})"


if __name__ == "__main__":
    main()
