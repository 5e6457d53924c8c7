"""What is kept of every image: its mean scores, and running sums for all else. A few hundred bytes an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from segtune.evaluation.contest import Column, ImageScores, Key
from segtune.evaluation.results import Bucket, Empty
from segtune.evaluation.review import SuspectList
from segtune.evaluation.scores import metric_names, score_counts
from segtune.evaluation.targets import SIZES


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """The mean scores of every image with objects, in the order of the data set.

    Attributes:
        names: n images.
        groups: their groups.
        columns: k columns.
        values: float64 [n, k], means over an image's objects.
    """

    names: tuple[str, ...]
    groups: tuple[str | None, ...]
    columns: tuple[Column, ...]
    values: npt.NDArray[np.float64]

    def of(self, model: str, mode: str, metric: str = "iou") -> npt.NDArray[np.float64]:
        """Return float64 [n]: the scores of one model in one mode."""
        return self.values[:, self.columns.index((model, mode, metric))]


@dataclass
class Tally:
    """Gathers images as they come.

    Args:
        columns: what is scored (`Contest.columns`).
        images: most images that will come.
    """

    columns: Sequence[Column]
    images: int
    keys: tuple[Key, ...] = field(init=False)
    suspects: SuspectList = field(default_factory=SuspectList)
    objects: int = 0
    empty_images: int = 0
    _names: list[str] = field(default_factory=list)
    _groups: list[str | None] = field(default_factory=list)
    _counts: dict[Key, npt.NDArray[np.int64]] = field(default_factory=dict)
    _sizes: dict[tuple[str, str, str], npt.NDArray[np.float64]] = field(default_factory=dict)
    _in_size: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SIZES, 0))
    _false_masks: dict[str, list[bool]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.keys = tuple(dict.fromkeys((model, mode) for model, mode, _ in self.columns))
        # Memory that is not written to is not taken from the machine: what counts is the images that come.
        self._values = np.empty((self.images, len(self.columns)))

    def add(self, image: ImageScores) -> None:
        """Count one image."""
        if not image.objects:
            self.empty_images += 1
            for model, false_mask in image.false_mask.items():
                self._false_masks.setdefault(model, []).append(false_mask)
            return
        self.objects += len(image.objects)
        self.suspects.add(image.suspects)
        means: list[float] = []
        for key in self.keys:
            scores = image.scores[key]
            by_object = scores.by_object()
            # In the order of `metric_names`, as `columns` has them.
            means += [float(values.mean()) for values in by_object.values()]
            # Whole numbers: sums over millions of pixels stay exact.
            self._counts[key] = self._counts.get(key, 0) + scores.counts.sum(axis=0)
            self._add_sizes(key, image, np.stack(list(by_object.values()), axis=1))  # [n, metrics]
        self._values[len(self._names)] = means
        self._names.append(image.name)
        self._groups.append(image.group)
        for one in image.objects:
            self._in_size[one.bucket] += 1

    def table(self) -> ScoreTable:
        """Return the images' mean scores."""
        return ScoreTable(
            tuple(self._names), tuple(self._groups), tuple(self.columns), self._values[: len(self._names)]
        )

    def pooled(self) -> dict[Column, float]:
        """Return the metrics of all objects' pixels taken together, for those that follow from their numbers."""
        return {
            (*key, metric): float(values[0])
            for key, counts in self._counts.items()
            for metric, values in score_counts(counts[None]).items()
        }

    def empty(self) -> tuple[Empty, ...]:
        """Return how often each model saw an object where there is none."""
        return tuple(
            Empty(model, len(answers), sum(answers), sum(answers) / len(answers))
            for model, answers in self._false_masks.items()
        )

    def buckets(self) -> tuple[Bucket, ...]:
        """Return the means over objects of one size; sizes that do not occur are left out."""
        return tuple(
            Bucket(model, mode, size, metric, float(total / self._in_size[size]), self._in_size[size])
            for (model, mode, size), totals in self._sizes.items()
            if self._in_size[size]
            # Not all have a loss, which is the last of the metrics.
            for metric, total in zip(metric_names(), totals, strict=False)
        )

    def _add_sizes(self, key: Key, image: ImageScores, values: npt.NDArray[np.float64]) -> None:
        bucket = np.array([one.bucket for one in image.objects])
        for size in SIZES:
            total = values[bucket == size].sum(axis=0)
            self._sizes[(*key, size)] = self._sizes.get((*key, size), 0.0) + total
