"""Coordinates, written down once.

A point (x, y) names a place in original-image pixels by column and row: (0, 0) is the first pixel, whole numbers are
pixels. A box x0, y0, x1, y1 is tight when x0, y0 are its first column and row and x1, y1 are one past its last.
Into the model's frame both are multiplied by the frame's scale (new size / old size, per axis), as the published code
does; the half pixel that moves a pixel's index to its centre is added in one place only, the prompt encoder.
Images and logits are resampled with `align_corners=False`: pixel i covers [i, i + 1), its centre lies at i + 0.5.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from segtune.core.cover import around_best_level, cover, cover_weights


@dataclass(frozen=True)
class Frame:
    """Where one image lies in the model's square input.

    Attributes:
        original: (height, width) of the image in pixels.
        resized: (height, width) it has inside the square, at the top left; the rest is padding.
        side: side of the square in pixels.
    """

    original: tuple[int, int]
    resized: tuple[int, int]
    side: int

    @classmethod
    def longest_side(cls, original: tuple[int, int], side: int) -> Frame:
        """Scale the longest side to `side`, keep the aspect, pad bottom and right: SAM's own preparation."""
        scale = side / max(original)
        # Halves go up, as in the published code; Python's round would take them to the even number.
        # At least one pixel, for images that are thousands of times longer than wide.
        height, width = (max(1, int(length * scale + 0.5)) for length in original)
        return cls(original, (height, width), side)

    @classmethod
    def stretched(cls, original: tuple[int, int], side: int) -> Frame:
        """Stretch both sides to `side`, without padding: the preparation of MedSAM and SAM 2."""
        return cls(original, (side, side), side)

    @property
    def scale(self) -> tuple[float, float]:
        """Factors for x and y from original pixels to the model's frame."""
        return self.resized[1] / self.original[1], self.resized[0] / self.original[0]

    def content(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of a [height, width] map over the square that hold image rather than padding.

        A cell counts when its centre lies on the image; at least one row and column always do.
        """
        rows = int(self.resized[0] * height / self.side + 0.5)
        columns = int(self.resized[1] * width / self.side + 0.5)
        return max(1, min(rows, height)), max(1, min(columns, width))


def frame_scales(frames: tuple[Frame, ...], image_index: Tensor) -> Tensor:
    """Return float32 [P, 2]: the x and y factors of each prompt's image into the model's frame."""
    scales = torch.tensor([frame.scale for frame in frames], dtype=torch.float32, device=image_index.device)  # [B, 2]
    return scales[image_index]


def logits_to_image(logits: Tensor, frame: Frame) -> Tensor:
    """Bring logits of one image from the model's frame to original pixels.

    Enlarged to the square, padding cut off, then resized to the original: the order of SAM's published code, kept
    because another order gives other pixels at the rim. The published code of SAM 2, SAM 3 and MedSAM enlarges once,
    straight to the original; masks of objects narrower than ten cells of the logits differ by a pixel at the rim (IoU
    of discs with each other .98 at a radius of 1.2 cells, .999 at five, 1 from ten on).

    Args:
        logits: [..., h, w] over the model's square, of one image.
        frame: that image's frame.

    Returns:
        [..., H, W] at the original size.
    """
    lead = logits.shape[:-2]
    flat = logits.reshape(1, -1, *logits.shape[-2:])  # [1, n, h, w]
    # At a side of 1024 this is 4 MiB a mask, however small the image.
    square = F.interpolate(flat, (frame.side, frame.side), mode="bilinear", align_corners=False)
    content = square[..., : frame.resized[0], : frame.resized[1]]
    image = F.interpolate(content, frame.original, mode="bilinear", align_corners=False)
    return image.reshape(*lead, *frame.original)


def masks_to_frame(masks: Tensor, frame: Frame, size: tuple[int, int]) -> Tensor:
    """Bring masks of one image into a map over the model's square.

    Args:
        masks: [n, H, W] bool or float in 0 to 1, at original size.
        frame: the image's frame.
        size: (h, w) of the map over the whole square.

    Returns:
        float32 [n, h, w]: the share of each cell that the object covers; 0 in the padding.
    """
    height, width = frame.resized
    if not masks.shape[0]:
        return masks.new_zeros((0, *size), dtype=torch.float32)
    if masks.device.type == "cpu":
        # scipy's matrices live on the CPU; elsewhere torch takes the same averages in two steps.
        rows, columns = (
            cover_weights(*axis) for axis in zip(frame.original, frame.resized, (frame.side,) * 2, size, strict=True)
        )
        return torch.from_numpy(cover(masks.numpy(), rows, columns))
    resized = F.interpolate(masks[None].float(), (height, width), mode="area")[0]  # [n, height, width]
    # Padded to the square before pooling, so that a cell means the same place whatever the image's aspect.
    square = F.pad(resized, (0, frame.side - width, 0, frame.side - height))
    return F.adaptive_avg_pool2d(square, size)


def truth_in_frame(
    masks: Tensor,
    frame: Frame,
    size: tuple[int, int],
    likely: Iterable[npt.NDArray[np.float32]] | None = None,
) -> Tensor:
    """Bring true masks of one image into a map over the model's square, for losses and scores at its output size.

    Args:
        masks: bool [n, H, W] at original size, on the CPU.
        frame: the image's frame.
        size: (h, w) of the map over the whole square.
        likely: n times float32 [H, W], the probability of each pixel, above 1/2 in the mask; None: they are certain.

    Returns:
        float32 [n, h, w] in 0 to 1: the share of each cell that the object covers, or its mean probability, moved so
        that the cells above 1/2 are the best mask of it at that size. So an object thinner than a cell is not nothing.
    """
    covered = masks_to_frame(masks, frame, size).numpy()
    if likely is None:
        return torch.from_numpy(around_best_level(covered))
    means = (masks_to_frame(torch.from_numpy(one)[None], frame, size)[0].numpy() for one in likely)
    return torch.from_numpy(around_best_level(covered, means))


def content_mask(frames: tuple[Frame, ...], size: tuple[int, int], device: torch.device | str = "cpu") -> Tensor:
    """Return bool [B, h, w]: which cells of a map over the square hold image rather than padding."""
    inside = torch.zeros((len(frames), *size), dtype=torch.bool, device=device)
    for index, frame in enumerate(frames):
        rows, columns = frame.content(*size)
        inside[index, :rows, :columns] = True
    return inside
