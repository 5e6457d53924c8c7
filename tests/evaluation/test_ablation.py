"""Settings compared: chosen by validation, told by the test, clear only where images and seeds agree."""

from __future__ import annotations

import numpy as np
import pytest

from segtune.evaluation.ablation import Trial, compare_trials

IMAGES = 40


def trial(loss: str, seed: int, validation: float, shift: float, *, noise: float = 0.0, train: str = "full") -> Trial:
    """A trial whose test images are those of all others, moved by `shift`, and by noise of its own."""
    rng = np.random.default_rng(7)
    base = rng.uniform(0.4, 0.8, IMAGES)
    own = np.random.default_rng(seed).normal(0, noise, IMAGES) if noise else 0.0
    return Trial(
        {"loss": loss, "train": train}, seed, validation, True,
        {"box": base + shift + own, "click": base + shift - 0.2 + own}, {"box": base, "click": base - 0.2}, 100,
    )  # fmt: skip


def test_the_winner_is_chosen_by_validation_though_another_tests_better():
    """Test figures choose nothing; that the other is clearly better there is told beside it."""
    found = compare_trials(
        [trial("a", 0, 0.8, 0.05), trial("a", 1, 0.7, 0.05), trial("b", 0, 0.7, 0.1), trial("b", 1, 0.7, 0.1)],
        [None] * IMAGES,
    )
    assert [one.setting["loss"] for one in found.standings] == ["a", "b"]
    winner, other = found.standings
    assert winner.validation == pytest.approx(0.75)
    assert winner.behind is None
    assert other.behind.mean == pytest.approx(0.05)
    assert other.clear
    assert winner.gain.mean == pytest.approx(0.05)
    assert winner.test.low < winner.test.mean < winner.test.high
    assert winner.by_mode["box"] - winner.by_mode["click"] == pytest.approx(0.2)


def test_a_difference_that_a_seed_turns_round_is_not_clear():
    """The mean over seeds is far from zero on every image, yet one seed of two says the opposite."""
    found = compare_trials(
        [trial("a", 0, 0.9, 0.0), trial("a", 1, 0.9, 0.0), trial("b", 0, 0.8, -0.2), trial("b", 1, 0.8, 0.05)],
        [None] * IMAGES,
    )
    other = found.standings[1]
    assert other.behind.high < 0
    assert not other.clear


def test_a_difference_of_rounding_is_not_clear():
    """Half precision moves every image the same way by next to nothing."""
    found = compare_trials([trial("a", 0, 0.9, 0.0), trial("b", 0, 0.8, -1e-5)], [None] * IMAGES)
    assert found.standings[1].behind.high < 0
    assert not found.standings[1].clear


def test_pairing_sees_what_the_images_differences_hide():
    """Images differ by .4 and settings by .02: the interval of the difference is that of the noise alone."""
    found = compare_trials([trial("a", 0, 0.9, 0.02, noise=0.01), trial("b", 1, 0.8, 0.0, noise=0.01)], [None] * IMAGES)
    # No seed in common: nothing is paired by seed, and nothing is said of the difference.
    assert found.standings[1].behind is None
    found = compare_trials([trial("a", 0, 0.9, 0.02, noise=0.01), trial("b", 0, 0.8, 0.0)], [None] * IMAGES)
    behind, test = found.standings[1].behind, found.standings[1].test
    assert behind.high - behind.low < 0.2 * (test.high - test.low)
    assert found.standings[1].clear


def test_a_setting_with_a_seed_missing_does_not_win():
    """Its mean may owe itself to the seed that is left; paired with the winner over the seed both have."""
    found = compare_trials(
        [trial("lucky", 0, 0.99, 0.1), trial("a", 0, 0.8, 0.0), trial("a", 1, 0.8, 0.3)], [None] * IMAGES
    )
    assert found.winner.setting["loss"] == "a"
    assert found.standings[1].behind.mean == pytest.approx(0.1)


def test_images_of_one_group_are_drawn_together():
    """Four groups of ten say less than forty images do."""
    rng = np.random.default_rng(3)
    moved = np.repeat(rng.normal(0.05, 0.03, 4), 10)
    base = rng.uniform(0.4, 0.8, IMAGES)
    trials = [
        Trial({"loss": name}, 0, score, True, {"box": base + shift}, {"box": base})
        for name, score, shift in (("a", 0.9, 0.0), ("b", 0.8, moved))
    ]
    alone, grouped = (
        compare_trials(trials, groups).standings[1].behind
        for groups in ([None] * IMAGES, [str(row // 10) for row in range(IMAGES)])
    )
    assert grouped.high - grouped.low > 1.5 * (alone.high - alone.low)


def test_effects_average_over_a_whole_grid_only():
    """Two by two give four effects; with a gap, means of two values would be over different settings."""
    grid = [trial(loss, 0, 0.5, shift, train=train) for loss, train, shift in
            (("a", "full", 0.1), ("a", "late", 0.2), ("b", "full", 0.0), ("b", "late", 0.0))]  # fmt: skip
    found = compare_trials(grid, [None] * IMAGES)
    assert [(one.key, one.value) for one in found.effects] == [
        ("loss", "a"), ("loss", "b"), ("train", "full"), ("train", "late"),
    ]  # fmt: skip
    assert found.effects[0].test.mean - found.effects[1].test.mean == pytest.approx(0.15)
    assert compare_trials(grid[:3], [None] * IMAGES).effects == ()


def test_a_mode_that_one_model_cannot_answer_counts_for_none():
    """Means over different prompts would compare the prompts."""
    base = np.linspace(0.3, 0.8, IMAGES)
    trials = [
        Trial({"model": "a"}, 0, 0.9, True, {"box": base, "mask": base + 0.3}, {"box": base, "mask": base}),
        Trial({"model": "b"}, 0, 0.8, True, {"box": base}, {"box": base}),
    ]
    found = compare_trials(trials, [None] * IMAGES)
    assert found.modes == ("box",)
    assert found.winner.test.mean == pytest.approx(float(base.mean()))
