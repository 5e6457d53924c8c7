"""Sizes of a learning curve, and the nested parts it trains on."""

import pytest

from segtune.core.errors import UsageError
from segtune.data.splits import Split, keep_training
from segtune.runs.curve import parse_sizes


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("25,50", [25, 50, 100]),
        ("0.125,0.5", [12, 50, 100]),
        (" 50, 0.5,100 ", [50, 100]),
        ("0.001", [2, 100]),
        ("", [100]),
    ],
)
def test_sizes_are_numbers_or_shares(text, sizes):
    """Each once, by rising number, with the whole at the end."""
    assert parse_sizes(text, 100) == sizes


@pytest.mark.parametrize("text", ["half", "1.5", "101", "1", "-3", "0.0"])
def test_other_sizes_are_refused(text):
    """No words, no more than there are, and none that nothing can be learned from."""
    with pytest.raises(UsageError, match="--sizes"):
        parse_sizes(text, 100)


def _split(images=40):
    parts = {"train": [f"{number}.png" for number in range(images)], "val": ["v.png"], "test": ["t.png"]}
    return Split.of(parts, seed=0, fractions=(0.7, 0.15, 0.15), origin="drawn")


def test_fewer_training_images_are_among_more():
    """In the split's own order, validation and test untouched; another seed draws others."""
    whole = _split()
    few, more = keep_training(whole, 5, seed=1), keep_training(whole, 20, seed=1)
    assert len(few.train) == 5
    assert set(few.train) < set(more.train) < set(whole.train)
    assert list(more.train) == [name for name in whole.train if name in set(more.train)]
    assert (few.val, few.test) == (whole.val, whole.test)
    assert few.sha256 != whole.sha256
    assert "5 of 40 training images" in few.origin
    assert set(keep_training(whole, 5, seed=2).train) != set(few.train)
    assert keep_training(whole, None) is keep_training(whole, 40) is whole
