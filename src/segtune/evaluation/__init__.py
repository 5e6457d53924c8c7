"""The prompt matrix: models × prompt modes × metrics on the same images and prompts, with what the figures are worth.

To add a prompt mode, make a `Mode` (`modes.py`) that names a prompt simulator and its corrections and put its line into
`MODES`. Other packages add theirs through the entry-point group `segtune.modes`. A mode that takes long belongs into
`ON_REQUEST` too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from segtune.core.registry import Registry

if TYPE_CHECKING:
    from segtune.evaluation.modes import Mode

MODES: Registry[Mode] = Registry(
    "prompt mode",
    {
        "click": "segtune.evaluation.modes:CLICK",
        "random_click": "segtune.evaluation.modes:RANDOM_CLICK",
        "clicks3": "segtune.evaluation.modes:CLICKS3",
        "clicks5": "segtune.evaluation.modes:CLICKS5",
        "box": "segtune.evaluation.modes:BOX",
        "loose_box": "segtune.evaluation.modes:LOOSE_BOX",
        "point_box": "segtune.evaluation.modes:POINT_BOX",
        "mask": "segtune.evaluation.modes:MASK",
        "everything": "segtune.evaluation.modes:EVERYTHING",
    },
    group="segtune.modes",
)

ON_REQUEST = frozenset({"everything"})
"""Modes that are scored only when they are named: a thousand clicks an image, where the others take a few an object."""

SENSITIVITY_IMAGES = 50
"""So many images are asked how far masks follow the prompt: two decodes a mode, and the encoder where it must run."""


def default_modes() -> tuple[str, ...]:
    """Return the names of the modes that are scored when none are named."""
    return tuple(name for name in MODES if name not in ON_REQUEST)
