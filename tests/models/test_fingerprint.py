"""The fingerprint of an encoder: all that its embeddings depend on, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from segtune.models.fingerprint import fingerprint, hash_weights
from segtune.models.open import open_model
from segtune.models.preparation import Preparation
from segtune.models.sam.model import Sam
from segtune.models.save import save_model


def test_the_decoder_does_not_matter(sam: Sam) -> None:
    """Training prompts and masks leaves cached embeddings valid."""
    before = fingerprint(sam)
    with torch.no_grad():
        sam.mask_decoder.iou_token.weight.add_(1)
        sam.prompt_encoder.no_mask_embed.weight.add_(1)
    assert fingerprint(sam) == before


def test_whatever_makes_an_embedding_matters(sam: Sam) -> None:
    """One weight, the preparation, its mean, and the precision each make another fingerprint."""
    seen = {fingerprint(sam)}
    with torch.no_grad():
        sam.image_encoder.neck[3].bias[0] += 1e-6
    seen.add(fingerprint(sam))
    sam.preparation = Preparation.stretched(sam.side)
    seen.add(fingerprint(sam))
    sam.preparation = replace(Preparation.longest_side(sam.side), mean=(1.0, 2.0, 3.0))
    seen.add(fingerprint(sam))
    sam.encoder_precision = "bf16"
    seen.add(fingerprint(sam))
    assert len(seen) == 5


def test_the_front_alone(sam: Sam) -> None:
    """For activations kept from inside the encoder only the stages in front of them count, and how many."""
    front, longer, whole = fingerprint(sam, stages=2), fingerprint(sam, stages=3), fingerprint(sam)
    assert len({front, longer, whole}) == 3
    with torch.no_grad():
        sam.image_encoder.blocks[1].norm1.bias.add_(1)
    assert fingerprint(sam, stages=2) == front
    assert fingerprint(sam, stages=3) != longer


def test_every_weight_makes_another_hash(sam: Sam) -> None:
    """One number of any parameter or buffer, in whichever part it lies; put back, the hash is the first one again."""
    whole = hash_weights(sam)
    for name, value in sam.state_dict().items():
        first = value.flatten()[:1]
        before = first.clone()
        first.add_(1)
        assert hash_weights(sam) != whole, name
        first.copy_(before)
    assert hash_weights(sam) == whole


def test_a_model_that_was_saved_has_the_hash_of_the_one_that_opens(sam: Sam, tmp_path: Path) -> None:
    """So that a record's hash can be held against the file; how the model is run is no part of it."""
    save_model(sam, tmp_path)
    opened = open_model(tmp_path, device="cpu")
    assert hash_weights(opened) == hash_weights(sam)
    opened.encoder_precision = "bf16"
    opened.requires_grad_(False).train()
    assert hash_weights(opened) == hash_weights(sam)


def test_the_same_numbers_in_another_type_or_shape_are_other_weights(sam: Sam) -> None:
    """Bytes alone do not tell weights apart: zeros are zeros in every type and shape."""

    def stored(*, dtype: torch.dtype, shape: tuple[int, ...]) -> str:
        sam.register_buffer("extra", torch.zeros(shape, dtype=dtype))
        return hash_weights(sam)

    float_, whole = stored(dtype=torch.float32, shape=(4,)), stored(dtype=torch.int32, shape=(4,))
    square, bfloat = stored(dtype=torch.float32, shape=(2, 2)), stored(dtype=torch.bfloat16, shape=(8,))
    assert len({float_, whole, square, bfloat, stored(dtype=torch.bfloat16, shape=())}) == 5
