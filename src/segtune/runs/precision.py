"""Which precision a run computes in: as asked, or bf16 where that is fast and, of a frozen encoder, masks agree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict

import torch

from segtune.core.files import read_json
from segtune.core.types import Image, Prompts
from segtune.data.dataset import Dataset
from segtune.models.family import Precision, PromptableModel
from segtune.models.precision import PrecisionChoice, choose_precision, has_fast_bf16, tell_bf16
from segtune.prompts import PROMPTS
from segtune.prompts.collate import collate
from segtune.runs.folder import RunFolder
from segtune.training.examples import choose_objects, generator
from segtune.training.processes import Processes
from segtune.training.recipe import Recipe

_IMAGES = 4
_OBJECTS = 4
"""On so many images, and objects of each, masks are compared; more would cost minutes with a large encoder."""


def settle_precision(
    asked: str, folder: RunFolder, model: PromptableModel, train_part: Dataset, processes: Processes
) -> Precision:
    """Choose the precision, note it with its reason in the run's record, and set it on the model.

    A resumed run takes what the record says, and every process but the first what that one says.

    Args:
        asked: "fp32", "bf16" or "auto".
        folder: of the run.
        model: frozen as the run wants it.
        train_part: images to compare masks on.
        processes: who trains together.
    """
    model.encoder_precision = _settled(
        "encoder_precision", asked, lambda: choose_precision(model, _boxed(model, train_part)), folder, processes
    )
    return model.encoder_precision


def settle_training_precision(recipe: Recipe, device: str, folder: RunFolder, processes: Processes) -> Recipe:
    """Return the recipe with the precision its steps are taken in, chosen and noted as the image encoder's is.

    Args:
        recipe: precision "auto" asks for bf16 where the first process's device multiplies it natively.
        device: where it trains.
        folder: of the run.
        processes: who trains together.
    """
    place, optimizer = torch.device(device), recipe.optimizer
    choice = PrecisionChoice("bf16" if has_fast_bf16(place) else "fp32", None, tell_bf16(place))
    chosen = _settled("training_precision", optimizer.precision, lambda: choice, folder, processes)
    return recipe.model_copy(update={"optimizer": optimizer.model_copy(update={"precision": chosen})})


def _settled(
    name: str, asked: str, choose: Callable[[], PrecisionChoice], folder: RunFolder, processes: Processes
) -> Precision:
    # From the record where it is there: a choice made anew could fall otherwise, and a resume must give the same bytes.
    if processes.is_first and name not in read_json(folder.record):
        if asked == "auto":
            choice = choose()
        else:
            choice = PrecisionChoice("bf16" if asked == "bf16" else "fp32", None, "It was asked for.")
        folder.write_record(**{name: asdict(choice)})
    # Told rather than read by the others: a network disk may show them an older record.
    own: Precision = read_json(folder.record)[name]["precision"] if processes.is_first else "fp32"
    return processes.share(own)


def _boxed(model: PromptableModel, part: Dataset) -> Iterator[tuple[Image, Prompts]]:
    """Yield some images with the tight boxes of some of their objects."""
    found = 0
    for sample in part:
        chosen = choose_objects(sample, _OBJECTS, 0.0, generator(0, "precision", sample.name))
        if chosen:
            # Seeds of its own: looking at precision takes nothing from the run's randomness.
            rng, frame = generator(0, "box", sample.name), model.frame(sample.size)
            boxes = [PROMPTS["box"](mask, rng) for mask in sample.masks(chosen)]
            yield sample.image, collate(boxes, [0] * len(boxes), (frame,), model.mask_size)
            found += 1
        if found == _IMAGES:
            return
