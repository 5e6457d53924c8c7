"""From one prompt per object to the ragged batch a model decodes in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from segtune.core.geometry import Frame, masks_to_frame
from segtune.core.types import POINT_FILLER, Prompts
from segtune.prompts.objects import ObjectPrompt

MASK_LOGIT = 10.0
"""Logits of a coarse mask's inside; its outside has the negative."""


def collate(
    object_prompts: Sequence[ObjectPrompt],
    image_index: Sequence[int],
    frames: tuple[Frame, ...],
    mask_size: tuple[int, int],
) -> Prompts:
    """Join P prompts over B images, filling up points with -10 labels.

    Args:
        object_prompts: P prompts in original-image pixels.
        image_index: P numbers of images.
        frames: frames of the B images, to bring coarse masks into the model's square.
        mask_size: (h, w) of a mask prompt over the square.

    Returns:
        Prompts on the CPU. A coarse mask becomes the logits 20 × cover − 10; without any there are no mask logits.
    """
    count = len(object_prompts)
    longest = max((len(prompt.points) for prompt in object_prompts), default=0)
    points = np.zeros((count, longest, 2), dtype=np.float32)
    labels = np.full((count, longest), POINT_FILLER, dtype=np.int64)
    boxes = np.zeros((count, 4), dtype=np.float32)
    for row, prompt in enumerate(object_prompts):
        points[row, : len(prompt.points)] = prompt.points
        labels[row, : len(prompt.points)] = prompt.point_labels
        if prompt.box is not None:
            boxes[row] = prompt.box
    return Prompts(
        torch.tensor(image_index, dtype=torch.int64),
        torch.from_numpy(points),
        torch.from_numpy(labels),
        torch.from_numpy(boxes),
        torch.tensor([prompt.box is not None for prompt in object_prompts], dtype=torch.bool),
        torch.tensor([prompt.mask is not None for prompt in object_prompts], dtype=torch.bool),
        _mask_logits(object_prompts, image_index, frames, mask_size),
        tuple(prompt.text for prompt in object_prompts) if any(prompt.text for prompt in object_prompts) else None,
    )


def add_clicks(prompts: Prompts, xy: Tensor, labels: Tensor) -> Prompts:
    """Return the prompts with one more click each.

    Args:
        prompts: P prompts.
        xy: float [P, 2], original-image pixels.
        labels: int64 [P]: 1 object, 0 not object, -10 no click for this prompt.
    """
    points = torch.cat([prompts.points, xy.to(prompts.points)[:, None]], dim=1)
    point_labels = torch.cat([prompts.point_labels, labels.to(prompts.point_labels)[:, None]], dim=1)
    return replace(prompts, points=points, point_labels=point_labels)


def _mask_logits(
    object_prompts: Sequence[ObjectPrompt],
    image_index: Sequence[int],
    frames: tuple[Frame, ...],
    mask_size: tuple[int, int],
) -> Tensor | None:
    if all(prompt.mask is None for prompt in object_prompts):
        return None
    logits = torch.zeros((len(object_prompts), *mask_size))  # rows without a mask are never read
    for row, (prompt, image) in enumerate(zip(object_prompts, image_index, strict=True)):
        if prompt.mask is not None:
            cover = masks_to_frame(torch.from_numpy(prompt.mask)[None], frames[image], mask_size)[0]
            # Linear in the cover, so that they cross 0 where half a cell is covered; padding counts as outside.
            logits[row] = 2 * MASK_LOGIT * cover - MASK_LOGIT
    return logits
