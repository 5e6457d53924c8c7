"""The model as it is, scored on the validation part: a small prompt matrix, its means alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice

from segtune.core.progress import SILENT, Progress
from segtune.data.dataset import Dataset, SetAside
from segtune.evaluation.contest import Contest, ImageScores
from segtune.evaluation.matrix import Embedder, Scorer, evaluate, score_images
from segtune.models.family import PromptableModel
from segtune.runs.draw import blind_order, filled
from segtune.runs.settings import Settings
from segtune.training.loop import Validation
from segtune.training.processes import Processes

_AT_ONCE = 4
"""Images of each process that are scored before the processes meet."""


def score_means(
    model: PromptableModel,
    part: Dataset,
    *,
    modes: Iterable[str],
    seed: int = 0,
    progress: Progress = SILENT,
    embed: Embedder | None = None,
    processes: Processes | None = None,
) -> Validation:
    """Return the mean over images of each metric, by mode.

    Args:
        model: as it is.
        part: images to score on.
        modes: prompt modes.
        seed: of the prompts.
        progress: what people see.
        embed: hands in cached embeddings of a frozen encoder.
        processes: share the images, and all learn the means of all.
    """
    # Baselines do not learn: their figures would be the same in every epoch.
    matrix = evaluate(
        {"model": model}, part, modes=modes, seed=seed, baselines=False, progress=progress, embed=embed,
        score=sharing(processes or Processes()),
    )  # fmt: skip
    return matrix.means("model")


def validation_part(settings: Settings, part: Dataset) -> Dataset:
    """Return the validation images that are scored after each epoch: at most as many as the settings say."""
    most = settings.validation.images
    if most is None or len(part) <= most:
        return part
    # Images with objects come first, for they alone are scored; of sparse data a blind draw may have none.
    drawn = blind_order(part, settings.training.seed, "validation")
    first = list(islice(filled(part, drawn), most))
    taken = set(first)
    rows = [*first, *(row for row in drawn if row not in taken)][:most]
    # In the data set's order again, whatever the order of the draw.
    return part.subset(part.names[row] for row in sorted(rows))


def sharing(processes: Processes) -> Scorer:
    """Return a way to score images that the processes share: all of them evaluate alike, and all learn all scores."""
    return score_images if processes.world == 1 else partial(_score_together, processes)


def _score_together(
    processes: Processes, contest: Contest, part: Dataset, embed: Embedder | None = None
) -> Iterator[ImageScores | SetAside]:
    """Yield the scores of all images in their order; each process makes those of its own."""
    rank, world = processes.rank, processes.world
    own = None if embed is None else lambda model, sample, index: embed(model, sample, rank + index * world)
    scored = score_images(contest, part[rank::world], own)
    for first in range(0, len(part), _AT_ONCE * world):
        found = processes.gather(list(islice(scored, _AT_ONCE)))
        for place in range(min(_AT_ONCE * world, len(part) - first)):
            yield found[place % world][place // world]
