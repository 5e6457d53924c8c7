"""The results of an evaluation as `metrics.json` and `matrix.csv` hold them."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from segtune.core.errors import DataError
from segtune.core.files import plain, read_json, replacing, write_json
from segtune.evaluation.calibration import Calibration

SCHEMA = 1


@dataclass(frozen=True)
class Row:
    """One cell of the matrix.

    Attributes:
        model: "pretrained", "tuned", "baseline:box", "baseline:ellipse" or a name.
        mode: prompt mode.
        metric: "iou", "dice", "precision", "recall", "boundary_iou", "loss", or one of another package.
        mean: over the objects of an image, then over images.
        low: lower end of the mean's 95 % interval; None for a single image or group.
        high: its upper end.
        pooled: the metric of the summed pixels of all objects; None for what is not a ratio of counts, as the loss.
        n: images.
    """

    model: str
    mode: str
    metric: str
    mean: float | None
    low: float | None
    high: float | None
    pooled: float | None
    n: int


class _Interval:
    """What a change of a metric with a 95 % interval says."""

    metric: str
    low: float | None
    high: float | None

    @property
    def better(self) -> bool:
        """Whether the interval says that the model is better, or does better there."""
        return _beyond_zero(self.low, self.high, self.metric == "loss")

    @property
    def worse(self) -> bool:
        """Whether the interval says that the model is worse, or does worse there."""
        return _beyond_zero(self.low, self.high, self.metric != "loss")


@dataclass(frozen=True)
class Difference(_Interval):
    """`model` minus `against` on the same images and prompts.

    Attributes:
        model: the one that is looked at.
        against: the one it is compared with.
        mode: prompt mode.
        metric: name of the metric; for "loss" less is better.
        mean: mean difference over images.
        low: lower end of its 95 % interval, images (or groups where known) resampled together.
        high: its upper end.
        p: of Wilcoxon's signed-rank test, two-sided.
        n: images.
        groups: of images, where these were resampled and are fewer.
    """

    model: str
    against: str
    mode: str
    metric: str
    mean: float | None
    low: float | None
    high: float | None
    p: float | None
    n: int
    groups: int | None = None


@dataclass(frozen=True)
class Empty:
    """What a model answers to a click at the centre of an image without objects.

    Attributes:
        model: its name.
        n: images without objects.
        false_masks: how many got a mask.
        share: their share; None without such images.
    """

    model: str
    n: int
    false_masks: int
    share: float | None


@dataclass(frozen=True)
class Bucket:
    """Mean over the objects of one size, wherever they are.

    Attributes:
        model: its name.
        mode: prompt mode.
        bucket: "small", "medium" or "large" (`sizes.BUCKETS`).
        metric: name of the metric.
        mean: over objects.
        n: objects.
    """

    model: str
    mode: str
    bucket: str
    metric: str
    mean: float | None
    n: int


@dataclass(frozen=True)
class General:
    """How models fare on general images, which are not what the model was tuned for.

    Attributes:
        source: "drawn suite", or the path of the user's own images.
        images: how many were scored.
        objects: how many objects they have.
        modes: prompt modes, in the order of the rows.
        rows: the matrix on them, without baselines.
        differences: paired differences of the models from the pretrained one.
        left_out: how many images were not scored because the run had learned from them or their like.
        verdict: a sentence or two for people.
    """

    source: str
    images: int
    objects: int
    modes: tuple[str, ...]
    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]
    left_out: int = 0
    verdict: str = ""

    def difference(self, model: str, mode: str, metric: str = "iou") -> Difference | None:
        """Return how a model differs from the pretrained one in a mode, or None where that is not known."""
        key = (model, mode, metric)
        return next((one for one in self.differences if (one.model, one.mode, one.metric) == key), None)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> General:
        """Return what `metrics.json` holds of it."""
        tables = {"rows": Row, "differences": Difference}
        known: dict[str, Any] = {name: tuple(kind(**one) for one in content[name]) for name, kind in tables.items()}
        return cls(**{**content, **known, "modes": tuple(content["modes"])})


@dataclass(frozen=True)
class Sensitivity:
    """How far a model's mask follows the prompt (`evaluation.sensitivity`).

    Attributes:
        model: its name.
        mode: prompt mode, "click" or "box".
        value: 1 − other / own, held to 0 (ignores the prompt) to 1 (follows it); None where `own` is 0.
        low: lower end of its 95 % interval; None for fewer than two images.
        high: its upper end.
        own: mean IoU of objects with the answers to their own prompts.
        other: mean IoU of objects with the answers to prompts that are not about them.
        alike: mean IoU of those two answers with each other.
        images: asked about.
        objects: on them.
        swapped: objects whose other prompt was another object's; that of the rest lay on the background.
    """

    model: str
    mode: str
    value: float | None
    low: float | None
    high: float | None
    own: float
    other: float
    alike: float
    images: int
    objects: int
    swapped: int


@dataclass(frozen=True)
class Drop(_Interval):
    """A model's mean on other images minus its mean on the evaluation's own: two sets of images, so nothing is paired.

    Attributes:
        model: its name.
        mode: prompt mode.
        metric: name of the metric; for "loss" less is better.
        mean: the difference of the two means; None where there is no own mean.
        low: lower end of its 95 % interval, each set's images (or groups where known) resampled by themselves.
        high: its upper end.
    """

    model: str
    mode: str
    metric: str
    mean: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Unseen:
    """How models fare on images of another domain than those the evaluation is about.

    Attributes:
        name: of the data, for tables.
        path: where it lies.
        images: how many were scored.
        objects: how many objects they have.
        rows: the matrix on them, without baselines.
        differences: of the subject from the other models, on these images.
        drops: of every model, against the evaluation's own images.
        left_out: what was left out because a compared run knows it, as under `data`.
        verdict: a sentence or two for people.
    """

    name: str
    path: str
    images: int
    objects: int
    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]
    drops: tuple[Drop, ...]
    left_out: Mapping[str, Any] = field(default_factory=dict)
    verdict: str = ""

    def row(self, model: str, mode: str, metric: str = "iou") -> Row | None:
        """Return one cell of the matrix on these images, or None where it is not."""
        key = (model, mode, metric)
        return next((row for row in self.rows if (row.model, row.mode, row.metric) == key), None)

    def drop(self, model: str, mode: str, metric: str = "iou") -> Drop | None:
        """Return how a model differs from itself on the evaluation's own images, or None where that is not known."""
        key = (model, mode, metric)
        return next((one for one in self.drops if (one.model, one.mode, one.metric) == key), None)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Unseen:
        """Return what `metrics.json` holds of it."""
        tables = {"rows": Row, "differences": Difference, "drops": Drop}
        known: dict[str, Any] = {name: tuple(kind(**one) for one in content[name]) for name, kind in tables.items()}
        return cls(**{**content, **known})


