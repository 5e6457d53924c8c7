"""What two masks share, as counts, and the scores that follow from the counts.

Counting apart from scoring lets one count serve every score, be pooled over objects, or be kept beside a table.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


@dataclass(frozen=True)
class Overlap:
    """Pixels of predicted masks P and true masks T, ignored pixels taken out of both.

    Attributes:
        intersection: int64 [...], |P ∩ T|.
        predicted: int64 [...], |P|.
        truth: int64 [...], |T|.
    """

    intersection: Tensor
    predicted: Tensor
    truth: Tensor

    @property
    def union(self) -> Tensor:
        """int64 [...], |P ∪ T|."""
        return self.predicted + self.truth - self.intersection

    def pooled(self) -> Overlap:
        """Return the counts summed over all objects, as scalars: the scores of all pixels together."""
        return Overlap(self.intersection.sum(), self.predicted.sum(), self.truth.sum())


def overlap(predicted: Tensor, truth: Tensor, ignore: Tensor | None = None) -> Overlap:
    """Count the pixels of masks and of what they share.

    The same function scores masks at original size and the low-resolution maps of training (`ignore=~valid`).

    Args:
        predicted: bool [..., H, W].
        truth: bool, broadcast against `predicted` ([N, 1, h, w] against [N, M, h, w]).
        ignore: bool, broadcast likewise ([H, W], [n, H, W]): pixels taken out of both first.

    Returns:
        Counts of the broadcast leading shape.
    """
    if ignore is not None:
        kept = ~ignore
        predicted, truth = predicted & kept, truth & kept
    shared = _count(predicted & truth)
    return Overlap(shared, _count(predicted).expand_as(shared), _count(truth).expand_as(shared))


def iou(counts: Overlap) -> Tensor:
    """Return |P ∩ T| / |P ∪ T| as float64: 1 when both are empty, 0 when one is."""
    return _ratio(counts.intersection, counts.union, counts.union == 0)


def iou_of_counts(shared: npt.ArrayLike, first: npt.ArrayLike, second: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return `iou` of masks of which only the numbers of pixels are known, as float64 of the broadcast shape.

    Args:
        shared: pixels in both masks of a pair, whole numbers.
        first: pixels of the one mask, broadcast against `shared`.
        second: pixels of the other, likewise.
    """
    counts = (torch.from_numpy(np.array(value, dtype=np.int64)) for value in (shared, first, second))
    return iou(Overlap(*counts)).numpy()


def dice(counts: Overlap) -> Tensor:
    """Return 2 |P ∩ T| / (|P| + |T|) as float64: 1 when both are empty, 0 when one is."""
    total = counts.predicted + counts.truth
    return _ratio(2 * counts.intersection, total, total == 0)


def precision(counts: Overlap) -> Tensor:
    """Return |P ∩ T| / |P| as float64; where nothing is predicted, 1 if the truth is empty, else 0."""
    return _ratio(counts.intersection, counts.predicted, counts.truth == 0)


def recall(counts: Overlap) -> Tensor:
    """Return |P ∩ T| / |T| as float64; where the truth is empty, 1 if nothing is predicted, else 0."""
    return _ratio(counts.intersection, counts.truth, counts.predicted == 0)


def _ratio(part: Tensor, whole: Tensor, one_without_whole: Tensor) -> Tensor:
    # Apple's GPUs have no float64.
    precision = torch.float32 if whole.device.type == "mps" else torch.float64
    return torch.where(whole > 0, part.to(precision) / whole.clamp(min=1), one_without_whole.to(precision))


def _count(mask: Tensor) -> Tensor:
    # Four times faster than a sum into int64; 2^31 pixels are more than any mask here has.
    return mask.flatten(-2).sum(-1, dtype=torch.int32).long()
