"""Automatic masks of a whole image: a grid of clicks, and of their answers those that are good, stable and no doubles.

Settings, filters and their order are those of the published `SamAutomaticMaskGenerator`, and so are the masks. What
differs is the work: masks are filtered at the model's output size first, survivors are enlarged only where they are,
and nothing of the image's size is kept for any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from segtune.core.errors import ModelError, UsageError, unknown_name
from segtune.core.geometry import Frame
from segtune.core.rle import RunLengths
from segtune.core.types import POINT_POSITIVE, Embedding, Image, Prompts
from segtune.models.family import PromptableModel
from segtune.models.quality import tell_quality
from segtune.segment.crops import MaskCrop
from segtune.segment.encoding import device_of, encode_image, evaluating
from segtune.segment.enlarge import Enlarger
from segtune.segment.given import check_embedding, check_image
from segtune.segment.grid import Crop, Points, cut_crops, point_grid
from segtune.segment.points import Blind, Guided, PointSource
from segtune.segment.regions import remove_small_regions
from segtune.segment.suppression import without_doubles

_EDGE = 20
"""Pixels within which a mask touches the edge of its crop: as published, so many however large the crop is.

What ends at a tile's edge is told by a share of its side instead (`grid.is_cut_off`): tiles may be of 16 pixels.
"""

_ROUNDING = 1e-5
"""Share by which a sum in float32 may be off: what a filter on bounds must leave to the exact one."""


@dataclass(frozen=True)
class EverythingSettings:
    """How everything mode looks and what it keeps; those not published are the last six.

    Attributes:
        points_per_side: clicks along each side of the image; None where `point_grids` says them.
        points_per_batch: clicks decoded in one call; more take more memory.
        pred_iou_thresh: keeps masks whose predicted IoU, the model's own, is above it; 0 keeps all.
        stability_score_thresh: keeps masks whose stability is at least this; 0 keeps all.
        stability_score_offset: by how much logits' threshold is raised and lowered to measure the stability.
        box_nms_thresh: IoU of boxes above which two masks of one crop are doubles.
        crop_n_layers: layer n adds 4ⁿ overlapping crops, segmented like images.
        crop_nms_thresh: as `box_nms_thresh`, between crops.
        crop_overlap_ratio: overlap of the first layer's crops, as a share of the image's shorter side.
        crop_n_points_downscale_factor: in layer n `points_per_side` is divided by this n times.
        point_grids: for each layer its clicks, x and y in 0 to 1, in place of even grids.
        min_mask_region_area: fills holes and removes specks of fewer pixels; 0 leaves them.
        min_mask_area: drops masks of fewer pixels; 0 keeps all.
        max_mask_share: drops masks that cover more than this share of the image; 1 keeps all. SA-1B was made with .95.
        guided: clicks only where no good mask is yet, in passes from coarse to fine (`segment.points.Guided`).
        guided_stride: the first of these passes clicks every so many-th point along each side.
        guided_iou_thresh: predicted IoU from which on a mask that is kept spares clicks inside it.
        guided_margin: how near to its contour clicks are not spared, in steps of the grid.

    Raises:
        UsageError: a value out of its range, both or neither of `points_per_side` and `point_grids`, or guided
            without `points_per_side`.
    """

    points_per_side: int | None = 32
    points_per_batch: int = 64
    pred_iou_thresh: float = 0.88
    stability_score_thresh: float = 0.95
    stability_score_offset: float = 1.0
    box_nms_thresh: float = 0.7
    crop_n_layers: int = 0
    crop_nms_thresh: float = 0.7
    crop_overlap_ratio: float = 512 / 1500
    crop_n_points_downscale_factor: int = 1
    point_grids: tuple[tuple[tuple[float, float], ...], ...] | None = None
    min_mask_region_area: int = 0
    min_mask_area: int = 0
    max_mask_share: float = 1.0
    guided: bool = False
    guided_stride: int = 4
    guided_iou_thresh: float = 0.88
    guided_margin: float = 0.5

    def __post_init__(self) -> None:
        for setting in fields(self):
            value = getattr(self, setting.name)
            if setting.name in _RANGES and value is not None:
                _check_range(setting.name, value)
        if (self.points_per_side is None) == (self.point_grids is None):
            raise UsageError(
                "Everything mode takes its clicks from points_per_side or from point_grids, from one of them: got "
                f"points_per_side={self.points_per_side} and "
                f"{'no' if self.point_grids is None else len(self.point_grids)} point_grids. Set the other to None."
            )
        if self.guided and self.points_per_side is None:
            raise UsageError(
                "Guided clicks are chosen from an even grid, but points_per_side is None. Set it, and point_grids to "
                "None, or guided to False."
            )
        self._check_layers()

    def grid(self, layer: int) -> Points:
        """Return the clicks of a layer, float64 [n, 2], x and y in 0 to 1."""
        if self.point_grids is not None:
            return np.array(self.point_grids[layer], dtype=np.float64).reshape(-1, 2)
        return point_grid(self._side(layer))

    def clicks(self, layer: int, frame: Frame) -> PointSource:
        """Return what a crop of a layer is clicked at, given where it lies in the model's square."""
        if not self.guided:
            return Blind(self.grid(layer), self.points_per_batch)
        return Guided(
            self._side(layer), self.points_per_batch, frame,
            stride=self.guided_stride, quality=self.guided_iou_thresh, margin=self.guided_margin,
        )  # fmt: skip

    def _side(self, layer: int) -> int:
        return int((self.points_per_side or 0) / self.crop_n_points_downscale_factor**layer)

    def _check_layers(self) -> None:
        if self.points_per_side is not None and not self._side(self.crop_n_layers):
            raise UsageError(
                f"Each layer of crops needs at least one click: points_per_side={self.points_per_side}, divided "
                f"{self.crop_n_layers} times by crop_n_points_downscale_factor={self.crop_n_points_downscale_factor}, "
                "leaves none. Raise the first or lower one of the others."
            )
        for layer, points in enumerate(self.point_grids or ()):
            if not all(len(point) == 2 and all(0 <= value <= 1 for value in point) for point in points):
                raise UsageError(
                    f"Clicks of point_grids are pairs x, y in 0 to 1; layer {layer} has others. Divide pixels by the "
                    "image's width and height."
                )
        if self.point_grids is not None and len(self.point_grids) <= self.crop_n_layers:
            raise UsageError(
                f"With crop_n_layers={self.crop_n_layers} point_grids needs {self.crop_n_layers + 1} grids, the "
                f"image's own first, but has {len(self.point_grids)}. Add grids or lower crop_n_layers."
            )


