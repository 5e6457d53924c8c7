"""How far predicted quality can be believed: reliability, calibration error, and risk by coverage.

Pure functions over n answers: what a model said of each mask, and what the mask was worth.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

BINS = 10
"""Of equal width over 0 to 1, as reliability diagrams are usually drawn."""


class Reliability(NamedTuple):
    """Answers gathered by what was predicted of them, each array [bins].

    Attributes:
        share: of all weight that fell into each bin.
        predicted: mean prediction in it, NaN for an empty one.
        actual: mean quality in it, likewise.
    """

    share: Floats
    predicted: Floats
    actual: Floats


def bin_of(predicted: Floats, bins: int = BINS) -> npt.NDArray[np.int64]:
    """Return int64 [n]: the bin of each prediction; what lies beyond 0 to 1 falls into the outermost."""
    return np.clip(np.floor(predicted * bins), 0, bins - 1).astype(np.int64)


def reliability(predicted: Floats, actual: Floats, weight: Floats, bins: int = BINS) -> Reliability:
    """Gather answers into bins of equal width (DeGroot and Fienberg 1983; Guo et al. 2017, section 2).

    Args:
        predicted: [n], the model's own guess of each answer's quality.
        actual: [n], its quality, 0 to 1.
        weight: [n], what each answer counts for; above zero in sum.
        bins: how many.
    """
    place = bin_of(predicted, bins)
    mass, said, was = (np.bincount(place, weight * values, bins) for values in (1.0, predicted, actual))
    empty = mass == 0
    divisor = np.where(empty, np.nan, mass)
    return Reliability(mass / weight.sum(), said / divisor, was / divisor)


def calibration_error(predicted: Floats, actual: Floats, weight: Floats, bins: int = BINS) -> float:
    """Return the expected calibration error, ECE = Σ share · |mean predicted − mean actual| over the bins, from 0 on.

    Arguments are those of `reliability` (Naeini et al. 2015).
    """
    found = reliability(predicted, actual, weight, bins)
    return float(np.nansum(found.share * np.abs(found.predicted - found.actual)))


def risk_by_coverage(predicted: Floats, actual: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Return the risk-coverage curve: the mean of 1 − quality over the answers that were predicted best.

    Answers of equal prediction cannot be told apart, so they come in together (El-Yaniv and Wiener 2010; Geifman and
    El-Yaniv 2017).

    Args:
        predicted: [n].
        actual: [n], 0 to 1.
        weight: [n], above zero.

    Returns:
        Coverage, rising to 1, and risk, both [distinct predictions].
    """
    _, place = np.unique(-predicted, return_inverse=True)
    mass, lost = np.bincount(place, weight), np.bincount(place, weight * (1 - actual))
    taken = np.cumsum(mass)
    return taken / taken[-1], np.cumsum(lost) / taken


def area_under_risk(predicted: Floats, actual: Floats, weight: Floats) -> float:
    """Return AURC, the area under the risk-coverage curve, 0 to 1: how much error is left when the best are chosen.

    Within answers of equal prediction the area is that of their random order, so that a constant prediction has the
    mean risk, 1 − mean quality. Arguments are those of `risk_by_coverage`.
    """
    _, place = np.unique(-predicted, return_inverse=True)
    mass, lost = np.bincount(place, weight), np.bincount(place, weight * (1 - actual))
    end, end_lost = np.cumsum(mass), np.cumsum(lost)
    start, start_lost = end - mass, end_lost - lost
    # Over a step the risk at t is (L + r(t − s)) / t with r = lost / mass: its integral is (L − rs) ln(e/s) + r(e − s).
    rate = lost / mass
    growth = np.log(end / np.where(start > 0, start, end))
    area = np.where(start > 0, (start_lost - rate * start) * growth, 0.0) + lost
    return float(area.sum() / end[-1])
