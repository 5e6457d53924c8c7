"""The prompt matrix: models × prompt modes × metrics on the same images and prompts, with what the figures are worth.

To add a prompt mode, make a `Mode` (`modes.py`) that names a prompt simulator and its corrections and put its line into
`MODES`. Other packages add theirs through the entry-point group `segtune.modes`.
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
    },
    group="segtune.modes",
)
