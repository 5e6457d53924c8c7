"""Numbers that processors are slow with."""

import pytest
import torch

from segtune.training.denormals import denormals_as_zero


def test_denormals_are_zero_inside_and_themselves_outside():
    """The mode lasts as long as the context, also where that ends by an error."""
    tiny = torch.tensor([1e-39])
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor has no such mode")
    torch.set_flush_denormal(False)
    assert (tiny * 0.5).item() > 0
    with denormals_as_zero():
        assert (tiny * 0.5).item() == 0
    assert (tiny * 0.5).item() > 0
    with pytest.raises(KeyError), denormals_as_zero():
        raise KeyError
    assert (tiny * 0.5).item() > 0
