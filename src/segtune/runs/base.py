"""The model a run tunes: its base, at the side of the input that was asked for."""

from __future__ import annotations

from segtune.models.family import PromptableModel
from segtune.models.open import open_model
from segtune.models.sides import at_side
from segtune.runs.settings import ModelSettings


def open_start(asked: ModelSettings, device: str) -> PromptableModel:
    """Open the base as it is, at its own side: what a tuned model is held against.

    Raises:
        ModelError: there is no such base.
    """
    return open_model(asked.base, device=device, preparation=asked.preparation)


def open_base(asked: ModelSettings, device: str) -> PromptableModel:
    """Open the base and bring it to the side of the input asked for; without one it stays as it is.

    Raises:
        ModelError: there is no such base.
        UsageError: its network is made for one side, or its patches do not fill this one.
    """
    model = open_start(asked, device)
    return model if asked.side is None else at_side(model, asked.side)
