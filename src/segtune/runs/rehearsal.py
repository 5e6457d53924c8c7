"""What holds a fit near its base: general images to rehearse, and the base beside the model that trains."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

from segtune.core.errors import DataError, UsageError
from segtune.data.dataset import Dataset, open_dataset
from segtune.data.drawn import drawn_dataset
from segtune.models.family import PromptableModel
from segtune.runs.draw import blind_order, filled
from segtune.runs.settings import Settings
from segtune.training.loop import trained_weights
from segtune.training.recipe import TuningRecipe
from segtune.training.reference import Reference

SCENES = "scenes"


def open_rehearsal(settings: Settings, side: int) -> Dataset | None:
    """Return the general images that a fit rehearses; None where it rehearses none.

    Drawn scenes are of the theme "general", whose kinds of object the suite that measures forgetting does not share.

    Args:
        settings: of the fit.
        side: longest side of drawn scenes in pixels, the model's own.

    Raises:
        UsageError: what is rehearsed would also measure what was forgotten.
        DataError: the folder cannot be used, or none of its images has an object.
    """
    asked = settings.training.rehearsal
    if not asked.share:
        return None
    if asked.source == SCENES:
        return drawn_dataset(asked.images, side=side, theme="general")
    folder = Path(asked.source)
    if folder.resolve() == Path(settings.evaluation.general).resolve():
        raise UsageError(
            f"General images that are rehearsed cannot show what was forgotten, but {asked.source} is named by both "
            "training.rehearsal.source and evaluation.general. Give one of them other images."
        )
    dataset = open_dataset(folder)
    order = blind_order(dataset, settings.training.seed, "rehearsal")
    rows = list(islice(filled(dataset, order), asked.images))
    if not rows:
        raise DataError(
            f"None of the {len(dataset)} images of {asked.source} has an object to ask about. Give general images with "
            "masks, which only say where to point, or --set training.rehearsal.source=scenes."
        )
    return dataset.subset(dataset.names[row] for row in rows)


def make_reference(
    recipe: TuningRecipe, model: PromptableModel, open_base: Callable[[], PromptableModel]
) -> Reference | None:
    """Return what a fit's model is held to; None where nothing holds it.

    Args:
        recipe: says by what it is held.
        model: frozen as the run wants it, its weights still the base's.
        open_base: opens the base once more.

    Raises:
        UsageError: distillation was asked for, and the model's masks have no order that the base's share.
    """
    keep, rehearsal = recipe.keep, recipe.rehearsal
    if keep.distill and model.ranked:
        raise UsageError(
            f"training.keep.distill is {keep.distill:g}, which holds a mask to the base's in the same place, but the "
            f"masks of a {model.family} model come in an order of their own. Use training.keep.l2_start, rehearsal, or "
            "segtune blend."
        )
    is_asked = bool(keep.distill or rehearsal.share)
    if not is_asked and not keep.l2_start:
        return None
    start = {}
    if keep.l2_start:
        device = next(model.parameters()).device
        start = {name: value.to(device) for name, value in trained_weights(model).items()}
    base = open_base().eval().requires_grad_(False) if is_asked else None
    if base is not None:
        base.encoder_precision = model.encoder_precision  # alike, or what the cache holds would be another's
    return Reference(keep, base, start, model.encoder_frozen, rehearsal.soft)
