"""Data of other domains, opened for an evaluation, without what compared runs have learned from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from segtune.core.errors import DataError, UsageError
from segtune.core.progress import SILENT, Progress
from segtune.data.fingerprints import Fingerprints
from segtune.evaluation.domains import Domain
from segtune.evaluation.leakage import find_leaks
from segtune.runs.data import open_run_data
from segtune.runs.known import read_like
from segtune.runs.settings import DataSettings


def open_unseen(
    paths: Sequence[Path], home: DataSettings, known: Mapping[str, Fingerprints], progress: Progress = SILENT
) -> tuple[Domain, ...]:
    """Open data of other domains.

    Args:
        paths: the data.
        home: the evaluation's own data, and how it is read. The others are read like it, or the figures would not
            compare: a drop should be one between domains, not between windows, bands or kinds of object.
        known: model's name → fingerprints of what its run has learned from; those images and their like are left out.
        progress: hears of every image.

    Raises:
        UsageError: the same data twice.
        DataError: it cannot be used, or nothing of it is left.
    """
    asked = [Path(home.path), *paths]
    places = [Path(path).expanduser().resolve() for path in asked]
    twice = next((path for row, path in enumerate(asked) if places.index(places[row]) < row), None)
    if twice is not None:
        raise UsageError(
            f"--unseen names data of another domain than DATA, each once; {twice} was named twice. Leave one out."
        )
    names = _names(asked)
    found = []
    for path, name in zip(asked[1:], names[1:], strict=True):
        dataset = open_run_data(read_like(home, path))
        leakage = find_leaks(dataset, known, progress)
        if not leakage.kept:
            raise DataError(
                f"Each of the {len(dataset)} images of {path} is, or nearly duplicates, one that a compared run was "
                "trained or chosen on, so they are not unseen. Give other data."
            )
        kept = dataset.subset(leakage.kept)
        found.append(Domain(name, str(path), kept, leakage.to_json() if leakage.leaks else {}, names[0]))
    return tuple(found)


def _names(paths: Sequence[Path]) -> list[str]:
    """Name data by folder, and number those of one name: names are also those of folders that tables go to."""
    names: list[str] = []
    for path in paths:
        own = Path(path).expanduser().resolve().name or "data"
        free = (name for number in range(1, len(paths) + 1) if (name := f"{own} {number}" if number > 1 else own))
        names.append(next(name for name in free if name not in names))
    return names
