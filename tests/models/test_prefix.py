"""The frozen prefix: found from what trains, run as in use, and hashed by what it depends on."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from segtune.adapters.scopes import train_only
from segtune.core.errors import ModelError
from segtune.models.embedding_cache import EmbeddingCache
from segtune.models.prefix import FrozenPrefix, frozen_prefix, frozen_stages
from segtune.models.sam.model import Sam


@pytest.mark.parametrize(
    ("scope", "stages"),
    [("decoder", 5), ("decoder+prompt", 5), ("late:1", 3), ("late:2", 2), ("late:3", 1), ("full", 0)],
)
def test_stages_are_frozen_up_to_the_first_that_trains(sam: Sam, scope: str, stages: int) -> None:
    """Counted from the first: the patch embedding, three blocks, the neck."""
    train_only(sam, scope)
    assert frozen_stages(sam) == stages


@pytest.mark.parametrize(
    ("trains", "prefix"),
    [
        ("mask_decoder.", FrozenPrefix()),
        ("image_encoder.neck.", FrozenPrefix(4)),
        ("image_encoder.blocks.2.attn.qkv.", FrozenPrefix(3)),
        ("image_encoder.blocks.1.norm1.bias", FrozenPrefix(2)),
        ("image_encoder.blocks.0.", None),
        ("image_encoder.pos_embed", None),
    ],
)
def test_the_longest_prefix_is_found_from_the_parameters(sam: Sam, trains: str, prefix: FrozenPrefix | None) -> None:
    """Whatever trains, by whatever name it was chosen; the patch embedding alone is not worth keeping."""
    for name, parameter in sam.named_parameters():
        parameter.requires_grad_(name.startswith(trains))
    assert frozen_prefix(sam) == prefix


def test_a_late_adapter_leaves_the_early_blocks_frozen(sam: Sam) -> None:
    """New parameters inside a block count as the block's; those elsewhere in the encoder might act anywhere in it."""
    sam.requires_grad_(False)
    late = sam.image_encoder.blocks[2]
    late.adapter = nn.Linear(2, 2)
    assert frozen_prefix(sam) == FrozenPrefix(3)
    late.adapter.requires_grad_(False)
    assert frozen_prefix(sam) == FrozenPrefix()
    sam.image_encoder.adapter = nn.Linear(2, 2)
    assert frozen_prefix(sam) is None


class _Whole(Sam):
    """A family of which nobody said where it splits."""

    splits: ClassVar[dict[int, tuple[tuple[int, ...], ...]]] = {}  # type: ignore[misc]


def test_a_family_without_splits_is_encoded_whole(sam: Sam) -> None:
    """Late layers then train without a cache; frozen wholly, its embeddings are kept like any other's."""
    train_only(sam, "late:1")
    sam.__class__ = _Whole
    assert frozen_prefix(sam) is None
    train_only(sam, "decoder")
    assert frozen_prefix(sam) == FrozenPrefix()


def test_a_model_that_cannot_be_split_is_told(sam: Sam) -> None:
    """A prefix asked of a model without halves is an error that names the family."""

    class Plain:
        family = "plain"
        parts: ClassVar[dict[str, nn.Module]] = sam.parts

    with pytest.raises(ModelError, match="plain model cannot be run in two"):
        FrozenPrefix(2).encode(Plain(), torch.zeros(1, 3, 8, 8), ())  # type: ignore[arg-type]


@pytest.mark.parametrize("stages", [None, 2])
def test_what_is_kept_is_made_as_in_use(sam: Sam, stages: int | None) -> None:
    """In the middle of training nothing random enters what is kept, and the model goes on training."""
    sam.image_encoder.blocks[0].norm1 = nn.Sequential(sam.image_encoder.blocks[0].norm1, nn.Dropout(0.5))
    pixels, frames = sam.prepare([np.full((30, 50, 3), 77, np.uint8)])
    prefix = FrozenPrefix(stages)
    with torch.no_grad():
        sam.eval()
        expected = prefix.encode(sam, pixels, frames)
        sam.train()
        made = prefix.encode(sam, pixels, frames)
    assert expected.keys() == made.keys()
    assert all(torch.equal(made[name], value) for name, value in expected.items())
    assert all(module.training for module in sam.modules())


def test_a_late_block_leaves_what_is_kept_valid_and_an_early_one_does_not(sam: Sam, tmp_path) -> None:
    """Entries are named by the prefix's weights, its length, the precision and the preparation, and by nothing else."""

    def key(stages: int = 3) -> str:
        return EmbeddingCache.for_model(sam, tmp_path, prefix=FrozenPrefix(stages)).key("image")

    first = key()
    assert len({first, key(2), EmbeddingCache.for_model(sam, tmp_path).key("image")}) == 3
    with torch.no_grad():
        for late in (sam.image_encoder.blocks[2], sam.image_encoder.neck, sam.mask_decoder, sam.prompt_encoder):
            for parameter in late.parameters():
                parameter.add_(1)
        assert key() == first
        for early in (sam.image_encoder.blocks[1].mlp.lin1.bias, sam.image_encoder.pos_embed):
            before = early.clone()
            early.add_(1)
            assert key() != first
            early.copy_(before)
    assert key() == first
    sam.encoder_precision = "bf16"
    assert key() != first
