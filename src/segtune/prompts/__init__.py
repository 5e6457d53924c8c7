"""Prompt simulators: from an object's truth and a generator to the prompt a person might have given.

To add one, write `prompts/<prompt>.py` with a function (truth, rng, *, ignore=None) → ObjectPrompt and put its line
into `PROMPTS`. Everything it draws goes into `ObjectPrompt.drawn`. An object without a pixel has neither box nor
inside: every simulator then clicks the image's centre (`prompts.points.centre_click`). Other packages add theirs
through the entry-point group `segtune.prompts`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from segtune.core.registry import Registry

if TYPE_CHECKING:
    import numpy as np

    from segtune.core.rle import BoolMask
    from segtune.prompts.objects import ObjectPrompt


class Simulator(Protocol):
    """Draw one prompt for one object, in original-image pixels."""

    def __call__(self, truth: BoolMask, rng: np.random.Generator, *, ignore: BoolMask | None = None) -> ObjectPrompt:
        """Return a prompt for `truth`, bool [H, W]; no click lies on a pixel of `ignore`, bool [H, W]."""
        ...


PROMPTS: Registry[Simulator] = Registry(
    "prompt",
    {
        "click": "segtune.prompts.points:click",
        "random_click": "segtune.prompts.points:random_click",
        "box": "segtune.prompts.boxes:box",
        "loose_box": "segtune.prompts.boxes:loose_box",
        "jittered_box": "segtune.prompts.boxes:jittered_box",
        "inner_box": "segtune.prompts.boxes:inner_box",
        "point_box": "segtune.prompts.mixed:point_box",
        "alternate": "segtune.prompts.mixed:alternate",
        "mask": "segtune.prompts.masks:mask",
    },
    "segtune.prompts",
)
