"""A tiny model with fresh weights, and an image for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from segtune.models.sam.build import build_sam
from segtune.models.sam.sizes import MICRO


@pytest.fixture
def model():
    """The smallest Segment Anything there is."""
    # With fewer channels than that the norm over mask prompts has one channel, and all mask prompts are alike.
    sizes = replace(MICRO, mask_channels=16)
    return build_sam(sizes, generator=torch.Generator().manual_seed(1)).eval()


@pytest.fixture
def image():
    """48 high, 80 wide."""
    return np.random.default_rng(0).integers(0, 255, (48, 80, 3), dtype=np.uint8)
