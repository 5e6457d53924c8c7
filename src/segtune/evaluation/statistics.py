"""What a mean is worth: bootstrap intervals and paired tests over images, or over groups of images where known.

The interval is BCa, the bias-corrected and accelerated bootstrap (Efron 1987; Efron and Tibshirani 1993, chapter 14):
scores lie against their upper bound with a long tail below, and there the plain percentile interval is off to one side.
Of few images every bootstrap interval is too narrow: a resample spreads less than what it is drawn from. So its ends
are taken further out, as far as Student's lie beyond the normal's (the expanded percentiles of Hesterberg 2015, "What
teachers should know about the bootstrap"), and below eight units, beyond the reach of resamples, they hold Student's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student
from scipy.stats import wilcoxon

Floats = npt.NDArray[np.float64]

RESAMPLES = 5000
LEVEL = 0.95

_FEW = 8
"""Units below which resamples hardly ever reach as far as the truth may lie: of three, none leaves their range."""

_DRAWS_AT_ONCE = 1 << 18
"""Indices drawn in one step: bounds memory whatever the number of images."""


@dataclass(frozen=True)
class Interval:
    """Ends of a two-sided interval."""

    low: float
    high: float


class Bootstrap:
    """The mean over images of several columns of scores, resampled together so that differences stay paired.

    Images of one group (patient, scene, video) are not independent of each other: whole groups are drawn. The mean of a
    resample is over its images, so a large group weighs more, as it does in the mean itself.

    Args:
        values: [n, k], one row per image, one column per model, mode and metric; finite.
        groups: each image's group, None for an image of its own; None: every image is its own.
        seed: of the resampling.
        resamples: how many means are drawn.
    """

    def __init__(
        self, values: Floats, groups: Sequence[str | None] | None = None, *, seed: int = 0, resamples: int = RESAMPLES
    ) -> None:
        self._unit = _units(len(values), groups)
        self._images = np.bincount(self._unit).astype(np.float64)  # [u]
        if len(self._images) == len(values):
            self._sums = values
        else:
            # Sums, not means: a resample of groups is a mean over its images.
            self._sums = np.zeros((len(self._images), values.shape[1]))
            np.add.at(self._sums, self._unit, values)
        self._seed = seed
        self._resamples = resamples

    @property
    def units(self) -> int:
        """How many independent units there are: images, or groups of them."""
        return len(self._images)

    def mean(self, column: int, minus: int | None = None) -> float:
        """Return the mean over images of a column, or of its difference from another."""
        return float(self._sum(column, minus).sum() / self._images.sum())

    def interval(self, column: int, minus: int | None = None, *, level: float = LEVEL) -> Interval | None:
        """Return the BCa interval of `mean` with the same arguments.

        None for fewer than two units, and where a model that diverged left scores that are no numbers.
        """
        if self.units < 2:
            return None
        sums = self._sum(column, minus)  # [u]
        mean = float(sums.sum() / self._images.sum())
        if not math.isfinite(mean):
            return None
        drawn = self._means[:, column] - (0.0 if minus is None else self._means[:, minus])
        return bca(mean, drawn, self._left_out(column, minus), self.units, level=level)

    def interval_from(self, column: int, other: Bootstrap, its: int, *, level: float = LEVEL) -> Interval | None:
        """Return the BCa interval of a column's mean minus the mean of a column of other images.

        Each set of images is resampled by itself, for nothing pairs them (Efron and Tibshirani 1993, chapter 8; the
        acceleration for several samples is that of Davison and Hinkley 1997, section 5.3).

        Args:
            column: of these images.
            other: the other images, with as many resamples.
            its: their column.
            level: probability that the interval is meant to cover.

        Returns:
            None where either set has fewer than two units or scores that are no numbers.
        """
        if min(self.units, other.units) < 2:
            return None
        estimate = self.mean(column) - other.mean(its)
        if not math.isfinite(estimate):
            return None
        # Moved on by one: of as many units and the same seed both would draw the same places, and seem paired.
        drawn = self._means[:, column] - np.roll(other._means[:, its], 1)
        mine, theirs = self._left_out(column, None), other._left_out(its, None)
        # Each set's deviations are from its own middle.
        left_out = np.concatenate([mine - mine.mean(), theirs.mean() - theirs]) + estimate
        return bca(estimate, drawn, left_out, min(self.units, other.units), level=level)

    def interval_of(self, statistic: Callable[[Floats], Floats], *, level: float = LEVEL) -> Interval | None:
        """Return the BCa interval of a figure that follows from the columns' means, as a ratio of two does.

        Args:
            statistic: from means [m, k] to the figure of each row, [m].
            level: as of `interval`.

        Returns:
            None for fewer than two units, and where the figure is no number on all of them, on a resample, or with one
            left out.
        """
        if self.units < 2:
            return None
        whole = self._sums.sum(axis=0)
        left_out = (whole - self._sums) / (self._images.sum() - self._images)[:, None]  # [u, k]
        means = (whole / self._images.sum())[None], self._means, left_out
        estimate, drawn, without = (statistic(values) for values in means)
        if not all(np.isfinite(values).all() for values in (estimate, drawn, without)):
            return None
        return bca(float(estimate[0]), drawn, without, self.units, level=level)

    def by_chance(self, statistic: Callable[[Floats], Floats], *, level: float = LEVEL) -> float | None:
        """Return what a figure stays below by chance alone, at this level, if every column's true mean is zero.

        For figures that cannot be negative, such as a sum of absolute means: they are above zero whatever the truth.

        Args:
            statistic: as of `interval_of`.
            level: as of `interval`.

        Returns:
            None for fewer than two units.
        """
        if self.units < 2:
            return None
        middle = self._sums.sum(axis=0) / self._images.sum()
        # Resamples spread less than what they are drawn from.
        spread = math.sqrt(self.units / (self.units - 1))
        return float(np.quantile(statistic((self._means - middle) * spread), level))

    def wilcoxon(self, column: int, minus: int) -> float | None:
        """Return the two-sided p of Wilcoxon's signed-rank test on the differences of the units' means.

        None for fewer than two units and for scores that are no numbers; 1 where no two values differ.
        """
        if self.units < 2:
            return None
        differences = self._sum(column, minus) / self._images
        if not np.isfinite(differences).all():
            return None
        if not np.any(differences):
            return 1.0
        return float(wilcoxon(differences).pvalue)

    def _sum(self, column: int, minus: int | None) -> Floats:
        sums = self._sums[:, column]
        return sums if minus is None else sums - self._sums[:, minus]

    def _left_out(self, column: int, minus: int | None) -> Floats:
        """Return [u], the mean with each unit left out."""
        sums = self._sum(column, minus)
        left_out: Floats = (sums.sum() - sums) / (self._images.sum() - self._images)
        return left_out

    @cached_property
    def _means(self) -> Floats:
        generator = np.random.default_rng(self._seed)
        means = np.empty((self._resamples, self._sums.shape[1]))
        step = max(1, _DRAWS_AT_ONCE // self.units)
        for start in range(0, self._resamples, step):
            rows = min(step, self._resamples - start)
            drawn = generator.integers(0, self.units, size=(rows, self.units))  # [rows, u]
            # Each resample gets numbers of its own, so that one bincount counts them all.
            drawn += np.arange(rows)[:, None] * self.units
            times = np.bincount(drawn.ravel(), minlength=rows * self.units).reshape(rows, self.units).astype(np.float64)
            # How often each unit was drawn, times its sums: one product in place of gathering rows.
            means[start : start + rows] = (times @ self._sums) / (times @ self._images)[:, None]
        return means


def bca(estimate: float, drawn: Floats, left_out: Floats, units: int, *, level: float = LEVEL) -> Interval:
    """Return the BCa interval of an estimate, made as wide as few units need.

    Args:
        estimate: the statistic on all units.
        drawn: [B], the statistic on each resample.
        left_out: [u], the statistic with each unit left out, for the acceleration.
        units: how many independent units there are, 2 or more; of two samples those of the smaller.
        level: probability that the interval is meant to cover.
    """
    normal = NormalDist()
    deviations = left_out.mean() - left_out
    spread = float((deviations**2).sum())
    # Equal values differ by rounding only; a bias or an acceleration of that noise means nothing.
    if spread <= (1e-12 * max(1.0, abs(estimate))) ** 2:
        return Interval(estimate, estimate)
    acceleration = float((deviations**3).sum()) / (6 * spread**1.5)
    # Ties count half: with few images many resamples equal the estimate.
    below = float((drawn < estimate).mean() + (drawn == estimate).mean() / 2)
    # Kept off 0 and 1, where the normal's quantile is infinite.
    bias = normal.inv_cdf(min(max(below, 0.5 / len(drawn)), 1 - 0.5 / len(drawn)))

    def share(quantile: float) -> float:
        shifted = bias + quantile
        room = 1 - acceleration * shifted
        # Far out the correction passes its pole: there the end is the last resample.
        return normal.cdf(bias + shifted / room) if room > 0 else float(quantile > 0)

    reach = _reach(units, level)
    return _widened(estimate, drawn, (share(-reach), share(reach)), units, level)


def percentiles(estimate: float, drawn: Floats, units: int, *, level: float = LEVEL) -> Interval | None:
    """Return the percentile interval of an estimate, made as wide as few units need; None for fewer than two.

    Args:
        estimate: the statistic on all units.
        drawn: [B], the statistic on each resample.
        units: how many independent units there are.
        level: probability that the interval is meant to cover.
    """
    if units < 2:
        return None
    tail = NormalDist().cdf(-_reach(units, level))
    return _widened(estimate, drawn, (tail, 1 - tail), units, level)


def _reach(units: int, level: float) -> float:
    """Return how many standard deviations of the resamples the ends lie from the middle, were these normal."""
    return math.sqrt(units / (units - 1)) * _quantile(units, level)


def _quantile(units: int, level: float) -> float:
    return float(student.ppf((1 + level) / 2, units - 1))


def _widened(estimate: float, drawn: Floats, shares: tuple[float, float], units: int, level: float) -> Interval:
    low, high = (float(end) for end in np.quantile(drawn, shares))
    if units >= _FEW:
        return Interval(low, high)
    # Resamples spread less than the statistic by the factor that a variance over n lacks beside one over n - 1.
    reach = _reach(units, level) * float(drawn.std())
    return Interval(min(low, estimate - reach), max(high, estimate + reach))


def _units(images: int, groups: Sequence[str | None] | None) -> npt.NDArray[np.int64]:
    if groups is None:
        return np.arange(images)
    known: dict[object, int] = {}
    # Numbers never equal names: an image without a group stays its own.
    keys = (index if group is None else group for index, group in enumerate(groups))
    return np.array([known.setdefault(key, len(known)) for key in keys], dtype=np.int64)
