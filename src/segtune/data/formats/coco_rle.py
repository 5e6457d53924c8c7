"""COCO's compressed run lengths: signed numbers in base 32, each against the one before last."""

from __future__ import annotations

from typing import Any

import numpy as np

from segtune.core.rle import Counts, narrow

_OFFSET = 48  # "0"
_BITS = 5
_MORE = 0x20  # another character of this number follows
_SIGN = 0x10  # in a number's last character: it is negative
_LONGEST = 12
"""Characters of a number at most: 60 bits, which shifts of 64 hold."""


def decompress(text: str) -> Counts:
    """Return the run lengths in a compressed string.

    Raises:
        ValueError: it is not one.
    """
    codes = np.frombuffer(text.encode("ascii"), dtype=np.uint8).astype(np.int64) - _OFFSET
    if codes.size == 0:
        return narrow(np.zeros(0, dtype=np.int64))
    if codes.min() < 0 or codes.max() >= 64 or codes[-1] & _MORE:
        raise ValueError("not a compressed run-length string")
    last = np.flatnonzero((codes & _MORE) == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    place = np.arange(codes.size) - np.repeat(first, last - first + 1)
    if place.max() >= _LONGEST:
        raise ValueError("a run-length string with lengths that no image has")
    # The low digits come first.
    values = np.add.reduceat((codes & (_MORE - 1)) << (_BITS * place), first)
    negative = (codes[last] & _SIGN) != 0
    values = np.where(negative, values - (1 << (_BITS * (last - first + 1))), values)
    # From the fourth on each is stored less the one before last, which leaves the first apart from both chains.
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    if values.min() < 0:
        raise ValueError("a run-length string with negative lengths")
    return narrow(values)


def compress(counts: Counts) -> str:
    """Return run lengths as a compressed string."""
    values = counts.astype(np.int64)
    values[3:] -= counts[1:-2].astype(np.int64)
    # Of 7 characters or fewer is any difference of two 32-bit counts.
    longest = 7 if counts.dtype == np.uint32 else _LONGEST
    places = np.arange(longest)
    digits = (values[:, None] >> (_BITS * places)) & (_MORE - 1)
    # k characters hold a signed number of 5 k bits.
    reach = 1 << (_BITS * (places + 1) - 1)
    length = longest - ((values[:, None] >= -reach) & (values[:, None] < reach)).sum(axis=1) + 1
    used = places < length[:, None]
    more = places < length[:, None] - 1
    codes = (digits + _MORE * more + _OFFSET)[used].astype(np.uint8)
    return bytes(codes).decode("ascii")


def read_counts(counts: Any) -> Counts:
    """Return run lengths from what a JSON file holds: a compressed string or a list of numbers.

    Raises:
        ValueError: neither.
    """
    if isinstance(counts, str):
        return decompress(counts)
    numbers = np.array(counts, dtype=np.int64)
    # In 32 unsigned bits a negative length would become a huge one.
    if numbers.ndim != 1 or numbers.min(initial=0) < 0:
        raise ValueError("run lengths must be a list of numbers from 0")
    return narrow(numbers)
