"""A model's answers to the prompts of one image, at original size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from segtune.core.types import POINT_FILLER, Embedding
from segtune.evaluation.modes import Interaction, Mode
from segtune.evaluation.targets import Target
from segtune.evaluation.views import View
from segtune.models.family import PromptableModel
from segtune.prompts.correction import center_of_error
from segtune.rollout import Clicks, Round, rollout
from segtune.segment.crops import MaskCrop, in_common_window
from segtune.segment.encoding import device_of
from segtune.segment.refine import Cleanup


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model made of n objects in one mode: the masks of highest predicted quality.

    Attributes:
        mode: the prompt mode.
        logits: float32 [n, h, w] over the model's square, on the CPU.
        quality: float32 [n], predicted IoU.
        masks: n masks at original size, without ignored pixels.
        points: float32 [n, K, 2] in original pixels, the clicks answered here, corrections included, on the CPU.
        point_labels: int64 [n, K]: 1 object, 0 not object, -10 filler.
    """

    mode: Mode
    logits: Tensor
    quality: Tensor
    masks: tuple[MaskCrop, ...]
    points: Tensor
    point_labels: Tensor


def answer(
    model: PromptableModel,
    embedding: Embedding,
    view: View,
    targets: Sequence[Target],
    interaction: Interaction,
    cleanup: Cleanup | None = None,
) -> Iterator[Answers]:
    """Prompt one image's objects together and yield the answers of each mode on the way.

    Correction clicks lie at the centre of the largest error of the mask at original size.

    Args:
        model: the model.
        embedding: of one image.
        view: the image in the model's frame.
        targets: n objects with their first prompts.
        interaction: which first prompt, how many rounds, and which of them are scored.
        cleanup: of the masks, before they are scored and corrected; the logits fed back stay the model's.
    """
    prompts = view.prompts([target.prompts[interaction.prompt] for target in targets]).to(device_of(model))
    masks: tuple[MaskCrop, ...] = ()

    def correct(_: Round) -> Clicks:
        # The masks as they are when it is called: those of the round just answered.
        return _next_clicks(targets, masks)

    for current in rollout(model, embedding, prompts, rounds=interaction.rounds, correct=correct):
        logits = current.logits.detach().float().cpu()
        # Enlarged in rounds that are not scored too: the next clicks are drawn from them.
        masks = tuple(view.enlarge(one, cleanup) for one in logits)
        if current.number in interaction.scored:
            yield Answers(
                interaction.scored[current.number], logits, current.quality.detach().float().cpu(), masks,
                current.prompts.points.cpu(), current.prompts.point_labels.cpu(),
            )  # fmt: skip


def _next_clicks(targets: Sequence[Target], masks: Sequence[MaskCrop]) -> Clicks:
    # Where nothing is wrong any more, filler stays: no click.
    points = torch.zeros((len(targets), 2))
    labels = torch.full((len(targets),), POINT_FILLER)
    for row, (target, mask) in enumerate(zip(targets, masks, strict=True)):
        truth, predicted, left, top = in_common_window(target.truth, mask)
        click = center_of_error(truth, predicted)
        if click is not None:
            points[row] = torch.tensor([click[0] + left, click[1] + top])
            labels[row] = click[2]
    return points, labels
