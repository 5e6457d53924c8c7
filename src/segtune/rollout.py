"""Encode once, prompt, decode, correct, decode again: the one rollout that training, evaluation and use share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from segtune.core.types import Embedding, MaskPrediction, Prompts
from segtune.models.family import PromptableModel
from segtune.prompts.collate import add_clicks


@dataclass(frozen=True)
class Round:
    """One decode of an interaction.

    Attributes:
        number: 0 for the first prompt, then 1, 2, …
        prompts: what was asked, P prompts.
        prediction: the answer, up to three masks each.
        best: int64 [P], the slot of highest predicted quality: the mask that is scored and fed back.
    """

    number: int
    prompts: Prompts
    prediction: MaskPrediction
    best: Tensor

    @property
    def logits(self) -> Tensor:
        """The best masks' logits, [P, h, w] in the model's frame."""
        return self.prediction.logits[torch.arange(len(self.best), device=self.best.device), self.best]

    @property
    def quality(self) -> Tensor:
        """The best masks' predicted quality, [P]."""
        return self.prediction.quality.gather(1, self.best[:, None])[:, 0]


Clicks: TypeAlias = tuple[Tensor, Tensor]
"""Points [P, 2] in original pixels and labels [P]; a filler label means no new point for that prompt."""

Corrector: TypeAlias = Callable[[Round], Clicks | None]
"""Looks at a round and answers with the next clicks, or None for a round that only feeds the logits back."""


def ask(
    model: PromptableModel, embedding: Embedding, prompts: Prompts, *, number: int = 0, multimask: Tensor | None = None
) -> Round:
    """Decode once.

    Args:
        model: any promptable model.
        embedding: the B images the prompts are on.
        prompts: P prompts.
        number: of the round, from 0.
        multimask: bool [P], which prompts get three masks; None: the ambiguous ones, as SAM is trained.
    """
    prediction = model.decode(embedding, prompts, prompts.ambiguous if multimask is None else multimask)
    return Round(number, prompts, prediction, prediction.best())


def follow(current: Round, clicks: Clicks | None = None) -> Prompts:
    """Return the prompts of the next round: all clicks stay, new ones join, the best logits go back in as a mask."""
    # A caller that trains has gone backward before: from here on only values are read.
    prompts = current.prompts if clicks is None else add_clicks(current.prompts, *clicks)
    return prompts.with_masks(current.logits.detach())


def rollout(
    model: PromptableModel, embedding: Embedding, prompts: Prompts, *, rounds: int, correct: Corrector
) -> Iterator[Round]:
    """Yield `rounds` rounds, the first on `prompts`, each later one corrected by `correct`.

    SAM's recipe (appendix A of the paper, and SAM 2's training code): the previous unthresholded logits of the mask
    with the highest predicted quality go back in as the mask prompt; three masks are asked for only while a prompt is
    ambiguous (one point and nothing else), from the second round on it is one.

    The logits fed back are detached: a round's gradient does not run through the rounds before it, so a caller may
    backpropagate each round as it comes and memory does not grow with their number.

    Args:
        model: any promptable model.
        embedding: the B images the prompts are on.
        prompts: P first prompts.
        rounds: how many decodes, at least 1.
        correct: draws the next clicks; not called after the last round.
    """
    for number in range(rounds):
        current = ask(model, embedding, prompts, number=number)
        yield current
        if number + 1 < rounds:
            # With a mask no prompt is ambiguous: from here on one answer is asked for.
            prompts = follow(current, correct(current))
