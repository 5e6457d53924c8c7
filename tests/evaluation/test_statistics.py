"""Bootstrap intervals and paired tests."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import bootstrap as reference_bootstrap
from scipy.stats import wilcoxon as reference_wilcoxon

from segtune.evaluation.statistics import Bootstrap, bca


def skewed(rng: np.random.Generator, images: int) -> np.ndarray:
    """Draw scores that lie against 1 with a long tail below, as IoU does."""
    return rng.beta(6, 1.5, images)


def test_interval_is_that_of_scipy():
    """BCa ends agree with scipy's own on the same data, up to the noise of resampling."""
    values = skewed(np.random.default_rng(0), 60)
    mine = Bootstrap(values[:, None], seed=1, resamples=20000).interval(0)
    theirs = reference_bootstrap(
        (values,), np.mean, n_resamples=20000, method="BCa", rng=np.random.default_rng(2)
    ).confidence_interval
    width = theirs.high - theirs.low
    assert mine.low == pytest.approx(theirs.low, abs=0.03 * width)
    assert mine.high == pytest.approx(theirs.high, abs=0.03 * width)


def test_interval_covers_the_truth_as_often_as_it_says():
    """Of 400 simulated evaluations of 50 images about 95 % hold the true mean, and neither side is favoured."""
    rng = np.random.default_rng(3)
    truth = 6 / 7.5
    values = skewed(rng, 50 * 400).reshape(50, 400)
    bootstrap = Bootstrap(values, seed=4, resamples=1000)
    intervals = [bootstrap.interval(column) for column in range(400)]
    below = sum(one.high < truth for one in intervals)
    above = sum(one.low > truth for one in intervals)
    assert 0.91 <= 1 - (below + above) / 400 <= 0.98
    assert abs(below - above) <= 20


@pytest.mark.parametrize("units", [2, 3, 4, 5, 6, 8, 12])
def test_few_units_claim_nothing_too_often(units):
    """Of 400 means of a few scores around zero about one interval in twenty leaves zero out, not one in three."""
    values = np.random.default_rng(5).normal(0, 1, (units, 400))
    bootstrap = Bootstrap(values, seed=6, resamples=1000)
    intervals = [bootstrap.interval(column) for column in range(400)]
    assert np.mean([one.low > 0 or one.high < 0 for one in intervals]) < 0.09


def test_two_small_samples_differ_no_more_often_than_they_should():
    """A handful of images here and there, of one kind: the drop between them is seldom called clear."""
    rng = np.random.default_rng(7)
    here, there = (Bootstrap(rng.normal(0, 1, (units, 300)), seed=8, resamples=1000) for units in (4, 6))
    intervals = [here.interval_from(column, there, column) for column in range(300)]
    assert np.mean([one.low > 0 or one.high < 0 for one in intervals]) < 0.09


def test_groups_are_drawn_whole():
    """Few patients tell less than their many images: only an interval over groups covers their mean."""
    rng = np.random.default_rng(5)
    levels = rng.normal(0.7, 0.1, (12, 200))
    values = np.repeat(levels, 10, axis=0) + rng.normal(0, 0.01, (120, 200))
    names = [f"patient{number}" for number in range(12) for _ in range(10)]
    grouped, alone = Bootstrap(values, names, resamples=1000), Bootstrap(values, resamples=1000)
    assert grouped.units == 12
    assert alone.units == 120

    def share_covered(bootstrap):
        held = [bootstrap.interval(column) for column in range(200)]
        return np.mean([one.low <= 0.7 <= one.high for one in held])

    assert share_covered(grouped) >= 0.85
    assert share_covered(alone) <= 0.6


def test_the_mean_is_over_images_whatever_the_groups():
    """A group of three weighs three times as much as a single image."""
    values = np.array([[1.0], [1.0], [1.0], [0.0]])
    bootstrap = Bootstrap(values, ["a", "a", "a", None])
    assert bootstrap.mean(0) == 0.75
    assert bootstrap.units == 2


def test_images_without_a_group_stand_alone():
    """None is no group of its own."""
    assert Bootstrap(np.zeros((4, 1)), [None, None, "a", "a"]).units == 3


def test_differences_are_paired():
    """Two models that differ by a constant have a difference of no width, however wide each of them is."""
    rng = np.random.default_rng(6)
    first = rng.uniform(0, 1, 80)
    bootstrap = Bootstrap(np.stack([first, first + 0.01], axis=1))
    difference = bootstrap.interval(1, 0)
    assert bootstrap.mean(1, 0) == pytest.approx(0.01)
    assert difference.low == pytest.approx(0.01)
    assert difference.high == pytest.approx(0.01)
    assert bootstrap.interval(0).high - bootstrap.interval(0).low > 0.05


def test_the_interval_of_a_difference_is_that_of_the_differences():
    """Subtracting columns and resampling differences are the same."""
    rng = np.random.default_rng(7)
    values = rng.uniform(0, 1, (40, 2))
    one = Bootstrap(values, seed=8).interval(0, 1)
    other = Bootstrap((values[:, 0] - values[:, 1])[:, None], seed=8).interval(0)
    assert (one.low, one.high) == pytest.approx((other.low, other.high))


def test_the_same_seed_gives_the_same_interval():
    """Intervals are reproducible and depend on the seed."""
    values = skewed(np.random.default_rng(9), 30)[:, None]
    assert Bootstrap(values, seed=1).interval(0) == Bootstrap(values, seed=1).interval(0)
    assert Bootstrap(values, seed=1).interval(0) != Bootstrap(values, seed=2).interval(0)


