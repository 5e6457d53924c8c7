"""`segtune calibrate`: what a model says of its masks, fitted to labelled images and kept with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from segtune.core.errors import UsageError
from segtune.core.progress import SILENT, Progress
from segtune.data.dataset import Dataset, SetAside
from segtune.evaluation.calibration import Judgements
from segtune.evaluation.contest import Contest
from segtune.evaluation.modes import find_modes
from segtune.evaluation.quality_fit import FittedQuality, QualityError, fit_quality, measure_quality
from segtune.evaluation.reading import Item, read_ahead
from segtune.evaluation.results import read_results, write_results
from segtune.evaluation.tables import PER_IMAGE, PER_OBJECT
from segtune.evaluation.thresholds import Candidates, FittedThresholds, find_candidates, fit_thresholds
from segtune.models.allocator import keep_large_blocks
from segtune.models.device import pick_device
from segtune.models.family import PromptableModel
from segtune.models.open import open_model
from segtune.models.quality import QualityMap
from segtune.models.save import QUALITY, RECORD, THRESHOLDS, rewrite_entry
from segtune.runs.blend import BLENDED, TUNED
from segtune.runs.folder import RunFolder, run_of
from segtune.runs.known import blend_of
from segtune.runs.labelled import Labelled, other_images, validation_images
from segtune.segment.encoding import encode_image, evaluating
from segtune.segment.everything import EverythingSettings, settings_for

Fitted = Literal["quality", "thresholds"]

POINTS_PER_SIDE = 16
"""A quarter of the published clicks: thresholds are about masks, not about how many are looked for."""

MOST = 50
"""Images that are looked at."""

_MODEL = "model"
"""What the model is called while it is asked."""


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
        left_out: images that were not looked at because the model's run has learned from them or was tested on them.
    """

    quality: FittedQuality | None
    thresholds: FittedThresholds | None
    test: TestedQuality | None
    left_out: int = 0


def calibrate(
    model: Path,
    data: Path | None = None,
    *,
    most: int = MOST,
    points_per_side: int = POINTS_PER_SIDE,
    only: Fitted | None = None,
    device: str = "auto",
    progress: Progress = SILENT,
) -> Calibrated:
    """Fit the map of predicted quality and everything mode's two thresholds on validation images; keep both.

    They go into the model's segtune.json, and into that of the run's adapter alone, which is the same model: from then
    on the map is in every quality that people are told, and the thresholds are what everything mode takes where nothing
    else is said. The thresholds stay on the scale of the model's own prediction. The map's effect on a run's test
    images is told from its stored tables and added to its metrics.json.

    Args:
        model: a run folder, its model/, or any local folder in transformers' layout with segtune.json.
        data: other labelled images, read as the run reads its own; needed where the model is no run's. Those that the
            run has learned from are left out and counted, and so are those that it is tested on where the map's effect
            is told on them.
        most: images looked at, drawn blindly among those with objects, of as many groups as can be.
        points_per_side: clicks along each side of an image, for the thresholds.
        only: fit one of the two.
        device: "cpu", "cuda", or "auto".
        progress: what people see.

    Raises:
        UsageError: the model is no folder of one's own, or needs data and got none.
        DataError: too few labelled images, or not one automatic mask is of an object; by then the map is kept.
        ResourceError: the folder cannot be written.
    """
    records = _records_of(Path(model))
    tables = None if only == "thresholds" else _tables_of(Path(model))
    chosen = _choose(Path(model), data, most, tables, progress)
    keep_large_blocks()
    opened = open_model(model, device=pick_device(device))
    opened.thresholds = {}
    settings = settings_for(opened, [f"points_per_side={points_per_side}"])
    looks = _Looks(opened, None if only == "quality" else settings, with_prompts=only != "thresholds")
    looks.add_all(chosen.images, progress)
    quality = test = thresholds = None
    if only != "thresholds":
        quality = fit_quality(looks.judgements.of(_MODEL), looks.judgements.groups)
        _keep(records, QUALITY, quality.quality_map.to_json() if quality.quality_map else None)
        test = None if tables is None else tables.test(quality.quality_map)
    if only != "quality":
        thresholds = fit_thresholds(looks.candidates, settings)
        _keep(records, THRESHOLDS, thresholds.chosen)
    return Calibrated(quality, thresholds, test, chosen.left_out)


