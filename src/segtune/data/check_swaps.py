"""Masks of the same size that were exchanged: found where two masks follow each other's image and not their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segtune.core.errors import DataError
from segtune.core.rle import BoolMask
from segtune.core.types import Sample
from segtune.data.check_files import Swap
from segtune.data.check_measure import Measured
from segtune.data.check_outline import Outline, Slopes, fit_of
from segtune.data.dataset import Dataset
from segtune.data.formats.runs import union

_LEAST = 20
"""Fewest masks from which one can say how well masks follow their images here."""

_SUSPECTS = 40
"""Masks tried on each other's images: the work grows with the square."""

_CHANCE = 98
_USUAL = 10
"""Percentiles: a mask is a suspect below what masks in the wrong place reach at most; exchanged ones must reach what
nine in ten masks here reach."""

_TOLD_APART = 0.8
"""Share of the masks that must follow their image better than a turned mask does, else outlines say nothing here."""


@dataclass(frozen=True)
class Misfits:
    """Masks that do not follow their images.

    Attributes:
        swaps: pairs that follow each other's image.
        loose: images whose mask follows their content no better than a turned one would, the worst first.
    """

    swaps: tuple[Swap, ...] = ()
    loose: tuple[str, ...] = ()


def find_misfits(dataset: Dataset, measured: Sequence[Measured]) -> Misfits:
    """Find masks that belong to another image of the same size, or to none.

    Judged by the data set itself: how well its masks follow their images as they lie, and when they are turned.
    """
    fits = {one.name: one.fit for one in measured if one.fit is not None}
    lying, turned = (np.array([fit[way] for fit in fits.values()]) for way in (0, 1))
    if len(fits) < _LEAST or _share_above(lying, turned) < _TOLD_APART:
        return Misfits()
    ranked = sorted(fits, key=lambda name: fits[name][0])
    chance = np.percentile(turned, _CHANCE)
    suspects = [name for name in ranked if fits[name][0] < chance][:_SUSPECTS]
    swaps = _exchanged(dataset.subset(suspects), float(np.percentile(lying, _USUAL)))
    swapped = {name for swap in swaps for name in (swap.first, swap.second)}
    loose = tuple(name for name in ranked if fits[name][0] < np.median(turned) and name not in swapped)
    return Misfits(swaps, loose)


def _share_above(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> float:
    """Return the share of all pairs in which the first is larger: the area under the ROC curve."""
    # By rank: an array of all pairs of 50,000 images takes 2.5 GB.
    return float(np.searchsorted(np.sort(second), first).mean() / len(second))


def covered_pixels(sample: Sample) -> BoolMask:
    """Return the pixels of any object, bool [H, W]; of thousands of objects no full-size array each is made."""
    return union(sample.objects).decode() if sample.objects else np.zeros(sample.size, dtype=np.bool_)


def _exchanged(suspects: Dataset, usual: float) -> tuple[Swap, ...]:
    looks = [look for look in (_look(suspects, index) for index in range(len(suspects))) if look is not None]
    own = [fit_of(look.slopes, look.outline) for look in looks]
    found = []
    for first, one in enumerate(looks):
        for second, other in enumerate(looks[:first]):
            if one.size != other.size:
                continue
            after = fit_of(one.slopes, other.outline), fit_of(other.slopes, one.outline)
            # Both must fit well by what is usual here, and far better than they do as they are.
            if min(after) > max(usual, 2.5 * max(own[first], own[second])):
                found.append((min(after), second, first))
    swaps, taken = [], set[int]()
    # The surest first; an image is in one pair at most.
    for fit, second, first in sorted(found, reverse=True):
        if not {first, second} & taken:
            taken |= {first, second}
            words = (
                f"exchanged, both follow their images (outline fit at least {fit:.1f}); now they do not "
                f"({own[second]:.1f} and {own[first]:.1f}; usual here is {usual:.1f} and more)"
            )
            swaps.append(Swap(looks[second].name, looks[first].name, words))
    return tuple(swaps)


@dataclass(frozen=True, eq=False)
class _Look:
    name: str
    size: tuple[int, int]
    slopes: Slopes
    outline: Outline


def _look(dataset: Dataset, index: int) -> _Look | None:
    try:
        sample = dataset[index]
        outline = Outline.of(covered_pixels(sample))
        return None if outline is None else _Look(sample.name, sample.size, Slopes.of(sample.image), outline)
    except DataError:
        return None
