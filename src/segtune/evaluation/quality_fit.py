"""The map from predicted to told quality that suits a model on its data: fitted, and tried on images it has not seen.

A tuned quality head is often well calibrated already, and two numbers fitted to a few images then make it worse. So the
map is taken only where it is closer to the true IoU on images that took no part in its own fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segtune.core.errors import DataError
from segtune.evaluation.calibration import Judged
from segtune.metrics.calibration import Floats, calibration_error
from segtune.models.quality import QualityMap, logit

FOLDS = 5
"""Parts that images, or their groups, are dealt into; each is judged by a map fitted to the others."""

_RIDGE = 1e-6
"""Pull of the scale towards 1: it decides only where all predictions are equal, which say nothing of it."""


@dataclass(frozen=True)
class QualityError:
    """How far a quality is from the IoU: expected calibration error, and root of the mean squared difference."""

    ece: float
    rmse: float


@dataclass(frozen=True)
class FittedQuality:
    """What came of fitting.

    Attributes:
        quality_map: None where the model's own prediction is closer to the truth.
        before: of the model's own prediction.
        after: of the refitted one, each image judged by a map that it took no part in.
        images: looked at.
        answers: on them, in all modes.
    """

    quality_map: QualityMap | None
    before: QualityError
    after: QualityError
    images: int
    answers: int


def fit_quality(judged: Judged, groups: Sequence[str | None] = (), *, seed: int = 0) -> FittedQuality:
    """Fit the map to a model's answers, and keep it if it brings predictions closer to the IoU of unseen images.

    Args:
        judged: answers on images that the model was not trained on.
        groups: of the images, by their number; those of one group are never on both sides of a trial.
        seed: of the trials.

    Raises:
        DataError: fewer than two images or groups with answers.
    """
    unit = _units(judged, groups)
    count = int(unit.max(initial=-1)) + 1
    if count < 2:
        raise DataError(
            f"Quality is refitted on at least two images with objects, of two groups where they have groups, each the "
            f"trial of a map fitted to the others, but there is {count}. Give more labelled images by --data, or fit "
            "--only thresholds."
        )
    fold = np.random.default_rng(seed).permutation(count)[unit] % FOLDS
    held_out = np.empty(len(unit))
    for number in np.unique(fold).tolist():
        rows = fold == number
        held_out[rows] = fit_map(judged.predicted[~rows], judged.actual[~rows], judged.weight[~rows])(
            judged.predicted[rows]
        )
    before, after = (_error(one, judged) for one in (judged.predicted, held_out))
    found = fit_map(judged.predicted, judged.actual, judged.weight) if after.rmse < before.rmse else None
    return FittedQuality(found, before, after, len(np.unique(judged.image)), len(unit))


def fit_map(predicted: Floats, actual: Floats, weight: Floats) -> QualityMap:
    """Return the map of least cross-entropy with the IoU, whose mean is then met (Platt 1999, with soft targets).

    Args:
        predicted: [n], as the model says.
        actual: [n], IoU, 0 to 1.
        weight: [n].
    """
    from scipy.optimize import minimize

    x, share = logit(predicted), weight / weight.sum()

    def loss(parameters: Floats) -> tuple[float, Floats]:
        z = parameters[0] * x + parameters[1]
        pull = parameters[0] - 1
        off = share * (0.5 * (1 + np.tanh(z / 2)) - actual)
        value = (share * (np.logaddexp(0, z) - actual * z)).sum() + _RIDGE / 2 * pull**2
        return float(value), np.array([(off * x).sum() + _RIDGE * pull, off.sum()])

    # Convex, so there is one optimum. Never falling: where the head is worse than none, the mean is told.
    found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(0, 50), (-50, 50)])
    return QualityMap(float(found.x[0]), float(found.x[1]))


def measure_quality(judged: Judged) -> QualityError:
    """Return how far the predicted quality of answers is from their IoU."""
    return _error(judged.predicted, judged)


def _error(predicted: Floats, judged: Judged) -> QualityError:
    weight = judged.weight
    squared = np.average(np.square(predicted - judged.actual), weights=weight)
    return QualityError(calibration_error(predicted, judged.actual, weight), float(np.sqrt(squared)))


def _units(judged: Judged, groups: Sequence[str | None]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return int64 [n]: the number, from 0, of the image or group that each answer is of."""
    known: dict[object, int] = {}
    names = [group if group is not None else place for place, group in enumerate(groups)]
    keys = (names[place] if place < len(names) else place for place in judged.image.tolist())
    return np.array([known.setdefault(key, len(known)) for key in keys], dtype=np.int64)
