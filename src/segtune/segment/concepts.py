"""SAM 3's own detector of what a phrase names, used as transformers' zero-shot detectors are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import PIL.Image
import torch

from segtune.models.preparation import Preparation
from segtune.models.sam3_concepts import tokenize

CONCEPT_TYPES: Final = frozenset({"sam3", "sam3_video"})
"""What config.json calls a SAM 3 that takes phrases: alone, or with the tracker beside it."""


class ConceptProcessor:
    """Does for one phrase on one image what transformers' `Sam3Processor` does, which needs torchvision.

    Args:
        tokenizer: transformers' tokenizer of the model.
        side: of its square input, in pixels.
    """

    def __init__(self, tokenizer: Any, side: int) -> None:
        self._tokenizer = tokenizer
        self._preparation = Preparation.to_both_signs(side)

    def __call__(self, *, images: PIL.Image.Image, text: str, return_tensors: str) -> Any:
        """Return the model's inputs for an RGB image and a phrase, as a mapping that has `to`."""
        given = tokenize(self._tokenizer, [text])
        given["pixel_values"], _ = self._preparation.prepare([np.array(images)])
        return given

    def post_process_grounded_object_detection(
        self, outputs: Any, threshold: float, target_sizes: Sequence[tuple[int, int]]
    ) -> list[dict[str, torch.Tensor]]:
        """Return boxes [n, 4] in pixels of images of `target_sizes` (height, width), and scores [n] above `threshold`.

        A score is the query's own times that of the phrase's being in the image at all, as published.
        """
        scores = outputs.pred_logits.sigmoid() * outputs.presence_logits.sigmoid()  # [B, queries]
        found = []
        for boxes, chances, (height, width) in zip(outputs.pred_boxes, scores, target_sizes, strict=True):
            sure = chances > threshold
            found.append({"boxes": boxes[sure] * boxes.new_tensor([width, height] * 2), "scores": chances[sure]})
        return found


def open_concepts(spec: str | Path) -> tuple[Any, ConceptProcessor]:
    """Open SAM 3's detector by hub id or from a folder; errors are those of transformers."""
    import transformers

    model: Any = transformers.Sam3Model.from_pretrained(spec)
    tokenizer = transformers.AutoTokenizer.from_pretrained(spec)
    return model, ConceptProcessor(tokenizer, int(model.config.vision_config.image_size))
