"""Single predictions made again, for pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from segtune.core.rle import BoolMask
from segtune.core.types import POINT_FILLER, Embedding, Sample
from segtune.evaluation.answers import Answers, answer
from segtune.evaluation.modes import Interaction, find_modes
from segtune.evaluation.targets import draw_targets
from segtune.evaluation.views import View
from segtune.models.family import PromptableModel
from segtune.prompts.objects import ObjectPrompt
from segtune.segment.encoding import encode_image, evaluating


def predict_masks(
    model: PromptableModel,
    sample: Sample,
    mode: str,
    seed: int,
    *,
    objects: Sequence[int] | None = None,
    embedding: Embedding | None = None,
) -> tuple[BoolMask, npt.NDArray[np.float32], list[ObjectPrompt]]:
    """Predict a sample's objects as `matrix.evaluate` does with the same seed.

    Args:
        model: the model.
        sample: the image and its objects.
        mode: a prompt mode.
        seed: the evaluation's.
        objects: which objects to return, by index; without it all that have a pixel that counts.
        embedding: of this image alone, where the evaluation was handed embeddings; made anew without it.

    Returns:
        Masks bool [n, H, W] at original size without ignored pixels, predicted quality float32 [n], and the n
        prompts, corrections included, in the order of the objects' indices.

    Raises:
        UsageError: an unknown mode.
    """
    (chosen,) = find_modes([mode])
    interaction = Interaction(chosen.prompt, {chosen.corrections: chosen})
    ignore = sample.ignore_mask()
    masks: list[BoolMask] = []
    quality: list[float] = []
    prompts: list[ObjectPrompt] = []
    with evaluating([model]):
        embedding = embedding or encode_image(model, sample.image)
        view = View(embedding.frames[0], model.mask_size, ignore)
        for targets in draw_targets(sample, ignore, [chosen.prompt], seed):
            rows = [row for row, one in enumerate(targets) if objects is None or one.index in objects]
            # The whole chunk is decoded even for one of its objects: batches of another size round otherwise.
            for one in answer(model, embedding, view, targets, interaction) if rows else ():
                masks += [one.masks[row].full() for row in rows]
                quality += one.quality[rows].tolist()
                prompts += [_with_clicks(targets[row].prompts[chosen.prompt], one, row) for row in rows]
    # numpy refuses to stack an empty list.
    stacked = np.stack(masks) if masks else np.zeros((0, *sample.size), dtype=np.bool_)
    return stacked, np.array(quality, dtype=np.float32), prompts


def _with_clicks(first: ObjectPrompt, answers: Answers, row: int) -> ObjectPrompt:
    """Return a first prompt with all clicks that led to an answer."""
    real = answers.point_labels[row] != POINT_FILLER
    points, labels = answers.points[row][real].numpy(), answers.point_labels[row][real].numpy()  # [k, 2], [k]
    return replace(first, points=points, point_labels=labels)
