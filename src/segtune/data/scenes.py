"""Drawn images with exact masks: what `nano` learns from, and the suite that shows what tuning makes it forget.

`data.layouts` says what is in a scene, `data.painting` puts one thing on the canvas. Below them: `data.textures`
(surfaces), `data.shapes` (outlines), `data.figures` (wholes of parts), `data.held_out` (both, of the suite alone),
`data.canvas` (who is seen where) and `data.light` (shading, camera). The same seed, theme and side give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segtune.core.errors import UsageError, unknown_name
from segtune.core.rle import RunLengths
from segtune.core.types import Image, Sample
from segtune.data.canvas import SMALLEST_AREA, Canvas
from segtune.data.cutouts import Cutouts
from segtune.data.demo import draw_lumps, write_demo
from segtune.data.figures import FIGURES
from segtune.data.held_out import HELD_OUT, HELD_OUT_FIGURES, STAND_INS
from segtune.data.layouts import LAYOUTS
from segtune.data.light import draw_camera, draw_light
from segtune.data.painting import Kinds, Scene
from segtune.data.shapes import SHAPES
from segtune.data.textures import Palette, natural_colour

__all__ = ["MOST_OBJECTS", "SMALLEST_SIDE", "THEMES", "draw_scene", "write_demo"]

THEMES = ("general", "suite", "demo")
"""Kinds of drawing; the place of a theme is part of its seeds, so that no two themes ever draw the same."""

MOST_OBJECTS = 40
SMALLEST_SIDE = 32

_GENERAL = Kinds(SHAPES, FIGURES)
_SUITE = Kinds(HELD_OUT, HELD_OUT_FIGURES, STAND_INS)
"""Nothing of the general theme's: its regions of the ground, and signs on a frame, may lie there and are no objects."""


@dataclass(frozen=True)
class _Held:
    """Hands out copies of an image kept in memory; a class, so that samples can travel between processes."""

    image: Image

    def __call__(self) -> Image:
        return self.image.copy()


def draw_scene(seed: int, *, side: int = 512, theme: str = "general", cutouts: Cutouts | None = None) -> Sample:
    """Draw one image with its objects, parts of objects included (masks of a whole and of its parts overlap).

    Args:
        seed: 0 or more; each theme has seeds of its own.
        side: longest side of the image in pixels; the shorter one is 0.6 to 1 times that.
        theme: "general" (pretraining), "suite" (things of kinds that "general" never shows, on grounds like its own,
            which are no objects there) or "demo" (`data.demo`; may have no object).
        cutouts: pictures that are things of it too; the demo has none.

    Returns:
        A sample of up to 40 objects, at least one but in the demo, with the masks of their visible pixels.

    Raises:
        UsageError: on an unknown theme, a negative seed or a side under 32.
    """
    if theme not in THEMES:
        raise unknown_name("theme", theme, THEMES)
    if seed < 0 or side < SMALLEST_SIDE:
        raise UsageError(
            f"A scene needs a seed of 0 or more and a side of {SMALLEST_SIDE} or more, not {seed} and {side}."
        )
    if theme == "demo":
        lumps = draw_lumps(seed, side=side)
        objects = tuple(RunLengths.encode(cover > 0.5) for cover in lumps.covers)
        return _sample(theme, seed, lumps.image, objects, ("lump",) * len(objects))
    rng = np.random.default_rng([THEMES.index(theme), seed])
    names, weights = zip(*((name, weight) for name, (_, weight) in LAYOUTS.items()), strict=True)
    while True:
        scene, camera = _begin(rng, side, theme, cutouts), draw_camera(rng, side)
        layout = str(rng.choice(names, p=np.array(weights) / sum(weights)))
        LAYOUTS[layout][0](scene)
        # What the camera blurs away is no object.
        smallest = max(SMALLEST_AREA, int((3 * camera.blur) ** 2))
        objects, labels = scene.canvas.masks(rng, MOST_OBJECTS, smallest)
        if theme == "suite":
            objects, labels = _held_out(objects, labels)
        # A scene whose things all hid each other or lie outside is drawn anew from the same stream.
        if objects:
            return _sample(theme, seed, camera.take(scene.canvas, rng), objects, labels)


def _held_out(objects: Sequence[RunLengths], labels: Sequence[str]) -> tuple[tuple[RunLengths, ...], tuple[str, ...]]:
    """Leave out what "general" shows too: regions of the ground and lines of signs."""
    kept = [number for number, label in enumerate(labels) if label in HELD_OUT or label in HELD_OUT_FIGURES]
    return tuple(objects[number] for number in kept), tuple(labels[number] for number in kept)


def _sample(theme: str, seed: int, image: Image, objects: tuple[RunLengths, ...], labels: tuple[str, ...]) -> Sample:
    return Sample(f"{theme}-{seed}", (image.shape[0], image.shape[1]), objects, labels, _Held(image))


def _begin(rng: np.random.Generator, side: int, theme: str, cutouts: Cutouts | None) -> Scene:
    shorter = side if rng.random() < 0.4 else max(SMALLEST_SIDE, round(side * float(rng.uniform(0.6, 1.0))))
    size = (side, shorter) if rng.random() < 0.3 else (shorter, side)
    chroma = float(rng.uniform(0.3, 1.6))
    palette = Palette(natural_colour(rng, chroma, (0.2, 0.8)), float(rng.beta(1, 4)), chroma, (0.06, 0.95))
    return Scene(Canvas(size, side), rng, palette, draw_light(rng), _SUITE if theme == "suite" else _GENERAL, cutouts)
