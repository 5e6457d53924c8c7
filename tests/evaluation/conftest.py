"""Small drawn samples and a model without learning, so that evaluation is tested apart from any network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from segtune.core.geometry import Frame, frame_scales
from segtune.core.rle import RunLengths
from segtune.core.types import Embedding, MaskPrediction, Prompts, Sample
from segtune.data.dataset import Dataset
from segtune.models.family import PromptableModel
from segtune.models.preparation import Preparation


class Blobs(PromptableModel):
    """Answers clicks with discs, boxes with ellipses, and adds what it sees of the image's brightness."""

    family: ClassVar[str] = "blobs"
    accepts: ClassVar[frozenset[str]] = frozenset({"points", "boxes", "masks"})

    def __init__(self, radius: float = 12.0, gain: float = 8.0) -> None:
        super().__init__()
        self.radius = nn.Parameter(torch.tensor(float(radius)))
        self.image_encoder = nn.PReLU(init=gain)
        self.preparation = Preparation("longest_side", self.side, (0.0,) * 3, (255.0,) * 3)
        self.encoded = 0
        self.decoded: list[int] = []

    @property
    def side(self) -> int:
        """Side of the square."""
        return 128

    @property
    def mask_size(self) -> tuple[int, int]:
        """A quarter of it."""
        return 32, 32

    @property
    def parts(self) -> dict[str, nn.Module]:
        """The encoder alone can be told apart."""
        return {"image_encoder": self.image_encoder}

    @property
    def encoder_stages(self) -> tuple[tuple[str, ...], ...]:
        """None."""
        return ()

    def encode(self, pixels: Tensor, frames: tuple[Frame, ...]) -> Embedding:
        """Keep the brightness."""
        self.encoded += 1
        return Embedding(self.image_encoder.weight * nn.functional.adaptive_avg_pool2d(pixels, self.mask_size), frames)

    def decode(self, embedding: Embedding, prompts: Prompts, multimask: Tensor) -> MaskPrediction:
        """Draw discs and ellipses."""
        self.decoded.append(len(prompts))
        scale = frame_scales(embedding.frames, prompts.image_index)
        y, x = torch.meshgrid(torch.arange(32) * 4 + 1.5, torch.arange(32) * 4 + 1.5, indexing="ij")
        logits = embedding.features.mean(dim=1)[prompts.image_index] - 7
        for k in range(prompts.points.shape[1]):
            at = prompts.points[:, k] * scale
            near = self.radius - torch.hypot(x - at[:, 0, None, None], y - at[:, 1, None, None])
            sign = (prompts.point_labels[:, k] == 1).float() - (prompts.point_labels[:, k] == 0).float()
            logits = logits + sign[:, None, None] * near.clamp(min=0)
        middle = (prompts.boxes[:, :2] + prompts.boxes[:, 2:]) / 2 * scale
        half = (prompts.boxes[:, 2:] - prompts.boxes[:, :2]).clamp(min=1) / 2 * scale
        inside = 1 - ((x - middle[:, 0, None, None]) / half[:, 0, None, None]) ** 2
        inside = inside - ((y - middle[:, 1, None, None]) / half[:, 1, None, None]) ** 2
        logits = logits + prompts.has_box[:, None, None] * (6 * inside + 3)
        if prompts.mask_logits is not None:
            logits = logits + 0.7 * prompts.has_mask[:, None, None] * prompts.mask_logits.clamp(-10, 10)
        shifts = torch.tensor([0.0, 1.0, -2.0]) if bool(multimask.any()) else torch.zeros(1)
        quality = torch.tensor([0.6, 0.8, 0.1])[: len(shifts)].repeat(len(prompts), 1)
        if len(shifts) == 3:
            quality[~multimask] = torch.tensor([0.7, -torch.inf, -torch.inf])
        return MaskPrediction(logits[:, None] + shifts[:, None, None], quality, prompts.image_index, embedding.frames)


class PointsOnly(Blobs):
    """A model that understands clicks alone."""

    accepts: ClassVar[frozenset[str]] = frozenset({"points"})


def draw_sample(
    number: int, *, objects: int = 2, size: tuple[int, int] = (90, 140), ignore: bool = False, group: str | None = None
) -> Sample:
    """Draw dark noise with bright ellipses, one mask each."""
    rng = np.random.default_rng(number)
    height, width = size
    y, x = np.mgrid[:height, :width]
    image = rng.integers(0, 120, (height, width, 3), dtype=np.uint8)
    masks = []
    for _ in range(objects):
        cy, cx = rng.uniform(0.1, 0.9, 2) * size
        ry, rx = rng.uniform(4, 22, 2)
        mask = ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1
        mask[int(min(cy, height - 1)), int(min(cx, width - 1))] = True
        image[mask] = np.minimum(image[mask] + 110, 255)
        masks.append(RunLengths.encode(mask))
    band = np.zeros(size, dtype=np.bool_)
    band[:, width // 2 - 4 : width // 2 + 4] = True
    return Sample(
        name=f"image{number:05d}.png",
        size=size,
        objects=tuple(masks),
        labels=("object",) * objects,
        read=lambda: image,
        ignore=RunLengths.encode(band) if ignore else None,
        group=group,
    )


@pytest.fixture
def sample() -> Callable[..., Sample]:
    """Return a function that draws a sample by number."""
    return draw_sample


@pytest.fixture
def dataset() -> Callable[..., Dataset]:
    """Return a function that makes a data set of samples."""

    def make(*samples: Sample) -> Dataset:
        return Dataset.of(samples, root=Path("drawn"))

    return make


@pytest.fixture
def blobs() -> Callable[..., Blobs]:
    """Return the class of the model without learning."""
    return Blobs


@pytest.fixture
def points_only() -> Callable[..., Blobs]:
    """Return the class of a model that understands clicks alone."""
    return PointsOnly
