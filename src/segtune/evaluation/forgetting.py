"""What tuning makes a model forget: the pretrained and the tuned model on general images, clicks and boxes.

A model that is tuned on one kind of image may get worse on all others (catastrophic forgetting; McCloskey and Cohen
1989). General images are therefore scored by the same matrix, with the same paired intervals, as the user's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from segtune.core.progress import SILENT, Progress
from segtune.data.dataset import Dataset
from segtune.evaluation.conclusion import differences_from
from segtune.evaluation.matrix import Embedder, Scorer, evaluate, score_images
from segtune.evaluation.results import General, Results
from segtune.evaluation.verdict import build_verdict
from segtune.models.family import PromptableModel

PRETRAINED = "pretrained"


def measure_forgetting(
    models: Mapping[str, PromptableModel],
    general: Dataset,
    *,
    subject: str,
    source: str,
    modes: Iterable[str],
    seed: int = 0,
    left_out: int = 0,
    embed: Embedder | None = None,
    score: Scorer = score_images,
    progress: Progress = SILENT,
) -> General:
    """Score models on general images and say what they have lost against the pretrained one.

    Args:
        models: "pretrained", and those that came of it.
        general: images of many kinds.
        subject: the model that the verdict is about.
        source: what they are, for people.
        modes: prompt modes.
        seed: of prompts and intervals.
        left_out: images that are not in `general` because a model has learned from them.
        embed: hands in embeddings.
        score: as of `evaluate`.
        progress: hears of every image.

    Raises:
        DataError: not one image could be scored.
    """
    matrix = evaluate(
        models, general, modes=modes, seed=seed, baselines=False, subject=subject, embed=embed, score=score,
        progress=progress,
    )  # fmt: skip
    # The matrix compares its subject alone; here each model is held to the same standard.
    against = differences_from(matrix.scores, PRETRAINED, seed) if matrix.scores.names else ()
    results = Results(matrix.rows, against)
    modes_scored = tuple(dict.fromkeys(row.mode for row in matrix.rows))
    found = General(
        source, int(matrix.data["images"]), int(matrix.data["objects"]), modes_scored, matrix.rows, against, left_out
    )
    return replace(found, verdict=f"On general images ({source}): {build_verdict(results, subject, PRETRAINED)}")
