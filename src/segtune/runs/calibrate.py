"""`segtune calibrate`: what a model says of its masks, fitted to labelled images and kept with it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from segtune.core.errors import DataError, UsageError
from segtune.core.files import read_json, write_json
from segtune.core.progress import SILENT, Progress
from segtune.data.dataset import Dataset, SetAside, open_dataset
from segtune.data.splits import read_split, resolve
from segtune.evaluation.calibration import Judgements
from segtune.evaluation.contest import Contest
from segtune.evaluation.modes import find_modes
from segtune.evaluation.quality_fit import FittedQuality, QualityError, fit_quality, measure_quality
from segtune.evaluation.reading import Item, read_ahead
from segtune.evaluation.results import read_results, write_results
from segtune.evaluation.tables import PER_IMAGE, PER_OBJECT
from segtune.evaluation.thresholds import Candidates, FittedThresholds, find_candidates, fit_thresholds
from segtune.models.allocator import keep_large_blocks
from segtune.models.family import PromptableModel
from segtune.models.open import open_model
from segtune.models.quality import QualityMap
from segtune.models.save import QUALITY, RECORD, THRESHOLDS
from segtune.runs.data import open_run_data
from segtune.runs.device import pick_device
from segtune.runs.folder import run_of
from segtune.runs.settings import read_settings
from segtune.segment.encoding import encode_image, evaluating
from segtune.segment.everything import EverythingSettings, settings_for

Fitted = Literal["quality", "thresholds"]

POINTS_PER_SIDE = 16
"""A quarter of the published clicks: thresholds are about masks, not about how many are looked for."""

_MODEL = "tuned"
"""What the model is called in the tables of its own run."""


@dataclass(frozen=True)
class TestedQuality:
    """The told quality of a run's test images, which took part in no fit, without the map and with it."""

    before: QualityError
    after: QualityError
    images: int


@dataclass(frozen=True)
class Calibrated:
    """What came of it.

    Attributes:
        quality: the map of predicted quality; None where it was not asked for.
        thresholds: of everything mode, likewise.
        test: what the map does on the run's test images; None for a model that is no run, or has none.
    """

    quality: FittedQuality | None
    thresholds: FittedThresholds | None
    test: TestedQuality | None


def calibrate(
    model: Path,
    data: Path | None = None,
    *,
    most: int = 50,
    points_per_side: int = POINTS_PER_SIDE,
    only: Fitted | None = None,
    device: str = "auto",
    progress: Progress = SILENT,
) -> Calibrated:
    """Fit the map of predicted quality and everything mode's two thresholds on validation images; keep both.

    They go into the model's segtune.json: from then on the map is in every quality that people are told, and the
    thresholds are what everything mode takes where nothing else is said. The thresholds stay on the scale of the
    model's own prediction. The map's effect on a run's test images is told from its stored tables and added to its
    metrics.json.

    Args:
        model: a run folder, its model/, or any local folder in transformers' layout with segtune.json.
        data: other labelled images; needed where the model is no run's.
        most: images looked at, the first of them.
        points_per_side: clicks along each side of an image, for the thresholds.
        only: fit one of the two.
        device: "cpu", "cuda", or "auto".
        progress: what people see.

    Raises:
        UsageError: the model is no folder of one's own, or needs data and got none.
        DataError: too few labelled images, or not one automatic mask is of an object; by then the map is kept.
        ResourceError: the folder cannot be written.
    """
    record = _record_of(Path(model))
    images = open_dataset(data) if data is not None else _validation_images(Path(model))
    keep_large_blocks()
    opened = open_model(model, device=pick_device(device))
    opened.thresholds = {}
    settings = settings_for(opened, [f"points_per_side={points_per_side}"])
    looks = _Looks(opened, None if only == "quality" else settings, with_prompts=only != "thresholds")
    with progress.stage("answers on labelled images", min(most, len(images))) as advance:
        for item in read_ahead(images[:most]):
            if not isinstance(item, SetAside) and item.sample.objects:
                looks.add(item)
            advance()
    quality = test = thresholds = None
    if only != "thresholds":
        quality = fit_quality(looks.judgements.of(_MODEL), looks.judgements.groups)
        _keep(record, QUALITY, quality.quality_map.to_json() if quality.quality_map else None)
        test = _test(Path(model), quality.quality_map)
    if only != "quality":
        thresholds = fit_thresholds(looks.candidates, settings)
        names = "pred_iou_thresh", "stability_score_thresh"
        _keep(record, THRESHOLDS, {name: getattr(thresholds.best, name) for name in names})
    return Calibrated(quality, thresholds, test)


@dataclass
class _Looks:
    """What a model makes of labelled images, each encoded once.

    Attributes:
        model: that is calibrated.
        settings: of everything mode; None: it is not asked.
        with_prompts: whether objects are prompted, in every mode.
    """

    model: PromptableModel
    settings: EverythingSettings | None
    with_prompts: bool
    judgements: Judgements = field(default_factory=Judgements)
    candidates: list[Candidates] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._contest = Contest({_MODEL: self.model}, find_modes(), seed=0, baselines=False)

    def add(self, item: Item) -> None:
        """Ask about one image."""
        image = item.sample.image if item.image is None else item.image
        with evaluating([self.model]):
            embedding = encode_image(self.model, image)
        if self.with_prompts:
            self.judgements.add(self._contest.score(item.sample, {_MODEL: embedding}))
        if self.settings is not None:
            self.candidates.append(find_candidates(self.model, image, item.sample, self.settings, embedding))


def _keep(record: Path, name: str, value: object) -> None:
    """Write an entry of segtune.json, or take it out where there is none to write."""
    rest = {key: entry for key, entry in read_json(record).items() if key != name}
    write_json(record, rest | ({} if value is None else {name: value}))


def _test(model: Path, quality_map: QualityMap | None) -> TestedQuality | None:
    """Tell what the map does on a run's test images, from the tables of its evaluation: nothing is predicted again."""
    if (run := run_of(model)) is None:
        return None
    tables = run.path / PER_OBJECT, run.path / PER_IMAGE
    if not all(path.is_file() for path in (run.metrics, *tables)):
        return None
    results = read_results(run.metrics)
    judgements = Judgements.read(*tables)
    maps = {} if quality_map is None else {_MODEL: quality_map}
    measured = judgements.measure(maps, int(results.data.get("seed", 0)))
    write_results(run.metrics, replace(results, calibration=measured))
    judged = judgements.of(_MODEL)
    if results.data.get("part") != "test" or not len(judged.image):
        return None
    told = judged if quality_map is None else judged.told(quality_map)
    return TestedQuality(measure_quality(judged), measure_quality(told), len(set(judged.image.tolist())))


def _record_of(model: Path) -> Path:
    for folder in (model / "model", model):
        if (folder / RECORD).is_file():
            return folder / RECORD
    raise UsageError(
        f"What is fitted is written into a model's {RECORD}, but {model} is no folder that has one. Give a run folder, "
        "or a folder that segtune has saved a model in."
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
