"""Single predictions made again, for pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from segtune.core.rle import BoolMask
from segtune.core.types import POINT_FILLER, Embedding, Sample
from segtune.evaluation.answers import Answers, answer
from segtune.evaluation.automatic import find_masks, match_masks
from segtune.evaluation.modes import Interaction, find_modes
from segtune.evaluation.targets import Target, draw_targets
from segtune.evaluation.views import View
from segtune.models.family import PromptableModel
from segtune.prompts.objects import ObjectPrompt
from segtune.segment.crops import MaskCrop
from segtune.segment.encoding import encode_image, evaluating
from segtune.segment.everything import EverythingSettings
from segtune.segment.refine import Cleanup


def predict_masks(
    model: PromptableModel,
    sample: Sample,
    mode: str,
    seed: int,
    *,
    objects: Sequence[int] | None = None,
    embedding: Embedding | None = None,
    everything: EverythingSettings | None = None,
    cleanup: Cleanup | None = None,
) -> tuple[BoolMask, npt.NDArray[np.float32], list[ObjectPrompt]]:
    """Predict a sample's objects as `matrix.evaluate` does with the same seed.

    Args:
        model: the model.
        sample: the image and its objects.
        mode: a prompt mode.
        seed: the evaluation's.
        objects: which objects to return, by index; without it all that have a pixel that counts.
        embedding: of this image alone, where the evaluation was handed embeddings; made anew without it.
        everything: settings of the mode `everything`, where the evaluation was handed some.
        cleanup: of the masks, where the evaluation had one for this model.

    Returns:
        Masks bool [n, H, W] at original size without ignored pixels, predicted quality float32 [n], and the n
        prompts, corrections included, in the order of the objects' indices; empty ones where nobody prompts.

    Raises:
        UsageError: an unknown mode.
    """
    (chosen,) = find_modes([mode])
    with evaluating([model]):
        embedding = embedding or encode_image(model, sample.image)
        if chosen.prompt is None:
            found = list(_automatic(model, embedding, sample, objects, everything, cleanup))
        else:
            asked = Interaction(chosen.prompt, {chosen.corrections: chosen})
            found = list(_prompted(model, embedding, sample, asked, seed, objects, cleanup))
    # numpy refuses to stack an empty list.
    stacked = np.stack([one.mask.full() for one in found]) if found else np.zeros((0, *sample.size), dtype=np.bool_)
    return stacked, np.array([one.quality for one in found], dtype=np.float32), [one.prompt for one in found]


class _Prediction(NamedTuple):
    mask: MaskCrop
    quality: float
    prompt: ObjectPrompt


def _prompted(
    model: PromptableModel,
    embedding: Embedding,
    sample: Sample,
    asked: Interaction,
    seed: int,
    objects: Sequence[int] | None,
    cleanup: Cleanup | None,
) -> Iterator[_Prediction]:
    ignore = sample.ignore_mask()
    view = View(embedding.frames[0], model.mask_size, ignore)
    for targets in draw_targets(sample, ignore, [asked.prompt], seed):
        rows = _wanted(targets, objects)
        # The whole chunk is decoded even for one of its objects: batches of another size round otherwise.
        for one in answer(model, embedding, view, targets, asked, cleanup) if rows else ():
            for row in rows:
                prompt = _with_clicks(targets[row].prompts[asked.prompt], one, row)
                yield _Prediction(one.masks[row], float(one.quality[row]), prompt)


def _automatic(
    model: PromptableModel,
    embedding: Embedding,
    sample: Sample,
    objects: Sequence[int] | None,
    everything: EverythingSettings | None,
    cleanup: Cleanup | None,
) -> Iterator[_Prediction]:
    ignore = sample.ignore_mask()
    found = find_masks(model, embedding, sample, ignore, everything, cleanup)
    for targets in draw_targets(sample, ignore, (), 0):  # no prompts, so no seed either
        masks, quality = match_masks(targets, found)
        for row in _wanted(targets, objects):
            yield _Prediction(masks[row], quality[row], ObjectPrompt())


def _wanted(targets: Sequence[Target], objects: Sequence[int] | None) -> list[int]:
    return [row for row, one in enumerate(targets) if objects is None or one.index in objects]


def _with_clicks(first: ObjectPrompt, answers: Answers, row: int) -> ObjectPrompt:
    """Return a first prompt with all clicks that led to an answer."""
    real = answers.point_labels[row] != POINT_FILLER
    points, labels = answers.points[row][real].numpy(), answers.point_labels[row][real].numpy()  # [k, 2], [k]
    return replace(first, points=points, point_labels=labels)