_RANGES: dict[str, tuple[float, float]] = {
    "points_per_side": (1, 1024),
    "points_per_batch": (1, float("inf")),
    "pred_iou_thresh": (0, 1),
    "stability_score_thresh": (0, 1),
    "stability_score_offset": (0, float("inf")),
    "box_nms_thresh": (0, 1),
    "crop_n_layers": (0, 5),
    "crop_nms_thresh": (0, 1),
    "crop_overlap_ratio": (0, 1),
    "crop_n_points_downscale_factor": (1, float("inf")),
    "min_mask_region_area": (0, float("inf")),
    "min_mask_area": (0, float("inf")),
    "max_mask_share": (0, 1),
    "guided_stride": (1, 1024),
    "guided_iou_thresh": (0, 1),
    "guided_margin": (0, float("inf")),
}
"""From and to; settings whose default is whole take whole numbers."""

_WHOLE = frozenset(
    {"points_per_side", "points_per_batch", "crop_n_layers", "crop_n_points_downscale_factor",
     "min_mask_region_area", "min_mask_area", "guided_stride"}
)  # fmt: skip

_SWITCH = "guided"
"""The setting that is true or false."""


@dataclass(frozen=True)
class AutomaticMask:
    """One mask that nobody pointed at.

    Attributes:
        mask: at the size of the image, never empty.
        predicted_iou: the model's own guess of its quality, on the scale of `pred_iou_thresh`: never refitted.
        stability_score: pixels inside with the threshold raised by the offset, over those with it lowered.
        point: x and y of the click it answers, in pixels of the image.
        crop_box: x0, y0, x1, y1 of the crop it was found in, x1 and y1 one past the last pixel.
    """

    mask: RunLengths
    predicted_iou: float
    stability_score: float
    point: tuple[float, float]
    crop_box: tuple[int, int, int, int]

    def told_quality(self, model: PromptableModel) -> float:
        """Return the quality that people are told: refitted where `segtune calibrate` has been at the model."""
        return float(tell_quality(model.quality_map, self.predicted_iou))

    @property
    def area(self) -> int:
        """Number of pixels inside."""
        return self.mask.area

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Tight box x0, y0, x1, y1 with x1 and y1 one past the last pixel."""
        return self.mask.box or (0, 0, 0, 0)


def settings_for(model: PromptableModel, overrides: Sequence[str] = ()) -> EverythingSettings:
    """Return the published settings with the thresholds fitted to a model (`segtune calibrate`), if any were.

    Args:
        model: any promptable model.
        overrides: "name=value", which come first.

    Raises:
        UsageError: an unknown name, or a value that is none or out of its range.
    """
    chosen: dict[str, Any] = dict(model.thresholds)
    for text in overrides:
        name, _, value = text.partition("=")
        if name not in (*_RANGES, _SWITCH):
            raise unknown_name("setting of everything mode", name, (*_RANGES, _SWITCH))
        if name == _SWITCH:
            if value not in ("true", "false"):
                raise UsageError(f"{name} must be true or false, but '{value}' was given. Write {name}=true.")
            chosen[name] = value == "true"
            continue
        try:
            chosen[name] = int(value) if name in _WHOLE else float(value)
        except ValueError as error:
            kind = "a whole number" if name in _WHOLE else "a number"
            raise UsageError(f"{name} must be {kind}, but '{value}' was given. Write {name}=NUMBER.") from error
    return EverythingSettings(**chosen)


def segment_everything(
    model: PromptableModel,
    image: Image | None,
    settings: EverythingSettings | None = None,
    *,
    embedding: Embedding | None = None,
    on_clicks: Callable[[], None] = lambda: None,
) -> tuple[AutomaticMask, ...]:
    """Return the masks of an image that a grid of clicks finds; none where nothing passes the filters.

    They come in the published order: by predicted IoU, the highest first. With crops, masks of smaller ones come before
    those of larger ones; where small regions were removed, masks that needed no change come first.

    Args:
        model: any model that understands clicks.
        image: uint8 [H, W, 3] RGB. With an embedding and without layers of crops it is not looked at and may be None.
        settings: without it the published ones, with the thresholds that were fitted to this model if any were.
        embedding: of this image alone, where there is one already.
        on_clicks: called after each batch of clicks; what it raises ends the search.

    Raises:
        ModelError: the model does not understand clicks.
        UsageError: an image is needed and missing or is no such array, or the embedding is not of one image.
    """
    settings = settings or settings_for(model)
    pixels = _check_call(model, image, settings, embedding)
    found: list[AutomaticMask] = []
    with evaluating([model]):
        embedding = embedding or encode_image(model, pixels)
        size = embedding.frames[0].original
        crops = cut_crops(size, settings.crop_n_layers, settings.crop_overlap_ratio)
        for crop in crops:
            seen = embedding if crop.layer == 0 else encode_image(model, pixels[crop.rows, crop.columns])
            found += _segment_crop(model, seen, crop, size, settings, on_clicks)
    if len(crops) > 1:
        # Of doubles the one from the smaller crop stays: it was seen larger.
        found = _without_doubles(found, [1 / _area(one.crop_box) for one in found], settings.crop_nms_thresh)
    if settings.min_mask_region_area > 0:
        found = _clean(found, settings)
    return tuple(found)


def _segment_crop(
    model: PromptableModel, embedding: Embedding, crop: Crop, size: tuple[int, int], settings: EverythingSettings,
    on_clicks: Callable[[], None],
) -> list[AutomaticMask]:  # fmt: skip
    """Return the masks of one crop of an image of `size`, without doubles, the highest predicted IoU first."""
    height, width = crop.size
    enlarge = Enlarger(embedding.frames[0], model.mask_size)
    source = settings.clicks(crop.layer, embedding.frames[0])
    found: list[AutomaticMask] = []
    for places in source:
        some = (places * (width, height)).astype(np.float32)
        prompts = _clicks(some, device_of(model))
        # One click is ambiguous: three masks each. All on one image, so what does not depend on them is shared.
        prediction = model.decode(embedding, prompts, torch.ones_like(prompts.has_box))
        kept, quality = prediction.present, prediction.quality.float()
        if settings.pred_iou_thresh > 0:
            kept = kept & (quality > settings.pred_iou_thresh)
        rows, slots = kept.nonzero(as_tuple=True)
        logits = prediction.logits[rows, slots].float()
        # Brought to the CPU once, not one by one; and all logits at once would take gigabytes.
        clicks, predicted = rows.tolist(), quality[rows, slots].tolist()
        del prediction
        good: list[int] = []
        for row, mask, stability in _stable_masks(logits, enlarge, settings):
            whole = mask.within(size, crop.box[1], crop.box[0])
            if _is_kept(whole, crop, settings):
                x, y = (float(value) for value in some[clicks[row]])
                point = x + crop.box[0], y + crop.box[1]
                found.append(AutomaticMask(whole.runs(), predicted[row], stability, point, crop.box))
                good.append(row)
        source.hear(logits[good], quality[rows, slots][good])
        on_clicks()
    return _without_doubles(found, [one.predicted_iou for one in found], settings.box_nms_thresh)


def _stable_masks(
    logits: Tensor, enlarge: Enlarger, settings: EverythingSettings
) -> Iterator[tuple[int, MaskCrop, float]]:
    """Yield the row, the mask at the crop's size and the stability of those of n logits [n, h, w] that are stable."""
    offset, threshold = settings.stability_score_offset, settings.stability_score_thresh
    rows = torch.arange(len(logits), device=logits.device)
    if threshold > 0 and len(logits):
        # Where even the bound is not enough, nothing is enlarged; nor for NaN, which has no pixel at all.
        limit = enlarge.stability_limit(logits, offset)
        rows = rows[limit >= threshold * (1 - _ROUNDING)]
    for row, one in zip(rows.tolist(), logits[rows].cpu(), strict=True):
        raised, mask, lowered = enlarge.levels(one, (offset, 0.0, -offset))
        inside, around = (int(np.count_nonzero(level.inside)) for level in (raised, lowered))
        # In float32, as published: at the threshold itself rounding decides.
        stability = np.float32(inside) / np.float32(max(around, 1))
        if stability >= np.float32(threshold):
            yield row, mask.tight(), float(stability)


