"""What names a model: its own name, and behind it the phrase that one which reads text looks for."""

from __future__ import annotations

from pathlib import Path


def part_phrase(spec: str | Path) -> tuple[str, str]:
    """Return what names a model, and the phrase behind it: of "facebook/sam3#polyp" both halves.

    A file or folder that is there is called what it is called, whatever signs its name holds, and so is what lies in
    it: a phrase has no slash.

    Returns:
        The name, and the phrase or "".
    """
    text = str(spec)
    name, _, phrase = text.rpartition("#")
    if not name or "/" in phrase or "\\" in phrase or _is_there(text):
        return text, ""
    return name, " ".join(phrase.split())


def _is_there(name: str) -> bool:
    try:
        return Path(name).expanduser().exists()
    except OSError:  # longer than any name may be
        return False
