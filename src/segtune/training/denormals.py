"""Numbers too small for a full mantissa, on which processors compute a hundred times slower, taken as zero."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def denormals_as_zero() -> Iterator[None]:
    """Treat denormal numbers as zero inside the context, where the processor can; below 1e-38 nothing is learned.

    Squares of small gradients, as AdamW keeps them, fall into that range by themselves. Threads that torch starts
    inside inherit the mode, so the context belongs around the first computation.
    """
    is_on = torch.set_flush_denormal(True)
    try:
        yield
    finally:
        if is_on:
            torch.set_flush_denormal(False)
