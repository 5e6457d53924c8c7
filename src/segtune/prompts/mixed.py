"""Prompts of more than one kind: a point with a box, or one of the two by chance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from segtune.core.rle import BoolMask
from segtune.prompts.boxes import jittered_box, tight_box
from segtune.prompts.objects import ObjectPrompt, counted
from segtune.prompts.points import click, random_click


def point_box(truth: BoolMask, rng: np.random.Generator, *, ignore: BoolMask | None = None) -> ObjectPrompt:
    """Click the object's inner centre and draw its tight box, together; nothing is drawn from `rng`.

    Without an object there is only the click, at the image's centre.
    """
    return replace(click(truth, rng, ignore=ignore), box=tight_box(counted(truth, ignore)))


def alternate(
    truth: BoolMask, rng: np.random.Generator, *, ignore: BoolMask | None = None, box_share: float = 0.5
) -> ObjectPrompt:
    """Give SAM's first training prompt: a random click, or with the chance `box_share` a jittered box.

    `drawn["box"]` says which (1 a box), beside what that prompt drew itself.
    """
    boxed = bool(rng.random() < box_share)
    chosen = jittered_box if boxed else random_click
    prompt = chosen(truth, rng, ignore=ignore)
    return replace(prompt, drawn={"box": float(boxed), **prompt.drawn})
