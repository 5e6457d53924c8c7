"""Which images are looked at where not all are."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from disc_data import write_discs

from segtune.core.errors import DataError
from segtune.core.rle import RunLengths
from segtune.core.types import Sample
from segtune.data.dataset import Dataset, open_dataset
from segtune.runs.draw import blind_order, filled, filled_by_turns


def _grouped(*groups, empty=()):
    def unread():
        raise DataError("not asked for")

    one = RunLengths.encode(np.ones((4, 4), dtype=bool))
    return Dataset.of(
        Sample(str(row), (4, 4), () if row in empty else (one,), (), unread, group=group)
        for row, group in enumerate(groups)
    )


def test_groups_take_turns():
    """Of a patient with many slices there is no second before each other patient that shows an object had one."""
    dataset = _grouped(*"aaaaaaaa", *"bbb", "c", "d", None, None, empty=(8, 9, 12))
    order = list(filled_by_turns(dataset, blind_order(dataset, 0, "test")))
    assert sorted(order) == [*range(8), 10, 11, 13, 14]
    assert {dataset.groups[row] for row in order[:5]} == {"a", "b", "c", None}
    assert all(dataset.groups[row] == "a" for row in order[5:])


def test_a_draw_is_by_seed_and_purpose():
    """The same each time, and another for another purpose."""
    dataset = _grouped(*[None] * 20)
    assert blind_order(dataset, 0, "a") == blind_order(dataset, 0, "a")
    assert len({tuple(blind_order(dataset, seed, purpose)) for seed in (0, 1) for purpose in "ab"}) == 4


@pytest.mark.parametrize("broken", [(), (4,)])
def test_only_images_with_objects_are_taken(tmp_path, broken):
    """In the order asked for; a mask that cannot be read is passed over, and none is read that is not needed."""
    dataset = open_dataset(write_discs(tmp_path / "discs", 6, empty={0, 1, 2}))
    for number in broken:
        (tmp_path / "discs" / "masks" / f"{number:03}.png").write_bytes(b"nothing")
    expected = [row for row in (5, 4, 3) if row not in broken]
    assert list(filled(dataset, reversed(range(6)))) == expected
    (tmp_path / "discs" / "masks" / "003.png").unlink()
    assert list(islice(filled(dataset, reversed(range(6))), 1)) == [5]
