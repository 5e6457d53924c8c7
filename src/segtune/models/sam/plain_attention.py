"""Attention by the kernel that takes least time where it runs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_SCORES = 1 << 18
"""Up to so many scores a head are written out; beyond, where flash would keep none, they take too much memory."""


def attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return softmax(q·k / √d + bias) v.

    torch's flash kernel for CPUs goes back through half precision several times slower than plain products do when
    there are few queries or keys, as between prompts and image; and it takes no bias that learns, for which torch
    writes all scores out in fp32 (bench/attention.py).

    Args:
        query: [B, heads, n, d].
        key: [B, heads, m, d].
        value: [B, heads, m, d].
        bias: added to the scores, broadcast to [B, heads, n, m]; or bool, which keys count.

    Returns:
        [B, heads, n, d].
    """
    half = query.dtype == key.dtype == value.dtype == torch.bfloat16
    goes_back = torch.is_grad_enabled() and query.requires_grad
    flash_is_slow = query.shape[-2] * key.shape[-2] <= _SCORES or (bias is not None and bias.requires_grad)
    if not (query.device.type == "cpu" and half and goes_back and flash_is_slow):
        return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    # Autocast would have the softmax in fp32 and copy all scores to and fro; inside, it adds up in fp32 anyway.
    with torch.autocast("cpu", enabled=False):
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
        if bias is not None:
            scores = scores.masked_fill(~bias, -torch.inf) if bias.dtype == torch.bool else scores + bias
        return torch.softmax(scores, dim=-1) @ value
