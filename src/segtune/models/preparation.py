"""How a base wants its images: where they lie in the square and which numbers their pixels become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image as Pillow
from torch import Tensor

from segtune.core.errors import ModelError
from segtune.core.geometry import Frame
from segtune.core.types import Image

SAM_MEAN = (123.675, 116.28, 103.53)
"""Mean of red, green and blue in 0 to 255 (published `build_sam.py`)."""

SAM_STD = (58.395, 57.12, 57.375)
"""Their standard deviations."""

Kind = Literal["longest_side", "stretched", "stretched_normalized"]
KINDS: tuple[Kind, ...] = ("longest_side", "stretched", "stretched_normalized")


@dataclass(frozen=True)
class Preparation:
    """A property of the base model, recorded with it.

    Attributes:
        kind: "longest_side" is SAM's own: the longest side scaled to `side`, the image at the top left, mean and std
            taken out, zeros at the bottom or the right. "stretched" is MedSAM's: both sides stretched to `side`, each
            image's values brought to 0 to 1 by its own minimum and maximum. "stretched_normalized" is SAM 2's and
            SAM 3's: both sides stretched to `side`, mean and std taken out.
        side: side of the square in pixels.
        mean: of red, green and blue in 0 to 255; not read by "stretched".
        std: as `mean`.
    """

    kind: Kind
    side: int
    mean: tuple[float, float, float] = SAM_MEAN
    std: tuple[float, float, float] = SAM_STD

    @classmethod
    def longest_side(cls, side: int) -> Preparation:
        """Return SAM's own preparation."""
        return cls("longest_side", side)

    @classmethod
    def stretched(cls, side: int) -> Preparation:
        """Return MedSAM's preparation."""
        return cls("stretched", side)

    @classmethod
    def stretched_normalized(cls, side: int) -> Preparation:
        """Return SAM 2's preparation, whose mean and std are SAM's."""
        return cls("stretched_normalized", side)

    @classmethod
    def to_both_signs(cls, side: int) -> Preparation:
        """Return SAM 3's preparation: SAM 2's with pixels brought to -1 to 1."""
        return cls("stretched_normalized", side, (127.5,) * 3, (127.5,) * 3)

    def as_kind(self, kind: str) -> Preparation:
        """Return the same with another kind.

        Raises:
            ModelError: there is no such kind.
        """
        return self.from_json(self.to_json() | {"kind": kind})

    def with_processor(self, processor: Mapping[str, Any]) -> Preparation:
        """Return the same with the mean and std that a `preprocessor_config.json` gives, where it gives them."""
        mean, std = (processor.get(key) for key in ("image_mean", "image_std"))
        if mean is None or std is None:
            return self
        # transformers takes the mean out after it has brought values to 0 to 1.
        values = {"mean": [255 * value for value in mean], "std": [255 * value for value in std]}
        return self.from_json(self.to_json() | values)

    @classmethod
    def of_kind(cls, kind: str, side: int) -> Preparation:
        """Return the preparation named `kind`.

        Raises:
            ModelError: there is no such kind.
        """
        return cls.from_json({"kind": kind, "side": side})

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Preparation:
        """Read what `to_json` wrote.

        Raises:
            ModelError: an unknown kind.
        """
        if value["kind"] not in KINDS:
            raise ModelError(
                f"'{value['kind']}' is no way to prepare images for a model. Known: 'longest_side' (SAM: padded, mean "
                "and std), 'stretched' (MedSAM: stretched, 0 to 1) and 'stretched_normalized' (SAM 2 and 3: stretched, "
                "mean and std)."
            )
        red, green, blue = value.get("mean", SAM_MEAN)
        std_red, std_green, std_blue = value.get("std", SAM_STD)
        return cls(value["kind"], int(value["side"]), (red, green, blue), (std_red, std_green, std_blue))

    def to_json(self) -> dict[str, Any]:
        """Return the preparation as plain values."""
        return {"kind": self.kind, "side": self.side, "mean": list(self.mean), "std": list(self.std)}

    def frame(self, size: tuple[int, int]) -> Frame:
        """Return where an image of `size` (height, width) lies in the square."""
        make = Frame.longest_side if self.kind == "longest_side" else Frame.stretched
        return make((size[0], size[1]), self.side)

    def prepare(self, images: Sequence[Image]) -> tuple[Tensor, tuple[Frame, ...]]:
        """Bring B images, uint8 [H, W, 3] RGB of any sizes, into the square.

        Returns:
            float32 [B, 3, side, side] and B frames.
        """
        frames = tuple(self.frame((image.shape[0], image.shape[1])) for image in images)
        # Padding is 0 after the mean is taken out, as in the published code: of the mean's colour, not black.
        pixels = torch.zeros((len(images), 3, self.side, self.side))
        for row, (image, frame) in enumerate(zip(images, frames, strict=True)):
            height, width = frame.resized
            values = torch.from_numpy(self._values(image, (width, height)))
            pixels[row, :, :height, :width] = values.permute(2, 0, 1)  # [3, h, w]
        return pixels, frames

    def _values(self, image: Image, size: tuple[int, int]) -> npt.NDArray[np.float32]:
        if self.kind == "stretched":
            return _own_range(_resized(image, size, Pillow.Resampling.BICUBIC))
        if self.kind == "longest_side":
            # As published, by Pillow, which filters when it shrinks; OpenCV and torch would give other pixels.
            resized = _resized(image, size, Pillow.Resampling.BILINEAR)
        else:
            resized = _filtered(image, size)
        mean: npt.NDArray[np.float32] = np.array(self.mean, np.float32)
        std: npt.NDArray[np.float32] = np.array(self.std, np.float32)
        return (resized - mean) / std


def _resized(image: Image, size: tuple[int, int], how: Pillow.Resampling) -> npt.NDArray[np.float32]:
    return np.asarray(Pillow.fromarray(image).resize(size, how), np.float32)


def _filtered(image: Image, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    # SAM 2 shrinks what is float already: nothing is rounded to whole values, as Pillow would.
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float()  # [1, 3, H, W]
    resized = F.interpolate(pixels, size[::-1], mode="bilinear", align_corners=False, antialias=True)
    values: npt.NDArray[np.float32] = resized[0].permute(1, 2, 0).numpy()
    return values


def _own_range(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    # MedSAM's inference: the image's own range, whose least width keeps one colour from 0 / 0.
    low, high = float(values.min()), float(values.max())
    return (values - low) / max(high - low, 1e-8)