def fit_everything(model: PromptableModel, images: Dataset, progress: Progress = SILENT) -> FittedThresholds:
    """Fit everything mode's two thresholds to a model in memory, which has none afterwards.

    Args:
        model: the model.
        images: labelled ones that it has not learned from.
        progress: what people see.

    Raises:
        DataError: no labelled image, or not one automatic mask is of an object.
    """
    model.thresholds = {}
    settings = settings_for(model, [f"points_per_side={POINTS_PER_SIDE}"])
    looks = _Looks(model, settings, with_prompts=False)
    looks.add_all(images, progress)
    return fit_thresholds(looks.candidates, settings)


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

    def add_all(self, images: Dataset, progress: Progress) -> None:
        """Ask about each image that can be read and has objects."""
        with progress.stage("answers on labelled images", len(images)) as advance:
            for item in read_ahead(images):
                if not isinstance(item, SetAside) and item.sample.objects:
                    self._add(item)
                advance()

    def _add(self, item: Item) -> None:
        image = item.sample.image if item.image is None else item.image
        with evaluating([self.model]):
            embedding = encode_image(self.model, image)
        if self.with_prompts:
            self.judgements.add(self._contest.score(item.sample, {_MODEL: embedding}))
        if self.settings is not None:
            self.candidates.append(find_candidates(self.model, image, item.sample, self.settings, embedding))


@dataclass(frozen=True)
class _Tables:
    """The tables of a run's evaluation.

    Attributes:
        run: its folder.
        model: what the run's result is called in them.
    """

    run: RunFolder
    model: str

    @property
    def paths(self) -> tuple[Path, Path]:
        """Of scores by object and by image."""
        return self.run.path / PER_OBJECT, self.run.path / PER_IMAGE

    @property
    def are_of_the_test(self) -> bool:
        """Whether they are of images that took no part in anything before."""
        return read_results(self.run.metrics).data.get("part") == "test"

    def test(self, quality_map: QualityMap | None) -> TestedQuality | None:
        """Tell what the map does on the images of the tables, and add it to metrics.json: nothing is predicted again.

        Returns:
            None where they are no test images.
        """
        results = read_results(self.run.metrics)
        judgements = Judgements.read(*self.paths)
        maps = {} if quality_map is None else {self.model: quality_map}
        measured = judgements.measure(maps, int(results.data.get("seed", 0)))
        # Other models' lines stay: only their own maps could make those anew, of a base that was calibrated itself.
        others = [one for one in results.calibration if one.model != self.model]
        known = {one.model for one in others}
        measured = (*others, *(one for one in measured if one.model not in known))
        write_results(self.run.metrics, replace(results, calibration=measured))
        judged = judgements.of(self.model)
        if not self.are_of_the_test or not len(judged.image):
            return None
        told = judged if quality_map is None else judged.told(quality_map)
        return TestedQuality(measure_quality(judged), measure_quality(told), len(set(judged.image.tolist())))


def _tables_of(model: Path) -> _Tables | None:
    """Return the tables that hold a model's answers; None for one that is no run's, or of a run without."""
    if (run := _run_of(model)) is None:
        return None
    tables = _Tables(run, TUNED if blend_of(run) is None else BLENDED)
    return tables if all(path.is_file() for path in (run.metrics, *tables.paths)) else None


def _run_of(model: Path) -> RunFolder | None:
    """Return the run whose result a model is; a base that lies inside a run's model/ or adapter/ is another model."""
    run = run_of(model)
    if run is None or model.expanduser().absolute() not in (run.path, run.model, run.adapter):
        return None
    return run


def _choose(model: Path, data: Path | None, most: int, tables: _Tables | None, progress: Progress) -> Labelled:
    if data is None:
        return validation_images(model, most)
    tested = tables is not None and tables.are_of_the_test
    return other_images(model, Path(data), most, tested=tested, progress=progress)


def _keep(records: Sequence[Path], name: str, value: object) -> None:
    """Write an entry of segtune.json, or take it out where there is none to write."""
    for record in records:
        rewrite_entry(record, name, value)


def _records_of(model: Path) -> tuple[Path, ...]:
    """Return where the entries go: of a run that has its adapter alone as well, which is the same model, into both."""
    run = _run_of(model)
    folders = (model / "model", model) if run is None else (run.model, run.adapter)
    found = tuple(folder / RECORD for folder in folders if (folder / RECORD).is_file())
    if not found:
        raise UsageError(
            f"What is fitted is written into a model's {RECORD}, but {model} is no folder that has one. Give a run "
            "folder, or a folder that segtune has saved a model in."
        )
    return found if run is not None else found[:1]
