"""Guided everything mode beside the blind grid: clicks, seconds, and what of the grid's masks and the truth it finds.

    python bench/guided.py
    python bench/guided.py --model vit_b.pth --quality 0.88 --stability 0.95 --sure 0.88 --images 20

Recall is the share of the blind grid's masks that one of the guided ones equals at an IoU of .9 (.75). Where masks are
known, the mean over images of the best IoU of their objects is told, as of mode `everything`, and its difference from
the blind grid's with a paired 95 % interval. Beside them stands a blind grid with half the points along each side: what
a quarter of the clicks finds without a guide. With a model that knows where objects are (`--ideal`: the smallest three
true masks under a click, or the background) the same is told of the method apart from any model.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from protocol import machine
from segtune.core.geometry import masks_to_frame
from segtune.core.rle import RunLengths
from segtune.core.types import Embedding, MaskPrediction, Sample
from segtune.data.dataset import open_dataset
from segtune.evaluation.automatic import Found, match_masks, shared_pixels
from segtune.evaluation.statistics import Bootstrap
from segtune.evaluation.targets import draw_targets
from segtune.metrics.overlap import iou_of_counts
from segtune.models.open import open_model
from segtune.segment.crops import MaskCrop
from segtune.segment.encoding import encode_image, evaluating
from segtune.segment.everything import EverythingSettings, segment_everything

DATA = ("voc_objects", "dsb2018_nuclei", "kvasir_seg")


@dataclass
class Side:
    """What one way of clicking came to, image by image."""

    clicks: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    masks: list[int] = field(default_factory=list)
    recall: list[tuple[float, float]] = field(default_factory=list)
    best: list[float] = field(default_factory=list)


class Counted:
    """Counts the clicks that a model is asked, and answers with the truth where it is handed some."""

    def __init__(self, model) -> None:
        self.model, self.count, self.truth = model, 0, None
        self._decode, model.decode = model.decode, self.decode

    def decode(self, embedding: Embedding, prompts, multimask) -> MaskPrediction:
        """Answer."""
        self.count += len(prompts)
        if self.truth is None:
            return self._decode(embedding, prompts, multimask)
        masks, areas = self.truth
        frame = embedding.frames[0]
        cell = torch.tensor(frame.scale) * masks.shape[-1] / frame.side
        columns, rows = (prompts.points[:, 0].cpu() * cell).long().clamp(max=masks.shape[-1] - 1).T
        inside = masks[:, rows, columns].T > 0.5  # [P, n]
        order = torch.where(inside, areas, torch.inf).argsort(dim=1, stable=True)[:, :3]
        logits = torch.where(inside.gather(1, order)[..., None, None], masks[order] * 20 - 10, -10.0)
        nowhere = ~inside.any(dim=1)
        logits[nowhere, 0] = 10 - 20 * masks.amax(dim=0)
        quality = torch.where(inside.gather(1, order), 0.95, 0.0)
        quality[nowhere, 0] = 0.9
        return MaskPrediction(logits, quality, prompts.image_index, embedding.frames)


def best_of_objects(sample: Sample, masks: list[RunLengths]) -> float:
    """Return the mean over objects of the best IoU, as mode `everything` scores it."""
    ignore = sample.ignore_mask()
    crops = [MaskCrop.of_runs(mask).without(ignore).tight() for mask in masks]
    found = [Found(crop, int(crop.inside.sum()), 0.0) for crop in crops]
    scores: list[float] = []
    for targets in draw_targets(sample, ignore, (), 0):
        matched, _ = match_masks(targets, found)
        shared = [shared_pixels(target.truth, mask) for target, mask in zip(targets, matched, strict=True)]
        sizes = [int(mask.inside.sum()) for mask in matched]
        scores += iou_of_counts(shared, [target.area for target in targets], sizes).tolist()
    return float(np.mean(scores))


def overlaps(ones: list[RunLengths], others: list[RunLengths]) -> torch.Tensor:
    """Return the IoU of each with each, [n, m], on as many pixels as make about 128 along the longer side."""
    if not ones or not others:
        return torch.zeros(len(ones), len(others))
    step = max(1, max(ones[0].size) // 128)
    a, b = (
        torch.from_numpy(np.stack([one.decode()[::step, ::step].ravel() for one in some])).float()
        for some in (ones, others)
    )
    return torch.from_numpy(iou_of_counts(a @ b.T, a.sum(1)[:, None], b.sum(1)))


def recall(blind: list[RunLengths], guided: list[RunLengths]) -> tuple[float, float]:
    """Return the share of the blind masks that a guided one equals, at two levels."""
    best = overlaps(blind, guided)
    most = best.amax(dim=1) if best.numel() else torch.zeros(len(blind))
    return tuple(float((most >= level).float().mean()) for level in (0.9, 0.75))


def measure(counted: Counted, sample: Sample, ways: dict[str, EverythingSettings], sides: dict[str, Side]) -> None:
    """Segment one image in each way."""
    model, image = counted.model, sample.image
    with evaluating([model]):
        embedding = encode_image(model, image)
    if counted.truth is not None:
        truth = np.stack([mask for mask in sample.masks() if mask.any()])
        masks = masks_to_frame(torch.from_numpy(truth), embedding.frames[0], model.mask_size)
        counted.truth = masks, masks.sum(dim=(1, 2))
    blind: list[RunLengths] | None = None
    for name, settings in ways.items():
        counted.count, started = 0, time.perf_counter()
        found = [one.mask for one in segment_everything(model, image, settings, embedding=embedding)]
        side = sides[name]
        side.seconds.append(time.perf_counter() - started)
        side.clicks.append(counted.count)
        side.masks.append(len(found))
        blind = found if blind is None else blind
        if blind:
            side.recall.append(recall(blind, found))
        side.best.append(best_of_objects(sample, found))


def tell(data: str, images: int, sides: dict[str, Side]) -> None:
    """Print a row for each way."""
    first = next(iter(sides.values()))
    for name, side in sides.items():
        strict, loose = np.mean(side.recall, axis=0) if side.recall else (float("nan"),) * 2
        bootstrap = Bootstrap(np.stack([side.best, first.best], axis=1), None, seed=0)
        interval = bootstrap.interval(0, 1) if side is not first else None
        gain = f"{bootstrap.mean(0, 1):+.3f} ({interval.low:+.3f} to {interval.high:+.3f})" if interval else ""
        print(
            f"| {data}, {images} | {name} | {np.mean(side.clicks):.0f} | {np.mean(side.seconds):.2f} "
            f"| {np.mean(side.masks):.0f} | {strict:.2f} | {loose:.2f} | {np.mean(side.best):.3f} | {gain} |",
            flush=True,
        )


def main() -> None:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", default=[Path("../shared/datasets") / name for name in DATA])
    parser.add_argument("--model", default="nano")
    parser.add_argument("--images", type=int, default=6, help="of each folder, evenly spread")
    parser.add_argument("--points", type=int, default=32, help="along each side")
    parser.add_argument("--quality", type=float, default=0.2, help="pred_iou_thresh")
    parser.add_argument("--stability", type=float, default=0.6, help="stability_score_thresh")
    parser.add_argument("--sure", type=float, nargs="+", default=[0.25], help="guided_iou_thresh")
    parser.add_argument("--margin", type=float, nargs="+", default=[0.5], help="guided_margin")
    parser.add_argument("--ideal", action="store_true", help="in place of the model's answers the truth")
    arguments = parser.parse_args()
    counted = Counted(open_model(arguments.model))
    counted.truth = () if arguments.ideal else None
    base = EverythingSettings(
        points_per_side=arguments.points, pred_iou_thresh=arguments.quality, stability_score_thresh=arguments.stability
    )
    ways = {"blind": base, "blind, half a side": replace(base, points_per_side=arguments.points // 2)}
    for sure in arguments.sure:
        for margin in arguments.margin:
            guided = replace(base, guided=True, guided_iou_thresh=sure, guided_margin=margin)
            ways[f"guided, sure {sure:g}, margin {margin:g}"] = guided
    print(f"# Guided everything mode, {'the truth' if arguments.ideal else arguments.model}\n\n{machine()}\n\n{base}\n")
    print("| data, images | clicks | an image | s | masks | recall .9 | recall .75 | best IoU | against blind |")
    print("|---|---|---|---|---|---|---|---|---|")
    for data in arguments.data:
        # Whatever hangs together is an object: a whole image's nuclei at once are none.
        dataset = open_dataset(data, objects="parts")
        rows = np.linspace(0, len(dataset) - 1, min(arguments.images, len(dataset))).astype(int)
        samples = [sample for sample in (dataset[row] for row in rows) if any(one.area for one in sample.objects)]
        sides = {name: Side() for name in ways}
        for sample in samples:
            measure(counted, sample, ways, sides)
        tell(data.name, len(samples), sides)


if __name__ == "__main__":
    main()
