"""What every family does around its mask decoder: read prompts, decode some at a time, put answers into their slots."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from segtune.core.errors import ModelError
from segtune.core.geometry import Frame, frame_scales
from segtune.core.types import POINT_NEGATIVE, POINT_NOT_A_POINT, POINT_POSITIVE, MaskPrediction, Prompts
from segtune.models.family import PromptableModel

DecodeSome: TypeAlias = Callable[[Prompts, Tensor], tuple[Tensor, Tensor]]
"""(p prompts, multimask bool [p]) → logits [p, m, h, w] and quality [p, m], m being 1 when no prompt asks for three."""


def check_prompts(model: PromptableModel, prompts: Prompts, network: str) -> None:
    """Refuse what no model made for points, boxes and masks can read.

    Args:
        model: the one that is asked.
        prompts: what it is asked.
        network: what people call it ("Segment Anything").

    Raises:
        ModelError: a phrase, or a mask prompt of another size than the model's logits.
    """
    if prompts.text is not None and any(prompts.text):
        raise ModelError(
            f"{network} understands points, boxes and masks, not text: it was asked for "
            f"'{next(phrase for phrase in prompts.text if phrase)}'. Use a model that accepts text, or point at it."
        )
    check_mask_prompts(model, prompts)


def check_mask_prompts(model: PromptableModel, prompts: Prompts) -> None:
    """Refuse mask prompts of another size than the model's logits.

    Raises:
        ModelError: as said.
    """
    if bool(prompts.has_mask.any()) and (
        prompts.mask_logits is None or tuple(prompts.mask_logits.shape[1:]) != model.mask_size
    ):
        there = None if prompts.mask_logits is None else tuple(prompts.mask_logits.shape[1:])
        raise ModelError(
            f"A mask prompt must be logits of {model.mask_size} (height, width) over this model's square; it was "
            f"{there}. Bring masks there with core.geometry.masks_to_frame."
        )


def in_frame(prompts: Prompts, frames: tuple[Frame, ...]) -> tuple[Tensor, Tensor]:
    """Return points [P, K, 2] and boxes [P, 4] in the model's frame, 0 where nothing may be read."""
    scales = frame_scales(frames, prompts.image_index)  # [P, 2]
    # What is not read may hold anything, also NaN, which would spread through a product with zero.
    boxes = torch.where(prompts.has_box[:, None], prompts.boxes, 0.0) * scales.repeat(1, 2)
    real = (prompts.point_labels >= POINT_NOT_A_POINT)[..., None]
    return torch.where(real, prompts.points, 0.0) * scales[:, None], boxes


def decode_in_pieces(
    decode: DecodeSome,
    prompts: Prompts,
    multimask: Tensor,
    frames: tuple[Frame, ...],
    *,
    empty: Tensor,
    at_once: int,
) -> MaskPrediction:
    """Decode P prompts, without gradients some at a time, so that memory does not grow with their number.

    Args:
        decode: answers some of the prompts.
        prompts: all of them, on the model's device.
        multimask: bool [P], likewise.
        frames: of the B images.
        empty: float [0, masks, h, w], masks being how many answer an ambiguous prompt.
        at_once: how many to decode together.
    """
    count = len(prompts)
    # With gradients the graph would hold all the pieces at once anyhow.
    step = count if torch.is_grad_enabled() else at_once
    masks = empty.shape[1] if bool(multimask.any()) else 1
    # The empty piece gives a call without prompts its shapes.
    logits, quality = [empty[:, :masks]], [empty[:, :masks, 0, 0]]
    for start in range(0, count, max(1, step)):
        rows = torch.arange(start, min(start + step, count), device=multimask.device)
        some, some_quality = decode(prompts.select(rows), multimask[rows])
        # M is of the whole call: where a piece asks for one mask alone, slots are filled up.
        slots = masks - some.shape[1]
        logits.append(F.pad(some, (0, 0, 0, 0, 0, slots)))
        quality.append(F.pad(some_quality, (0, slots), value=float("-inf")))
    return MaskPrediction(torch.cat(logits), torch.cat(quality), prompts.image_index, frames)


def choose_slots(multimask: Tensor, masks: int, *, three: bool | None = None) -> tuple[Tensor, Tensor]:
    """Return which mask token answers in each slot, int64 [P, M], and whether the slot is used, bool [P, M].

    Args:
        multimask: bool [P].
        masks: how many masks answer an ambiguous prompt: tokens 1 and up; token 0 is the single mask.
        three: whether there are slots for them even if none of these prompts asks; None: where one asks.
    """
    asked = bool(multimask.any()) if three is None else three
    numbers = torch.arange(masks if asked else 1, device=multimask.device)
    several = multimask[:, None].expand(-1, len(numbers))
    return torch.where(several, numbers + 1, 0), several | (numbers == 0)


@contextmanager
def single_mask_itself(model: PromptableModel) -> Iterator[None]:
    """Let a model answer inside the context with the very masks that training teaches, whatever its mode.

    Two models are compared by it mask for mask; `PromptableModel.stability_rule` is put back.
    """
    before = model.stability_rule
    model.stability_rule = False
    try:
        yield
    finally:
        model.stability_rule = before


def existing_tokens(labels: Tensor, has_box: Tensor, *, always_padded: bool = False) -> Tensor:
    """Return bool [P, K + 1 + 2]: which of a prompt's tokens exist: its clicks, not-a-point, a box's two corners.

    A prompt has the not-a-point token at most once, however often its labels ask for it.

    Args:
        labels: int64 [P, K]: 1 object, 0 not, -1 not-a-point, anything else no token at all.
        has_box: bool [P].
        always_padded: every prompt gets the not-a-point token (SAM 2), not only one without a box (SAM).
    """
    padded = torch.ones_like(has_box) if always_padded else ~has_box
    real = (labels == POINT_NEGATIVE) | (labels == POINT_POSITIVE)
    # Where the token is added anyway, one that was given must not be a second.
    real = real | ((labels == POINT_NOT_A_POINT) & ~padded[:, None])
    return torch.cat([real, padded[:, None], has_box[:, None], has_box[:, None]], dim=1)


def encoder_autocast(model: PromptableModel, device: torch.device) -> AbstractContextManager[object]:
    """Return the context that gives an image encoder the precision its model asks for."""
    # In fp32 the caller's own mixed precision, if there is one, stays as it is.
    return nullcontext() if model.encoder_precision == "fp32" else torch.autocast(device.type, torch.bfloat16)