@dataclass(frozen=True)
class Suspect:
    """An object whose label is worth a second look (`evaluation.review`).

    Attributes:
        image: name.
        object: its place in the sample.
        label: its class.
        mode: the prompt mode whose answer is shown: of the two that cast doubt that of higher predicted quality.
        second_mode: the other.
        iou: the higher IoU of the two answers with the label.
        quality: the lower predicted IoU of the two.
        agreement: IoU of the two with each other.
        doubt: quality × agreement × (1 − iou); what the list is ranked by.
        reason: in what way label and answer differ.
    """

    image: str
    object: int
    label: str
    mode: str
    second_mode: str
    iou: float
    quality: float
    agreement: float
    doubt: float
    reason: str


@dataclass(frozen=True)
class Results:
    """All of `metrics.json`.

    Attributes:
        rows: the matrix.
        differences: paired differences.
        empty: one entry per model, where the data has images without objects.
        buckets: means by object size.
        data: what was evaluated: counts, images left out or set aside and why, modes a model cannot answer.
        split: hash, seed and sizes of the split, None where there is none.
        crowned: whether the tuned model was kept; None where nothing was tuned.
        verdict: a sentence or two for people.
        general: how the models fare on general images; None where that was not looked at.
        calibration: how far each model's predicted quality can be believed; none in older files.
        sensitivity: how far each model's masks follow the prompt, likewise.
        unseen: how they fare on images of other domains, one entry each.
        review: labels worth a second look, those of most doubt first; None where it was not looked for, as where fewer
            than two kinds of prompt were asked.
        schema: version of this layout.
    """

    rows: tuple[Row, ...]
    differences: tuple[Difference, ...] = ()
    empty: tuple[Empty, ...] = ()
    buckets: tuple[Bucket, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    split: Mapping[str, Any] | None = None
    crowned: bool | None = None
    verdict: str = ""
    general: General | None = None
    calibration: tuple[Calibration, ...] = ()
    sensitivity: tuple[Sensitivity, ...] = ()
    unseen: tuple[Unseen, ...] = ()
    review: tuple[Suspect, ...] | None = None
    schema: int = SCHEMA

    def row(self, model: str, mode: str, metric: str = "iou") -> Row | None:
        """Return one cell of the matrix, or None where it is not."""
        key = (model, mode, metric)
        return next((row for row in self.rows if (row.model, row.mode, row.metric) == key), None)

    def difference(self, model: str, against: str, mode: str, metric: str = "iou") -> Difference | None:
        """Return one paired difference, or None where it is not."""
        key = (model, against, mode, metric)
        return next((one for one in self.differences if (one.model, one.against, one.mode, one.metric) == key), None)

    @property
    def models(self) -> tuple[str, ...]:
        """Models and baselines in the order of the rows."""
        return tuple(dict.fromkeys(row.model for row in self.rows))

    @property
    def modes(self) -> tuple[str, ...]:
        """Prompt modes in the order of the rows."""
        return tuple(dict.fromkeys(row.mode for row in self.rows))

    def to_json(self) -> dict[str, Any]:
        """Return the content of `metrics.json`: plain values, None where a figure does not exist, never NaN."""
        return {name: plain(value) for name, value in asdict(self).items()}


def write_results(path: Path, results: Results) -> None:
    """Write `metrics.json`, all at once."""
    write_json(path, results.to_json())


def read_results(path: Path) -> Results:
    """Read a `metrics.json`.

    Raises:
        DataError: it is not one, or of a schema this version does not know.
    """
    try:
        content = read_json(path)
    except (ValueError, OSError) as error:
        raise DataError(f"{path} is not a readable metrics.json ({error}). Run the evaluation again.") from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        schema = content.get("schema") if isinstance(content, dict) else None
        raise DataError(
            f"{path} is not a metrics.json of schema {SCHEMA} (it says {schema!r}). "
            "Read it with the version of segtune that wrote it, or run the evaluation again."
        )
    tables = {"rows": Row, "differences": Difference, "empty": Empty, "buckets": Bucket}
    try:
        known: dict[str, Any] = {name: tuple(kind(**entry) for entry in content[name]) for name, kind in tables.items()}
        # Runs of before these were looked at have no such entries.
        general = General.from_json(content["general"]) if content.get("general") else None
        known["calibration"] = tuple(Calibration.from_json(entry) for entry in content.get("calibration", ()))
        known["sensitivity"] = tuple(Sensitivity(**entry) for entry in content.get("sensitivity", ()))
        known["unseen"] = tuple(map(Unseen.from_json, content.get("unseen", ())))
        review = content.get("review")
        known["review"] = None if review is None else tuple(Suspect(**one) for one in review)
        plain = {name: content[name] for name in ("data", "split", "crowned", "verdict")}
        return Results(**known, **plain, general=general)
    except (KeyError, TypeError) as error:
        raise DataError(f"{path} lacks a part of a metrics.json ({error}). Run the evaluation again.") from error


def write_matrix(path: Path, rows: Sequence[Row]) -> None:
    """Write the matrix as CSV, one line per model, mode and metric; a figure that does not exist is left blank."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [column.name for column in fields(Row)])
        writer.writeheader()
        writer.writerows(plain(asdict(row)) for row in rows)


def _beyond_zero(low: float | None, high: float | None, downwards: bool) -> bool:
    if low is None or high is None:
        return False
    # An interval that only touches zero says nothing.
    return high < 0 if downwards else low > 0
