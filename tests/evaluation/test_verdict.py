"""The verdict in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from segtune.evaluation.results import Difference, Results, Row
from segtune.evaluation.verdict import build_verdict, format_score


def make(changes: dict, model: str = "tuned", against: str = "pretrained", ellipse=None, n: int = 150) -> Results:
    """Make results of IoU with these (before, after, low, high) by mode."""
    rows, differences = [], []
    for mode, (before, after, low, high) in changes.items():
        rows += [
            Row(against, mode, "iou", before, None, None, None, n),
            Row(model, mode, "iou", after, None, None, None, n),
        ]
        differences.append(Difference(model, against, mode, "iou", after - before, low, high, 0.01, n))
    if ellipse is not None:
        rows.append(Row("baseline:box", "box", "iou", 0.6, None, None, None, n))
        rows.append(Row("baseline:ellipse", "box", "iou", ellipse[0], None, None, None, n))
        for name, low, high in (("baseline:box", 0.1, 0.2), ("baseline:ellipse", *ellipse[1:])):
            differences.append(Difference(model, name, "box", "iou", 0.1, low, high, 0.01, n))
    return Results(tuple(rows), tuple(differences))


def test_groups_are_told_beside_the_images():
    """Three patients prove less than their three hundred images: the number that the interval is over is said."""
    results = make({"box": (0.71, 0.86, 0.13, 0.17)}, n=300)
    grouped = Results(results.rows, tuple(replace(one, groups=3) for one in results.differences))
    assert "on 300 images of 3 groups; box" in build_verdict(grouped, "tuned", "pretrained")
    assert "on 300 images; box" in build_verdict(results, "tuned", "pretrained")


def test_a_gain_everywhere():
    """All modes up: counted, quoted for the box with its interval."""
    results = make({"click": (0.4, 0.6, 0.15, 0.25), "box": (0.71, 0.86, 0.13, 0.17)})
    assert build_verdict(results, "tuned", "pretrained") == (
        "Tuning raised IoU in 2 of 2 prompt modes on 150 images; box .71 → .86 (+.15, 95 % interval .13 to .17)."
    )


def test_gains_losses_and_no_difference_are_told_apart():
    """Each mode is named on the side it is on, and the worst loss is quoted."""
    results = make(
        {"click": (0.6, 0.5, -0.2, -0.05), "box": (0.71, 0.86, 0.13, 0.17), "mask": (0.8, 0.81, -0.02, 0.04)}
    )
    assert build_verdict(results, "tuned", "pretrained") == (
        "Tuning raised IoU in 1 of 3 prompt modes (box), lowered it in 1 (click) and made no clear difference in 1 "
        "(mask) on 150 images; box .71 → .86 (+.15, 95 % interval .13 to .17); "
        "click .60 → .50 (-.10, 95 % interval -.20 to -.05)."
    )


def test_a_loss_everywhere():
    """All modes down is said as plainly."""
    results = make({"box": (0.86, 0.71, -0.17, -0.13)})
    assert build_verdict(results, "tuned", "pretrained", crowned=False) == (
        "Tuning lowered IoU in 1 of 1 prompt mode on 150 images; box .86 → .71 (-.15, 95 % interval -.17 to -.13). "
        "No epoch beat the pretrained model on the validation images, so its weights were kept."
    )


def test_no_clear_difference():
    """Intervals that contain zero are no gain, whatever the mean."""
    results = make({"click": (0.4, 0.42, -0.01, 0.05), "box": (0.711, 0.714, -0.004, 0.009)})
    assert build_verdict(results, "tuned", "pretrained") == (
        "Tuning made no clear difference in IoU in any of 2 prompt modes on 150 images: every 95 % interval contains "
        "zero; box .711 → .714 (+.003, 95 % interval -.004 to .009)."
    )


def test_one_mode_is_spoken_of_as_one():
    """A single mode and a single image are no "any of 1 modes" on "1 images"."""
    text = build_verdict(make({"box": (0.71, 0.72, -0.02, 0.05)}, n=40), "tuned", "pretrained")
    assert text.startswith("Tuning made no clear difference in IoU in 1 prompt mode on 40 images: the 95 % interval")
    alone = Results((Row("nano", "box", "iou", 0.6, None, None, None, 1),), ())
    assert build_verdict(alone, "nano").endswith("on 1 image: box .60.")


def test_an_interval_never_seems_to_touch_zero():
    """An end that rounds to nothing is written with as many digits as it takes; nothing else is."""
    near = build_verdict(make({"box": (0.70, 0.75, 0.004, 0.11)}), "tuned", "pretrained")
    assert "(+.050, 95 % interval .004 to .110)" in near
    none = build_verdict(make({"box": (0.70, 0.75, -0.0001, 0.11)}), "tuned", "pretrained")
    assert "(+.050, 95 % interval -.0001 to .110)" in none


def test_equal_models_are_called_equal():
    """A model against itself stays where it is."""
    results = make({"box": (0.7, 0.7, 0.0, 0.0)})
    assert "box stays at .70" in build_verdict(results, "tuned", "pretrained")


def test_two_models_are_named():
    """Outside of tuning the models go by their names."""
    results = make({"box": (0.7, 0.8, 0.05, 0.15)}, model="mine", against="theirs")
    assert build_verdict(results, "mine", "theirs").startswith("mine raised IoU against theirs in 1 of 1 prompt mode")


def test_one_image_shows_nothing():
    """Without an interval there is no claim."""
    results = make({"box": (0.7, 0.8, None, None)}, n=1)
    verdict = build_verdict(results, "tuned", "pretrained")
    assert "cannot show whether tuned differs from pretrained" in verdict
    assert "raised" not in verdict


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        ((0.02, 0.1), "above the ellipse in the box (.74)."),
        ((-0.02, 0.1), "not clearly above the ellipse in the box (.74)"),
    ],
)
def test_the_strongest_baseline_is_held_beside_the_box(interval, said):
    """A model that cannot beat a shape of no skill is told so."""
    results = make({"box": (0.71, 0.86, 0.13, 0.17)}, ellipse=(0.738, *interval))
    assert said in build_verdict(results, "tuned", "pretrained")


def test_a_single_model_is_described():
    """With nothing to compare, the figures are listed."""
    results = Results(
        (Row("nano", "click", "iou", 0.41, None, None, None, 9), Row("nano", "box", "iou", 1.0, None, None, None, 9))
    )
    assert build_verdict(results, "nano") == "IoU of nano on 9 images: click .41, box 1.00."


def test_nothing_scored():
    """Images without objects alone leave nothing to describe."""
    assert build_verdict(Results(()), "nano") == "Nothing was scored."


@pytest.mark.parametrize(
    ("value", "options", "text"),
    [
        (0.714, {}, ".71"), (1.0, {}, "1.00"), (0.999, {}, "1.00"), (-0.054, {}, "-.05"),
        (0.15, {"signed": True}, "+.15"),
        (0.0034, {"digits": 3, "signed": True}, "+.003"), (None, {}, "–"), (12.5, {}, "12.50"), (0.0, {}, ".00"),
    ],
)  # fmt: skip
def test_scores_are_written_as_in_papers(value, options, text):
    """Two or three digits and no leading zero."""
    assert format_score(value, **options) == text
