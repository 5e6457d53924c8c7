"""How the report writes numbers: a fixed number of decimals, no leading zero, a real minus sign."""

from __future__ import annotations

import math
from datetime import datetime

from segtune.core.digits import digits_shown

MISSING = "–"


def decimal(value: float | None, places: int = 3) -> str:
    """Return .856, 1.000 or −.034; a dash where there is no finite number."""
    if value is None or not math.isfinite(value):
        return MISSING
    text = f"{abs(value):.{places}f}"
    short = text.removeprefix("0") if places else text
    # A number that rounds to nothing has no sign.
    return f"−{short}" if value < 0 and float(text) else short


def signed(value: float | None, places: int = 3) -> str:
    """Return +.123 or −.034; .000 where the number rounds to nothing."""
    text = decimal(value, places)
    rises = value is not None and math.isfinite(value) and value > 0 and round(value, places) > 0
    return f"+{text}" if rises else text


def between(low: float | None, high: float | None, places: int = 3) -> str:
    """Return an interval of plain values, .790–.831; nothing where there is none."""
    if low is None or high is None:
        return ""
    return f"{decimal(low, places)}–{decimal(high, places)}"


def signed_between(low: float | None, high: float | None, places: int = 3) -> str:
    """Return an interval of differences, +.131 to +.180; nothing where there is none.

    More places are written where an end that is not zero would read as if it were: whether zero is in it is the point.
    """
    if low is None or high is None:
        return ""
    return " to ".join(signed(end, digits_shown(end, places)) for end in (low, high))


def p_value(p: float | None) -> str:
    """Return .012, or <.001 where more decimals would only pretend."""
    if p is None or not math.isfinite(p):
        return MISSING
    return "<.001" if p < 0.001 else decimal(p)


def count(n: int | float | None) -> str:
    """Return a whole number with thousands separated: 10,000."""
    return MISSING if n is None else f"{round(n):,}"


def duration(seconds: float | None) -> str:
    """Return a time as people say it: 48 s, 6 min 12 s, 2 h 05 min."""
    if seconds is None or not math.isfinite(seconds):
        return MISSING
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    # Rounded before it is split: 1 h 59.6 min is 2 h 00 min.
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def moment(text: str) -> str:
    """Return an ISO 8601 time as people write it, 21 November 2026, 04:19 UTC; any other text as it is."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return text
    zone = "" if time.tzinfo is None else f" {time.tzname()}"
    return f"{time.day} {time:%B %Y, %H:%M}{zone}"


def plain(value: object) -> str:
    """Return any value of a JSON or YAML file as a short text: lists by commas, numbers as they are."""
    if value is None:
        return MISSING
    # Before the numbers: True is an int in Python.
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {plain(item)}" for key, item in value.items()) or MISSING
    if isinstance(value, list | tuple):
        return ", ".join(plain(item) for item in value) or MISSING
    return str(value)
