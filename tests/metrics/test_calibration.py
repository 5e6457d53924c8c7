"""Reliability, calibration error and risk by coverage on answers whose figures can be worked out by hand."""

import math

import numpy as np
import pytest

from segtune.metrics.calibration import area_under_risk, bin_of, calibration_error, reliability, risk_by_coverage


def equal(count):
    return np.ones(count)


def test_bins_hold_the_ends_and_what_lies_beyond_them():
    """0 and below fall into the first bin, 1 and above into the last, a border into the upper of its two."""
    assert bin_of(np.array([-0.2, 0.0, 0.0999, 0.1, 0.95, 1.0, 1.3])).tolist() == [0, 0, 0, 1, 9, 9, 9]


def test_reliability_gathers_by_weight_and_leaves_empty_bins_without_a_mean():
    """A bin's means are weighted, its share is of all weight, and an empty bin has no mean."""
    found = reliability(np.array([0.1, 0.2, 0.9]), np.array([0.0, 1.0, 0.6]), np.array([3.0, 1.0, 4.0]), bins=4)
    assert found.share.tolist() == [0.5, 0.0, 0.0, 0.5]
    assert found.predicted[[0, 3]] == pytest.approx([0.125, 0.9])
    assert found.actual[[0, 3]] == pytest.approx([0.25, 0.6])
    assert np.isnan(found.predicted[1:3]).all()


def test_error_is_none_where_predictions_are_right_on_average():
    """Within a bin, too much here and too little there cancel; between bins they do not."""
    predicted, actual = np.array([0.5, 0.5, 0.5, 0.5]), np.array([0.2, 0.8, 0.4, 0.6])
    assert calibration_error(predicted, actual, equal(4)) == pytest.approx(0)
    assert calibration_error(np.array([0.3, 0.7]), np.array([0.7, 0.3]), equal(2)) == pytest.approx(0.4)


def test_error_counts_predictions_above_one():
    """A quality head that says 1.2 of a perfect mask is off by .2."""
    assert calibration_error(np.array([1.2]), np.array([1.0]), equal(1)) == pytest.approx(0.2)


def test_constant_prediction_has_the_risk_of_no_order_everywhere():
    """Answers that are not told apart come in together: one point, and an area of the mean risk."""
    actual = np.array([1.0, 0.0, 0.5, 0.5])
    coverage, risk = risk_by_coverage(np.full(4, 0.7), actual, equal(4))
    assert (coverage.tolist(), risk.tolist()) == ([1.0], [0.5])
    assert area_under_risk(np.full(4, 0.7), actual, equal(4)) == pytest.approx(0.5)


def test_curve_begins_with_what_was_predicted_best():
    """The risk after each answer, by hand."""
    coverage, risk = risk_by_coverage(np.array([0.1, 0.9, 0.5]), np.array([0.0, 1.0, 0.4]), np.array([2.0, 1.0, 1.0]))
    assert coverage == pytest.approx([0.25, 0.5, 1.0])
    assert risk == pytest.approx([0.0, 0.3, 0.65])


def test_area_is_that_of_taking_answers_bit_by_bit():
    """The area in closed form equals the sum over very many small steps."""
    rng = np.random.default_rng(0)
    predicted, actual, weight = rng.random(7).round(1), rng.random(7), rng.random(7) + 0.1
    parts = 4000
    order = np.argsort(-predicted, kind="stable")
    at = np.repeat(predicted[order], parts)
    mass = np.repeat(weight[order] / parts, parts)
    lost = mass * np.repeat(1 - actual[order], parts)
    for value in np.unique(at):
        tied = at == value
        lost[tied] = mass[tied] * lost[tied].sum() / mass[tied].sum()
    stepwise = (np.cumsum(lost) / np.cumsum(mass) * mass).sum() / mass.sum()
    assert area_under_risk(predicted, actual, weight) == pytest.approx(stepwise, abs=1e-3)


def test_no_order_beats_the_true_one():
    """Put in the order of their own quality answers have the least area, in the opposite order the most."""
    rng = np.random.default_rng(1)
    actual, weight = rng.random(40), rng.random(40) + 0.1
    best = area_under_risk(actual, actual, weight)
    assert best < area_under_risk(rng.random(40), actual, weight) < area_under_risk(-actual, actual, weight)
    assert math.isclose(best, area_under_risk(actual**3, actual, weight))
