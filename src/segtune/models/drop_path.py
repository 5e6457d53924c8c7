"""Stochastic depth in a SAM's image encoder: while it trains, an image now and then passes a block by."""

from __future__ import annotations

from segtune.core.errors import UsageError
from segtune.models.family import PromptableModel
from segtune.models.sam.image_encoder import Block, ImageEncoder


def spread_drop_path(model: PromptableModel, highest: float) -> None:
    """Have each branch of the encoder's blocks left out for a share of the images, in training mode only, in place.

    The share rises linearly from 0 in the first block to `highest` in the last (Huang et al. 2016, arXiv:1603.09382;
    SAM: 0.4). Blocks in which nothing trains are left as they are, for what they make of an image may be kept.

    Args:
        model: any promptable model.
        highest: share of the images, 0 to below 1.

    Raises:
        UsageError: it is not 0, and the model's image encoder is not SAM's transformer.
    """
    encoder = model.parts["image_encoder"]
    if not isinstance(encoder, ImageEncoder):
        if highest:
            raise UsageError(
                f"training.drop_path is {highest:g}, but the image encoder of this {model.family} model is not SAM's "
                "plain transformer, the only one that leaves out blocks here. Leave the setting out."
            )
        return
    blocks = [block for block in encoder.blocks if isinstance(block, Block)]
    for number, block in enumerate(blocks):
        trains = any(parameter.requires_grad for parameter in block.parameters())
        block.drop_path = highest * number / max(1, len(blocks) - 1) if trains else 0.0
