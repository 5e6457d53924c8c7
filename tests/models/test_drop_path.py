"""Stochastic depth in SAM's image encoder."""

import pytest
import torch

from segtune.adapters.scopes import train_only
from segtune.core.errors import UsageError
from segtune.models import FAMILIES
from segtune.models.drop_path import spread_drop_path
from segtune.models.sam.build import build_sam
from segtune.models.sam.sizes import MICRO


@pytest.fixture
def sam():
    """A small random SAM."""
    return build_sam(MICRO, generator=torch.Generator().manual_seed(0))


def chances(model):
    return [block.drop_path for block in model.image_encoder.blocks]


def test_it_rises_to_the_last_block(sam):
    """From none in the first block, evenly; 0 takes it back."""
    spread_drop_path(sam, 0.4)
    assert chances(sam) == pytest.approx(
        [0.4 * number / (len(chances(sam)) - 1) for number in range(len(chances(sam)))]
    )
    spread_drop_path(sam, 0.0)
    assert set(chances(sam)) == {0.0}


def test_what_is_frozen_is_left_alone(sam):
    """What frozen blocks make of an image is kept from one step to the next."""
    train_only(sam, "late:1")
    spread_drop_path(sam, 0.4)
    assert chances(sam) == pytest.approx([0.0] * (len(chances(sam)) - 1) + [0.4])
    train_only(sam, "decoder")
    spread_drop_path(sam, 0.4)
    assert set(chances(sam)) == {0.0}


@pytest.mark.parametrize("window", [True, False])
def test_whole_images_pass_a_branch_by(sam, window):
    """Each branch of a block is there for an image or not, scaled so that the mean stays; in use it always is there."""
    block = next(one for one in sam.image_encoder.blocks if bool(one.window) == window)
    side = sam.image_encoder.pos_embed.shape[1]
    tokens = torch.randn(
        64, side, side, sam.image_encoder.pos_embed.shape[3], generator=torch.Generator().manual_seed(1)
    )
    with torch.no_grad():
        plain = block.eval()(tokens)
        block.drop_path = 0.5
        assert torch.equal(block(tokens), plain)
        torch.manual_seed(0)
        left = block.train()(tokens)
        same = (left == tokens).flatten(1).all(1)  # both branches left out: one image in four
        assert 6 <= same.sum() <= 28
        branch = torch.ones_like(tokens)
        kept = block._kept(branch).flatten(1)
        assert set(kept.unique().tolist()) == {0.0, 2.0}
        assert (kept.min(1).values == kept.max(1).values).all()


def test_another_encoder_refuses_it():
    """An option that would do nothing is an error; 0 is what every family has."""
    model = FAMILIES["mobile_sam"].tiny(torch.Generator().manual_seed(0))
    spread_drop_path(model, 0.0)
    with pytest.raises(UsageError, match=r"training\.drop_path is 0\.4.*Leave the setting out"):
        spread_drop_path(model, 0.4)
