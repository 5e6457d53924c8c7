"""Where a run computes."""

from __future__ import annotations

import torch

from segtune.core.errors import UsageError


def pick_device(asked: str) -> str:
    """Return the device a run uses: the one asked for, or the GPU where there is one."""
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if asked.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(f"The device '{asked}' was asked for, but torch sees no GPU here. Use --set device=cpu.")
    return asked