def test_a_column_is_resampled_alike_whatever_stands_beside_it():
    """Adding a model changes no other model's interval."""
    values = skewed(np.random.default_rng(10), 60).reshape(30, 2)
    alone, beside = Bootstrap(values[:, :1]).interval(0), Bootstrap(values).interval(0)
    assert (alone.low, alone.high) == pytest.approx((beside.low, beside.high), abs=1e-12)


def test_one_image_has_no_interval_and_no_test():
    """A single image says nothing about others."""
    bootstrap = Bootstrap(np.array([[0.4, 0.5]]))
    assert bootstrap.interval(0) is None
    assert bootstrap.wilcoxon(0, 1) is None
    assert bootstrap.mean(0) == 0.4


def test_equal_scores_have_an_interval_of_no_width():
    """All images alike, no resample differs."""
    interval = Bootstrap(np.full((9, 1), 0.3)).interval(0)
    assert (interval.low, interval.high) == (pytest.approx(0.3), pytest.approx(0.3))


def test_scores_that_are_no_numbers_have_no_interval():
    """A diverged model spoils its own row only."""
    values = np.array([[0.1, math.nan], [0.4, 0.2], [0.5, 0.3]])
    bootstrap = Bootstrap(values)
    assert bootstrap.interval(1) is None
    assert bootstrap.wilcoxon(0, 1) is None
    assert bootstrap.interval(0) is not None


def test_wilcoxon_is_that_of_scipy():
    """The paired test is scipy's on the images' differences."""
    values = np.random.default_rng(11).uniform(0, 1, (25, 2))
    expected = reference_wilcoxon(values[:, 0] - values[:, 1]).pvalue
    assert Bootstrap(values).wilcoxon(0, 1) == pytest.approx(float(expected))


def test_wilcoxon_tests_groups_where_known():
    """Ten copies of one image are one piece of evidence."""
    values = np.random.default_rng(12).uniform(0, 1, (8, 2))
    copies = np.repeat(values, 10, axis=0)
    groups = [f"g{row}" for row in range(8) for _ in range(10)]
    assert Bootstrap(copies, groups).wilcoxon(0, 1) == pytest.approx(Bootstrap(values).wilcoxon(0, 1))


def test_no_difference_at_all_has_p_1():
    """Two identical models do not differ."""
    values = np.repeat(np.random.default_rng(13).uniform(0, 1, (10, 1)), 2, axis=1)
    assert Bootstrap(values).wilcoxon(0, 1) == 1.0


def test_bca_of_a_symmetric_case_is_the_percentile_interval():
    """Without bias and skew BCa reads off the percentiles."""
    drawn = np.linspace(-1, 1, 2001)
    interval = bca(0.0, drawn, np.array([-1.0, 0.0, 1.0]), 10**9)
    assert (interval.low, interval.high) == pytest.approx((-0.95, 0.95), abs=1e-9)


def test_interval_of_a_ratio_of_means():
    """Of a ratio of two columns it holds the ratio; of one column it is the interval of its mean."""
    rng = np.random.default_rng(5)
    values = np.stack([rng.uniform(0, 0.4, 30), rng.uniform(0.6, 1, 30)], axis=1)
    bootstrap = Bootstrap(values, seed=1)
    assert bootstrap.interval_of(lambda means: means[:, 0]) == bootstrap.interval(0)
    found = bootstrap.interval_of(lambda means: means[:, 0] / means[:, 1])
    assert found.low < values[:, 0].sum() / values[:, 1].sum() < found.high
    grouped = Bootstrap(values, [f"g{row // 10}" for row in range(30)], seed=1)
    assert grouped.interval_of(lambda means: means[:, 1]) == grouped.interval(1)


def test_no_interval_of_a_figure_that_is_no_number():
    """One image has none, and neither has a ratio whose divisor is zero."""
    assert Bootstrap(np.ones((1, 2))).interval_of(lambda means: means[:, 0]) is None
    with np.errstate(all="ignore"):
        assert Bootstrap(np.zeros((4, 2))).interval_of(lambda means: means[:, 0] / means[:, 1]) is None


def test_two_sets_of_images_have_the_interval_of_scipy():
    """The difference of two means of different images: ends agree with scipy's on both samples, unpaired."""
    rng = np.random.default_rng(20)
    one, other = skewed(rng, 45), skewed(rng, 80) * 0.9
    mine = Bootstrap(one[:, None], seed=1, resamples=20000).interval_from(
        0, Bootstrap(other[:, None], seed=1, resamples=20000), 0
    )
    theirs = reference_bootstrap(
        (one, other),
        lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis),
        n_resamples=20000,
        method="BCa",
        rng=np.random.default_rng(2),
    ).confidence_interval
    width = theirs.high - theirs.low
    assert mine.low == pytest.approx(theirs.low, abs=0.04 * width)
    assert mine.high == pytest.approx(theirs.high, abs=0.04 * width)


def test_two_sets_of_images_are_never_drawn_together():
    """Of as many images and the same seed the interval is as wide as of two seeds: nothing pairs them."""
    values = skewed(np.random.default_rng(21), 50)[:, None]
    same = Bootstrap(values, seed=3).interval_from(0, Bootstrap(values.copy(), seed=3), 0)
    apart = Bootstrap(values, seed=3).interval_from(0, Bootstrap(values.copy(), seed=4), 0)
    assert same.high - same.low == pytest.approx(apart.high - apart.low, rel=0.1)
    assert same.high - same.low > 1.2 * (lambda one: one.high - one.low)(Bootstrap(values, seed=3).interval(0))


def test_a_single_image_has_no_interval_from_others():
    """Nor have scores that are no numbers."""
    many, one = Bootstrap(np.ones((5, 1))), Bootstrap(np.ones((1, 1)))
    assert many.interval_from(0, one, 0) is one.interval_from(0, many, 0) is None
    assert many.interval_from(0, Bootstrap(np.full((5, 1), np.nan)), 0) is None
