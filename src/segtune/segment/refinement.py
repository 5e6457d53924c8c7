"""One object prompted step by step: the interaction of a labelling tool."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from segtune.core.errors import UsageError
from segtune.core.rle import BoolMask
from segtune.prompts.objects import ObjectPrompt
from segtune.rollout import Round
from segtune.segment.answer import Answer
from segtune.segment.given import given_prompt
from segtune.segment.session import Session


class Refinement:
    """One object, prompted step by step: each answer begins where the last one ended, and each step can be undone.

    The first step is a click, a box or a mask; clicks follow. As SAM was trained, all clicks stay and the unthresholded
    logits of the mask that was chosen are fed back.

    Args:
        session: the image.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._steps: list[tuple[Round, Answer]] = []
        self._undone: list[tuple[Round, Answer]] = []

    @property
    def answer(self) -> Answer | None:
        """The answer to all that was prompted; None before anything was."""
        return self._steps[-1][1] if self._steps else None

    def click(self, x: float, y: float, *, positive: bool = True) -> Answer:
        """Add a click, on the object or, not `positive`, beside it.

        Raises:
            UsageError: it is not on the image.
        """
        label = int(positive)
        prompt = given_prompt(self._session.size, points=[(x, y, label)])
        if not self._steps:
            return self._do(self._session.decode([prompt]))
        return self._do(self._session.decode_next(self._steps[-1][0], x, y, label))

    def box(self, x0: float, y0: float, x1: float, y1: float) -> Answer:
        """Prompt with a box; the clicks so far stay with it, and no logits are fed back.

        Raises:
            UsageError: it is not on the image.
        """
        given = given_prompt(self._session.size, box=(x0, y0, x1, y1))
        return self._do(self._session.decode([replace(self._clicks(), box=given.box)]))

    def mask(self, mask: BoolMask) -> Answer:
        """Begin from a mask, bool [H, W]; the clicks so far stay.

        Raises:
            UsageError: it is empty or not of the image's size.
        """
        given = given_prompt(self._session.size, mask=mask)
        return self._do(self._session.decode([replace(self._clicks(), mask=given.mask)]))

    def choose(self, number: int) -> Answer:
        """Go on from another of the last answer's masks: 0 whole, 1 part, 2 sub-part.

        Raises:
            UsageError: there is no such mask.
        """
        last, answer = self._steps[-1] if self._steps else (None, None)
        if last is None or answer is None or not 0 <= number < len(answer.masks):
            raise UsageError(
                f"There is no mask {number} to choose: the last answer has {len(answer.masks) if answer else 0}. A "
                "single click is answered with three, everything else with one."
            )
        chosen = replace(last, best=torch.full_like(last.best, number)), replace(answer, best=number)
        return self._keep(chosen)

    def undo(self) -> Answer | None:
        """Take the last step back and return the answer before it; None where there is none."""
        if self._steps:
            self._undone.append(self._steps.pop())
        return self.answer

    def redo(self) -> Answer | None:
        """Do the step again that was undone last; without one nothing changes."""
        if self._undone:
            self._steps.append(self._undone.pop())
        return self.answer

    def _do(self, current: Round) -> Answer:
        (answer,) = self._session.answers(current)
        return self._keep((current, answer))

    def _keep(self, step: tuple[Round, Answer]) -> Answer:
        self._steps.append(step)
        self._undone.clear()
        return step[1]

    def _clicks(self) -> ObjectPrompt:
        if not self._steps:
            return ObjectPrompt()
        prompts = self._steps[-1][0].prompts
        labels = prompts.point_labels[0].cpu().numpy()
        real = labels >= 0
        return ObjectPrompt(prompts.points[0].cpu().numpy()[real].astype(np.float32), labels[real])
