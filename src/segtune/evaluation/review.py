"""Labels worth a second look: objects of which a model is sure, and their label says something else.

A wrong label and a wrong model look alike in the IoU. What tells them apart is whether the model is sure: two of its
answers, to different prompts, are the same mask, and its quality head believes in both. Of two answers

    doubt = lower predicted quality × their IoU with each other × (1 − higher IoU with the label),

and an object's doubt is that of the pair that gives the most. Confident disagreement as a sign of label noise is the
idea of confident learning (Northcutt, Jiang and Chuang 2021), here without a classifier.

Prompts are drawn from the label, and a box pulls the answer to it: that is why the pair of most doubt counts and not
the mean of all. Modes that see the label's shape or correct by it (the coarse mask, further clicks) take no part.
"""

from __future__ import annotations

import csv
import heapq
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from segtune.core.files import replacing
from segtune.core.types import Sample
from segtune.evaluation.modes import Mode
from segtune.evaluation.results import Suspect
from segtune.evaluation.targets import Target
from segtune.metrics.overlap import iou, overlap
from segtune.segment.crops import MaskCrop, in_common_window

FILE = "labels_to_review.csv"

LEAST_DOUBT = 0.25
"""Doubt from which an object is listed: with quality and agreement of .8, an IoU of .61 and below."""

MOST_SUSPECTS = 200
"""Objects listed at most, those of most doubt: a list that nobody reads to its end helps nobody."""

_EXPLAINED = 0.7
"""IoU from which another label, or the label moved, is said to be what the model sees."""
_INSIDE = 0.9
"""Share of a mask within the other from which it is said to lie in it."""
_ELSEWHERE = 0.1


@dataclass(frozen=True, eq=False)
class Opinion:
    """A model's answers to one kind of prompt for the objects of a chunk.

    Attributes:
        mode: the prompt mode.
        masks: n masks.
        quality: n predicted IoUs.
        iou: float64 [n], IoU with the labels.
    """

    mode: str
    masks: Sequence[MaskCrop]
    quality: Sequence[float]
    iou: npt.NDArray[np.float64]


def gives_an_opinion(mode: Mode) -> bool:
    """Say whether a mode's answers count: those to a first click or box, which do not know the label's shape."""
    return mode.prompt is not None and not mode.corrections and mode.prompt != "mask"


def find_suspects(sample: Sample, targets: Sequence[Target], opinions: Sequence[Opinion]) -> Iterator[Suspect]:
    """Yield the objects of a chunk that a model doubts; none where fewer than two kinds of prompt were answered.

    Args:
        sample: the image.
        targets: the chunk's objects.
        opinions: the model's answers to different prompts.
    """
    for row, target in enumerate(targets):
        # Most objects end here: of answers that are like the label no pair can be in doubt.
        apart = [one for one in opinions if 1 - one.iou[row] >= LEAST_DOUBT and one.masks[row].inside.any()]
        pairs = [_Pair.of(row, *two) for two in combinations(apart, 2)]
        best = max(pairs, key=lambda pair: pair.doubt, default=None)
        if best is not None and best.doubt >= LEAST_DOUBT:
            reason = _explain(sample, target, best.first.masks[row])
            yield Suspect(
                sample.name, target.index, sample.labels[target.index], best.first.mode, best.second.mode,
                round(best.iou, 4), round(best.quality, 4), round(best.agreement, 4), round(best.doubt, 4), reason,
            )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Pair:
    """Two answers for one object, that of higher predicted quality first."""

    first: Opinion
    second: Opinion
    iou: float
    quality: float
    agreement: float

    @classmethod
    def of(cls, row: int, *two: Opinion) -> _Pair:
        """Compare two opinions on an object."""
        second, first = sorted(two, key=lambda one: one.quality[row])
        quality = min(max(float(second.quality[row]), 0.0), 1.0)
        agreement = _iou(first.masks[row], second.masks[row])
        return cls(first, second, float(max(first.iou[row], second.iou[row])), quality, agreement)

    @property
    def doubt(self) -> float:
        """What objects are ranked by."""
        return self.quality * self.agreement * (1 - self.iou)


@dataclass
class SuspectList:
    """Keeps those of most doubt, `MOST_SUSPECTS` at most."""

    _heap: list[tuple[float, int, Suspect]] = field(default_factory=list)
    _seen: int = 0

    def add(self, suspects: Sequence[Suspect]) -> None:
        """Add some."""
        for one in suspects:
            self._seen += 1
            # Of equal doubt the one that came first stays: lists of two runs are the same.
            heapq.heappush(self._heap, (one.doubt, -self._seen, one))
            if len(self._heap) > MOST_SUSPECTS:
                heapq.heappop(self._heap)

    def ranked(self) -> tuple[Suspect, ...]:
        """Return them by falling doubt."""
        return tuple(one for *_, one in sorted(self._heap, key=lambda entry: entry[:2], reverse=True))


def write_suspects(path: Path, suspects: Sequence[Suspect]) -> None:
    """Write them as CSV, those of most doubt first; a file of its head alone where there are none."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["rank", *(column.name for column in fields(Suspect))])
        writer.writeheader()
        writer.writerows({"rank": rank, **asdict(one)} for rank, one in enumerate(suspects, start=1))


def _explain(sample: Sample, target: Target, answer: MaskCrop) -> str:
    """Say in what way the label differs from the answer, the most telling first."""
    label = target.truth
    others = [number for number in range(len(sample.objects)) if number != target.index]
    if any(_iou(MaskCrop.of_runs(sample.objects[number]), answer) >= _EXPLAINED for number in others):
        return "the model sees what another label of the image marks"
    common = _common(label, answer)
    if common.shared >= _INSIDE * common.label:
        return "the label marks only a part of what the model sees"
    if common.shared >= _INSIDE * common.answer:
        return "the label marks more than the model sees"
    if _iou(_moved_onto(label, answer), answer) >= _EXPLAINED:
        return "the label seems shifted"
    if common.shared < _ELSEWHERE * common.either:
        return "the model sees something else than what is marked"
    return "the outlines differ"


@dataclass(frozen=True)
class _Common:
    shared: int
    either: int
    label: int
    answer: int


def _common(label: MaskCrop, answer: MaskCrop) -> _Common:
    one, other, _, _ = in_common_window(label, answer)
    return _Common(*(int(np.count_nonzero(mask)) for mask in (one & other, one | other, one, other)))


def _moved_onto(label: MaskCrop, answer: MaskCrop) -> MaskCrop:
    """Return the label moved so that its centre of mass lies on the answer's, as far as the image goes."""
    # Of each mask y, x.
    here, there = (np.argwhere(mask.inside).mean(axis=0) + np.array([mask.top, mask.left]) for mask in (label, answer))
    down, right = np.rint(there - here).astype(int).tolist()
    height, width = label.size
    top, left = label.top + down, label.left + right
    inside = label.inside[max(0, -top) : max(0, height - top), max(0, -left) : max(0, width - left)]
    return MaskCrop(label.size, max(0, top), max(0, left), inside).tight()


def _iou(one: MaskCrop, other: MaskCrop) -> float:
    first, second, _, _ = in_common_window(one, other)
    return float(iou(overlap(torch.from_numpy(first)[None], torch.from_numpy(second)[None]))[0])
