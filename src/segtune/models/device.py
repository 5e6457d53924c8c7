"""Where a model computes."""

from __future__ import annotations

import os

import torch

from segtune.core.errors import UsageError


def pick_device(asked: str) -> str:
    """Return the device that is used: the one asked for, or the GPU where there is one.

    Of several processes on a machine each gets a GPU of its own, by the number that `torchrun` gave it.

    Raises:
        UsageError: there is no such device, or none of that kind here.
    """
    if asked == "auto":
        asked = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(asked)
    except RuntimeError as error:
        raise UsageError(f"The device '{asked}' is none that torch knows. Take cpu, cuda, cuda:N or auto.") from error
    if device.type not in {"cpu", "cuda"}:
        raise UsageError(f"The device '{asked}' is none that segtune computes on. Take cpu, cuda, cuda:N or auto.")
    if asked.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(
            f"The device '{asked}' was asked for, but torch sees no GPU here. Take cpu (fit: --set device=cpu) or auto."
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"The device '{asked}' was asked for, but torch sees {torch.cuda.device_count()} here, counted from 0."
        )
    if asked == "cuda" and "LOCAL_RANK" in os.environ:
        return f"cuda:{int(os.environ['LOCAL_RANK']) % torch.cuda.device_count()}"
    return asked
