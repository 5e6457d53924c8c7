"""What a user can do about data that is not read as it should be, in words that fit whichever command says them."""

from __future__ import annotations


def option(name: str, value: str) -> str:
    """Return how a user asks for data to be read otherwise: by an option, or where a command has none by a setting."""
    return f"--{name} {value} (with fit and pretrain: --set data.{name.replace('-', '_')}={value})"


MAKE_SMALLER = f"Cut it into tiles, make it smaller, or allow more by {option('pixel-limit', 'N')}."
"""What to do about an image of more pixels than the limit."""
