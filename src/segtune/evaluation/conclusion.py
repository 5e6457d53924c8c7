"""From the scores of all images to the matrix, its intervals and its differences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from segtune.data.dataset import SetAside
from segtune.evaluation.automatic import MOST_MASKS, SCORED
from segtune.evaluation.baselines import BASELINES
from segtune.evaluation.calibration import Judgements
from segtune.evaluation.contest import Column, Contest
from segtune.evaluation.results import Bucket, Difference, Empty, General, Results, Row, Suspect
from segtune.evaluation.statistics import LEVEL, RESAMPLES, Bootstrap
from segtune.evaluation.tally import ScoreTable, Tally
from segtune.evaluation.targets import SIZES
from segtune.evaluation.verdict import build_verdict
from segtune.models.quality import QualityMap


@dataclass(frozen=True)
class MatrixResult:
    """What an evaluation came to.

    Attributes:
        subject: the model that the differences are about.
        rows: the matrix.
        differences: of the subject from every other model, and of every model from the baselines.
        empty: what models made of images without objects.
        buckets: means by object size.
        data: counts, what was left out and why, and how intervals were made.
        scores: the mean scores of every image, to choose pictures by.
        judgements: what the models predicted of their answers, and what those were worth.
        quality_maps: model's name → what its users are told instead, for models that were calibrated.
        seed: of the intervals.
        review: labels worth a second look, None where it was not looked for.
    """

    subject: str
    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]
    empty: tuple[Empty, ...]
    buckets: tuple[Bucket, ...]
    data: Mapping[str, Any]
    scores: ScoreTable
    judgements: Judgements
    quality_maps: Mapping[str, QualityMap]
    seed: int
    review: tuple[Suspect, ...] | None = None

    def results(
        self,
        *,
        data: Mapping[str, Any] | None = None,
        split: Mapping[str, Any] | None = None,
        crowned: bool | None = None,
        general: General | None = None,
    ) -> Results:
        """Return the content of `metrics.json`, with the verdict.

        Args:
            data: more about what was evaluated, added to `self.data`.
            split: hash, seed and sizes of the split.
            crowned: whether the tuned model was kept; None where nothing was tuned.
            general: how the models fare on general images.
        """
        figures = (self.rows, self.differences, self.empty, self.buckets)
        told = {**self.data, **(data or {})}
        calibration = self.judgements.measure(self.quality_maps, self.seed)
        results = Results(
            *figures, data=told, split=split, crowned=crowned, general=general, calibration=calibration,
            review=self.review,
        )  # fmt: skip
        return replace(results, verdict=build_verdict(results, self.subject, self.rival, crowned=crowned))

    @property
    def rival(self) -> str | None:
        """The model that the subject is held against first, None where it stands alone."""
        rivals = (one.against for one in self.differences if one.model == self.subject)
        return next((name for name in rivals if name not in BASELINES), None)

    def means(self, model: str) -> dict[str, dict[str, float]]:
        """Return mode → metric → mean over images: what a training loop asks for after an epoch."""
        means: dict[str, dict[str, float]] = {}
        for row in self.rows:
            if row.model == model and row.mean is not None:
                means.setdefault(row.mode, {})[row.metric] = row.mean
        return means


def conclude(
    contest: Contest, tally: Tally, judgements: Judgements, subject: str, set_aside: Sequence[SetAside]
) -> MatrixResult:
    """Make the matrix of what was gathered.

    Args:
        contest: who was asked what.
        tally: all images' scores.
        judgements: all answers' predicted quality and IoU.
        subject: the model whose differences from the others are looked at.
        set_aside: images that could not be read.
    """
    table = tally.table()
    # Where no image names a group, the unit of the intervals is the image.
    groups = table.groups if any(table.groups) else None
    # Data of images without objects has no matrix, only false masks to be told.
    bootstrap = Bootstrap(table.values, groups, seed=contest.seed) if len(table.names) else None
    data = {
        "images": len(table.names),
        "objects": tally.objects,
        "empty_images": tally.empty_images,
        "set_aside": [asdict(one) for one in set_aside],
        "not_answered": _not_answered(contest),
        **_describe_everything(contest),
        "seed": contest.seed,
        "sizes": {name: list(limits) for name, limits in SIZES.items()},
        "interval": {
            "method": "BCa bootstrap, widened for few units",
            "level": LEVEL,
            "resamples": RESAMPLES,
            "unit": "image" if groups is None else "group",
            "units": bootstrap.units if bootstrap else 0,
        },
    }
    rows: tuple[Row, ...] = ()
    differences: tuple[Difference, ...] = ()
    if bootstrap is not None:
        rows = tuple(_rows(table.columns, bootstrap, tally.pooled(), len(table.names)))
        pairs = _pairs(contest, subject, table.columns)
        differences = tuple(_difference(*pair, table.columns, bootstrap, len(table.names)) for pair in pairs)
    maps = {name: model.quality_map for name, model in contest.models.items() if model.quality_map is not None}
    review = tally.suspects.ranked() if contest.can_review else None
    return MatrixResult(
        subject, rows, differences, tally.empty(), tally.buckets(), data, table, judgements, maps, contest.seed, review
    )


def differences_from(table: ScoreTable, against: str, seed: int) -> tuple[Difference, ...]:
    """Return the paired differences of all models of a table from one of them, whoever its subject was.

    Args:
        table: scores of every image, `against` among the models.
        against: the model the others are held to.
        seed: of the resampling.
    """
    groups = table.groups if any(table.groups) else None
    bootstrap = Bootstrap(table.values, groups, seed=seed)
    pairs = [(column, (against, *column[1:])) for column in table.columns if column[0] != against]
    return tuple(
        _difference(column, rival, table.columns, bootstrap, len(table.names))
        for column, rival in pairs
        if rival in table.columns
    )


def _rows(
    columns: Sequence[Column], bootstrap: Bootstrap, pooled: Mapping[Column, float], images: int
) -> Iterator[Row]:
    for place, column in enumerate(columns):
        interval = bootstrap.interval(place)
        low, high = (interval.low, interval.high) if interval else (None, None)
        yield Row(*column, bootstrap.mean(place), low, high, pooled.get(column), images)


def _pairs(contest: Contest, subject: str, columns: Sequence[Column]) -> Iterator[tuple[Column, Column]]:
    """Yield what is compared with what: the subject with the other models, then every model with the baselines."""
    known = set(columns)
    # Not all pairs of models: the results are about the subject.
    others = [(subject, name) for name in contest.models if name != subject]
    models = (subject, *(name for _, name in others))
    for model, against in (*others, *((model, name) for model in models for name in BASELINES)):
        for column in columns:
            # The same mode and metric. Baselines lack most modes, and the loss.
            rival = (against, *column[1:])
            if column[0] == model and rival in known:
                yield column, rival


def _difference(
    column: Column, rival: Column, columns: Sequence[Column], bootstrap: Bootstrap, images: int
) -> Difference:
    one, other = columns.index(column), columns.index(rival)
    interval = bootstrap.interval(one, other)
    low, high = (interval.low, interval.high) if interval else (None, None)
    mean, p = bootstrap.mean(one, other), bootstrap.wilcoxon(one, other)
    groups = bootstrap.units if bootstrap.units < images else None
    return Difference(column[0], rival[0], *column[1:], mean, low, high, p, images, groups)


def _describe_everything(contest: Contest) -> dict[str, Any]:
    """Return how each model looked for automatic masks, where it did."""
    asked = [name for name in contest.models if any(mode.prompt is None for mode in contest.answered_by(name))]
    settings = {name: asdict(contest.everything.get(name, SCORED)) for name in asked}
    return {"everything": {"most_masks": MOST_MASKS, "settings": settings}} if settings else {}


def _not_answered(contest: Contest) -> list[dict[str, str]]:
    return [
        {"model": name, "mode": mode.name, "reason": f"accepts {', '.join(sorted(model.accepts))} only"}
        for name, model in contest.models.items()
        for mode in contest.modes
        if mode not in contest.answered_by(name)
    ]
