"""Prompt sensitivity: does the mask follow the prompt, or does the model answer the same wherever it is asked?

A model tuned on images of one object each may learn to find that object and to ignore the prompt. So each object is
asked about twice: by its own prompt, and by one that is not about it, another object's of the same image or, where no
other lies apart from it, one on the background. What the second answer still shares with the object is what the prompt
did not decide:

    sensitivity = 1 − mean IoU(answer to the other prompt, object) / mean IoU(answer to its own prompt, object)

held to 0 to 1: 0, the object comes up whatever is asked; 1, an answer to another prompt shares nothing with it. Means
are over an image's objects, then over images.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from segtune.core.progress import SILENT, Progress
from segtune.core.rle import BoolMask
from segtune.core.types import Embedding, Sample
from segtune.data.dataset import Dataset, SetAside
from segtune.evaluation import SENSITIVITY_IMAGES
from segtune.evaluation.answers import answer
from segtune.evaluation.automatic import shared_pixels
from segtune.evaluation.matrix import Embedder, embed_images
from segtune.evaluation.modes import BOX, CLICK, Interaction, Mode
from segtune.evaluation.results import Sensitivity
from segtune.evaluation.statistics import Bootstrap, Floats
from segtune.evaluation.targets import Target, draw_prompt, draw_targets
from segtune.evaluation.views import View
from segtune.metrics.overlap import iou_of_counts
from segtune.models.family import PromptableModel
from segtune.prompts.objects import ObjectPrompt
from segtune.segment.crops import MaskCrop
from segtune.segment.encoding import evaluating
from segtune.segment.refine import Cleanup

_ELSEWHERE: Mapping[Mode, str] = {CLICK: "random_click", BOX: "inner_box"}
"""The modes that are measured, and the simulator that prompts the background in the same way."""


class _Asked(NamedTuple):
    """One object and the prompt that is not about it: the row of the other object, or a prompt on the background."""

    row: int
    partner: int | None
    elsewhere: ObjectPrompt | None


@dataclass
class _Gathered:
    """Means by image of one model in one mode: [own, other, alike]."""

    rows: list[npt.NDArray[np.float64]]
    groups: list[str | None]
    objects: int = 0
    swapped: int = 0


def measure_sensitivity(
    models: Mapping[str, PromptableModel],
    dataset: Dataset,
    *,
    images: int = SENSITIVITY_IMAGES,
    seed: int = 0,
    embed: Embedder | None = None,
    cleanups: Mapping[str, Cleanup] | None = None,
    progress: Progress = SILENT,
) -> tuple[Sensitivity, ...]:
    """Ask about objects by their own prompts and by prompts that are not about them.

    Args:
        models: name → model.
        dataset: the images.
        images: how many of them are looked at, drawn by the seed; 0: none, and nothing is returned.
        seed: of the images, the prompts and the intervals; prompts on objects are those of the matrix.
        embed: makes embeddings in place of the models' own encoders.
        cleanups: model's name → how its masks are cleaned.
        progress: hears of every image.

    Returns:
        One entry per model and mode (one click, tight box) that it takes; none where no image has an object and room
        beside it. Of an image with many objects the first 16 at most are asked about.
    """
    drawn = np.random.default_rng(seed).permutation(len(dataset))[:images]
    rows = np.sort(drawn).tolist()
    part = dataset.subset(dataset.names[row] for row in rows)
    found: dict[tuple[str, Mode], _Gathered] = {}
    with progress.stage("prompt sensitivity", len(part)) as advance:
        for one in embed_images(models, part, _renumbered(embed, rows)):
            if not isinstance(one, SetAside):
                _look(models, *one, seed, cleanups or {}, found)
            advance()
    return tuple(_conclude(name, mode, gathered, seed) for (name, mode), gathered in found.items())


def _renumbered(embed: Embedder | None, rows: Sequence[int]) -> Embedder | None:
    # Cached embeddings are found by an image's place in the whole data set.
    return None if embed is None else lambda model, sample, index: embed(model, sample, rows[index])


def _look(
    models: Mapping[str, PromptableModel],
    sample: Sample,
    embeddings: Mapping[str, Embedding],
    seed: int,
    cleanups: Mapping[str, Cleanup],
    found: dict[tuple[str, Mode], _Gathered],
) -> None:
    """Add one image's figures; one without objects, or without room beside them, adds none."""
    ignore = sample.ignore_mask()
    # At most one chunk of a crowd: the figure is about the model, not about the image.
    simulators = [mode.prompt for mode in _ELSEWHERE if mode.prompt is not None]
    targets = next(draw_targets(sample, ignore, simulators, seed), ())
    background = _background(sample, ignore)
    for mode, simulator in _ELSEWHERE.items() if targets else ():
        asked = tuple(_ask(sample, targets, background, simulator, seed))
        for name, model in models.items() if asked else ():
            if mode.kinds <= model.accepts:
                view = View(embeddings[name].frames[0], model.mask_size, ignore)
                with evaluating([model]):
                    scores = _score(model, embeddings[name], view, targets, asked, mode, cleanups.get(name))
                gathered = found.setdefault((name, mode), _Gathered([], []))
                gathered.rows.append(scores.mean(axis=0))
                gathered.groups.append(sample.group)
                gathered.objects += len(asked)
                gathered.swapped += sum(one.partner is not None for one in asked)


