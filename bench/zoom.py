"""What zooming on the box before segmenting gains: box IoU without and with it, on the same objects.

    python bench/zoom.py --data ../shared/datasets/kvasir_seg ../shared/datasets/dsb2018_nuclei --images 24

The tight box of each object is the prompt. IoU is at original size, a mean over the objects of an image, then over
images; intervals of the paired difference, over images (`evaluation.statistics`). Small: under 2 % of the image.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from protocol import machine
from segtune.data.dataset import open_dataset
from segtune.data.windows import ArrayWindows
from segtune.evaluation.statistics import Bootstrap
from segtune.metrics.region import mask_iou
from segtune.models.open import open_model
from segtune.segment.given import given_prompt
from segtune.segment.session import Session
from segtune.segment.zoom import ZoomSettings, segment_zoomed

SMALL = 0.02
"""Share of the image."""


def main() -> None:
    """Print a row for each data set and margin."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", default=[Path("../shared/datasets/kvasir_seg")])
    parser.add_argument("--model", default="nano")
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--objects", type=int, default=8, help="of each image at most")
    parser.add_argument("--margins", type=float, nargs="+", default=[0.25, 0.5])
    arguments = parser.parse_args()
    torch.manual_seed(0)
    model = open_model(arguments.model)
    print(f"{machine()}; {arguments.model}, the tight box of up to {arguments.objects} objects an image\n")
    print(
        "| data | objects | images | margin | IoU, whole image | IoU, zoomed | gain, 95 % interval | p | s an object |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for data in arguments.data:
        rows = measure(model, data, arguments)
        for name, chosen in (("all", rows), ("small", [row for row in rows if row[1] < SMALL])):
            for column, margin in enumerate(arguments.margins):
                if chosen:
                    print(line(f"{data.name}", name, chosen, column, margin), flush=True)


def measure(model, data: Path, arguments: argparse.Namespace) -> list[tuple]:
    """Return for each object its image, its share of it, IoU without zoom, and IoU and seconds with each margin."""
    dataset = open_dataset(data)
    rng = np.random.default_rng(0)
    rows = []
    for number in sorted(rng.permutation(len(dataset))[: arguments.images].tolist()):
        sample = dataset[number]
        image = sample.image
        chosen = rng.permutation(len(sample.objects))[: arguments.objects].tolist()
        chosen = [index for index in chosen if sample.objects[index].area]
        if not chosen:
            continue
        ignore = sample.ignore_mask()
        prompts = [given_prompt(sample.size, box=sample.objects[index].box) for index in chosen]
        plain = Session(model, image).segment_all(prompts, several=False)
        for index, prompt, answer in zip(chosen, prompts, plain, strict=True):
            truth = sample.objects[index]
            zoomed = []
            for margin in arguments.margins:
                begun = time.perf_counter()
                found = segment_zoomed(model, ArrayWindows(image), prompt, ZoomSettings(margin=margin))
                zoomed.append((iou(found.mask.decode(), truth.decode(), ignore), time.perf_counter() - begun))
            share = truth.area / (sample.size[0] * sample.size[1])
            rows.append((number, share, iou(answer.mask.array, truth.decode(), ignore), zoomed))
    return rows


def iou(mask, truth, ignore) -> float:
    """Return the house's own IoU of one mask."""
    counted = None if ignore is None else torch.from_numpy(ignore)
    return float(mask_iou(torch.from_numpy(mask)[None], torch.from_numpy(truth)[None], counted)[0])


def line(data: str, name: str, rows: list[tuple], column: int, margin: float) -> str:
    """Return a row of the table."""
    images = sorted({row[0] for row in rows})
    values = np.array(
        [np.mean([(row[2], row[3][column][0]) for row in rows if row[0] == image], axis=0) for image in images]
    )
    bootstrap = Bootstrap(values)
    interval, p = bootstrap.interval(1, 0), bootstrap.wilcoxon(1, 0)
    shown = f"({interval.low:+.3f} to {interval.high:+.3f})" if interval else ""
    seconds = np.mean([row[3][column][1] for row in rows])
    return (
        f"| {data}, {name} | {len(rows)} | {len(images)} | {margin:g} | {bootstrap.mean(0):.3f} | "
        f"{bootstrap.mean(1):.3f} | "
        f"{bootstrap.mean(1, 0):+.3f} {shown} | {'' if p is None else f'{p:.1e}'} | {seconds:.2f} |"
    )


if __name__ == "__main__":
    main()
