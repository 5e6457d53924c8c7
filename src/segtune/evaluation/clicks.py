"""The interactive benchmark: IoU by number of clicks, and how many clicks an object takes (NoC).

Definitions as elsewhere in the field: the first click lies at the object's inner centre, each further one at the centre
of the largest error; NoC@q is the number of clicks until IoU ≥ q, and at most the limit, which an object that never
gets there counts with (Sofiiuk et al. 2022, RITM). Means are over an image's objects, then over images.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from segtune.core.errors import DataError, ModelError, UsageError
from segtune.core.files import replacing
from segtune.core.progress import SILENT, Progress
from segtune.data.dataset import Dataset, SetAside
from segtune.evaluation.contest import Contest, ImageScores
from segtune.evaluation.matrix import Embedder, score_images
from segtune.evaluation.modes import CLICK, CLICKS3, Mode
from segtune.evaluation.statistics import Bootstrap
from segtune.models.family import PromptableModel

if TYPE_CHECKING:
    from _csv import Writer

MOST_CLICKS = 20
"""The limit in the literature."""

TARGETS = (0.85, 0.90)
"""Levels of IoU that NoC is told for."""

_COLUMNS = ("image", "object", "model")


@dataclass(frozen=True)
class Figure:
    """A mean over images with its 95 % interval, which fewer than two images do not have."""

    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class NumberOfClicks:
    """How many clicks a level of IoU takes.

    Attributes:
        target: the level.
        clicks: mean over images.
        failures: objects that do not get there within the limit.
        share: their share of all objects.
    """

    target: float
    clicks: Figure
    failures: int
    share: float


@dataclass(frozen=True)
class ClickCurve:
    """One model's figures.

    Attributes:
        model: its name.
        iou: after 1, 2, … clicks.
        noc: for each level.
    """

    model: str
    iou: tuple[Figure, ...]
    noc: tuple[NumberOfClicks, ...]


@dataclass(frozen=True)
class ClickGain:
    """A model's number of clicks less another's on the same images: below zero, it takes fewer.

    Attributes:
        model: the one looked at.
        against: the other.
        target: level of IoU.
        clicks: mean difference.
        p: of Wilcoxon's signed-rank test.
    """

    model: str
    against: str
    target: float
    clicks: Figure
    p: float | None


@dataclass(frozen=True)
class ClickResult:
    """What came of the benchmark.

    Attributes:
        curves: by model, in the order given.
        gains: of the first model over each other.
        images: how many were scored.
        objects: on them.
        limit: most clicks an object gets.
        set_aside: images that could not be read.
    """

    curves: tuple[ClickCurve, ...]
    gains: tuple[ClickGain, ...]
    images: int
    objects: int
    limit: int
    set_aside: tuple[SetAside, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {"schema": 1, **asdict(self)}


@dataclass
class _Gathered:
    """Means by image: IoU after each click, then NoC by level, for all models side by side."""

    rows: list[npt.NDArray[np.float64]] = field(default_factory=list)
    groups: list[str | None] = field(default_factory=list)
    failures: npt.NDArray[np.int64] | None = None
    objects: int = 0


def score_clicks(
    models: Mapping[str, PromptableModel],
    dataset: Dataset,
    *,
    limit: int = MOST_CLICKS,
    seed: int = 0,
    folder: Path | None = None,
    embed: Embedder | None = None,
    progress: Progress = SILENT,
) -> ClickResult:
    """Click every object up to `limit` times for every model.

    Args:
        models: name → model; the first is compared with the others.
        dataset: the images.
        limit: most clicks an object gets.
        seed: of the intervals; clicks are not drawn.
        folder: gets `clicks_per_object.csv`.
        embed: makes embeddings in place of the models' own encoders.
        progress: hears of every image.

    Raises:
        UsageError: no model, or a limit below one click.
        ModelError: a model does not take clicks and masks.
        DataError: no image with an object could be scored.
        ResourceError: the disk is full.
    """
    if not models or limit < 1:
        raise UsageError(
            f"Clicks are counted for at least one model, up to at least one click; got {len(models)} models and a "
            f"limit of {limit}. Name a model and take a limit of 1 or more."
        )
    modes = tuple(_mode(count) for count in range(1, limit + 1))
    contest = Contest(models, modes, seed, baselines=False)
    _check_models(contest)
    gathered, set_aside = _Gathered(), []
    with ExitStack() as stack:
        table = None if folder is None else stack.enter_context(_open_table(folder, limit))
        advance = stack.enter_context(progress.stage("clicks", len(dataset)))
        for one in score_images(contest, dataset, embed):
            if isinstance(one, SetAside):
                set_aside.append(one)
            elif one.objects:
                lines = _gather(gathered, one, models, modes)
                if table is not None:
                    table.writerows(lines)
            advance()
        if not gathered.rows:
            raise DataError(
                f"None of the {len(dataset)} images of {dataset.root} has an object that could be clicked at. Choose "
                "another part or other data."
            )
    return _conclude(gathered, tuple(models), limit, seed, tuple(set_aside))


def clicks_needed(iou: npt.NDArray[np.float64], target: float) -> npt.NDArray[np.int64]:
    """Return int64 [n]: clicks until IoU reaches the target; the number of columns where it never does.

    Args:
        iou: [n, k], after 1 to k clicks.
        target: level of IoU.
    """
    reached = iou >= target
    needed: npt.NDArray[np.int64] = np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, iou.shape[1])
    return needed


def _mode(count: int) -> Mode:
    return Mode(
        f"{count} clicks", f"{count} clicks", CLICK.prompt, count - 1, CLICK.kinds if count == 1 else CLICKS3.kinds
    )


def _gather(
    gathered: _Gathered, image: ImageScores, models: Mapping[str, PromptableModel], modes: Sequence[Mode]
) -> list[list[Any]]:
    """Add one image; return its lines for the table."""
    row, failures, lines = [], [], []
    for model in models:
        iou = np.stack([image.scores[model, mode.name].by_object()["iou"] for mode in modes], axis=1)  # [n, k]
        needed = np.stack([clicks_needed(iou, target) for target in TARGETS], axis=1)  # [n, targets]
        row.append(np.concatenate([iou.mean(axis=0), needed.mean(axis=0)]))
        failures.append([int((iou.max(axis=1) < target).sum()) for target in TARGETS])
        lines += [
            [image.name, one.index, model, *(f"{value:.5f}" for value in iou[place]), *needed[place].tolist()]
            for place, one in enumerate(image.objects)
        ]
    gathered.rows.append(np.concatenate(row))
    gathered.groups.append(image.group)
    counts = np.array(failures)
    gathered.failures = counts if gathered.failures is None else gathered.failures + counts
    gathered.objects += len(image.objects)
    return lines


def _conclude(
    gathered: _Gathered, models: Sequence[str], limit: int, seed: int, set_aside: tuple[SetAside, ...]
) -> ClickResult:
    values = np.stack(gathered.rows)
    bootstrap = Bootstrap(values, gathered.groups if any(gathered.groups) else None, seed=seed)
    width = limit + len(TARGETS)
    failures = gathered.failures if gathered.failures is not None else np.zeros((len(models), len(TARGETS)), np.int64)

    def figure(column: int, minus: int | None = None) -> Figure:
        interval = bootstrap.interval(column, minus)
        return Figure(
            bootstrap.mean(column, minus), interval.low if interval else None, interval.high if interval else None
        )

    curves = tuple(
        ClickCurve(
            model,
            tuple(figure(at * width + count) for count in range(limit)),
            tuple(
                NumberOfClicks(
                    target, figure(at * width + limit + number), int(failures[at, number]),
                    float(failures[at, number] / gathered.objects),
                )
                for number, target in enumerate(TARGETS)
            ),
        )
        for at, model in enumerate(models)
    )  # fmt: skip
    gains = tuple(
        ClickGain(
            models[0], models[at], target, figure(limit + number, at * width + limit + number),
            bootstrap.wilcoxon(limit + number, at * width + limit + number),
        )
        for at in range(1, len(models))
        for number, target in enumerate(TARGETS)
    )  # fmt: skip
    return ClickResult(curves, gains, len(values), gathered.objects, limit, set_aside)


def _check_models(contest: Contest) -> None:
    for name, model in contest.models.items():
        if len(contest.answered_by(name)) < len(contest.modes):
            raise ModelError(
                f"Clicks are given one after another, each with the mask so far, but the model '{name}' understands "
                f"{', '.join(sorted(model.accepts))} only. Leave it out, or measure it by segtune evaluate."
            )


@contextmanager
def _open_table(folder: Path, limit: int) -> Iterator[Writer]:
    """Yield the writer of `clicks_per_object.csv`, which appears under its name when the context ends well."""
    heads = [
        *_COLUMNS,
        *(f"iou_{count}" for count in range(1, limit + 1)),
        *(f"noc_{target:.2f}" for target in TARGETS),
    ]
    with (
        replacing(folder / "clicks_per_object.csv") as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(heads)
        yield writer
