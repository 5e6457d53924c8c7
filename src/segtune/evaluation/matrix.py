"""The prompt matrix: models × prompt modes × metrics on the same images with the same prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

import torch

from segtune.core.errors import DataError, UsageError
from segtune.core.progress import SILENT, Progress
from segtune.core.types import Embedding, Sample
from segtune.data.dataset import Dataset, SetAside
from segtune.evaluation.calibration import Judgements
from segtune.evaluation.conclusion import MatrixResult, conclude
from segtune.evaluation.contest import Contest, ImageScores
from segtune.evaluation.modes import find_modes
from segtune.evaluation.reading import Item, read_ahead, unreadable
from segtune.evaluation.tables import open_tables
from segtune.evaluation.tally import Tally
from segtune.models.family import PromptableModel
from segtune.models.fingerprint import fingerprint
from segtune.segment.encoding import device_of, encode_image, evaluating
from segtune.segment.everything import EverythingSettings
from segtune.segment.refine import Cleanup

Embedder: TypeAlias = Callable[[PromptableModel, Sample, int], Embedding]
"""Returns a model's embedding of a sample alone, given its place in the data set: a way to hand in cached ones."""


Scorer: TypeAlias = Callable[[Contest, Dataset, Embedder | None], Iterator[ImageScores | SetAside]]
"""Yields the scores of one image after another, in the data set's order."""


def score_images(contest: Contest, dataset: Dataset, embed: Embedder | None = None) -> Iterator[ImageScores | SetAside]:
    """Yield the scores of one image after another; an image that cannot be read is yielded as set aside."""
    for one in embed_images(contest.models, dataset, embed):
        yield one if isinstance(one, SetAside) else contest.score(*one)


def evaluate(
    models: Mapping[str, PromptableModel],
    dataset: Dataset,
    *,
    modes: Iterable[str] | None = None,
    seed: int = 0,
    folder: Path | None = None,
    baselines: bool = True,
    progress: Progress = SILENT,
    device: torch.device | str | None = None,
    subject: str | None = None,
    embed: Embedder | None = None,
    everything: Mapping[str, EverythingSettings] | None = None,
    cleanups: Mapping[str, Cleanup] | None = None,
    review: bool = False,
    score: Scorer = score_images,
) -> MatrixResult:
    """Score models in all prompt modes and say what the scores are worth.

    Memory does not grow with the number of images but for their scores.

    Args:
        models: name → model.
        dataset: the images.
        modes: names of prompt modes; `default_modes()` without it.
        seed: of prompts and intervals. A prompt depends on it, the image's name, the object's index and the mode only.
        folder: gets `per_image.csv` and `per_object.csv`, written row by row, under these names once complete.
        baselines: whether the box and the ellipse in it are scored beside the models.
        progress: hears of every image.
        device: where to bring the models; where they are, without it.
        subject: the model whose differences from the others are looked at; without it "tuned", or else the first.
        embed: makes embeddings in place of the models' own encoders.
        everything: model's name → settings of the mode `everything`; without thresholds for models not in it.
        cleanups: model's name → how its masks are cleaned before they are scored and corrected.
        review: note where the subject is sure and a label says something else (`evaluation.review`).
        score: scores the images: a way to share them with other processes.

    Raises:
        UsageError: no models, an unknown mode or subject.
        DataError: not one image could be scored.
        ResourceError: the disk is full.
    """
    subject = _find_subject(models, subject)
    if device is not None:
        for model in models.values():
            model.to(device)
    # Unknown names are found before anything is encoded or written.
    reviewer = subject if review else None
    contest = Contest(models, find_modes(modes), seed, baselines, everything or {}, cleanups or {}, reviewer)
    tally, judgements = Tally(contest.columns, len(dataset)), Judgements()
    set_aside: list[SetAside] = []
    with ExitStack() as stack:
        tables = stack.enter_context(open_tables(folder)) if folder is not None else None
        advance = stack.enter_context(progress.stage("prompt matrix", len(dataset)))
        for one in score(contest, dataset, embed):
            if isinstance(one, SetAside):
                # Told at the end: one broken file must not lose the work on all others.
                set_aside.append(one)
            else:
                tally.add(one)
                judgements.add(one)
                if tables is not None:
                    tables.write(one)
            advance()
        if not tally.objects and not tally.empty_images:
            raise DataError(_nothing_scored(dataset, set_aside))
    return conclude(contest, tally, judgements, subject, set_aside)


def embed_images(
    models: Mapping[str, PromptableModel], dataset: Dataset, embed: Embedder | None = None
) -> Iterator[tuple[Sample, dict[str, Embedding]] | SetAside]:
    """Yield one image after another with each model's embedding of it; one that cannot be read is set aside."""
    encoded_by = _share_encoders(models)
    for item in read_ahead(dataset, images=embed is None):
        if isinstance(item, SetAside):
            yield item
            continue
        # Closed before the yield: who stops in the middle must not be left with gradients switched off.
        try:
            with evaluating(list(models.values())):
                made = {name: _embed(models[name], item, embed) for name in set(encoded_by.values())}
        except DataError as error:  # who embeds through a cache decodes the image only where it is not there
            yield unreadable(item.sample.name, error)
            continue
        yield item.sample, {name: made[other] for name, other in encoded_by.items()}


def _share_encoders(models: Mapping[str, PromptableModel]) -> dict[str, str]:
    """Return for each model the first one of the same encoder: where only decoders differ, images are encoded once."""
    # Nothing to share, and hashing weights takes a while.
    if len(models) == 1:
        return {name: name for name in models}
    first: dict[tuple[str, torch.device], str] = {}
    return {name: first.setdefault((fingerprint(model), device_of(model)), name) for name, model in models.items()}


def _embed(model: PromptableModel, item: Item, embed: Embedder | None) -> Embedding:
    if embed is not None:
        return embed(model, item.sample, item.index)
    return encode_image(model, item.sample.image if item.image is None else item.image)


def _find_subject(models: Mapping[str, PromptableModel], subject: str | None) -> str:
    if not models:
        raise UsageError("An evaluation needs at least one model, but got none. Name one.")
    if subject is not None and subject not in models:
        raise UsageError(
            f"The subject of an evaluation is one of its models, but '{subject}' is not among {', '.join(models)}. "
            "Name one of them."
        )
    return subject or ("tuned" if "tuned" in models else next(iter(models)))


def _nothing_scored(dataset: Dataset, set_aside: Sequence[SetAside]) -> str:
    if not set_aside:
        return f"An evaluation needs images, but none of {dataset.root} is left. Choose another part or other data."
    return (
        f"None of the {len(set_aside)} images of {dataset.root} can be read. The first is {set_aside[0].name}: "
        f"{set_aside[0].reason}"
    )
