"""Test-time augmentation: several views of an image and of its prompts, their logits averaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segtune.core.errors import UsageError, unknown_name
from segtune.core.geometry import Frame, frame_scales
from segtune.core.types import Embedding, MaskPrediction, Prompts
from segtune.models.family import PromptableModel


@dataclass(frozen=True)
class View:
    """One way of looking at an image.

    Attributes:
        flip_x: left and right exchanged.
        flip_y: top and bottom exchanged.
        scale: of the image inside the model's square, at most 1.
        shift: of a box and the points beside it, as a share of the box's sides, x and y.
        click_shift: of points without a box, in pixels of the model's square, x and y, up to 1 % of the image's side.
            Nothing tells how large the object is, and a larger share of the image would move a click on a small one to
            its neighbour; pixels of the square are what the model can tell apart, however large the image.
    """

    flip_x: bool = False
    flip_y: bool = False
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    click_shift: tuple[float, float] = (0.0, 0.0)

    @property
    def is_seen(self) -> bool:
        """Whether the encoder sees another picture; else only the prompts differ."""
        return self.flip_x or self.flip_y or self.scale != 1


VIEWS: Mapping[str, tuple[View, ...]] = {
    "flip": (View(flip_x=True),),
    "flips": (View(flip_x=True), View(flip_y=True), View(flip_x=True, flip_y=True)),
    "scale": (View(scale=0.8),),
    "jitter": tuple(
        View(shift=(0.04 * x, 0.04 * y), click_shift=(3.0 * x, 3.0 * y)) for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1))
    ),
}
"""What can be averaged with the plain view, by name.

Jittered clicks move by 3 pixels of the square. That is under a cell of SAM's masks, 4 pixels, so that what is asked
about stays the same, and a quarter of the step of everything mode's 32 clicks a side in nano's square of 384.
"""

_CLICK_SHARE = 0.01
"""Of the image's side at most: in an image far longer than high 3 pixels of the square might be a step of that grid."""


def check_views(names: Sequence[str]) -> None:
    """Refuse unknown names.

    Raises:
        UsageError: an unknown name.
    """
    for name in names:
        if name not in VIEWS:
            raise unknown_name("view", name, VIEWS)


def averaged(model: PromptableModel, names: Sequence[str]) -> PromptableModel:
    """Return a model that answers with the mean over the plain view and those named; the model itself, without any.

    Raises:
        UsageError: an unknown name, or the model's masks have no order that views share.
    """
    check_views(names)
    if names and model.ranked:
        raise UsageError(
            f"Views are averaged mask by mask, but of a {model.family} model the first of three masks in one view may "
            "be the second in another. Leave --tta out."
        )
    views = tuple(dict.fromkeys(view for name in names for view in VIEWS[name]))
    return Averaged(model, views) if views else model


class Averaged(PromptableModel):
    """A model whose logits and qualities are means over views; everything else is the model's own.

    The encoder runs once more for each view that it sees otherwise, the decoder once more for each view.

    Args:
        model: any promptable model.
        views: beside the plain one.
    """

    family: ClassVar[str] = "averaged"

    def __init__(self, model: PromptableModel, views: Sequence[View]) -> None:
        super().__init__()
        if any(not 0 < view.scale <= 1 for view in views):
            raise UsageError("A view's scale must be above 0 and at most 1, for the image must stay in the square.")
        self.model = model
        self.views = tuple(views)
        self.accepts = model.accepts
        self.preparation = model.preparation
        self.source = model.source
        self.phrase = model.phrase
        self.variant = repr(self.views)
        self.quality_map = model.quality_map
        self.thresholds = dict(model.thresholds)  # a read-only view cannot be pickled

    @property
    def side(self) -> int:
        """Side of the square input in pixels."""
        return self.model.side

    @property
    def mask_size(self) -> tuple[int, int]:
        """(h, w) of the logits over the square."""
        return self.model.mask_size

    @property
    def parts(self) -> dict[str, nn.Module]:
        """The model's."""
        return self.model.parts

    @property
    def encoder_stages(self) -> tuple[tuple[str, ...], ...]:
        """The model's."""
        return tuple(tuple(f"model.{prefix}" for prefix in stage) for stage in self.model.encoder_stages)

    def encode(self, pixels: Tensor, frames: tuple[Frame, ...]) -> Embedding:
        """Encode all views; those beside the plain one are further maps of the embedding."""
        plain = self.model.encode(pixels, frames)
        maps = dict(plain.extra)
        for number, view in enumerate(self.views):
            if view.is_seen:
                turned = [_seen(one, frame, view) for one, frame in zip(pixels, frames, strict=True)]
                seen = self.model.encode(torch.stack(turned), tuple(_frame(frame, view) for frame in frames))
                maps |= {f"{_lead(number)}{name}": value for name, value in _maps(seen).items()}
        return Embedding(plain.features, plain.frames, maps)

    def decode(self, embedding: Embedding, prompts: Prompts, multimask: Tensor) -> MaskPrediction:
        """Answer in each view and return the mean."""
        own = {name: value for name, value in embedding.extra.items() if not name.startswith(_LEAD)}
        plain = self.model.decode(Embedding(embedding.features, embedding.frames, own), prompts, multimask)
        logits, quality = plain.logits, plain.quality
        for number, view in enumerate(self.views):
            lead = _lead(number)
            maps = {name.removeprefix(lead): value for name, value in embedding.extra.items() if name.startswith(lead)}
            features = maps.pop("features") if view.is_seen else embedding.features
            frames = tuple(_frame(frame, view) for frame in embedding.frames)
            seen = Embedding(features, frames, maps if view.is_seen else own)
            asked = _turned(prompts.to(features.device), embedding.frames, view, self.mask_size)
            answer = self.model.decode(seen, asked, multimask)
            logits = logits + _moved(answer.logits, prompts.image_index, embedding.frames, view, back=True)
            quality = quality + answer.quality
        count = len(self.views) + 1
        return MaskPrediction(logits / count, quality / count, plain.image_index, plain.frames)


