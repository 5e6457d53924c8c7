"""Attention in half precision on the CPU gives what torch's own kernel gives in full precision, up to rounding."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from segtune.models.sam.plain_attention import attention


def _drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("bias", [None, "which keys count", "added"])
def test_values_and_gradients_are_those_of_full_precision(bias):
    query, key, value = (_drawn(3, 2, n, 16) for n in (12, 7, 7))
    if bias == "which keys count":
        bias = torch.ones(3, 1, 1, 7, dtype=torch.bool)
        bias[0, ..., 4:] = False
    elif bias is not None:
        bias = _drawn(3, 2, 12, 7)

    def run(dtype, kernel):
        parts = [part.detach().to(dtype).clone().requires_grad_() for part in (query, key, value)]
        told = bias.to(dtype) if bias is not None and bias.is_floating_point() else bias
        out = kernel(*parts, told)
        assert out.dtype == dtype
        out.backward(torch.ones_like(out) * _drawn(3, 2, 12, 16).to(dtype))
        return [out.detach(), *(part.grad for part in parts)]

    exact = run(torch.float32, F.scaled_dot_product_attention)
    for ours, theirs in zip(run(torch.bfloat16, attention), exact, strict=True):
        torch.testing.assert_close(ours.float(), theirs, atol=0.05, rtol=0.05)


def test_keys_that_do_not_count_get_no_gradient():
    query, key, value = (_drawn(1, 1, n, 16).bfloat16().requires_grad_() for n in (3, 4, 4))
    counts = torch.tensor([True, True, False, False]).view(1, 1, 1, 4)

    attention(query, key, value, counts).sum().backward()

    assert value.grad[0, 0, :2].abs().min() > 0
    assert value.grad[0, 0, 2:].abs().max() == 0
    assert key.grad[0, 0, 2:].abs().max() == 0


def test_full_precision_is_torchs_own_to_the_bit():
    query, key, value = (_drawn(2, 2, n, 16).requires_grad_() for n in (5, 6, 6))

    assert torch.equal(attention(query, key, value), F.scaled_dot_product_attention(query, key, value))
