"""How far a model's own judgement of its masks can be believed: reliability, ECE and risk by coverage.

What is compared is there anyway: each answer's predicted quality and its IoU at original size, as `per_object.csv` has
them. Definitions are those of `segtune.metrics.calibration`. Every image counts the same, and within it every answer.
Mode `everything` takes no part: there the best of many masks is chosen by the truth.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from segtune.evaluation.statistics import Bootstrap
from segtune.metrics.calibration import (
    BINS,
    Floats,
    area_under_risk,
    bin_of,
    calibration_error,
    reliability,
    risk_by_coverage,
)

if TYPE_CHECKING:
    from segtune.evaluation.contest import ImageScores
    from segtune.models.quality import QualityMap

ALL = "all"
"""Stands for the mode where the answers of all prompted modes are taken together."""

_CURVE = 50
"""Points of a risk-coverage curve that are kept, evenly over the coverage."""


@dataclass(frozen=True)
class Bin:
    """The answers whose predicted quality lies between `low` and `high`: their share, mean prediction and mean IoU."""

    low: float
    high: float
    share: float
    predicted: float
    actual: float


@dataclass(frozen=True)
class Calibration:
    """How far one model's predicted quality is from the IoU of its masks.

    Attributes:
        model: its name.
        mode: prompt mode, or "all" for all of them together.
        refitted: whether the quality is that which the model's users are told after `segtune calibrate`.
        images: looked at.
        answers: on them.
        predicted: mean predicted quality.
        actual: mean IoU.
        ece: expected calibration error over ten bins of equal width, 0 to 1; less is better.
        low: lower end of its 95 % interval, for all modes together; None for fewer than two images.
        high: its upper end.
        aurc: area under the risk-coverage curve, the risk being 1 − IoU; less is better.
        aurc_best: what it would be if answers were put in the order of their true IoU: what no quality head can beat.
        aurc_chance: what it would be without any order, 1 − mean IoU.
        bins: of the reliability diagram, those that are not empty; for all modes together.
        curve: (coverage, risk) along the curve, likewise.
        chance: what a model that is calibrated perfectly stays below in 95 % of such draws of images, likewise: an ECE
            is a sum of absolute gaps, and above zero whatever the truth. An ECE up to it has an interval from 0 on.
    """

    model: str
    mode: str
    refitted: bool
    images: int
    answers: int
    predicted: float
    actual: float
    ece: float
    low: float | None
    high: float | None
    aurc: float
    aurc_best: float
    aurc_chance: float
    bins: tuple[Bin, ...] = ()
    curve: tuple[tuple[float, float], ...] = ()
    chance: float | None = None

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Calibration:
        """Return the entry of a `metrics.json`."""
        bins = tuple(Bin(**one) for one in told["bins"])
        curve = tuple((float(coverage), float(risk)) for coverage, risk in told["curve"])
        return cls(**{**told, "bins": bins, "curve": curve})


@dataclass(frozen=True, eq=False)
class Judged:
    """n answers that a model gave and judged itself.

    Attributes:
        image: int64 [n], which image each is on.
        predicted: float64 [n], the quality that the model predicts.
        actual: float64 [n], IoU.
    """

    image: npt.NDArray[np.int64]
    predicted: Floats
    actual: Floats

    @property
    def weight(self) -> Floats:
        """float64 [n]: every image weighs 1, shared out among its answers."""
        result: Floats = 1.0 / np.bincount(self.image)[self.image]
        return result

    def told(self, quality: QualityMap) -> Judged:
        """Return the same answers with their quality as users are told."""
        return replace(self, predicted=quality(self.predicted))


@dataclass
class Judgements:
    """Gathers what models said of their answers, image by image; eight bytes an answer."""

    groups: list[str | None] = field(default_factory=list)
    _found: dict[tuple[str, str], list[npt.NDArray[np.float32]]] = field(default_factory=dict)
    _images: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    def add(self, image: ImageScores) -> None:
        """Add one image; one without objects, and answers that no prompt led to, say nothing."""
        if not image.objects:
            return
        for key, scores in image.scores.items():
            # A loss has who was prompted and answered: neither a baseline nor the best of all automatic masks.
            if scores.loss:
                pairs = np.stack([np.array(scores.quality), scores.by_object()["iou"]], axis=1, dtype=np.float32)
                self._add(key, len(self.groups), pairs)
        self.groups.append(image.group)

    @classmethod
    def read(cls, per_object: Path, per_image: Path) -> Judgements:
        """Read them from the tables of an earlier evaluation: nothing needs to be predicted again."""
        found = cls()
        with per_image.open(newline="", encoding="utf-8") as file:
            group_of = {line["image"]: line["group"] or None for line in csv.DictReader(file)}
        place_of: dict[str, int] = {}
        with per_object.open(newline="", encoding="utf-8") as file:
            for line in csv.DictReader(file):
                if line["quality"] and line["loss"]:
                    if line["image"] not in place_of:
                        place_of[line["image"]] = len(found.groups)
                        found.groups.append(group_of.get(line["image"]))
                    pair = np.array([[line["quality"], line["iou"]]], dtype=np.float32)
                    found._add((line["model"], line["mode"]), place_of[line["image"]], pair)
        return found

    def of(self, model: str, mode: str = ALL) -> Judged:
        """Return a model's answers in one mode, or in all modes; none where it gave none."""
        keys = [key for key in self._found if key[0] == model and mode in (key[1], ALL)]
        pairs = [one for key in keys for one in self._found[key]]
        image = [place for key in keys for place in self._images[key]]
        joined = np.concatenate([np.zeros((0, 2)), *pairs])
        finite = np.isfinite(joined).all(axis=1)  # a model that diverged predicts what is no number
        places = np.repeat(np.array(image, dtype=np.int64), [len(one) for one in pairs])
        return Judged(places[finite], joined[finite, 0], joined[finite, 1])

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models that judged an answer."""
        return tuple(dict.fromkeys(model for model, _ in self._found))

    def modes(self, model: str) -> tuple[str, ...]:
        """Names of the modes that a model answered."""
        return tuple(mode for name, mode in self._found if name == model)

    def measure(self, maps: Mapping[str, QualityMap] | None = None, seed: int = 0) -> tuple[Calibration, ...]:
        """Return the calibration of each model, over all modes first and then by mode; refitted ones after the raw.

        Args:
            maps: model's name → what its users are told instead of its raw quality.
            seed: of the intervals.
        """
        found: list[Calibration] = []
        for model in self.models:
            quality = (maps or {}).get(model)
            for mode in (ALL, *self.modes(model)):
                judged = self.of(model, mode)
                told = () if quality is None else ((True, judged.told(quality)),)
                for refitted, one in ((False, judged), *told) if len(judged.image) else ():
                    found.append(self._measure(model, mode, refitted, one, seed))
        return tuple(found)

    def _add(self, key: tuple[str, str], place: int, pairs: npt.NDArray[np.float32]) -> None:
        self._found.setdefault(key, []).append(pairs)
        self._images.setdefault(key, []).append(place)

    def _measure(self, model: str, mode: str, refitted: bool, judged: Judged, seed: int) -> Calibration:
        columns = judged.predicted, judged.actual, judged.weight
        whole = mode == ALL
        low, high, chance = interval_of_error(judged, self.groups, seed) if whole else (None, None, None)
        predicted, actual = (float(np.average(one, weights=columns[2])) for one in columns[:2])
        return Calibration(
            model=model, mode=mode, refitted=refitted, images=len(np.unique(judged.image)), answers=len(judged.image),
            predicted=predicted, actual=actual, ece=calibration_error(*columns), low=low, high=high,
            aurc=area_under_risk(*columns), aurc_best=area_under_risk(judged.actual, *columns[1:]),
            aurc_chance=1 - actual,
            bins=_bins(*columns) if whole else (), curve=_curve(*columns) if whole else (), chance=chance,
        )  # fmt: skip


def interval_of_error(
    judged: Judged, groups: Sequence[str | None] | None = None, seed: int = 0
) -> tuple[float | None, float | None, float | None]:
    """Return the ends of the calibration error's 95 % interval over images, or their groups, and what chance gives.

    The last is `Calibration.chance`; for a single image or group there is none of the three.
    """
    images, image = np.unique(judged.image, return_inverse=True)
    # ECE is a sum over bins of |mean over images of (predicted − actual) there|, so images can be drawn.
    gaps = np.zeros((len(images), BINS))
    np.add.at(gaps, (image, bin_of(judged.predicted)), judged.weight * (judged.predicted - judged.actual))
    named = None if groups is None or not any(groups) else [groups[place] for place in images.tolist()]
    bootstrap = Bootstrap(gaps, named, seed=seed)
    interval, chance = bootstrap.interval_of(_summed), bootstrap.by_chance(_summed)
    if interval is None or chance is None:
        return None, None, None
    error = float(np.abs(gaps.mean(axis=0)).sum())
    return (0.0 if error <= chance else min(interval.low, error)), max(interval.high, error), chance


def _summed(means: Floats) -> Floats:
    summed: Floats = np.abs(means).sum(axis=1)
    return summed


def _bins(predicted: Floats, actual: Floats, weight: Floats) -> tuple[Bin, ...]:
    found = reliability(predicted, actual, weight)
    columns = zip(*(values.tolist() for values in found), strict=True)
    return tuple(Bin(place / BINS, (place + 1) / BINS, *one) for place, one in enumerate(columns) if one[0] > 0)


def _curve(predicted: Floats, actual: Floats, weight: Floats) -> tuple[tuple[float, float], ...]:
    coverage, risk = risk_by_coverage(predicted, actual, weight)
    wanted = np.arange(1, _CURVE + 1) / _CURVE
    return tuple(zip(wanted.tolist(), np.interp(wanted, coverage, risk).tolist(), strict=True))
