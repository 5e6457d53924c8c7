"""A stream of several data sets: every image in its turn, mixed by shares, found by any worker from the row alone."""

from __future__ import annotations

from collections import Counter

import pytest

from segtune.data.drawn import drawn_dataset
from segtune.data.stream import stream


def _parts(shares, size=1000):
    """Data sets of `size` images each, none in two."""
    return [(drawn_dataset(size, side=64, first=10_000 * number), share) for number, share in enumerate(shares)]


def _seen(parts, count):
    """Return part and image of each row."""
    drawn = stream(parts, count)
    place = {part.image_hash(row): (number, row) for number, (part, _) in enumerate(parts) for row in range(len(part))}
    return [place[drawn.image_hash(row)] for row in range(count)]


def test_a_pass_over_two_parts_sees_each_image_once():
    """None is left out and none comes twice, in the order of its part."""
    seen = _seen(_parts((1.0, 1.0)), 2000)
    assert Counter(seen) == Counter((part, row) for part in (0, 1) for row in range(1000))
    assert [row for part, row in seen if part == 0] == list(range(1000))


@pytest.mark.parametrize("shares", [(1.0, 3.0), (3.0, 1.0), (0.1, 0.2, 0.7), (5.0, 1.0, 1.0, 2.0), (1.0, 1e-9)])
def test_shares_hold_at_any_row(shares):
    """However far it is read, each part has come by its share, to the image or so; a part that ends begins again."""
    seen = _seen(_parts(shares, size=300), 2000)
    came = Counter()
    for row, (part, image) in enumerate(seen):
        assert image == came[part] % 300
        came[part] += 1
        for number, share in enumerate(shares):
            assert abs(came[number] - (row + 1) * share / sum(shares)) <= (1 if len(shares) < 4 else 1.5)


def test_a_part_of_its_own_is_seen_from_end_to_end():
    """Row after row, then from the beginning again."""
    assert _seen(_parts((0.3,), size=7), 20) == [(0, row % 7) for row in range(20)]


def test_a_late_row_is_found_without_those_before_it():
    """Its place follows from its number: a stream of a billion rows is as quick to look into at its end."""
    parts = _parts((0.1, 0.2, 0.7))
    drawn = stream(parts, 1_000_000_000)
    last = [drawn.image_hash(row) for row in range(999_999_990, 1_000_000_000)]
    own = [{part.image_hash(row) for row in range(len(part))} for part, _ in parts]
    assert [sum(one in of for one in last) for of in own] == [1, 2, 7]
