"""A model at another input side."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from segtune.adapters.scopes import train_only
from segtune.core.errors import UsageError
from segtune.models.quality import QualityMap
from segtune.models.sam.model import Sam
from segtune.models.sam.resize import resized
from segtune.models.sides import at_side


def test_only_positions_change(sam: Sam) -> None:
    """Everything but the absolute positions and the tables of the global blocks is carried over."""
    larger = resized(sam, 96)
    assert (larger.side, larger.mask_size, larger.preparation.side) == (96, (48, 48), 96)
    changed = {name for name, value in sam.state_dict().items() if larger.state_dict()[name].shape != value.shape}
    assert changed == {
        "image_encoder.pos_embed",
        "image_encoder.blocks.1.attn.rel_pos_h",
        "image_encoder.blocks.1.attn.rel_pos_w",
    }
    kept = [name for name in sam.state_dict() if name not in changed]
    assert all(torch.equal(sam.state_dict()[name], larger.state_dict()[name]) for name in kept)


def test_what_was_fitted_to_it_comes_along(sam: Sam) -> None:
    """Thresholds and the map of its quality are the model's, at any side."""
    sam.thresholds, sam.quality_map = {"pred_iou_thresh": 0.5}, QualityMap(2.0, 0.1)
    larger = resized(sam, 96)
    assert (larger.thresholds, larger.quality_map) == (sam.thresholds, sam.quality_map)


def test_an_adapter_that_stays_on_it_is_not_left_behind(sam: Sam) -> None:
    """A bottleneck cannot be merged, so another side is refused rather than trained without it."""
    train_only(sam, "bottleneck:width=2,in=encoder")
    with pytest.raises(UsageError, match="carries the adapter 'bottleneck"):
        at_side(sam, 96)
    assert at_side(sam, sam.side) is sam


def test_the_same_side_is_the_same_model(sam: Sam) -> None:
    """Resizing to its own side copies a model."""
    copy = resized(sam, sam.side)
    assert copy is not sam
    assert all(torch.equal(value, copy.state_dict()[name]) for name, value in sam.state_dict().items())


def test_smooth_positions_stay_where_they_were(sam: Sam) -> None:
    """A ramp over the image is the same ramp at the other side, away from the rim."""
    with torch.no_grad():
        ramp = (torch.arange(8) + 0.5) / 8
        sam.image_encoder.pos_embed.copy_(ramp[None, :, None, None].expand_as(sam.image_encoder.pos_embed))
    positions = resized(sam, 128).image_encoder.pos_embed[0, :, 5, 0]
    np.testing.assert_allclose(positions[3:-3].detach(), ((np.arange(16) + 0.5) / 16)[3:-3], atol=1e-5)


def test_a_side_that_is_no_multiple_of_the_patch_is_refused(sam: Sam) -> None:
    """The message says the nearest side that works."""
    with pytest.raises(UsageError, match=r"patch of 8 pixels, but is 100\. Take 96"):
        resized(sam, 100)
