"""The head start: untrained weights that see fine structure, look nearby, and are Segment Anything's all the same."""

import pytest
import torch

from segtune.models.sam.build import build_sam
from segtune.models.sam.head_start import give_head_start
from segtune.models.sam.image_encoder import Attention
from segtune.models.sam.relative_attention import position_bias
from segtune.models.sam.sizes import MICRO, NANO


def _begun(sizes, seed=0):
    model = build_sam(sizes, generator=torch.Generator().manual_seed(seed))
    give_head_start(model, torch.Generator().manual_seed(seed))
    return model


@pytest.mark.parametrize("sizes", [MICRO, NANO], ids=["micro", "nano"])
def test_the_same_layout_and_the_same_bytes_for_a_seed(sizes):
    """Names and shapes are those of fresh weights, all finite; the seed alone decides."""
    plain = build_sam(sizes, generator=torch.Generator().manual_seed(0)).state_dict()
    first, again = _begun(sizes).state_dict(), _begun(sizes).state_dict()
    assert {name: value.shape for name, value in first.items()} == {name: value.shape for name, value in plain.items()}
    assert all(torch.isfinite(value).all() for value in first.values())
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_fine_structure_is_seen_beside_coarse():
    """A faint fine grating on a bright patch changes its token far more than it does with plain random weights."""
    flat = torch.full((1, 3, 256, 256), 1.5)
    grating = flat + 0.1 * torch.cos(torch.arange(256) * (2 * torch.pi / 5.3))
    shares = []
    for model in (build_sam(NANO, generator=torch.Generator().manual_seed(0)), _begun(NANO)):
        with torch.no_grad():
            tokens = [model.image_encoder.patch_embed(pixels)[0, 8, 8] for pixels in (flat, grating)]
        shares.append(float((tokens[1] - tokens[0]).norm() / tokens[0].norm()))
    plain, begun = shares
    assert begun > 5 * plain


def test_waves_of_natural_size_come_out_alike():
    """Of images whose waves fall with their frequency no channel of a patch is much louder than another."""
    generator = torch.Generator().manual_seed(0)
    spectrum = torch.fft.rfft2(torch.randn(8, 1, 256, 256, generator=generator))
    frequency = (torch.fft.fftfreq(256)[:, None] ** 2 + torch.fft.rfftfreq(256) ** 2).sqrt()
    grey = torch.fft.irfft2(spectrum / frequency.clamp(min=1 / 256))
    grey = grey / grey.std()
    with torch.no_grad():
        tokens = _begun(NANO).image_encoder.patch_embed(grey.expand(-1, 3, -1, -1))
    loud = tokens.flatten(0, 2).std(dim=0)[1:128]  # the waves of brightness but its mean
    assert loud.max() < 6 * loud.min()


def test_heads_begin_at_the_token_and_its_neighbours():
    """Five heads of each block attend most to the token itself and to the four beside it, the sixth widely."""
    model = _begun(NANO)
    attention = next(module for module in model.modules() if isinstance(module, Attention))
    query = attention.qkv.bias[:192].detach().view(6, 1, 32).expand(6, 64, 32)[None]  # of tokens of zeros
    by_row, by_column = position_bias(query, attention.rel_pos_h.detach(), attention.rel_pos_w.detach(), (8, 8))
    bias = (by_row[0, :, :, :, None] + by_column[0, :, :, None, :]).view(6, 64, 64)
    centre = 3 * 8 + 3
    assert [int(row.argmax()) - centre for row in bias[:, centre]] == [0, -8, 8, -1, 1, 0]
    share = bias[:, centre].softmax(dim=-1).amax(dim=-1)
    assert share[:5].min() > 0.15
    assert share[5] < 0.1
