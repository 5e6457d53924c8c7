"""The map of predicted quality is taken where it helps on images it has not seen, and only there."""

from __future__ import annotations

import numpy as np
import pytest

from segtune.core.errors import DataError
from segtune.evaluation.calibration import Judged
from segtune.evaluation.quality_fit import fit_map, fit_quality, measure_quality
from segtune.models.quality import QualityMap


def answers(quality, images=40, each=3, noise=0.05, seed=0):
    """Return answers whose IoU is `quality` of what was predicted, and some noise."""
    rng = np.random.default_rng(seed)
    predicted = rng.uniform(0.2, 0.98, images * each)
    actual = np.clip(quality(predicted) + rng.normal(0, noise, images * each), 0, 1)
    return Judged(np.repeat(np.arange(images), each), predicted, actual)


def test_finds_the_map_that_was_hidden():
    """Without noise the two numbers come back."""
    hidden = QualityMap(1.7, -0.6)
    judged = answers(hidden, noise=0)
    found = fit_map(judged.predicted, judged.actual, judged.weight)
    assert (found.scale, found.bias) == pytest.approx((1.7, -0.6), abs=0.02)


def test_a_head_that_is_too_sure_is_brought_down():
    """Its error falls on images that took no part, and the map is kept."""
    fitted = fit_quality(answers(lambda said: said - 0.2))
    assert fitted.quality_map is not None
    assert fitted.before.ece == pytest.approx(0.2, abs=0.03)
    assert fitted.after.ece < 0.06
    assert fitted.after.rmse < fitted.before.rmse
    assert (fitted.images, fitted.answers) == (40, 120)


def test_a_head_that_is_right_is_left_alone():
    """Two numbers fitted to a few noisy images make it worse on others, so no map is kept."""
    fitted = fit_quality(answers(lambda said: said, images=6, each=1, noise=0.2))
    assert fitted.quality_map is None
    assert fitted.after.rmse >= fitted.before.rmse


def test_a_head_that_is_worse_than_none_tells_the_mean():
    """A falling map would turn the order round, so the scale ends at zero."""
    judged = answers(lambda said: 1 - said)
    found = fit_map(judged.predicted, judged.actual, judged.weight)
    assert found.scale == 0
    assert found(0.5) == pytest.approx(np.average(judged.actual, weights=judged.weight), abs=1e-3)


def test_a_constant_prediction_moves_to_the_mean():
    """There is nothing to fit a scale to, and it stays what it was."""
    judged = Judged(np.arange(4), np.full(4, 0.7), np.array([0.2, 0.3, 0.2, 0.3]))
    found = fit_map(judged.predicted, judged.actual, judged.weight)
    assert found(0.7) == pytest.approx(0.25, abs=1e-3)
    assert 0 < found.scale < 2


def test_predictions_beyond_one_and_perfect_masks_are_no_trouble():
    """Qualities of 1.1 and IoUs of 1 and 0 have finite maps."""
    judged = Judged(np.arange(6), np.array([1.1, 1.0, 0.0, -0.1, 1.2, 0.5]), np.array([1.0, 1.0, 0.0, 0.0, 1.0, 0.5]))
    fitted = fit_quality(judged)
    assert np.isfinite([fitted.before.rmse, fitted.after.rmse]).all()


def test_images_of_one_group_are_never_on_both_sides():
    """Twins with one IoU each: dealt apart they would vouch for each other; one group alone cannot be tried at all."""
    judged = answers(lambda said: said - 0.2, images=4)
    with pytest.raises(DataError, match="at least two images"):
        fit_quality(judged, ["p"] * 4)
    assert fit_quality(judged, ["p", "p", "q", "q"]).images == 4


@pytest.mark.parametrize("images", [0, 1])
def test_too_few_images_are_told(images):
    """One image, or none, is an error with its remedy."""
    with pytest.raises(DataError, match=f"there is {images}.*--data"):
        fit_quality(answers(lambda said: said, images=images))


def test_same_seed_same_map():
    """The trials are drawn from the seed alone."""
    assert fit_quality(answers(lambda said: said**2), seed=3) == fit_quality(answers(lambda said: said**2), seed=3)


def test_measures_what_it_says():
    """Errors of a prediction that is off by .1 everywhere."""
    error = measure_quality(Judged(np.arange(2), np.array([0.5, 0.9]), np.array([0.4, 0.8])))
    assert (error.ece, error.rmse) == pytest.approx((0.1, 0.1))
