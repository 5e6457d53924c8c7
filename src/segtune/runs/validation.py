"""The model as it is, scored on the validation part: a small prompt matrix, its means alone."""

from __future__ import annotations

from collections.abc import Iterable

from segtune.core.progress import SILENT, Progress
from segtune.data.dataset import Dataset
from segtune.evaluation.matrix import Embedder, evaluate
from segtune.models.family import PromptableModel
from segtune.training.loop import Validation


def score_means(
    model: PromptableModel,
    part: Dataset,
    *,
    modes: Iterable[str],
    seed: int = 0,
    progress: Progress = SILENT,
    embed: Embedder | None = None,
) -> Validation:
    """Return the mean over images of each metric, by mode.

    Args:
        model: as it is.
        part: images to score on.
        modes: prompt modes.
        seed: of the prompts.
        progress: what people see.
        embed: hands in cached embeddings of a frozen encoder.
    """
    # Baselines do not learn: their figures would be the same in every epoch.
    matrix = evaluate({"model": model}, part, modes=modes, seed=seed, baselines=False, progress=progress, embed=embed)
    return matrix.means("model")
