"""The curve between a pretrained and a tuned model: what each blend gains on one kind of image and loses on others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor

from segtune.core.errors import DataError
from segtune.core.progress import SILENT, Progress
from segtune.data.dataset import Dataset
from segtune.evaluation.matrix import Embedder, evaluate
from segtune.evaluation.statistics import Bootstrap
from segtune.models.family import PromptableModel
from segtune.models.interpolation import interpolate

Scores: TypeAlias = tuple[npt.NDArray[np.float64], tuple[str | None, ...]]
"""Of each image the mean IoU over prompt modes [n], and its group."""


@dataclass(frozen=True)
class Change:
    """A paired change of the mean IoU over prompt modes, against the pretrained model, with its 95 % interval."""

    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class CurvePoint:
    """One blend.

    Attributes:
        alpha: share of the tuned model, 0 to 1.
        gain: on the user's validation images.
        general: on general images; below zero is forgotten.
    """

    alpha: float
    gain: Change
    general: Change


@dataclass(frozen=True)
class Trial:
    """Images that every blend is scored on.

    Attributes:
        images: them.
        modes: prompt modes; the score is the mean IoU over them.
        embed: hands in embeddings, where both ends share one encoder.
    """

    images: Dataset
    modes: Sequence[str]
    embed: Embedder | None = None


def measure_curve(
    model: PromptableModel,
    ends: tuple[Mapping[str, Tensor], Mapping[str, Tensor]],
    alphas: Iterable[float],
    own: Trial,
    general: Trial,
    *,
    reference: PromptableModel | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
) -> tuple[CurvePoint, ...]:
    """Score blends of two models on two kinds of image.

    Memory holds one model at a time beside the two ends.

    Args:
        model: of the network that both ends are of; it is left with the last blend's weights.
        ends: all weights of the pretrained and of the tuned model.
        alphas: shares of the tuned model; 0 and 1 are scored too.
        own: the user's validation images.
        general: general images.
        reference: the pretrained model as it would be used, where it is not the first end itself (a model tuned at
            another side of the input): gains and losses are counted from it. Its images are encoded anew.
        seed: of prompts and intervals.
        progress: hears of every blend.

    Raises:
        DataError: no image has an object.
        ModelError: the ends are of different networks.
    """
    shares = sorted({0.0, 1.0, *alphas})
    found: list[tuple[Scores, Scores]] = []
    with progress.stage("blends", len(shares) + (reference is not None)) as advance:
        if reference is not None:
            bare = [replace(trial, embed=None) for trial in (own, general)]
            found.append((_score(reference, bare[0], seed), _score(reference, bare[1], seed)))
            advance(1, "the pretrained model")
        for alpha in shares:
            model.load_state_dict(interpolate(*ends, alpha))
            found.append((_score(model, own, seed), _score(model, general, seed)))
            advance(1, f"alpha {alpha:g}")
    gains, changes = (_changes(scores, seed) for scores in zip(*found, strict=True))
    return tuple(map(CurvePoint, shares, gains[-len(shares) :], changes[-len(shares) :]))


def choose_blend(points: Sequence[CurvePoint], keep: float) -> CurvePoint:
    """Return the blend that forgets least among those that keep a share of the highest gain on the curve.

    That may be higher than the tuned model's own, which went further than its images bear out. Where no blend gained
    anything there is nothing to keep, and the one of highest gain is returned.

    Args:
        points: from `measure_curve`, alphas rising to 1.
        keep: share of the highest gain, 0 to 1.
    """
    highest = max(one.gain.mean for one in points)
    if highest <= 0:
        return max(points, key=lambda one: (one.gain.mean, one.general.mean))
    # As much as is asked for is enough, whatever the last bit of the product says.
    able = [one for one in points if one.gain.mean >= keep * highest - 1e-12]
    return max(able, key=lambda one: (one.general.mean, one.gain.mean))


def _score(model: PromptableModel, trial: Trial, seed: int) -> Scores:
    table = evaluate(
        {"blend": model}, trial.images, modes=trial.modes, seed=seed, baselines=False, embed=trial.embed
    ).scores
    if not table.names:
        raise DataError(f"No image of {trial.images.root} has an object, so no blend can be scored on it.")
    answered = [mode for _, mode, metric in table.columns if metric == "iou"]
    return np.mean([table.of("blend", mode) for mode in answered], axis=0), table.groups


def _changes(scores: Sequence[Scores], seed: int) -> list[Change]:
    """Return the change of each model from the first, on the same images."""
    groups = scores[0][1]
    bootstrap = Bootstrap(
        np.stack([values for values, _ in scores], axis=1), groups if any(groups) else None, seed=seed
    )
    found = []
    for place in range(len(scores)):
        interval = bootstrap.interval(place, 0)
        low, high = (interval.low, interval.high) if interval else (None, None)
        found.append(Change(bootstrap.mean(place, 0), low, high))
    return found
