"""An image encoder that learns to fill in hidden patches, and the light decoder it needs for that time only.

As SimMIM does it (Xie et al. 2022, arXiv:2111.09886): hidden patches stay on the grid as a learned token. The masked
autoencoder (He et al. 2022, arXiv:2111.06377) leaves them out instead, which takes an encoder without windows.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segtune.models.family import StagedModel
from segtune.models.sam.image_encoder import Block, ImageEncoder
from segtune.models.sam.initialization import unfilled

_STD = 0.02
_HEAD_WIDTH = 32


class PatchDecoder(nn.Module):
    """From tokens to the pixels of hidden patches; without blocks a single linear layer, as SimMIM found enough.

    Args:
        width: of the encoder's tokens.
        inner: of its own blocks; read where there are any.
        blocks: finished transformer blocks of that width.
        values: how many numbers a patch has.
    """

    def __init__(self, width: int, inner: int, blocks: Sequence[Block], values: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.narrow = nn.Linear(width, inner) if blocks else nn.Identity()
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(inner if blocks else width, values)

    def forward(self, tokens: Tensor, hidden: Tensor) -> Tensor:
        """Map tokens [B, h, w, width] to the values of the Q patches in `hidden` (bool [B, h, w]): [Q, values]."""
        decoded: Tensor = self.blocks(self.narrow(self.norm(tokens)))
        out: Tensor = self.head(decoded[hidden])
        return out


class MaskedImageModel(StagedModel):
    """All of an image encoder but its neck, with the decoder. The encoder's weights are shared: it trains in place.

    Args:
        encoder: the image encoder.
        decoder: finished decoder.
        width: of the encoder's tokens.
    """

    def __init__(self, encoder: ImageEncoder, decoder: PatchDecoder, width: int) -> None:
        super().__init__()
        self.patch_embed, self.pos_embed, self.blocks = encoder.patch_embed, encoder.pos_embed, encoder.blocks
        self.hidden_token = nn.Parameter(torch.zeros(width))
        self.decoder = decoder

    @property
    def encoder_stages(self) -> tuple[tuple[str, ...], ...]:
        """Patch and position embeddings, each block."""
        return (("patch_embed.", "pos_embed"), *((f"blocks.{number}.",) for number in range(len(self.blocks))))

    def forward(self, pixels: Tensor, hidden: Tensor) -> Tensor:
        """Fill in hidden patches.

        Args:
            pixels: [B, 3, side, side]; of hidden patches nothing is seen.
            hidden: bool [B, h, w], of which Q are true.

        Returns:
            [Q, patch · patch · 3], in the order of `hidden.nonzero()`.
        """
        seen = self.patch_embed(pixels)  # [B, h, w, width]
        tokens = torch.where(hidden[..., None], self.hidden_token.to(seen.dtype), seen) + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens)
        out: Tensor = self.decoder(tokens, hidden)
        return out


@torch.no_grad()
def build_masked_image_model(
    encoder: ImageEncoder, generator: torch.Generator, *, decoder_width: int = 128, decoder_depth: int = 0
) -> MaskedImageModel:
    """Put a fresh decoder behind an image encoder, which keeps the weights it has.

    Args:
        encoder: the image encoder, on its device.
        generator: draws the fresh weights.
        decoder_width: width of the decoder's blocks, a multiple of 32.
        decoder_depth: how many blocks; 0 is a linear layer alone.
    """
    width, _, patch, _ = encoder.patch_embed.proj.weight.shape
    grid = encoder.pos_embed.shape[1]
    heads = decoder_width // _HEAD_WIDTH
    with unfilled():
        blocks = [Block(decoder_width, heads, 4 * decoder_width, 0, grid) for _ in range(decoder_depth)]
        model = MaskedImageModel(encoder, PatchDecoder(width, decoder_width, blocks, 3 * patch * patch), width)
    for module in model.decoder.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=_STD, a=-2 * _STD, b=2 * _STD, generator=generator)
            nn.init.zeros_(module.bias)
    nn.init.trunc_normal_(model.hidden_token, std=_STD, a=-2 * _STD, b=2 * _STD, generator=generator)
    return model.to(encoder.pos_embed.device)


def cut_patches(pixels: Tensor, patch: int) -> Tensor:
    """Cut pixels [B, 3, side, side] into patches [B, h, w, patch · patch · 3]."""
    B, channels, height, width = pixels.shape
    cut = pixels.reshape(B, channels, height // patch, patch, width // patch, patch)
    return cut.permute(0, 2, 4, 3, 5, 1).flatten(3)
