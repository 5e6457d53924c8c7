"""A model at another side of its input."""

from __future__ import annotations

from segtune.core.errors import UsageError
from segtune.models import FAMILIES
from segtune.models.family import PromptableModel


def at_side(model: PromptableModel, side: int) -> PromptableModel:
    """Return the model for a square input of `side` pixels: itself where that is its own, else a copy near to it.

    Raises:
        UsageError: its network is made for one side, its patches do not fill this one, or it carries an adapter that no
            plain weights can express.
    """
    if side == model.side:
        return model
    if model.attached is not None:
        raise UsageError(
            f"model.side is {side}, but the model carries the adapter '{model.attached.spec}' at {model.side} pixels, "
            "which cannot be merged and is not carried over to another side. Leave model.side out, or start from the "
            "adapter's own base."
        )
    make = FAMILIES[model.family].at_side
    if make is None:
        raise UsageError(
            f"model.side is {side}, but the networks of family '{model.family}' take images at one side; this one's is "
            f"{model.side} pixels. Leave model.side out; SAM, MedSAM and nano take others."
        )
    return make(model, side)
