"""One image as models with the same frame and output size see it: made once, shared by all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from segtune.core.geometry import Frame, masks_to_frame, truth_in_frame
from segtune.core.rle import BoolMask
from segtune.core.types import Prompts
from segtune.evaluation.targets import Target
from segtune.prompts.collate import collate
from segtune.prompts.objects import ObjectPrompt
from segtune.segment.crops import MaskCrop
from segtune.segment.enlarge import Enlarger
from segtune.segment.refine import Cleanup


class View:
    """An image in a model's frame.

    Args:
        frame: where the image lies in the square.
        mask_size: (h, w) of the logits over the square.
        ignore: ignored pixels, bool [H, W], or None.
    """

    def __init__(self, frame: Frame, mask_size: tuple[int, int], ignore: BoolMask | None) -> None:
        self._frame = frame
        self._mask_size = mask_size
        self._ignore = ignore
        self._enlarger = Enlarger(frame, mask_size)
        counted = np.ones((1, *frame.original), dtype=np.bool_) if ignore is None else ~ignore[None]
        # A cell counts when most of it does.
        self.valid = masks_to_frame(torch.from_numpy(counted), frame, mask_size)[0] > 0.5
        """bool [h, w]: cells that hold image and are not ignored."""

    def enlarge(self, logits: Tensor, cleanup: Cleanup | None = None) -> MaskCrop:
        """Return the mask of logits [h, w] at original size, cleaned if so wanted, without ignored pixels."""
        mask = self._enlarger(logits)
        # First, as in use, where nobody knows of ignored pixels: they must not look like holes.
        return (mask if cleanup is None else cleanup(mask)).without(self._ignore)

    def truth(self, targets: Sequence[Target]) -> Tensor:
        """Return float32 [n, h, w]: the objects as training holds the model's output to them."""
        masks = np.stack([target.truth.full() for target in targets])  # [n, H, W]
        return truth_in_frame(torch.from_numpy(masks), self._frame, self._mask_size)

    def prompts(self, prompts: Sequence[ObjectPrompt]) -> Prompts:
        """Return the prompts on this image as a model takes them, on the CPU."""
        return collate(prompts, [0] * len(prompts), (self._frame,), self._mask_size)
