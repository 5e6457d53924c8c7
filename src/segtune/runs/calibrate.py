"""`segtune calibrate`: the thresholds of everything mode, fitted to a model and kept with it."""

from __future__ import annotations

from pathlib import Path

from segtune.core.errors import DataError, UsageError
from segtune.core.files import read_json, write_json
from segtune.core.progress import SILENT, Progress
from segtune.data.dataset import Dataset, SetAside, open_dataset
from segtune.data.splits import read_split, resolve
from segtune.evaluation.reading import read_ahead
from segtune.evaluation.thresholds import Candidates, FittedThresholds, find_candidates, fit_thresholds
from segtune.models.allocator import keep_large_blocks
from segtune.models.open import open_model
from segtune.models.save import RECORD, THRESHOLDS
from segtune.runs.data import open_run_data
from segtune.runs.device import pick_device
from segtune.runs.folder import run_of
from segtune.runs.settings import read_settings
from segtune.segment.everything import settings_for

POINTS_PER_SIDE = 16
"""A quarter of the published clicks: thresholds are about masks, not about how many are looked for."""


def calibrate(
    model: Path,
    data: Path | None = None,
    *,
    most: int = 50,
    points_per_side: int = POINTS_PER_SIDE,
    device: str = "auto",
    progress: Progress = SILENT,
) -> FittedThresholds:
    """Choose everything mode's two thresholds on a run's validation images and write them into its segtune.json.

    From then on they are what everything mode takes for this model where nothing else is said.

    Args:
        model: a run folder, its model/, or any local folder in transformers' layout with segtune.json.
        data: other labelled images; needed where the model is no run's.
        most: images looked at, the first of them.
        points_per_side: clicks along each side of an image.
        device: "cpu", "cuda", or "auto".
        progress: what people see.

    Raises:
        UsageError: the model is no folder of one's own, or needs data and got none.
        DataError: no labelled image, or not one mask is of an object.
        ResourceError: the folder cannot be written.
    """
    record = _record_of(Path(model))
    images = open_dataset(data) if data is not None else _validation_images(Path(model))
    keep_large_blocks()
    opened = open_model(model, device=pick_device(device))
    opened.thresholds = {}
    settings = settings_for(opened, [f"points_per_side={points_per_side}"])
    held: list[Candidates] = []
    with progress.stage("everything on labelled images", min(most, len(images))) as advance:
        for item in read_ahead(images[:most]):
            if not isinstance(item, SetAside) and item.sample.objects and item.image is not None:
                held.append(find_candidates(opened, item.image, item.sample, settings))
            advance()
    fitted = fit_thresholds(held, settings)
    chosen = {
        "pred_iou_thresh": fitted.best.pred_iou_thresh, "stability_score_thresh": fitted.best.stability_score_thresh
    }  # fmt: skip
    write_json(record, read_json(record) | {THRESHOLDS: chosen})
    return fitted


def _record_of(model: Path) -> Path:
    for folder in (model / "model", model):
        if (folder / RECORD).is_file():
            return folder / RECORD
    raise UsageError(
        f"Thresholds are written into a model's {RECORD}, but {model} is no folder that has one. Give a run folder, or "
        "a folder that segtune has saved a model in."
    )


def _validation_images(model: Path) -> Dataset:
    run = run_of(model)
    if run is None or not run.is_fit or not run.split.is_file():
        raise UsageError(
            f"{model} is not of a finished fit, so nothing says what its validation images are. Give labelled images "
            "by --data."
        )
    dataset = open_run_data(read_settings(run.settings).settings.data)
    split = resolve(read_split(run.split), dataset)
    if not split.val:
        raise DataError(f"The split of {run.path} has no validation images. Give labelled images by --data.")
    return dataset.subset(split.val)
