"""The proof: models in all prompt modes on images that took no part in training, written where the report reads it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from segtune.core.progress import SILENT, Progress
from segtune.data.dataset import Dataset
from segtune.evaluation import SENSITIVITY_IMAGES
from segtune.evaluation.domains import Domain, measure_domains
from segtune.evaluation.matrix import Embedder, Scorer, evaluate, score_images
from segtune.evaluation.results import General, Results, write_matrix, write_results
from segtune.evaluation.review import FILE, write_suspects
from segtune.evaluation.sensitivity import measure_sensitivity
from segtune.models.family import PromptableModel
from segtune.segment.refine import Cleanup

UNSEEN = "unseen"
"""Folder of the tables of other domains, one below it for each."""


@dataclass(frozen=True)
class Proof:
    """Results, with what is needed to show them in pictures.

    Attributes:
        results: the content of metrics.json.
        models: name → model, as they were scored.
        dataset: the images that were scored.
        seed: of the prompts.
        subject: the model that the results are about.
        embed: hands in the embeddings they were scored on, where those were cached.
        cleanups: model's name → how its masks were cleaned.
    """

    results: Results
    models: Mapping[str, PromptableModel]
    dataset: Dataset
    seed: int
    subject: str
    embed: Embedder | None = None
    cleanups: Mapping[str, Cleanup] = field(default_factory=dict)


def prove(
    models: Mapping[str, PromptableModel],
    dataset: Dataset,
    folder: Path,
    *,
    modes: Iterable[str] | None,
    seed: int,
    subject: str | None = None,
    data: Mapping[str, Any] | None = None,
    split: Mapping[str, Any] | None = None,
    crowned: bool | None = None,
    embed: Embedder | None = None,
    cleanups: Mapping[str, Cleanup] | None = None,
    general: General | None = None,
    sensitivity_images: int = SENSITIVITY_IMAGES,
    unseen: Sequence[Domain] = (),
    score: Scorer = score_images,
    progress: Progress = SILENT,
) -> Proof:
    """Score models and write metrics.json, matrix.csv, labels_to_review.csv and the tables of scores into `folder`.

    Args:
        models: name → model.
        dataset: the images.
        folder: made if need be.
        modes: prompt modes; all but `everything` without it.
        seed: of prompts and intervals.
        subject: the model whose gains are looked at.
        data: more about the data, for metrics.json.
        split: hash, seed and sizes of the split.
        crowned: whether the tuned model was kept.
        embed: hands in cached embeddings.
        cleanups: model's name → how its masks are cleaned.
        general: how the models fare on general images, for metrics.json.
        sensitivity_images: images on which it is measured how far masks follow the prompt.
        unseen: images of other domains, which are scored as well, each into a folder of its name below `unseen`.
        score: scores the images of `dataset`: a way to share them with other processes.
        progress: what people see.
    """
    folder.mkdir(parents=True, exist_ok=True)
    modes = None if modes is None else tuple(modes)
    matrix = evaluate(
        models, dataset, modes=modes, seed=seed, folder=folder, subject=subject, embed=embed, cleanups=cleanups,
        review=True, score=score, progress=progress,
    )  # fmt: skip
    sensitivity = measure_sensitivity(
        models, dataset, images=sensitivity_images, seed=seed, embed=embed, cleanups=cleanups, progress=progress
    )
    domains = measure_domains(
        models, matrix, unseen, modes=modes, seed=seed, folder=folder / UNSEEN, cleanups=cleanups, progress=progress
    )
    results = matrix.results(data=data, split=split, crowned=crowned, general=general)
    results = replace(results, sensitivity=sensitivity, unseen=domains)
    write_matrix(folder / "matrix.csv", results.rows)
    # Of an earlier evaluation that looked for it.
    (folder / FILE).unlink(missing_ok=True)
    if results.review is not None:
        write_suspects(folder / FILE, results.review)
    # Last: a folder that has metrics.json has all of it.
    write_results(folder / "metrics.json", results)
    return Proof(results, models, dataset, seed, matrix.subject, embed, cleanups or {})
