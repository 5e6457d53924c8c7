"""Which precision the image encoder of a run gets: as asked, or bf16 where it is frozen and masks agree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from segtune.core.files import read_json
from segtune.core.types import Image, Prompts
from segtune.data.dataset import Dataset
from segtune.models.family import Precision, PromptableModel
from segtune.models.precision import PrecisionChoice, choose_precision
from segtune.prompts import PROMPTS
from segtune.prompts.collate import collate
from segtune.runs.folder import RunFolder
from segtune.training.examples import choose_objects, generator
from segtune.training.processes import Processes

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
    # From the record where it is there: a choice made anew could fall otherwise, and a resume must give the same bytes.
    if processes.is_first and "encoder_precision" not in read_json(folder.record):
        if asked == "auto":
            choice = choose_precision(model, _boxed(model, train_part))
        else:
            choice = PrecisionChoice("bf16" if asked == "bf16" else "fp32", None, "It was asked for.")
        folder.write_record(encoder_precision=asdict(choice))
    # Told rather than read by the others: a network disk may show them an older record.
    own: Precision = read_json(folder.record)["encoder_precision"]["precision"] if processes.is_first else "fp32"
    model.encoder_precision = processes.share(own)
    return model.encoder_precision


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