_LEAD = "view"


def _lead(number: int) -> str:
    return f"{_LEAD}{number}."


def _maps(embedding: Embedding) -> dict[str, Tensor]:
    return {"features": embedding.features, **embedding.extra}


def _frame(frame: Frame, view: View) -> Frame:
    height, width = (max(1, round(length * view.scale)) for length in frame.resized)
    return replace(frame, resized=(height, width))


def _seen(pixels: Tensor, frame: Frame, view: View) -> Tensor:
    """Return a prepared image [3, side, side] in a view; what is not image stays 0, the mean colour."""
    height, width = frame.resized
    content = pixels[:, :height, :width]
    flipped = [axis for axis, flip in ((1, view.flip_y), (2, view.flip_x)) if flip]
    content = content.flip(flipped) if flipped else content
    small = _frame(frame, view).resized
    if small != frame.resized:
        content = F.interpolate(content[None], small, mode="bilinear", antialias=True, align_corners=False)[0]
    seen = torch.zeros_like(pixels)
    seen[:, : small[0], : small[1]] = content
    return seen


def _turned(prompts: Prompts, frames: tuple[Frame, ...], view: View, mask_size: tuple[int, int]) -> Prompts:
    """Return the prompts as they lie in a view."""
    device = prompts.points.device
    index = prompts.image_index
    size = torch.tensor([frame.original[::-1] for frame in frames], dtype=torch.float32, device=device)[index]  # [P, 2]
    shift = _shift(prompts, frames, size, view)  # [P, 2]
    pixel = torch.tensor([[1 / s for s in _frame(frame, view).scale] for frame in frames], device=device)[index]
    points, corners = prompts.points + shift[:, None], prompts.boxes.view(-1, 2, 2) + shift[:, None]
    # A pixel's index stands for its centre, which the prompt encoder finds half a pixel of its own frame further on.
    mirror = (size - pixel)[:, None]
    flip = torch.tensor([view.flip_x, view.flip_y], device=device)
    points = torch.where(flip, mirror - points, points)
    corners = torch.where(flip, mirror - corners, corners)
    boxes = torch.cat([corners.amin(dim=1), corners.amax(dim=1)], dim=1)
    masks = prompts.mask_logits
    if masks is not None and view.is_seen:
        masks = _moved(masks[:, None], index, frames, view, back=False)[:, 0]
    return replace(prompts, points=points, boxes=boxes, mask_logits=masks)


def _shift(prompts: Prompts, frames: tuple[Frame, ...], size: Tensor, view: View) -> Tensor:
    """Return by how much a view shifts each prompt, float32 [P, 2] in pixels of its image of `size` [P, 2] x and y."""
    device = prompts.points.device
    of_box = (prompts.boxes[:, 2:] - prompts.boxes[:, :2]) * torch.tensor(view.shift, device=device)
    of_click = torch.tensor(view.click_shift, device=device) / frame_scales(frames, prompts.image_index)
    most = _CLICK_SHARE * size
    return torch.where(prompts.has_box[:, None], of_box, torch.clamp(of_click, -most, most))


def _moved(logits: Tensor, image_index: Tensor, frames: tuple[Frame, ...], view: View, *, back: bool) -> Tensor:
    """Bring logits [P, M, h, w] from the plain view into another, or back from there."""
    if not view.is_seen:
        return logits
    moved = torch.empty_like(logits)
    for image, frame in enumerate(frames):
        rows = image_index == image
        lengths = [(frame.resized[axis], _frame(frame, view).resized[axis]) for axis in (0, 1)]
        flips = (view.flip_y, view.flip_x)
        down, across = (
            _axis(logits.shape[2 + axis], frame.side, *(lengths[axis] if back else lengths[axis][::-1]), flips[axis])
            .to(logits)
            for axis in (0, 1)
        )  # fmt: skip
        moved[rows] = down @ logits[rows] @ across.T
    return moved


def _axis(cells: int, side: int, target: int, source: int, flip: bool) -> Tensor:
    """Return the resampling along one axis, [cells, cells]: linear between cells, level beyond the image's ends.

    Args:
        cells: along the axis, over the square.
        side: of the square in pixels.
        target: pixels that the image takes where the result lies.
        source: pixels that it takes where values come from.
        flip: whether it runs the other way there.
    """
    centres = (torch.arange(cells, dtype=torch.float64) + 0.5) * side / cells  # in pixels
    places = centres * source / target
    places = (source - places if flip else places) * cells / side - 0.5  # in cells
    last = max(0.0, source * cells / side - 1)
    places = places.clamp(0, min(last, cells - 1))
    low = places.floor().long().clamp(max=max(0, cells - 2))
    share = (places - low).float()
    weights = torch.zeros(cells, cells)
    rows = torch.arange(cells)
    weights[rows, low] += 1 - share
    weights[rows, (low + 1).clamp(max=cells - 1)] += share
    return weights
