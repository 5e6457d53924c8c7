"""The learning curve."""

import numpy as np
import pytest

from segtune.evaluation.learning import fit_power_law, trace


def _scores(sizes, *, level=0.85, scale=1.2, exponent=0.5, images=60, seeds=2, noise=0.01):
    rng = np.random.default_rng(0)
    ease = rng.normal(0, 0.08, images)
    return {
        size: [level - scale * size**-exponent + ease + rng.normal(0, noise, images) for _ in range(seeds)]
        for size in sizes
    }


def _noise(images, seeds=2):
    return np.random.default_rng(1).normal(0, 0.02, (seeds, images))


@pytest.mark.parametrize(("level", "scale", "exponent"), [(0.85, 1.2, 0.5), (0.7, 0.9, 1.0), (0.95, 0.6, 0.2)])
def test_a_power_law_is_found_again(level, scale, exponent):
    """Of points on one: the curve agrees at the sizes and at twice the largest, whatever grid b is looked for on."""
    n = np.array([10.0, 20, 40, 80, 160])
    c, a, b = fit_power_law(n, (level - scale * n**-exponent)[None], np.ones(5))
    for size in (*n, 320.0):
        assert c[0] - a[0] * size ** -b[0] == pytest.approx(level - scale * size**-exponent, abs=0.004)


def test_labels_are_never_believed_to_harm_nor_to_pass_one():
    """Falling points become a flat line, and points that shoot up a curve that ends at 1."""
    n = np.array([10.0, 20, 40])
    c, a, b = fit_power_law(n, np.array([[0.8, 0.7, 0.6], [0.5, 0.75, 0.999]]), np.ones(3))
    assert (a[0], c[0]) == (0, pytest.approx(0.7))
    assert c[1] <= 1
    assert c[1] - a[1] * 1e6 ** -b[1] <= 1


def test_what_doubling_would_bring_has_the_truth_in_its_interval():
    """Of a known curve: its value at twice the size less that at the size, and four times likewise."""
    found = trace(_scores([12, 25, 50, 100]), np.full(60, 0.4), [None] * 60)
    truth = [1.2 * (100**-0.5 - (times * 100) ** -0.5) for times in (2, 4)]
    for gain, expected in zip((found.doubled, found.fourfold), truth, strict=True):
        assert gain.low <= expected <= gain.high
        assert gain.mean == pytest.approx(expected, abs=0.01)
    assert found.pretrained == pytest.approx(0.4)
    assert [point.images for point in found.points] == [12, 25, 50, 100]
    assert all(point.test.low < point.test.mean < point.test.high for point in found.points)


def test_a_curve_that_has_levelled_off_promises_nothing():
    """The gain of doubling is next to nothing, with an interval that says so."""
    flat = trace(_scores([25, 50, 100, 200], scale=0.0), np.full(60, 0.4), [None] * 60)
    assert flat.doubled.high < 0.01
    assert flat.doubled.low >= 0


def test_two_sizes_are_no_curve():
    """The points are told, and nothing beyond them."""
    found = trace(_scores([50, 100]), np.full(60, 0.4), [None] * 60)
    assert found.doubled is found.level is None
    assert found.fitted == ()
    assert len(found.points) == 2


def test_of_points_that_fall_nothing_is_foretold():
    """A curve that never falls passes above the last of them: no gain of more labels is claimed, not even none."""
    falling = {size: [np.full(40, 0.9 - size / 100) + one for one in _noise(40)] for size in (10, 20, 40)}
    for groups in ([None] * 40, ["one"] * 40):
        found = trace(falling, np.full(40, 0.4), groups)
        assert found.doubled is found.level is None
        assert found.fitted == ()
        assert len(found.points) == 3


def test_one_patient_has_no_interval():
    """However many images of the patient there are."""
    found = trace(_scores([12, 25, 50], seeds=1), np.full(60, 0.4), ["patient"] * 60)
    assert found.points[-1].test.low is found.doubled.low is found.level.high is None
    assert found.doubled.mean > 0


def test_groups_widen_the_intervals():
    """Images of one patient are drawn together."""
    scores = {size: [np.repeat(one[:10], 6) for one in some] for size, some in _scores([12, 25, 50]).items()}
    alone = trace(scores, np.full(60, 0.4), [None] * 60)
    grouped = trace(scores, np.full(60, 0.4), [f"patient {place // 6}" for place in range(60)])
    width = [one.points[-1].test.high - one.points[-1].test.low for one in (alone, grouped)]
    assert width[1] > 1.5 * width[0]
