"""What a user can do about data that is not read as it should be, in words that fit whichever command says them."""

from __future__ import annotations


def option(name: str, value: str) -> str:
    """Return how a user asks for data to be read otherwise: by an option, or by a setting of what trains on it."""
    return f"--{name} {value} (with fit and pretrain: --set data.{name}={value})"


MAKE_SMALLER = (
    "Cut it into tiles, make it smaller, or allow more: --pixel-limit N with check, --set data.pixel_limit=N with fit "
    "and pretrain."
)
"""What to do about an image of more pixels than the limit."""
