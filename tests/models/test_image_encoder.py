"""The image encoder: windows, its two precisions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from segtune.models.sam.image_encoder import join_windows, split_windows
from segtune.models.sam.model import Sam


@pytest.mark.parametrize(("height", "width", "window"), [(8, 8, 4), (8, 8, 3), (5, 9, 4), (2, 3, 7)])
def test_windows_are_joined_as_they_were_split(height: int, width: int, window: int) -> None:
    """Splitting and joining gives the map back, also where the last windows stick out."""
    tokens = torch.randn(2, height, width, 3)
    windows = split_windows(tokens, window)
    assert windows.shape[1:] == (window, window, 3)
    assert torch.equal(windows[0, : min(window, height), : min(window, width)], tokens[0, :window, :window])
    assert torch.equal(join_windows(windows, window, (height, width)), tokens)


def test_bf16_changes_the_encoder_alone(sam: Sam) -> None:
    """With the setting on, features are near those of fp32, not equal, and come out as fp32."""
    pixels, frames = sam.prepare([np.arange(30 * 50 * 3, dtype=np.uint8).reshape(30, 50, 3)])
    with torch.no_grad():
        exact = sam.encode(pixels, frames).features
        sam.encoder_precision = "bf16"
        rounded = sam.encode(pixels, frames).features
    assert rounded.dtype == torch.float32
    assert 0 < float((rounded - exact).abs().max()) < 0.1


def test_the_callers_mixed_precision_keeps_places_exact(sam: Sam) -> None:
    """A decode under autocast still knows where a click is: angles are not rounded to bfloat16."""
    places = torch.rand(1, 4, 2)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = sam.prompt_encoder.pe_layer(places)
    assert torch.equal(mixed, sam.prompt_encoder.pe_layer(places))