def _background(sample: Sample, ignore: BoolMask | None) -> BoolMask:
    """Return bool [H, W]: pixels of no object that are not ignored."""
    free = np.ones(sample.size, dtype=np.bool_) if ignore is None else ~ignore
    for mask in sample.objects:
        free &= ~mask.decode()
    return free


def _ask(
    sample: Sample, targets: Sequence[Target], background: BoolMask, simulator: str, seed: int
) -> Iterator[_Asked]:
    """Yield the objects that can be asked about in another's place."""
    for row, target in enumerate(targets):
        # The next one in turn that lies apart: of two that overlap, an answer to one rightly shares pixels with both.
        turn = ((row + step) % len(targets) for step in range(1, len(targets)))
        partner = next((other for other in turn if not shared_pixels(target.truth, targets[other].truth)), None)
        if partner is not None:
            yield _Asked(row, partner, None)
        elif background.any():
            yield _Asked(row, None, draw_prompt(simulator, background, None, seed, sample.name, target.index))


def _score(
    model: PromptableModel,
    embedding: Embedding,
    view: View,
    targets: Sequence[Target],
    asked: Sequence[_Asked],
    mode: Mode,
    cleanup: Cleanup | None,
) -> Floats:
    """Return float64 [n, 3] of the n objects asked about: IoU of own answer, of the other one, and of both."""
    prompt = str(mode.prompt)
    only = Interaction(prompt, {0: replace(mode, corrections=0)})

    def masks_of(some: Sequence[Target]) -> tuple[MaskCrop, ...]:
        return next(answer(model, embedding, view, some, only, cleanup)).masks if some else ()

    own = masks_of(targets)
    alone = [one for one in asked if one.elsewhere is not None]
    placed = [replace(targets[one.row], prompts={prompt: one.elsewhere}) for one in alone if one.elsewhere is not None]
    elsewhere = dict(zip((one.row for one in alone), masks_of(placed), strict=True))
    scores = np.empty((len(asked), 3))
    for place, one in enumerate(asked):
        other = elsewhere[one.row] if one.partner is None else own[one.partner]
        truth, mine = targets[one.row].truth, own[one.row]
        scores[place] = [_iou(mine, truth), _iou(other, truth), _iou(mine, other)]
    return scores


def _iou(one: MaskCrop, other: MaskCrop) -> float:
    counts = (np.count_nonzero(mask.inside) for mask in (one, other))
    return float(iou_of_counts(shared_pixels(one, other), *counts))


def _conclude(name: str, mode: Mode, gathered: _Gathered, seed: int) -> Sensitivity:
    values = np.stack(gathered.rows)
    groups = gathered.groups if any(gathered.groups) else None
    own, other, alike = values.mean(axis=0).tolist()
    interval = Bootstrap(values, groups, seed=seed).interval_of(sensitivity_of) if own else None
    return Sensitivity(
        model=name, mode=mode.name, value=float(sensitivity_of(values.mean(axis=0)[None])[0]) if own else None,
        low=interval.low if interval else None, high=interval.high if interval else None,
        own=own, other=other, alike=alike, images=len(values), objects=gathered.objects, swapped=gathered.swapped,
    )  # fmt: skip


def sensitivity_of(means: Floats) -> Floats:
    """Return the figure, float64 [m], of means [m, 3] (own, other, alike); 0 where the own answer shares nothing."""
    own, other = means[:, 0], means[:, 1]
    result: Floats = np.clip(1 - other / np.where(own > 0, own, 1), 0, 1) * (own > 0)
    return result
