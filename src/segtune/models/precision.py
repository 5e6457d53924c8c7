"""Whether a model's masks stay the same when its image encoder runs in bfloat16, and whether that is worth anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from segtune.core.geometry import logits_to_image
from segtune.core.types import Image, Prompts
from segtune.metrics.overlap import iou, overlap
from segtune.models.family import Precision, PromptableModel

REQUIRED_AGREEMENT: Final = 0.99
"""Mean IoU with the masks of fp32 from which on bf16 may be used unasked."""


@dataclass(frozen=True)
class PrecisionChoice:
    """Which precision the image encoder gets, and why.

    Attributes:
        precision: "fp32" or "bf16".
        agreement: mean IoU of the bf16 masks with those of fp32, or None when it was not measured.
        reason: one sentence for the log.
    """

    precision: Precision
    agreement: float | None
    reason: str


def choose_precision(model: PromptableModel, examples: Iterable[tuple[Image, Prompts]]) -> PrecisionChoice:
    """Choose the precision of a frozen image encoder by measuring; the model is left as it was.

    Args:
        model: on the device it will run on.
        examples: images, each with prompts whose `image_index` is 0.
    """
    device = next(model.parameters()).device
    if not model.encoder_frozen:
        return PrecisionChoice("fp32", None, "The image encoder trains, so it stays in fp32.")
    if not has_fast_bf16(device):
        return PrecisionChoice("fp32", None, tell_bf16(device))
    agreement = bf16_agreement(model, examples)
    if agreement >= REQUIRED_AGREEMENT:  # false for nan too: unmeasured is fp32
        reason = f"bf16 masks agree with fp32 at a mean IoU of {agreement:.4f} (at least {REQUIRED_AGREEMENT})."
        return PrecisionChoice("bf16", agreement, reason)
    reason = f"bf16 masks agree with fp32 only at a mean IoU of {agreement:.4f} (below {REQUIRED_AGREEMENT})."
    return PrecisionChoice("fp32", agreement, reason)


@torch.no_grad()
def bf16_agreement(model: PromptableModel, examples: Iterable[tuple[Image, Prompts]]) -> float:
    """Return the mean IoU over all prompts between the best masks with the encoder in bf16 and in fp32.

    Masks are compared at original size, one image in memory at a time; each precision picks its own best mask, as it
    will in use. The model's own setting is put back.

    Args:
        model: any promptable model.
        examples: images, each with prompts whose `image_index` is 0.

    Returns:
        0 to 1; nan when there was no prompt.
    """
    scores = []
    for image, prompts in examples:
        pixels, _ = model.prepare([image])
        exact, rounded = (_best_masks(model, pixels, image, prompts, name) for name in ("fp32", "bf16"))
        scores.append(iou(overlap(rounded, exact)))
    return float(torch.cat(scores).mean()) if scores else float("nan")


def has_fast_bf16(device: torch.device) -> bool:
    """Tell whether a device multiplies bfloat16 natively; elsewhere it is emulated and slower than fp32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)  # Ampere, the first to have it
    if device.type == "cpu":
        # Newer than the oldest torch allowed. x86 names two sets of instructions, Arm calls its own bf16.
        capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16"))
    return False


def tell_bf16(device: torch.device) -> str:
    """Say in a sentence what `has_fast_bf16` found."""
    return f"This machine's {device.type} has {'' if has_fast_bf16(device) else 'no '}bfloat16 arithmetic of its own."


@contextmanager
def encoder_precision(model: PromptableModel, precision: Precision) -> Iterator[None]:
    """Run the image encoder in `precision` inside the context."""
    before = model.encoder_precision
    model.encoder_precision = precision
    try:
        yield
    finally:
        model.encoder_precision = before


def _best_masks(model: PromptableModel, pixels: Tensor, image: Image, prompts: Prompts, precision: Precision) -> Tensor:
    frame = model.frame((image.shape[0], image.shape[1]))
    with encoder_precision(model, precision):
        embedding = model.encode(pixels, (frame,))
    prediction = model.decode(embedding, prompts, prompts.ambiguous)
    best = prediction.logits[torch.arange(len(prediction)), prediction.best()]
    return torch.stack([logits_to_image(logits, frame) > 0 for logits in best.cpu()])
