"""How much each object counts: more where its label is rare or its area small, and 1 on average.

A weight belongs to the object, not to the batch it comes in: the loss of a step stays the sum over its objects divided
by their number, so that processes and micro-batches add up to exactly the same gradient, and each gradient is an
unbiased estimate of that of the weighted mean over all the data. Weights made relative within each step would do
neither: in a step of one image a rare object would count as much as a common one. What keeps steps alike is that the
mean weight is 1 over the objects as training asks about them, and that none is above `LossRecipe.heaviest` times it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from segtune.core.errors import DataError
from segtune.core.progress import SILENT, Progress
from segtune.core.types import Sample
from segtune.data.dataset import Dataset
from segtune.training.recipe import LossRecipe, PromptRecipe

SURVEYED = 2000
"""Images that frequencies are taken from at most, evenly over the data set: their masks are read once."""

_POWERS = {"none": 0.0, "root_label": 0.5, "label": 1.0}


@dataclass(frozen=True)
class ObjectWeights:
    """The weight of any object by its label and its area.

    Attributes:
        labels: label → factor; a label that is not there is as rare as the rarest.
        exponent: an object weighs by the share of the image it covers to the power of minus this.
        limit: what the product of both is cut at.
        scale: makes the mean 1.
    """

    labels: Mapping[str, float]
    exponent: float
    limit: float
    scale: float

    def of(self, sample: Sample, numbers: Sequence[int]) -> Tensor:
        """Return float32 [n]: the weights of a sample's objects, none of them empty, by their numbers."""
        raw = [_raw(sample, number, self.labels, self.exponent) for number in numbers]
        return torch.tensor([min(one, self.limit) * self.scale for one in raw], dtype=torch.float32)


def weigh_objects(
    dataset: Dataset, loss: LossRecipe, prompts: PromptRecipe, progress: Progress = SILENT
) -> ObjectWeights | None:
    """Return the weights that a recipe asks for; None where all objects count alike.

    Args:
        dataset: the training part; the masks of at most `SURVEYED` of its images are read, and no image.
        loss: balance between labels and sizes.
        prompts: how often an object is asked about; of a crowd each is, but seldom.
        progress: what people see.
    """
    power, exponent = _POWERS[loss.balance], loss.small_objects
    if not power and not exponent:
        return None
    surveyed = _survey(dataset, prompts, progress)
    asked: Counter[str] = Counter()
    for sample, number, times in surveyed:
        asked[sample.labels[number]] += times  # type: ignore[assignment] # a share of a time is a float
    labels = {label: float(times) ** -power for label, times in sorted(asked.items())}
    raw = [(_raw(sample, number, labels, exponent), times) for sample, number, times in surveyed]
    if not raw:
        return None
    limit = _limit(raw, loss.heaviest)
    return ObjectWeights(labels, exponent, limit, loss.heaviest / limit)


def _limit(raw: Sequence[tuple[float, float]], heaviest: float) -> float:
    """Return what (weight, times) are to be cut at, so that it is `heaviest` times the mean of what is left of them."""
    ranked = sorted(raw, reverse=True)
    rest, cut, total = sum(weight * times for weight, times in ranked), 0.0, sum(times for _, times in ranked)
    for weight, times in ranked:
        # With all before this one cut: limit = heaviest * (rest + limit * cut) / total.
        limit = heaviest * rest / (total - heaviest * cut)
        if weight <= limit * (1 + 1e-9):
            break
        rest, cut = rest - weight * times, cut + times
    return limit


def _survey(dataset: Dataset, prompts: PromptRecipe, progress: Progress) -> list[tuple[Sample, int, float]]:
    """Return (sample, number of the object, how often a pass asks about it) of the objects that are not empty."""
    step = max(1, -(-len(dataset) // SURVEYED))
    rows = range(0, len(dataset), step)
    found = []
    with progress.stage("weighing objects", len(rows)) as advance:
        for row in rows:
            try:
                sample = dataset[row]
            except DataError:  # the training tells of it when it comes to that image
                continue
            there = [number for number, mask in enumerate(sample.objects) if mask.area]
            times = prompts.asked_of(len(there))
            found += [(sample, number, times) for number in there]
            advance(1)
    return found


def _raw(sample: Sample, number: int, labels: Mapping[str, float], exponent: float) -> float:
    height, width = sample.size
    share = sample.objects[number].area / (height * width)
    label = labels.get(sample.labels[number])
    return (max(labels.values()) if label is None else label) * float(share**-exponent)
