"""Attention with relative positions: three ways to the same numbers, and the formula they stand for."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from segtune.models.sam import relative_attention as module
from segtune.models.sam.relative_attention import relative_attention

ROWS, COLUMNS, HEADS, WIDTH = 5, 7, 3, 6


def draw(dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, HEADS, ROWS * COLUMNS, WIDTH)] * 3 + [(2 * ROWS - 1, WIDTH), (2 * COLUMNS - 1, WIDTH)]
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


def by_the_formula(query: Tensor, key: Tensor, value: Tensor, rel_h: Tensor, rel_w: Tensor) -> Tensor:
    """Equation 4 of MViTv2, one pair of tokens after the other."""
    scores = query @ key.transpose(-1, -2) / WIDTH**0.5
    for q in range(ROWS * COLUMNS):
        for k in range(ROWS * COLUMNS):
            down, across = q // COLUMNS - k // COLUMNS, q % COLUMNS - k % COLUMNS
            scores[:, :, q, k] += query[:, :, q] @ (rel_h[down + ROWS - 1] + rel_w[across + COLUMNS - 1])
    return scores.softmax(dim=-1) @ value


@pytest.mark.parametrize("way", ["written out", "in blocks", "folded"])
def test_every_way_is_the_formula(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """Writing the bias out, taking queries in blocks and folding the bias into q and k are all exact."""
    if way != "written out":
        monkeypatch.setattr(module, "_BIAS_VALUES", 0)
    monkeypatch.setattr(
        module, "_BLOCK_VALUES", 2 * HEADS * ROWS * COLUMNS * 4
    )  # four queries a block, a rest of three
    given = draw(torch.float32)
    given[0].requires_grad_(way == "folded")
    found = relative_attention(*given, (ROWS, COLUMNS))
    exact = by_the_formula(*[value.detach().double() for value in given])
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-5)


@pytest.mark.parametrize("limit", [0, 1 << 25])
def test_gradients_are_those_of_the_formula(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """Both ways that training takes give every input its exact gradient."""
    monkeypatch.setattr(module, "_BIAS_VALUES", limit)
    given = [value.requires_grad_() for value in draw()]
    weights = torch.randn(2, HEADS, ROWS * COLUMNS, WIDTH, generator=torch.Generator().manual_seed(1)).double()
    found = torch.autograd.grad((relative_attention(*given, (ROWS, COLUMNS)) * weights).sum(), given)
    expected = torch.autograd.grad((by_the_formula(*given) * weights).sum(), given)
    for ours, exact in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, exact, rtol=0, atol=1e-9)


def test_large_images_never_hold_the_whole_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the limit no tensor of heads × tokens × tokens is made without gradients."""
    monkeypatch.setattr(module, "_BIAS_VALUES", 0)
    monkeypatch.setattr(module, "_BLOCK_VALUES", 1)
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            made = func(*args, **(kwargs or {}))
            largest = max(largest, made.numel() if isinstance(made, Tensor) else 0)
            return made

    with torch.no_grad(), Watch():
        relative_attention(*draw(), (ROWS, COLUMNS))
    assert largest < 2 * HEADS * (ROWS * COLUMNS) ** 2
