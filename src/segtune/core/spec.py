"""What names a model: its own name, and behind it the phrase that one which reads text looks for."""

from __future__ import annotations

from pathlib import Path


def part_phrase(spec: str | Path) -> tuple[str, str]:
    """Return what names a model, and the phrase behind it: of "facebook/sam3#polyp" both halves.

    A file or folder that is there is called what it is called, whatever signs its name holds.

    Returns:
        The name, and the phrase or "".
    """
    text = str(spec)
    if "#" not in text or Path(text).expanduser().exists():
        return text, ""
    name, _, phrase = text.rpartition("#")
    return name, " ".join(phrase.split())
