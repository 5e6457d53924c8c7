"""Lets the tests of this room use the small discs of the training room, and those on disk of the flows."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from segtune.models.sam.build import build_sam
from segtune.models.sam.model import Sam
from segtune.models.sam.sizes import MICRO

sys.path[:0] = [str(Path(__file__).parent.parent / room) for room in ("training", "flow")]


@pytest.fixture
def micro() -> Sam:
    """A tiny model with fresh weights."""
    return build_sam(MICRO, generator=torch.Generator().manual_seed(0))
