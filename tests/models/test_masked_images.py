"""The encoder that fills in hidden patches: nothing of them is seen, and its weights are the encoder's own."""

from __future__ import annotations

import pytest
import torch

from segtune.models.sam.build import build_sam
from segtune.models.sam.masked_images import build_masked_image_model, cut_patches
from segtune.models.sam.sizes import MICRO


@pytest.fixture
def encoder():
    """A micro encoder with fresh weights."""
    return build_sam(MICRO, generator=torch.Generator().manual_seed(0)).image_encoder


@pytest.fixture
def pixels():
    """Two images."""
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def built(encoder, **sizes):
    return build_masked_image_model(encoder, torch.Generator().manual_seed(2), **sizes)


def hidden_corner():
    hidden = torch.zeros(2, 8, 8, dtype=torch.bool)
    hidden[0, :2, :4] = hidden[1, 6:, 6:] = True
    return hidden


@pytest.mark.parametrize("depth", [0, 1])
def test_what_is_hidden_is_not_seen(encoder, pixels, depth):
    """Other pixels in hidden patches change no answer; other pixels beside them do."""
    model, hidden = built(encoder, decoder_depth=depth, decoder_width=64), hidden_corner()
    with torch.no_grad():
        before = model(pixels, hidden)
        assert before.shape == (12, 8 * 8 * 3)
        covered = pixels.clone()
        covered[0, :, :16, :32] = covered[1, :, 48:, 48:] = 7.0
        torch.testing.assert_close(model(covered, hidden), before, rtol=0, atol=0)
        covered[0, :, 20, 20] += 5
        assert not torch.equal(model(covered, hidden), before)


def test_all_of_the_encoder_but_its_neck_is_trained_in_place(encoder, pixels):
    """Gradients reach every weight of patches, positions and blocks, which are the encoder's own; none the neck."""
    model = built(encoder)
    model(pixels, hidden_corner()).square().sum().backward()
    reached = {name for name, parameter in encoder.named_parameters() if parameter.grad is not None}
    assert reached == {name for name, _ in encoder.named_parameters() if not name.startswith("neck.")}
    assert all(parameter.grad is not None for parameter in model.parameters())
    stages = model.encoder_stages
    own = [name for name, _ in model.named_parameters() if not name.startswith(("decoder.", "hidden_token"))]
    assert all(sum(name.startswith(stage) for stage in stages) == 1 for name in own)
    assert len(own) == len(reached)


def test_the_encoder_keeps_its_weights_and_the_rest_is_the_generators(encoder):
    """Building changes nothing in the encoder; the same generator draws the same decoder."""
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    one, two = built(encoder, decoder_depth=1), built(encoder, decoder_depth=1)
    assert all(torch.equal(encoder.state_dict()[name], value) for name, value in before.items())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert all(torch.isfinite(parameter).all() for parameter in one.parameters())


def test_patches_are_cut_where_the_encoder_sees_them(encoder):
    """A patch that is bright in the image is the bright one in the grid, its numbers row by row, colour last."""
    pixels = torch.zeros(1, 3, 64, 64)
    pixels[0, 1, 8:16, 24:32] = torch.arange(64.0).view(8, 8)
    patches = cut_patches(pixels, 8)
    assert patches.shape == (1, 8, 8, 192)
    assert patches.abs().sum(-1).nonzero().tolist() == [[0, 1, 3]]
    assert patches[0, 1, 3].view(8, 8, 3)[..., 1].flatten().tolist() == list(range(64))
