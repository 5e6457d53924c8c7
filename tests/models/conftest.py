"""A small Segment Anything with random weights, for the tests of this room."""

from __future__ import annotations

import pytest
import torch

from segtune.models.sam.build import build_sam
from segtune.models.sam.model import Sam
from segtune.models.sam.sizes import MICRO


@pytest.fixture
def sam() -> Sam:
    """The micro size, with relative positions that are not zero."""
    generator = torch.Generator().manual_seed(0)
    model = build_sam(MICRO, generator=generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model