def _is_kept(mask: MaskCrop, crop: Crop, settings: EverythingSettings) -> bool:
    """Say whether a mask, in its tight window in the whole image, is of a wanted size and not cut off by its crop."""
    if not mask.inside.size or not _has_wanted_area(int(np.count_nonzero(mask.inside)), mask.size, settings):
        return False
    # As published, the mask's box names its last row and column, the crop's one past them.
    box = mask.left, mask.top, mask.columns.stop - 1, mask.rows.stop - 1
    image = 0, 0, mask.size[1], mask.size[0]
    return not any(
        abs(side - edge) <= _EDGE and abs(side - end) > _EDGE
        for side, edge, end in zip(box, crop.box, image, strict=True)
    )


def _has_wanted_area(area: int, size: tuple[int, int], settings: EverythingSettings) -> bool:
    return settings.min_mask_area <= area <= settings.max_mask_share * size[0] * size[1]


def _without_doubles(found: Sequence[AutomaticMask], scores: Sequence[float], threshold: float) -> list[AutomaticMask]:
    """Return the masks whose boxes overlap no better one's much, the best first."""
    boxes = np.array([one.box for one in found], dtype=np.float32).reshape(-1, 4)
    return [found[row] for row in without_doubles(boxes, np.array(scores, dtype=np.float32), threshold)]


