"""How many digits a number takes to be read for what it is."""

from __future__ import annotations

_MOST = 6


def digits_shown(value: float, least: int) -> int:
    """Return as many decimals, from `least` to six, as it takes for a number that is not zero not to read as zero."""
    digits = least
    while value and digits < _MOST and not round(value, digits):
        digits += 1
    return digits
