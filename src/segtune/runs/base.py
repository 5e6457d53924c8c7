"""The model a run tunes: its base, at the side of the input that was asked for."""

from __future__ import annotations

from segtune.core.errors import UsageError
from segtune.models import FAMILIES
from segtune.models.family import PromptableModel
from segtune.models.open import open_model
from segtune.runs.settings import ModelSettings


def open_base(asked: ModelSettings, device: str) -> PromptableModel:
    """Open the base and bring it to the side of the input asked for; without one it stays as it is.

    Raises:
        ModelError: there is no such base.
        UsageError: its network is made for one side, or its patches do not fill this one.
    """
    model = open_model(asked.base, device=device)
    if asked.side in (None, model.side):
        return model
    at_side = FAMILIES[model.family].at_side
    if at_side is None:
        raise UsageError(
            f"model.side is {asked.side}, but '{asked.base}' is of family '{model.family}', whose networks take images "
            f"at one side; this one's is {model.side} pixels. Leave model.side out; SAM, MedSAM and nano take others."
        )
    return at_side(model, asked.side)
