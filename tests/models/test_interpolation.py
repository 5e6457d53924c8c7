"""Weights between two models."""

from __future__ import annotations

import pytest
import torch

from segtune.core.errors import ModelError
from segtune.models.interpolation import interpolate

START = {"a.weight": torch.tensor([1.0, 2.0]), "a.bias": torch.tensor([3.0]), "steps": torch.tensor(4)}
END = {"a.weight": torch.tensor([3.0, -2.0]), "a.bias": torch.tensor([3.0]), "steps": torch.tensor(9)}


def test_the_ends_are_the_models_themselves():
    """Bit for bit, counters too."""
    for alpha, expected in ((0.0, START), (1.0, END)):
        found = interpolate(START, END, alpha)
        assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_between_them_weights_lie_on_the_line():
    """What did not change stays as it is, whatever the share."""
    found = interpolate(START, END, 0.25)
    torch.testing.assert_close(found["a.weight"], torch.tensor([1.5, 1.0]))
    assert torch.equal(found["a.bias"], START["a.bias"])
    assert found["a.weight"].data_ptr() != START["a.weight"].data_ptr()


@pytest.mark.parametrize("other", [{"b": torch.zeros(1)}, END | {"a.bias": torch.zeros(2)}])
def test_other_networks_are_refused(other):
    """By name or by shape; the message names a weight."""
    with pytest.raises(ModelError, match=r"a\.|b"):
        interpolate(START, other, 0.5)
