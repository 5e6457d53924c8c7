"""The learning curve: IoU by number of training images, and what more of them would bring.

IoU(n) = c − a·n^(−b): error falls as a power of the number of labels towards a level that more of them do not pass, the
form that fits learning curves best (Hestness et al. 2017; Viering and Loog 2023, with the warning that curves need not
go on as they began). With b given, c and a are a line's; b is looked for among steps of a grid. c stays at 1 or below,
and a at 0 or above: an IoU above 1, and labels that harm, are not believed of a few points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segtune.evaluation.clicks import Figure
from segtune.evaluation.statistics import percentiles

Floats = npt.NDArray[np.float64]

FEWEST_SIZES = 3
"""Sizes that a curve of three numbers is fitted to, at least."""

RESAMPLES = 2000

_RESIDUE = 0.01
"""How far a curve may miss a point that has no interval."""

_EXPONENTS = np.geomspace(0.05, 2.0, 48)


@dataclass(frozen=True)
class Point:
    """One size of the training part.

    Attributes:
        images: how many trained.
        by_seed: test IoU of each seed's fit, mean over images and prompt modes.
        test: their mean with its interval over test images and seeds.
    """

    images: int
    by_seed: tuple[float, ...]
    test: Figure


@dataclass(frozen=True)
class LearningCurve:
    """What was measured and where it leads.

    Attributes:
        points: by rising size.
        pretrained: test IoU without any label.
        level: c, what the curve rises to; None where fewer than `FEWEST_SIZES` sizes are done, and where the largest
            size lies below all that a curve which never falls can pass through.
        scale: a.
        exponent: b.
        doubled: what doubling the labels would bring, from the curve at twice the largest size less the curve there.
        fourfold: likewise at four times.
        fitted: the curve with its interval at sizes from the smallest to four times the largest, for a picture.
        seeds: fits of each size at most.
        images: test images with objects.
    """

    points: tuple[Point, ...]
    pretrained: float
    level: Figure | None
    scale: float | None
    exponent: float | None
    doubled: Figure | None
    fourfold: Figure | None
    fitted: tuple[tuple[float, Figure], ...]
    seeds: int
    images: int


def trace(
    scores: Mapping[int, Sequence[Floats]], pretrained: Floats, groups: Sequence[str | None], *, seed: int = 0
) -> LearningCurve:
    """Fit the curve; intervals resample test images (groups of them where known) and, of each size, its seeds.

    With one seed the intervals say nothing of what another draw of training images would do.

    Args:
        scores: size → for each seed the IoU of every test image, [n].
        pretrained: the pretrained model's IoU of them, [n].
        groups: each image's patient, scene or video, or None.
        seed: of the resampling.
    """
    sizes = sorted(scores)
    rng = np.random.default_rng(seed)
    weights, units = _draw_images(rng, groups)  # [B, n]
    drawn = np.stack([_draw_size(rng, np.stack(scores[size]), weights) for size in sizes], axis=1)  # [B, k]
    means = np.array([np.mean(scores[size]) for size in sizes])

    def figure(mean: float, resampled: Floats) -> Figure:
        interval = percentiles(mean, resampled, units)
        return Figure(mean, *((None, None) if interval is None else (interval.low, interval.high)))

    points = tuple(
        Point(size, tuple(float(one.mean()) for one in scores[size]), figure(float(mean), drawn[:, place]))
        for place, (size, mean) in enumerate(zip(sizes, means, strict=True))
    )
    seeds, images = max(map(len, scores.values())), len(pretrained)
    base = float(pretrained.mean())
    unfitted = LearningCurve(points, base, None, None, None, None, None, (), seeds, images)
    if len(sizes) < FEWEST_SIZES:
        return unfitted
    n = np.array(sizes, dtype=np.float64)
    repeats = np.array([len(scores[size]) for size in sizes], dtype=np.float64)
    own, others = fit_power_law(n, means[None], repeats), fit_power_law(n, drawn, repeats)
    last = n[-1]
    if _passes_above(own, points[-1]):
        return unfitted

    def at(places: Floats) -> list[Figure]:
        curve, curves = _evaluate(own, places), _evaluate(others, places)
        return [figure(float(curve[0, place]), curves[:, place]) for place in range(len(places))]

    def gain(times: float) -> Figure:
        ends = np.array([last, times * last])
        curve, curves = _evaluate(own, ends), _evaluate(others, ends)
        return figure(float(curve[0, 1] - curve[0, 0]), curves[:, 1] - curves[:, 0])

    places = np.geomspace(n[0], 4 * last, 40)
    fitted = tuple(zip(places.tolist(), at(places), strict=True))
    level, scale, exponent = (part[0].item() for part in own)
    return LearningCurve(
        points, base, figure(level, others[0]), scale, exponent, gain(2), gain(4), fitted, seeds, images
    )


def _passes_above(curve: tuple[Floats, Floats, Floats], last: Point) -> bool:
    """Say whether a curve, which never falls, lies above all that the last point may be."""
    highest = last.test.mean + _RESIDUE if last.test.high is None else last.test.high
    return bool(_evaluate(curve, np.array([float(last.images)]))[0, 0] > highest)


def fit_power_law(n: Floats, values: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """Return c, a and b, each [B], of c − a·n^(−b) through B curves by weighted least squares.

    Args:
        n: sizes, [k].
        values: [B, k].
        weights: of the sizes, [k].
    """
    share = weights / weights.sum()
    best = np.full(len(values), np.inf)
    found = np.zeros((3, len(values)))
    for exponent in _EXPONENTS:
        x = n**-exponent
        middle, mean = share @ x, values @ share  # [], [B]
        slope = ((values - mean[:, None]) * (x - middle)) @ share / (share @ (x - middle) ** 2)
        scale = np.maximum(-slope, 0.0)
        level = mean + scale * middle
        # Where the level would pass 1 the line goes through 1 there.
        over = level > 1
        scale = np.where(over, ((1 - values) * x) @ share / (share @ x**2), scale)
        level = np.where(over, 1.0, level)
        error = (values - level[:, None] + scale[:, None] * x) ** 2 @ share
        # Among equals the first, which is the slowest: it promises least to stop.
        better = error < best - 1e-15
        best = np.where(better, error, best)
        found = np.where(better, np.stack([level, scale, np.full(len(values), exponent)]), found)
    return found[0], found[1], found[2]


def _evaluate(curve: tuple[Floats, Floats, Floats], places: Floats) -> Floats:
    level, scale, exponent = curve
    values: Floats = level[:, None] - scale[:, None] * places ** -exponent[:, None]  # [B, places]
    return values


def _draw_images(rng: np.random.Generator, groups: Sequence[str | None]) -> tuple[Floats, int]:
    """Return how often each image counts in each resample, as shares, [B, n], and how many units are drawn from."""
    known: dict[object, int] = {}
    keys = (place if group is None else group for place, group in enumerate(groups))
    unit = np.array([known.setdefault(key, len(known)) for key in keys])
    drawn = rng.multinomial(len(known), np.full(len(known), 1 / len(known)), size=RESAMPLES)[:, unit].astype(np.float64)
    shares: Floats = drawn / drawn.sum(axis=1, keepdims=True)
    return shares, len(known)


def _draw_size(rng: np.random.Generator, scores: Floats, weights: Floats) -> Floats:
    """Return the mean of each resample, [B], of scores [seeds, n]."""
    seeds = len(scores)
    times = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=len(weights)) / seeds  # [B, seeds]
    means: Floats = ((weights @ scores.T) * times).sum(axis=1)
    return means
