"""A head start for a network that is trained from nothing: what it would have to find out first anyway.

Plain random weights see of a patch little but its mean colour, attend everywhere alike, and answer every prompt alike;
a short training spends itself on leaving that behind. These weights begin as something like a convolutional network.
The layout stays Segment Anything's own, and every one of these values may be trained away.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from segtune.models.sam.image_encoder import Attention, ImageEncoder
from segtune.models.sam.model import Sam

_BRIGHTNESS_SHARE = 2 / 3
"""Share of a token's channels that see brightness; the others see two differences of colours."""

_COLOURS = ((1.0, 1.0, 1.0), (1.0, -1.0, 0.0), (0.5, 0.5, -1.0))
_CONTRASTS = (0.8, 0.23, 0.23)
"""Typical size of the waves of brightness and of colour in normalised images, at one period a patch."""

_TOKEN = 0.5
_PLACE = 0.25
"""Size of what a token begins with, and of the position added to it."""

_FREQUENCIES = 0.5
"""The prompt's Fourier frequencies as a share of the published ones: places further apart are still told to be near."""


class _Look(NamedTuple):
    """Where a head attends at first, relative to its token, and how widely, in tokens."""

    down: float
    right: float
    width: float


_LOOKS = (_Look(0, 0, 0.7), _Look(-1, 0, 0.9), _Look(1, 0, 0.9), _Look(0, -1, 0.9), _Look(0, 1, 0.9), _Look(0, 0, 2.5))
_FAINTEST = -5.0


@torch.no_grad()
def give_head_start(model: Sam, generator: torch.Generator) -> None:
    """Replace some of a model's fresh weights, in place, by better ones to begin with.

    - Patches: the lowest cosine waves of brightness and colour, each scaled by how large it is in natural images, so
      that fine structure is as visible as coarse (whitening; Coates & Ng 2012).
    - Positions: sinusoids in both directions.
    - The image encoder's attention: each head begins at its own place, the token or a neighbour, by its query's bias
      and the relative positions (d'Ascoli et al. 2021, arXiv:2103.10697).
    - The decoder: matrices keep the size of what passes through them; lower Fourier frequencies.

    Args:
        model: with fresh weights.
        generator: of the numbers drawn.
    """
    encoder = model.image_encoder
    _see_waves(encoder)
    _tell_places(encoder)
    for module in encoder.modules():
        if isinstance(module, Attention):
            _look_near(module, generator)
    for module in model.mask_decoder.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight, generator=generator)
    model.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix *= _FREQUENCIES


def _see_waves(encoder: ImageEncoder) -> None:
    kernels, bias = encoder.patch_embed.proj.weight, encoder.patch_embed.proj.bias
    width, _, patch, _ = kernels.shape
    bright = round(width * _BRIGHTNESS_SHARE)
    counts = (bright, (width - bright) // 2, width - bright - (width - bright) // 2)
    waves = _cosine_waves(patch)
    # Lowest first; a token wider than the patch has waves keeps random kernels for the rest.
    order = sorted((math.hypot(down, across), down, across) for down in range(patch) for across in range(patch))
    row = 0
    for colour, contrast, count in zip(torch.tensor(_COLOURS), _CONTRASTS, counts, strict=True):
        for frequency, down, across in order[:count]:
            size = contrast * patch / max(frequency, 0.5)  # amplitudes fall with the frequency
            wave = torch.outer(waves[down], waves[across])
            kernels[row] = _TOKEN / size * (colour / colour.norm())[:, None, None] * wave
            row += 1
    if bias is not None:
        bias.zero_()


def _cosine_waves(length: int) -> Tensor:
    """Return the orthonormal cosine waves of `length` samples, one a row."""
    places, waves = torch.arange(length) + 0.5, torch.arange(length)[:, None]
    rows = math.sqrt(2 / length) * torch.cos(math.pi * waves * places / length)
    rows[0] /= math.sqrt(2)
    return rows


def _tell_places(encoder: ImageEncoder) -> None:
    grid, width = encoder.pos_embed.shape[1], encoder.pos_embed.shape[3]
    octaves = width // 4
    # Periods from the whole image to about a token; counted in 16ths of the image, whatever its grid.
    places = (torch.arange(grid) + 0.5) * 16 / grid
    angles = places[:, None] * 50.0 ** (-torch.arange(octaves) / octaves)  # [grid, width / 4]
    line = torch.cat([angles.sin(), angles.cos()], dim=1)  # [grid, width / 2]
    down, across = line[:, None].expand(grid, grid, -1), line[None].expand(grid, grid, -1)
    encoder.pos_embed[0, :, :, : 4 * octaves] = _PLACE * torch.cat([down, across], dim=2)


def _look_near(attention: Attention, generator: torch.Generator) -> None:
    heads, width = attention.heads, attention.qkv.weight.shape[1]
    attention.qkv.bias.zero_()
    query_bias = attention.qkv.bias[:width].view(heads, -1)
    for table, axis in ((attention.rel_pos_h, 0), (attention.rel_pos_w, 1)):
        offsets = len(table) // 2 - torch.arange(len(table))  # of the key from the query; tables go by the opposite
        table.zero_()
        for head in range(min(heads, query_bias.shape[1])):
            look = _LOOKS[head % len(_LOOKS)]
            # Each head reads a channel of its own of the tables, which all heads share.
            query_bias[head, head] = 1.0
            table[:, head] = (-((offsets - look[axis]) ** 2) / (2 * look.width**2)).clamp(min=_FAINTEST)
    # Values pass at their size; a block's output begins a little smaller.
    _fill(attention.qkv.weight[2 * width :], 1.0, generator)
    _fill(attention.proj.weight, 0.7, generator)


def _fill(matrix: Tensor, gain: float, generator: torch.Generator) -> None:
    std = gain / math.sqrt(matrix.shape[1])
    nn.init.trunc_normal_(matrix, std=std, a=-2 * std, b=2 * std, generator=generator)
