"""The curve between two models, and the choice on it."""

from __future__ import annotations

import pytest
import torch

from segtune.data.drawn import drawn_dataset
from segtune.evaluation.blending import Change, CurvePoint, Trial, choose_blend, measure_curve
from segtune.evaluation.forgetting import measure_forgetting
from segtune.evaluation.matrix import evaluate
from segtune.models.sam.build import build_sam
from segtune.models.sam.sizes import MICRO


def _curve(*pairs):
    return [
        CurvePoint(number / (len(pairs) - 1), Change(gain, None, None), Change(general, None, None))
        for number, (gain, general) in enumerate(pairs)
    ]


def test_of_those_that_keep_the_gain_the_least_forgetful_is_taken():
    """Nine tenths of the highest, .10, are kept from alpha .5 on; with half of it .25 will do."""
    curve = _curve((0, 0), (0.06, -0.01), (0.09, -0.03), (0.10, -0.05), (0.08, -0.10))
    assert choose_blend(curve, 0.9).alpha == 0.5
    assert choose_blend(curve, 0.5).alpha == 0.25
    assert choose_blend(curve, 1.0).alpha == 0.75


def test_a_tuned_model_that_went_too_far_is_no_measure():
    """Nine tenths of its own gain would be kept at .25 already, at half of what a blend reaches."""
    assert choose_blend(_curve((0, 0), (0.02, 0.00), (0.04, -0.01), (0.03, -0.02), (0.02, -0.03)), 0.9).alpha == 0.5


def test_where_nothing_was_gained_the_best_blend_is_taken():
    """There is nothing to keep a share of; between equals the one that forgets less."""
    assert choose_blend(_curve((0, 0), (0.01, -0.01), (-0.02, -0.2)), 0.9).alpha == 0.5
    assert choose_blend(_curve((0, 0), (0, -0.01), (-0.02, -0.2)), 0.9).alpha == 0.0


@pytest.fixture(scope="module")
def two():
    """Two micro models of unlike weights."""
    return [build_sam(MICRO, generator=torch.Generator().manual_seed(seed)).eval() for seed in (0, 1)]


def test_the_curve_is_the_matrix_at_each_blend(two):
    """At its end the change is that of the matrix itself, mean over modes, on both kinds of image."""
    model = build_sam(MICRO)
    own, general = (drawn_dataset(3, side=64, theme=theme) for theme in ("demo", "suite"))
    modes = ("click", "box")
    ends = two[0].state_dict(), two[1].state_dict()
    curve = measure_curve(model, ends, [0.5], Trial(own, modes), Trial(general, modes))
    assert [one.alpha for one in curve] == [0.0, 0.5, 1.0]
    assert curve[0].gain.mean == curve[0].general.mean == 0
    for images, found in ((own, curve[-1].gain), (general, curve[-1].general)):
        matrix = evaluate(dict(zip("ab", two, strict=True)), images, modes=modes, baselines=False, subject="b")
        expected = [one.mean for one in matrix.differences if one.metric == "iou" and one.against == "a"]
        assert found.mean == pytest.approx(sum(expected) / 2, abs=1e-9)
        assert found.low <= found.mean <= found.high


def test_what_is_kept_is_counted_from_the_model_as_it_would_be_used(two):
    """From a third model, where nobody would use the first end: both ends of the curve are changes then."""
    model = build_sam(MICRO)
    other = build_sam(MICRO, generator=torch.Generator().manual_seed(2)).eval()
    own, general = (Trial(drawn_dataset(3, side=64, theme=theme), ("box",)) for theme in ("demo", "suite"))
    ends = two[0].state_dict(), two[1].state_dict()
    plain, curve = (measure_curve(model, ends, [0.5], own, general, reference=one) for one in (None, other))
    assert [one.alpha for one in curve] == [0.0, 0.5, 1.0]
    for trial, name in ((own, "gain"), (general, "general")):
        matrix = evaluate({"a": other, "b": two[1]}, trial.images, modes=trial.modes, baselines=False, subject="b")
        (expected,) = (one.mean for one in matrix.differences if one.metric == "iou" and one.against == "a")
        assert getattr(curve[-1], name).mean == pytest.approx(expected, abs=1e-9)
        apart = [getattr(one, name).mean - getattr(two, name).mean for one, two in zip(curve, plain, strict=True)]
        assert apart == pytest.approx([apart[0]] * 3, abs=1e-9)
        assert abs(apart[0]) > 1e-6


def test_all_models_are_held_to_the_pretrained_one(two):
    """Tuned and blended alike, with paired intervals; the verdict is about the one that is asked for."""
    models = {"pretrained": two[0], "tuned": two[1], "blended": two[0]}
    found = measure_forgetting(
        models, drawn_dataset(3, side=64, theme="suite"), subject="tuned", source="drawn suite", modes=("click", "box")
    )
    assert {(one.model, one.against) for one in found.differences} == {
        ("tuned", "pretrained"), ("blended", "pretrained")
    }  # fmt: skip
    rows = {(row.model, row.mode): row.mean for row in found.rows if row.metric == "iou"}
    for mode in found.modes:
        change = rows["tuned", mode] - rows["pretrained", mode]
        assert found.difference("tuned", mode).mean == pytest.approx(change)
        assert found.difference("blended", mode).mean == 0
    assert found.images == 3
    assert found.verdict.startswith("On general images (drawn suite): Tuning ")
