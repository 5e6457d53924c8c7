"""Weighted sums of losses and the quality loss."""

from __future__ import annotations

import pytest
import torch

from segtune.core.errors import UsageError
from segtune.losses.dice import dice
from segtune.losses.focal import focal
from segtune.losses.mixture import REFERENCE, Mixture
from segtune.losses.quality import quality_loss


@pytest.fixture
def case():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 8, 8, generator=generator)
    truth = (torch.rand(3, 8, 8, generator=generator) > 0.5).float()
    return logits, truth, torch.ones(3, 8, 8, dtype=torch.bool)


def test_reference_is_twenty_to_one(case):
    """The reference loss is 20/21 focal and 1/21 dice, per object."""
    expected = (20 * focal(*case) + dice(*case)) / 21
    torch.testing.assert_close(Mixture(REFERENCE)(*case), expected)


def test_terms_are_logged_unweighted_and_sum_to_the_total(case):
    """Each term has one value per object, before weighting, and their weighted sum is the loss."""
    mixture = Mixture({"focal": 2.0, "dice": 0.5, "lovasz": 1})
    terms = mixture.per_term(*case)
    assert list(terms) == ["focal", "dice", "lovasz"]
    torch.testing.assert_close(terms["dice"], dice(*case))
    torch.testing.assert_close(mixture.total(terms), mixture(*case))


def test_weight_zero_leaves_a_loss_out(case):
    """A loss of weight 0 is not computed."""
    mixture = Mixture({"focal": 1.0, "boundary": 0.0})
    assert list(mixture.per_term(*case)) == ["focal"]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"focal": 1.0, "fokal": 0.0}, "Did you mean 'focal'"),
        ({"focal": -1.0}, "'focal' has -1.0"),
        ({"dice": float("nan")}, "'dice' has nan"),
        ({"dice": 0.0}, "at least one"),
        ({}, "at least one"),
    ],
    ids=["unknown", "negative", "nan", "all zero", "none"],
)
def test_mistakes_are_named(weights, message):
    """An unknown loss, an impossible weight and an empty mixture are usage errors that say what is wrong."""
    with pytest.raises(UsageError, match=message):
        Mixture(weights)


def test_quality_is_squared_error_against_a_constant():
    """The quality loss is the squared error per mask and gives the IoU it aims at no gradient."""
    predicted = torch.tensor([0.5, 0.9], requires_grad=True)
    actual = torch.tensor([0.7, 0.9], dtype=torch.float64, requires_grad=True)
    loss = quality_loss(predicted, actual)
    torch.testing.assert_close(loss, torch.tensor([0.04, 0.0]))
    loss.sum().backward()
    assert actual.grad is None
    assert predicted.grad is not None
