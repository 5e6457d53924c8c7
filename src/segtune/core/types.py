"""What the rooms hand each other: samples, prompts, embeddings, predictions.

torch is named here for types only, so that the rooms that need no model (data, metrics) start without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from segtune.core.rle import BoolMask, RunLengths

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from segtune.core.geometry import Frame

Image = npt.NDArray[np.uint8]
"""RGB, uint8 [H, W, 3]."""

Probability = npt.NDArray[np.float32]
"""How likely each pixel is the object, float32 [H, W] in 0 to 1."""

POINT_POSITIVE = 1
POINT_NEGATIVE = 0
POINT_NOT_A_POINT = -1
"""SAM's own learned token: a prompt without a box gets it exactly once, added by the model."""
POINT_FILLER = -10
"""No token at all: it pads ragged prompts and is masked out of the decoder's attention."""


@dataclass(frozen=True)
class Sample:
    """One image with its objects. The image is decoded each time it is asked for and never kept.

    Attributes:
        name: unique in its data set, stable between runs; usually the image's path below the data folder.
        size: (height, width) of the image as people see it (EXIF orientation applied).
        objects: N masks of `size`. None at all is legal.
        labels: N class names; "object" where the data names none.
        ignore: pixels that count in no loss and no metric and get no click, or None.
        group: patient, scene or video; samples of one group never lie on two sides of a split.
        read: returns the image, uint8 [H, W, 3] RGB.
        probabilities: for each object what reads its probability, above 1/2 where its mask is, as a model's labels have
            it; it is read each time, and never kept. None: the masks are certain. Training's truth alone looks at it.
    """

    name: str
    size: tuple[int, int]
    objects: tuple[RunLengths, ...]
    labels: tuple[str, ...]
    read: Callable[[], Image] = field(repr=False, compare=False)
    ignore: RunLengths | None = None
    group: str | None = None
    probabilities: tuple[Callable[[], Probability], ...] | None = field(default=None, repr=False, compare=False)

    @property
    def image(self) -> Image:
        """The decoded image, uint8 [H, W, 3] RGB."""
        return self.read()

    def masks(self, indices: Sequence[int] | None = None) -> BoolMask:
        """Return the masks of the objects named (all, without `indices`) as bool [n, H, W]."""
        chosen = range(len(self.objects)) if indices is None else indices
        masks = np.zeros((len(chosen), *self.size), dtype=np.bool_)
        for row, index in enumerate(chosen):
            masks[row] = self.objects[index].decode()
        return masks

    def ignore_mask(self) -> BoolMask | None:
        """Return the ignored pixels as bool [H, W], or None when every pixel counts."""
        return None if self.ignore is None else self.ignore.decode()


@dataclass(frozen=True)
class Prompts:
    """P prompts over B images, each for one object, in original-image pixels (`core.geometry`).

    Attributes:
        image_index: int64 [P], which image of the batch a prompt belongs to.
        points: float32 [P, K, 2], x and y. K may be 0.
        point_labels: int64 [P, K]: 1 object, 0 not object, -10 filler.
        boxes: float32 [P, 4], x0, y0, x1, y1; read where `has_box`.
        has_box: bool [P].
        mask_logits: float32 [P, h, w] in the model's frame, unthresholded; read where `has_mask`. None: no mask.
        has_mask: bool [P].
        text: P phrases or None.
    """

    image_index: Tensor
    points: Tensor
    point_labels: Tensor
    boxes: Tensor
    has_box: Tensor
    has_mask: Tensor
    mask_logits: Tensor | None = None
    text: tuple[str | None, ...] | None = None

    def __len__(self) -> int:
        return int(self.image_index.shape[0])

    @property
    def ambiguous(self) -> Tensor:
        """Bool [P]: one point and nothing else, which SAM answers with three masks."""
        # Fillers and not-a-point tokens are no clicks; a lone negative click is one.
        real = (self.point_labels == POINT_POSITIVE) | (self.point_labels == POINT_NEGATIVE)
        return (real.sum(dim=1) == 1) & ~self.has_box & ~self.has_mask

    def select(self, rows: Tensor) -> Prompts:
        """Return the prompts at `rows` (int64 [n] or bool [P]), in that order."""
        if rows.dtype == self.has_box.dtype:  # torch.bool, without importing torch
            rows = rows.nonzero().flatten()
        masks = None if self.mask_logits is None else self.mask_logits[rows]
        text = None if self.text is None else tuple(self.text[row] for row in rows.tolist())
        return Prompts(
            self.image_index[rows], self.points[rows], self.point_labels[rows], self.boxes[rows],
            self.has_box[rows], self.has_mask[rows], masks, text,
        )  # fmt: skip

    def with_masks(self, mask_logits: Tensor) -> Prompts:
        """Return the same prompts with previous logits [P, h, w] of the model's frame fed back."""
        return replace(self, mask_logits=mask_logits, has_mask=self.has_mask | True)  # all true, likewise

    def to(self, device: torch.device | str) -> Prompts:
        """Return the prompts on another device."""
        masks = None if self.mask_logits is None else self.mask_logits.to(device)
        return Prompts(
            self.image_index.to(device), self.points.to(device), self.point_labels.to(device), self.boxes.to(device),
            self.has_box.to(device), self.has_mask.to(device), masks, self.text,
        )  # fmt: skip


@dataclass(frozen=True)
class Embedding:
    """What the image encoder made of B images, all that a decode needs of them.

    Attributes:
        features: float [B, C, h, w].
        frames: B frames, where each image lies in the model's square.
        extra: further maps by name, each [B, ...] (SAM-HQ's early features, SAM 2's fine levels).
    """

    features: Tensor
    frames: tuple[Frame, ...]
    extra: dict[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.frames)


@dataclass(frozen=True)
class MaskPrediction:
    """Answer to P prompts with up to M masks each.

    Attributes:
        logits: float [P, M, h, w] in the model's frame; inside where > 0.
        quality: float [P, M], predicted IoU; -inf where a prompt has fewer than M masks.
        image_index: int64 [P].
        frames: frames of the B images, to bring logits back to pixels.
    """

    logits: Tensor
    quality: Tensor
    image_index: Tensor
    frames: tuple[Frame, ...]

    def __len__(self) -> int:
        return int(self.image_index.shape[0])

    @property
    def present(self) -> Tensor:
        """Bool [P, M]: which of the masks exist."""
        return self.quality != float("-inf")

    def best(self) -> Tensor:
        """int64 [P]: the mask of highest predicted quality."""
        return self.quality.argmax(dim=1)  # never an absent one, at -inf
