"""Attention with decomposed relative positions (MViTv2, section 4.1), exact and without needless memory.

The bias of a query on a key is q · Rh[row distance] + q · Rw[column distance]. Written out over 64 × 64 tokens it is a
4096 × 4096 matrix per head, so there are three ways to the same numbers, chosen by size and device.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from segtune.models.sam.plain_attention import attention

_BIAS_VALUES = 1 << 25
"""Up to so many values the bias of one image is simply written out (128 MiB in fp32): windows and small images."""

_BLOCK_VALUES = 1 << 24
"""Scores held at once when blocks of queries are taken in turn (64 MiB); smaller blocks make threads wait more."""

_ALIGNMENT = 16
"""Head widths that are a multiple of this keep every flash kernel."""


def relative_attention(
    query: Tensor, key: Tensor, value: Tensor, rel_pos_h: Tensor, rel_pos_w: Tensor, grid: tuple[int, int]
) -> Tensor:
    """Return softmax(q·k / √d + q·Rh + q·Rw) v over a grid of tokens.

    Args:
        query: [B, heads, N, d], as are `key` and `value`; N = rows × columns, row by row.
        key: see `query`.
        value: see `query`.
        rel_pos_h: [2 rows - 1, d], by distance in rows, the most negative first.
        rel_pos_w: [2 columns - 1, d], by distance in columns.
        grid: (rows, columns).

    Returns:
        [B, heads, N, d].
    """
    by_row, by_column = position_bias(query, rel_pos_h, rel_pos_w, grid)
    heads, tokens = query.shape[1:3]
    if heads * tokens**2 <= _BIAS_VALUES:
        return _written_out(query, key, value, by_row, by_column)
    if query.device.type == "cpu" and not (torch.is_grad_enabled() and query.requires_grad):
        return _in_blocks(query, key, value, by_row, by_column)
    return _folded(query, key, value, by_row, by_column)


def position_bias(query: Tensor, rel_pos_h: Tensor, rel_pos_w: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the two parts of the bias: q·Rh [B, heads, N, rows] and q·Rw [B, heads, N, columns]."""
    rows, columns = grid
    B, heads, tokens, width = query.shape
    maps = query.reshape(B * heads, rows, columns, width)  # q unscaled, as published
    by_row = maps @ _by_distance(rel_pos_h, rows).to(query.dtype).transpose(1, 2)  # [B·heads, rows, columns, rows]
    # [B·heads, columns, rows, columns]: a product per column needs columns in front.
    across = maps.transpose(1, 2) @ _by_distance(rel_pos_w, columns).to(query.dtype).transpose(1, 2)
    by_column = across.transpose(1, 2)
    return by_row.reshape(B, heads, tokens, rows), by_column.reshape(B, heads, tokens, columns)


def _by_distance(table: Tensor, length: int) -> Tensor:
    places = torch.arange(length, device=table.device)
    return table[places[:, None] - places + length - 1]  # [query place, key place, d]


def _written_out(query: Tensor, key: Tensor, value: Tensor, by_row: Tensor, by_column: Tensor) -> Tensor:
    bias = (by_row[..., :, None] + by_column[..., None, :]).flatten(-2)  # [B, heads, N, N]
    return attention(query, key, value, bias)


def _in_blocks(query: Tensor, key: Tensor, value: Tensor, by_row: Tensor, by_column: Tensor) -> Tensor:
    """Take blocks of queries in turn: the bias is written into one buffer and the products added to it. No graph."""
    shape, width, tokens = value.shape, query.shape[-1], key.shape[2]
    scaled, across = (query * width**-0.5).flatten(0, 1), key.flatten(0, 1).transpose(1, 2).contiguous()
    value, by_row, by_column = value.flatten(0, 1), by_row.flatten(0, 1), by_column.flatten(0, 1)  # [B · heads, …]
    step = min(tokens, max(1, _BLOCK_VALUES // (len(value) * tokens)))
    buffer = torch.empty(len(value) * step * tokens, device=query.device, dtype=query.dtype)
    attended = torch.empty_like(value)
    # Autocast would have the softmax in fp32, for which all scores are copied to and fro: that costs a sixth of the
    # encoder's time and gains nothing, since products and softmax add up in fp32 inside.
    with torch.autocast(query.device.type, enabled=False):
        for start in range(0, tokens, step):
            rows = slice(start, start + step)
            count = len(range(tokens)[rows])
            scores = buffer[: len(value) * count * tokens].view(len(value), count, tokens)
            bias = scores.view(len(value), count, by_row.shape[-1], by_column.shape[-1])
            torch.add(by_row[:, rows, :, None], by_column[:, rows, None], out=bias)
            scores.baddbmm_(scaled[:, rows], across)
            # In place, so that one buffer serves all blocks.
            attended[:, rows] = torch.softmax(scores, dim=-1, out=scores) @ value
    return attended.view(shape)


def _folded(query: Tensor, key: Tensor, value: Tensor, by_row: Tensor, by_column: Tensor) -> Tensor:
    """Fold the bias into the product: q takes both parts of it, k one-hot rows that pick the right entry of each."""
    width, rows, columns = query.shape[-1], by_row.shape[-1], by_column.shape[-1]
    row_of = torch.eye(rows, dtype=key.dtype, device=key.device).repeat_interleave(columns, dim=0)
    column_of = torch.eye(columns, dtype=key.dtype, device=key.device).repeat(rows, 1)
    places = torch.cat([row_of, column_of], dim=1).expand(*key.shape[:-1], rows + columns)
    # The kernel's own scale would shrink the bias too, so it is applied to q beforehand.
    query = torch.cat([query * width**-0.5, by_row, by_column], dim=-1)  # [B, heads, N, d + rows + columns]
    key = torch.cat([key, places], dim=-1)
    spare = -query.shape[-1] % _ALIGNMENT
    query, key = F.pad(query, (0, spare)), F.pad(key, (0, spare))
    # Flash kernels want v as wide as q and k.
    value = F.pad(value, (0, query.shape[-1] - width))
    return F.scaled_dot_product_attention(query, key, value, scale=1.0)[..., :width]
