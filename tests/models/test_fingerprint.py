"""The fingerprint of an encoder: all that its embeddings depend on, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import torch

from segtune.models.fingerprint import fingerprint
from segtune.models.preparation import Preparation
from segtune.models.sam.model import Sam


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
