"""Segment Anything behind the contract: fresh weights, tokens, what is shared, what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from segtune.core.errors import ModelError
from segtune.core.types import POINT_FILLER, POINT_NOT_A_POINT, Embedding, Prompts
from segtune.models.sam import model as module
from segtune.models.sam.build import build_sam
from segtune.models.sam.model import Sam
from segtune.models.sam.sizes import MICRO, NANO, SIZES


def clicks(count: int, images: int = 1, *, labels: Tensor | None = None) -> Prompts:
    """One click for each prompt, on the images in turn."""
    points = 40 * torch.rand(count, 1, 2, generator=torch.Generator().manual_seed(0))
    none = torch.zeros(count, dtype=torch.bool)
    kinds = torch.ones(count, 1, dtype=torch.int64) if labels is None else labels
    return Prompts(torch.arange(count) % images, points, kinds, torch.zeros(count, 4), none, none)


def encoded(sam: Sam, images: int = 1) -> Embedding:
    rng = np.random.default_rng(0)
    with torch.no_grad():
        return sam.encode(*sam.prepare([rng.integers(0, 256, (40, 60, 3), dtype=np.uint8) for _ in range(images)]))


def test_fresh_weights_depend_on_the_seed_alone() -> None:
    """The same generator makes the same model, whatever the global one is at, and leaves that alone."""
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = build_sam(MICRO, generator=torch.Generator().manual_seed(5))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    second = build_sam(MICRO, generator=torch.Generator().manual_seed(5))
    other = build_sam(MICRO, generator=torch.Generator().manual_seed(6))
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())
    assert not torch.equal(first.image_encoder.pos_embed, other.image_encoder.pos_embed)
    assert all(value.isfinite().all() for value in first.state_dict().values())


def test_the_published_sizes_have_the_published_number_of_weights() -> None:
    """ViT-B, L and H count as the published models do (93.7, 312.3 and 641.1 million), nano fits in a package."""
    millions = {}
    for name in ("vit_b", "vit_l", "vit_h", "nano"):
        millions[name] = sum(value.numel() for value in build_sam(SIZES[name]).parameters()) / 1e6
    assert millions["vit_b"] == pytest.approx(93.735, abs=0.001)
    assert millions["vit_l"] == pytest.approx(312.342, abs=0.001)
    assert millions["vit_h"] == pytest.approx(641.090, abs=0.001)
    assert millions["nano"] * 2 < 15


def test_a_prompt_without_a_box_has_the_not_a_point_token_once(sam: Sam) -> None:
    """Said or not, the token is there once without a box, and with a box only where it is said."""
    encoder = sam.prompt_encoder
    labels = torch.tensor([[1, POINT_FILLER], [1, POINT_NOT_A_POINT], [1, POINT_NOT_A_POINT], [POINT_FILLER] * 2])
    has_box = torch.tensor([False, False, True, True])
    with torch.no_grad():
        tokens, exists = encoder(torch.rand(4, 2, 2), labels, torch.rand(4, 4), has_box)
    kind = encoder.not_a_point_embed.weight[0]
    counts = [int((tokens[row][exists[row]] == kind).all(dim=1).sum()) for row in range(4)]
    assert counts == [1, 1, 1, 0]
    assert exists.sum(dim=1).tolist() == [2, 2, 4, 2]


def test_filler_that_nobody_needs_makes_no_token(sam: Sam) -> None:
    """Columns that are filler for every prompt cost nothing."""
    labels = torch.tensor([[1, POINT_FILLER, POINT_FILLER, POINT_FILLER]])
    tokens, _ = sam.prompt_encoder(torch.rand(1, 4, 2), labels, torch.zeros(1, 4), torch.tensor([False]))
    assert tokens.shape[1] == 2


def test_what_prompts_share_is_computed_once_an_image(sam: Sam) -> None:
    """Twelve clicks on two images project the image's keys, values and queries of the first layer for two images."""
    rows: list[int] = []
    first = sam.mask_decoder.transformer.layers[0]
    watched = [
        first.cross_attn_token_to_image.k_proj,
        first.cross_attn_token_to_image.v_proj,
        first.cross_attn_image_to_token.q_proj,
    ]
    hooks = [layer.register_forward_pre_hook(lambda _, given: rows.append(len(given[0]))) for layer in watched]
    sam.decode(encoded(sam, 2), clicks(12, 2), torch.ones(12, dtype=torch.bool))
    for hook in hooks:
        hook.remove()
    assert rows == [2, 2, 2]


def test_many_prompts_are_decoded_some_at_a_time(sam: Sam, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without gradients memory is bounded, and the answers do not depend on where the line is drawn."""
    prompts, multimask = clicks(7, 2), torch.arange(7) % 3 == 0
    with torch.no_grad():
        embedding = encoded(sam, 2)
        whole = sam.decode(embedding, prompts, multimask)
        monkeypatch.setattr(module, "_ROUND_VALUES", 2 * sam.mask_size[0] ** 2 * MICRO.prompt_width // 8)
        parts = sam.decode(embedding, prompts, multimask)
    torch.testing.assert_close(parts.logits, whole.logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(parts.quality, whole.quality, rtol=0, atol=1e-5)
    assert parts.logits.shape == whole.logits.shape


def test_text_is_refused(sam: Sam) -> None:
    """A kind of prompt that the model does not accept is an error that says so."""
    with pytest.raises(ModelError, match="not text: it was asked for 'a cat'"):
        sam.decode(encoded(sam), replace(clicks(1), text=("a cat",)), torch.tensor([True]))


def test_masks_of_another_size_are_refused(sam: Sam) -> None:
    """Mask logits must be those of this model's square."""
    prompts = clicks(1).with_masks(torch.zeros(1, 256, 256))
    with pytest.raises(ModelError, match=r"\(32, 32\).*\(256, 256\)"):
        sam.decode(encoded(sam), prompts, torch.tensor([True]))


def test_nano_is_what_the_package_promises() -> None:
    """The built-in base's sizes are fixed: its stored weights depend on them."""
    assert (NANO.width, NANO.depth, NANO.heads, NANO.window) == (192, 8, 6, 8)
    assert NANO.global_blocks == (2, 5, 7)
    assert (NANO.prompt_width, NANO.decoder_heads, NANO.decoder_mlp_width, NANO.quality_width) == (128, 4, 512, 128)
