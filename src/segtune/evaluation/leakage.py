"""Images that a compared run has learned from, or their like, kept out of its evaluation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from segtune.core.progress import SILENT, Progress
from segtune.data.dataset import Dataset, SetAside
from segtune.data.duplicates import Kind, match
from segtune.data.fingerprints import Fingerprint, Fingerprints, digest, fingerprint
from segtune.evaluation.reading import read_ahead


@dataclass(frozen=True)
class Leak:
    """An image that a run knows.

    Attributes:
        name: the image.
        run: the run.
        like: the run's training or validation image that it is, or nearly duplicates.
        kind: "exact" or "near".
    """

    name: str
    run: str
    like: str
    kind: Kind


@dataclass(frozen=True)
class Leakage:
    """What a data set has in common with what runs learned from.

    Attributes:
        kept: names that no run knows.
        leaks: one for each image and run that knows it.
    """

    kept: tuple[str, ...]
    leaks: tuple[Leak, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the images that at least one run knows, each once."""
        return tuple(dict.fromkeys(leak.name for leak in self.leaks))

    def to_json(self) -> dict[str, Any]:
        """Return what `metrics.json` tells of it under `data`."""
        # The last entry of a name wins: in falling order that is "exact", where an image has both.
        kinds = {leak.name: leak.kind for leak in sorted(self.leaks, key=lambda leak: leak.kind, reverse=True)}
        counts = Counter(kinds.values())
        images = [asdict(leak) for leak in self.leaks]
        return {"images": len(kinds), "exact": counts["exact"], "near": counts["near"], "leaks": images}


def find_leaks(dataset: Dataset, runs: Mapping[str, Fingerprints], progress: Progress = SILENT) -> Leakage:
    """Find the images of a data set that are, or nearly duplicate, training or validation images of runs.

    An image that cannot be read is kept: the evaluation sets it aside with the reason.

    Args:
        dataset: what is to be evaluated.
        runs: run → fingerprints of its training and validation images.
        progress: hears of every image.
    """
    if not runs:
        return Leakage(dataset.names)
    prints = Fingerprints.gather(_look(dataset, progress))
    found: dict[tuple[str, str], Leak] = {}
    for run, known in runs.items():
        # Exact ones come first, so that of an image's several likenesses the surest is named.
        for name, like, kind in sorted(match(prints, known, progress), key=lambda pair: (pair[2], pair[1])):
            found.setdefault((name, run), Leak(name, run, like, kind))
    leaked = {name for name, _ in found}
    return Leakage(tuple(name for name in dataset.names if name not in leaked), tuple(found.values()))


def _look(dataset: Dataset, progress: Progress) -> Iterator[tuple[str, str, Fingerprint]]:
    with progress.stage("looking for images that were trained on", len(dataset)) as advance:
        for item in read_ahead(dataset):
            # Decoded here once more than by the evaluation: holding the pixels of all images would fill the memory.
            if not isinstance(item, SetAside) and item.image is not None:
                yield item.sample.name, digest(item.image), fingerprint(item.image)
            advance()
