"""What a model answers to a prompt, at original size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from torch import Tensor

from segtune.core.rle import BoolMask, RunLengths
from segtune.data.formats.polygons import Ring, trace
from segtune.models.quality import QualityMap, tell_quality
from segtune.rollout import Round
from segtune.segment.crops import MaskCrop, ProbabilityCrop
from segtune.segment.enlarge import Enlarger
from segtune.segment.refine import Cleanup


@dataclass(frozen=True, eq=False)
class Mask:
    """One mask, brought to original size when it is first looked at.

    Attributes:
        logits: float32 [h, w] over the model's square, on the CPU; fed back, they are where the next answer begins.
        quality: predicted IoU, refitted where `segtune calibrate` has been there; else as the model says it, which may
            leave 0 to 1.
        enlarger: of the image.
        cleanup: of the mask at original size; the logits stay what the model gave.
    """

    logits: Tensor
    quality: float
    enlarger: Enlarger
    cleanup: Cleanup | None = None

    @cached_property
    def crop(self) -> MaskCrop:
        """The mask at original size, held as the part that is not empty."""
        crop = self.enlarger(self.logits)
        return crop if self.cleanup is None else self.cleanup(crop)

    @property
    def array(self) -> BoolMask:
        """The mask as bool [H, W]."""
        return self.crop.full()

    @cached_property
    def runs(self) -> RunLengths:
        """The mask as run lengths; with area and tight box."""
        return self.crop.runs()

    @property
    def probability(self) -> ProbabilityCrop:
        """How likely each pixel at original size is the object, as the model says it: no cleanup, and made anew."""
        return self.enlarger.probability(self.logits)

    @property
    def polygons(self) -> list[list[Ring]]:
        """Outlines along pixel edges: for each part its outer ring, [n, 2] x and y, then its holes."""
        return trace(self.runs)


@dataclass(frozen=True, eq=False)
class Answer:
    """The masks for one prompt: whole, part and sub-part where it was ambiguous, else one.

    Attributes:
        masks: in the model's order.
        best: which of them has the highest quality that the model predicts; refitting changes no order.
    """

    masks: tuple[Mask, ...]
    best: int

    @property
    def mask(self) -> Mask:
        """The mask of highest predicted quality."""
        return self.masks[self.best]

    @property
    def quality(self) -> npt.NDArray[np.float32]:
        """Predicted IoU of the masks, float32 [M]."""
        return np.array([mask.quality for mask in self.masks], dtype=np.float32)


def read_answers(
    current: Round,
    enlargers: Sequence[Enlarger],
    cleanup: Cleanup | None = None,
    *,
    quality_map: QualityMap | None,
) -> Iterator[Answer]:
    """Yield the masks of a decode as answers; who lets go of each keeps no more than one at original size.

    Args:
        current: P prompts answered.
        enlargers: of the B images.
        cleanup: of all masks.
        quality_map: the model's; asked for by name, so that nobody tells two scales of quality.

    Yields:
        P answers.
    """
    logits = current.prediction.logits.float().cpu()
    quality = tell_quality(quality_map, current.prediction.quality.float().cpu())  # [P, M]
    present, best = current.prediction.present.cpu(), current.best.tolist()
    for row, image in enumerate(current.prompts.image_index.tolist()):
        masks = (
            Mask(one, float(value), enlargers[image], cleanup)
            for one, value, exists in zip(logits[row], quality[row], present[row], strict=True)
            if exists
        )
        yield Answer(tuple(masks), best[row])
