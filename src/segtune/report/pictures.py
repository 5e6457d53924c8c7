"""What the models answered on one image, predicted again for the report's pictures."""

from __future__ import annotations

import torch

from segtune.core.rle import BoolMask, RunLengths
from segtune.core.types import Sample
from segtune.evaluation.predict import predict_masks
from segtune.metrics.overlap import iou, overlap
from segtune.report.collage import Answer, Collage
from segtune.report.gallery import Pictures
from segtune.runs.proof import Proof

SHOWN = 24
"""Most objects of an image that are drawn; a crowd would hide itself."""


def pictures_of(proof: Proof) -> Pictures:
    """Return the function that predicts an image's objects again, exactly as they were scored.

    Args:
        proof: models, images and seed of an evaluation. The model that is judged comes last in a picture.
    """
    order = [name for name in proof.models if name != proof.subject] + [proof.subject]
    row_of = {name: row for row, name in enumerate(proof.dataset.names)}

    def picture(image: str, mode: str, only: int | None = None, /) -> Collage | None:
        row = row_of[image]
        sample = proof.dataset[row]
        objects = _counted(sample)[:SHOWN] if only is None else [only]
        # Of one object the question is what the judged model sees there.
        names = order if only is None else [proof.subject]
        answers = [_answer(proof, name, sample, row, mode, objects) for name in names]
        return Collage(sample.image, [sample.objects[number] for number in objects], answers, sample.ignore)

    return picture


def _counted(sample: Sample) -> list[int]:
    """Return the objects that have a pixel that counts: those that are scored."""
    ignore = sample.ignore_mask()
    if ignore is None:
        return [number for number, mask in enumerate(sample.objects) if mask.area]
    return [number for number, mask in enumerate(sample.objects) if (mask.decode() & ~ignore).any()]


def _answer(proof: Proof, name: str, sample: Sample, row: int, mode: str, objects: list[int]) -> Answer:
    model = proof.models[name]
    # The very embedding that was scored: the cache rounds, so a fresh one would differ.
    embedding = None if proof.embed is None else proof.embed(model, sample, row)
    masks, _, prompts = predict_masks(
        model, sample, mode, proof.seed, objects=objects, embedding=embedding, cleanup=proof.cleanups.get(name)
    )
    scores = [_iou(mask, sample.objects[number].decode(), sample) for mask, number in zip(masks, objects, strict=True)]
    return Answer(name, [RunLengths.encode(mask) for mask in masks], scores, prompts)


def _iou(mask: BoolMask, truth: BoolMask, sample: Sample) -> float:
    ignore = sample.ignore_mask()
    return float(
        iou(
            overlap(
                torch.from_numpy(mask)[None],
                torch.from_numpy(truth)[None],
                None if ignore is None else torch.from_numpy(ignore)[None],
            )
        )[0]
    )