def _clean(found: Sequence[AutomaticMask], settings: EverythingSettings) -> list[AutomaticMask]:
    """Remove specks and holes, then what became a double by that; masks that needed no change are preferred."""
    cleaned: list[AutomaticMask] = []
    untouched: list[float] = []
    for one in found:
        mask, changed = remove_small_regions(MaskCrop.of_runs(one.mask), settings.min_mask_region_area)
        # A mask may lose or gain more than its specks and holes are each.
        if not changed or _has_wanted_area(int(np.count_nonzero(mask.inside)), mask.size, settings):
            cleaned.append(replace(one, mask=mask.runs()) if changed else one)
            untouched.append(float(not changed))
    return _without_doubles(cleaned, untouched, max(settings.box_nms_thresh, settings.crop_nms_thresh))


def _clicks(points: npt.NDArray[np.float32], device: torch.device) -> Prompts:
    """Return one prompt of one click for each of n points [n, 2] on a single image."""
    count = len(points)
    nothing = torch.zeros(count, dtype=torch.bool)
    labels = torch.full((count, 1), POINT_POSITIVE)
    return Prompts(
        torch.zeros(count, dtype=torch.int64), torch.from_numpy(points)[:, None], labels, torch.zeros(count, 4),
        nothing, nothing,
    ).to(device)  # fmt: skip


def _check_call(
    model: PromptableModel, image: Image | None, settings: EverythingSettings, embedding: Embedding | None
) -> Image:
    """Return the image, or one without pixels where it will not be looked at."""
    if "points" not in model.accepts:
        raise ModelError(
            f"Everything mode clicks all over the image, but this model understands {', '.join(sorted(model.accepts))} "
            "only. Use a model that understands points."
        )
    if embedding is not None:
        check_embedding(embedding)
    if image is None and (embedding is None or settings.crop_n_layers):
        raise UsageError(
            "Everything mode needs the image itself where it has no embedding of it or crop_n_layers is above 0 "
            f"(it is {settings.crop_n_layers}), but got None. Pass the image."
        )
    return np.zeros((0, 0, 3), dtype=np.uint8) if image is None else check_image(image)


def _check_range(name: str, value: float) -> None:
    low, high = _RANGES[name]
    kind = "whole number" if name in _WHOLE else "number"
    # Whole numbers are not told from others by value alone, and NaN is in no range.
    if isinstance(value, bool) or (name in _WHOLE and not isinstance(value, int)) or not low <= value <= high:
        limits = f"from {low:g} to {high:g}" if high < float("inf") else f"of {low:g} or more"
        raise UsageError(f"{name} must be a {kind} {limits}, but is {value!r}. Choose one in that range.")


def _area(box: tuple[int, int, int, int]) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])
