"""What every loss keeps, also those registered tomorrow."""

from __future__ import annotations

import pytest
import torch

from segtune.core.errors import UsageError
from segtune.losses import LOSSES


@pytest.fixture(params=sorted(LOSSES))
def loss(request):
    return LOSSES[request.param]


def objects(size: int = 12) -> torch.Tensor:
    """A square, one at the border, nothing, everything."""
    truth = torch.zeros(4, size, size)
    truth[0, 3:9, 4:8] = 1
    truth[1, :5, :4] = 1
    truth[3] = 1
    return truth


def all_valid(truth: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(truth, dtype=torch.bool)


def noise(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_perfect_is_near_zero(loss):
    """Confident and right logits cost next to nothing, for empty and full truths too."""
    truth = objects()
    assert loss((2 * truth - 1) * 20, truth, all_valid(truth)).abs().max() < 1e-4


def test_wrong_costs_more_than_undecided(loss):
    """Being wrong costs more than being undecided, which costs more than being right."""
    truth = objects()
    wrong, undecided, right = (loss((2 * truth - 1) * way, truth, all_valid(truth)) for way in (-4.0, 0.0, 4.0))
    assert (wrong > undecided).all()
    assert (undecided > right).all()


def test_one_value_per_object(loss):
    """N objects give N values, each as if it were alone; none give none."""
    truth, logits = objects(), noise((4, 12, 12))
    values = loss(logits, truth, all_valid(truth))
    assert values.shape == (4,)
    for i in range(4):
        one = slice(i, i + 1)
        torch.testing.assert_close(loss(logits[one], truth[one], all_valid(truth)[one]), values[one])
    assert loss(logits[:0], truth[:0], all_valid(truth)[:0]).shape == (0,)


def test_gradcheck(loss):
    """The gradient in the logits is that of finite differences, padding included."""
    truth = objects(6)
    valid = all_valid(truth)
    valid[:, 4:] = False
    valid[1, :, 3:] = False
    logits = noise((4, 6, 6), seed=3).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, truth.double(), valid), (logits,))


@pytest.mark.parametrize("value", [1e4, -1e4])
def test_finite_at_extreme_logits(loss, value):
    """Logits of ±10,000, right or wrong, give finite values and gradients."""
    truth = objects()
    logits = torch.full_like(truth, value).requires_grad_()
    values = loss(logits, truth, all_valid(truth))
    values.sum().backward()
    assert values.isfinite().all()
    assert logits.grad.isfinite().all()


def test_empty_mask_is_finite_and_teaches(loss):
    """An object without a pixel gives a finite value whose gradient pushes a false mask down."""
    truth = torch.zeros(1, 8, 8)
    logits = noise((1, 8, 8)).requires_grad_()
    value = loss(logits, truth, all_valid(truth))
    value.sum().backward()
    assert value.isfinite().all()
    assert (logits.grad >= 0).all()
    assert logits.grad.sum() > 0


def test_invalid_pixels_do_not_count(loss):
    """Neither logits nor truth of the padding change the value, not even infinities, and they get no gradient."""
    truth, logits = objects(), noise((4, 12, 12))
    valid = all_valid(truth)
    valid[:, 9:] = False
    valid[0, 3, 4] = False
    expected = loss(logits, truth, valid)
    spoilt_logits = logits.masked_fill(~valid, float("inf")).requires_grad_()
    spoilt = loss(spoilt_logits, torch.where(valid, truth, 1 - truth), valid)
    torch.testing.assert_close(spoilt, expected)
    spoilt.sum().backward()
    assert (spoilt_logits.grad[~valid] == 0).all()
    assert spoilt_logits.grad.isfinite().all()


def test_padding_changes_nothing(loss):
    """A map with padding around it costs what the map alone costs."""
    truth, logits = objects(), noise((4, 12, 12))
    alone = loss(logits, truth, all_valid(truth))
    wider = torch.nn.functional.pad
    valid = wider(all_valid(truth), (0, 5, 0, 3))
    padded = loss(wider(logits, (0, 5, 0, 3), value=7.0), wider(truth, (0, 5, 0, 3)), valid)
    torch.testing.assert_close(padded, alone)


def test_nothing_valid(loss):
    """An object whose every pixel is ignored costs nothing and gives no gradient."""
    truth, logits = objects(), noise((4, 12, 12)).requires_grad_()
    values = loss(logits, truth, torch.zeros_like(truth, dtype=torch.bool))
    values.sum().backward()
    assert values.abs().max() < 1e-6
    assert (logits.grad == 0).all()


def test_half_precision(loss):
    """Logits in bfloat16 cost what the same numbers cost in float32."""
    truth = objects()
    logits = noise((4, 12, 12)).bfloat16()
    values = loss(logits, truth, all_valid(truth))
    assert values.dtype == torch.float32
    torch.testing.assert_close(values, loss(logits.float(), truth, all_valid(truth)))


def test_soft_truth(loss):
    """A truth with partly covered cells gives finite values."""
    truth = objects() * 0.7 + 0.1
    assert loss(noise((4, 12, 12)), truth, all_valid(truth)).isfinite().all()


def test_unknown_name_says_the_nearest():
    """A misspelt loss is a usage error that names the nearest."""
    with pytest.raises(UsageError, match="Did you mean 'focal'"):
        LOSSES["fokal"]
