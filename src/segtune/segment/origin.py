"""How the run that a model came of read its images: the room of runs tells, which this one knows by name alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from segtune.core.registry import Registry
from segtune.data.reading import BY_CONTENT, Reading
from segtune.models.family import PromptableModel

ORIGINS: Registry[Callable[[Path], Reading | None]] = Registry(
    "kind of origin",
    {
        "run": "segtune.runs.known:reading_of",
    },
    group="segtune.origins",
)
"""Each says how images are read for a model opened from a path; None: it knows nothing of that."""


def reading_for(model: PromptableModel) -> Reading:
    """Return how images are read for a model: as the run that it came of read its data, else as each file says.

    Raises:
        UsageError: the settings of that run are damaged.
    """
    if model.source is None:
        return BY_CONTENT
    found = (ORIGINS[name](model.source) for name in ORIGINS)
    return next((one for one in found if one is not None), BY_CONTENT)
