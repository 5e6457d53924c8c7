"""Which images are looked at where not all are: drawn blindly, for neighbours in a folder are often alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from segtune.core.errors import DataError
from segtune.data.dataset import Dataset
from segtune.training.examples import generator


def blind_order(dataset: Dataset, seed: int, *purpose: str) -> list[int]:
    """Return the rows of a data set in an order drawn by a seed; each purpose has a draw of its own."""
    return [int(row) for row in generator(seed, *purpose).permutation(len(dataset))]


def filled(dataset: Dataset, order: Iterable[int]) -> Iterator[int]:
    """Yield the rows of images that have an object, in the order given; masks are read when a row is asked for.

    What cannot be read is left out: nothing can be asked about it.
    """
    for row in order:
        try:
            has_object = bool(dataset[row].objects)
        except DataError:
            continue
        if has_object:
            yield row


def filled_by_turns(dataset: Dataset, order: Iterable[int]) -> Iterator[int]:
    """Yield the rows of `filled` so that groups take turns: however few are taken, they are of many patients or videos.

    An image without a group is one of its own.

    Args:
        dataset: whose rows they are.
        order: of the groups, and within each.
    """
    groups = dataset.groups
    rows_of: dict[str | int, list[int]] = {}
    for row in order:
        group = groups[row]
        rows_of.setdefault(row if group is None else group, []).append(row)
    waiting = [filled(dataset, rows) for rows in rows_of.values()]
    while waiting:
        asked, waiting = waiting, []
        for rows in asked:
            if (found := next(rows, None)) is not None:
                yield found
                waiting.append(rows)
