"""Drawn images with exact masks: what `nano` learns from, and the suite that shows what tuning makes it forget.

`draw_scene` assembles `data.textures` (surfaces), `data.shapes` (outlines), `data.figures` (wholes and parts),
`data.canvas` (who is seen where) and `data.light` (shading, camera). The same seed, theme and side give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from segtune.core.errors import UsageError, unknown_name
from segtune.core.rle import RunLengths
from segtune.core.types import Image, Sample
from segtune.data.canvas import Canvas, soften
from segtune.data.demo import draw_lumps, write_demo
from segtune.data.figures import FIGURES, SLOTS, Part
from segtune.data.light import Light, cast_shadow, draw_camera, draw_light, relief
from segtune.data.shapes import (
    HELD_OUT,
    MASSIVE,
    SHAPES,
    Contour,
    Drawer,
    Outline,
    Patch,
    ellipse,
    rasterise,
    rectangle,
    turn,
)
from segtune.data.textures import TILE, FloatArray, Material, Palette, cut, draw_material, natural_colour

__all__ = ["LAYOUTS", "THEMES", "draw_scene", "write_demo"]

MOST_OBJECTS = 40
SMALLEST_SIDE = 32


@dataclass(frozen=True)
class _Held:
    """Hands out copies of an image kept in memory; a class, so that samples can travel between processes."""

    image: Image

    def __call__(self) -> Image:
        return self.image.copy()


@dataclass
class Scene:
    """A scene being drawn: the canvas, and what all its things share.

    Attributes:
        canvas: where it is painted.
        rng: its source of randomness.
        palette: its colours.
        light: its lamp.
        shapes: kinds of outline that may appear.
    """

    canvas: Canvas
    rng: np.random.Generator
    palette: Palette
    light: Light
    shapes: dict[str, Drawer]

    @property
    def side(self) -> int:
        """Length in pixels that sizes relate to."""
        return self.canvas.side

    @property
    def everywhere(self) -> Patch:
        """The whole image as a patch."""
        height, width = self.canvas.size
        return Patch((slice(0, height), slice(0, width)), np.ones((height, width), np.float32))

    def place(self) -> Contour:
        """Draw a place in the image, x and y in pixels."""
        height, width = self.canvas.size
        return self.rng.uniform(-0.02, 1.02, 2) * (width, height)


def draw_scene(seed: int, *, side: int = 512, theme: str = "general") -> Sample:
    """Draw one image with its objects, parts of objects included (masks of a whole and of its parts overlap).

    Args:
        seed: 0 or more; each theme has seeds of its own.
        side: longest side of the image in pixels; the shorter one is 0.6 to 1 times that.
        theme: "general" (pretraining), "suite" (kinds of things that "general" never shows, beside shared ones) or
            "demo" (`data.demo`; may have no object).

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
    while True:
        scene = _begin(rng, side, theme)
        names, weights = zip(*((name, weight) for name, (_, weight) in LAYOUTS.items()), strict=True)
        layout = str(rng.choice(names, p=np.array(weights) / sum(weights)))
        LAYOUTS[layout][0](scene)
        objects, labels = scene.canvas.masks(rng, MOST_OBJECTS)
        # A scene whose things all hid each other or lie outside is drawn anew from the same stream.
        if objects:
            image = draw_camera(rng, side).take(scene.canvas, rng)
            return _sample(theme, seed, image, objects, labels)


def _sample(theme: str, seed: int, image: Image, objects: tuple[RunLengths, ...], labels: tuple[str, ...]) -> Sample:
    return Sample(f"{theme}-{seed}", (image.shape[0], image.shape[1]), objects, labels, _Held(image))


def _begin(rng: np.random.Generator, side: int, theme: str) -> Scene:
    shorter = side if rng.random() < 0.4 else max(SMALLEST_SIDE, round(side * float(rng.uniform(0.6, 1.0))))
    size = (side, shorter) if rng.random() < 0.3 else (shorter, side)
    chroma = float(rng.uniform(0.05, 0.4))
    palette = Palette(natural_colour(rng, chroma, (0.2, 0.8)), float(rng.beta(1, 3)), chroma, (0.06, 0.95))
    shapes = SHAPES if theme == "general" else {**SHAPES, **HELD_OUT, **HELD_OUT}
    return Scene(Canvas(size, side), rng, palette, draw_light(rng), shapes)


def _photo(scene: Scene) -> None:
    """A few things, mostly composite, in front of a ground of a few regions: an everyday photo."""
    rng = scene.rng
    _ground(scene, regions=int(rng.integers(1, 4)))
    for _ in range(int(rng.integers(0, 5))):
        _thing(scene, scale=float(np.exp(rng.uniform(np.log(0.04), np.log(0.25)))), composite=0.4)
    if rng.random() < 0.35:
        _defocus(scene)
    for _ in range(1 + int(rng.geometric(0.45))):
        _thing(scene, scale=float(np.exp(rng.uniform(np.log(0.1), np.log(0.5)))), composite=0.7)
    for _ in range(int(rng.integers(0, 4))):
        _thing(scene, scale=float(np.exp(rng.uniform(np.log(0.02), np.log(0.12)))), composite=0.2)


def _still_life(scene: Scene) -> None:
    """Many single shapes of all kinds and sizes."""
    _ground(scene, regions=int(scene.rng.integers(1, 3)))
    for _ in range(int(scene.rng.integers(3, 14))):
        _thing(scene, scale=float(np.exp(scene.rng.uniform(np.log(0.03), np.log(0.4)))), composite=0.15)


def _faint(scene: Scene) -> None:
    """A surface of one colour with things of nearly the same: lumps, stains, dents, marks."""
    rng = scene.rng
    scene.palette = Palette(scene.palette.centre, float(rng.uniform(0.6, 0.97)), scene.palette.chroma, (0.2, 0.8))
    _ground(scene, regions=1 if rng.random() < 0.7 else 2)
    _folds(scene)
    for _ in range(1 + int(rng.geometric(0.5))):
        _faint_thing(scene, float(np.exp(rng.uniform(np.log(0.06), np.log(0.38)))))
    if rng.random() < 0.5:
        _glints(scene)
    if rng.random() < 0.25:
        _porthole(scene)


def _crowd(scene: Scene) -> None:
    """Many things of one kind and size: cells, stones, fruit, a herd seen from far."""
    rng = scene.rng
    dark = rng.random() < 0.5
    if dark:
        scene.palette = Palette(np.full(3, 0.02, np.float32), 0.9, 0.1, (0.0, 0.2))
    _ground(scene, regions=1)
    bright = Palette(natural_colour(rng, scene.palette.chroma, (0.3, 0.95)), 0.9, 0.3, (0.2, 1.0))
    material = draw_material(rng, bright if dark else scene.palette, contrast=0.7)
    kind = str(rng.choice(["blob", "ellipse", "ellipse", "blob", *scene.shapes]))
    count = int(np.exp(rng.uniform(np.log(6), np.log(70))))
    scale = float(rng.uniform(0.25, 0.75)) / np.sqrt(count)
    look = _draw_look(scene, soft=float(rng.gamma(1.2, 0.004)))
    centres = rng.normal(0.5, 0.25, (count, 2)) if rng.random() < 0.25 else rng.uniform(0, 1, (count, 2))
    for centre in centres * scene.canvas.size[::-1]:
        size = scale * float(np.exp(rng.normal(0, 0.2)))
        matrix = turn(float(rng.uniform(0, 6.3)), size * scene.side)
        outline = scene.shapes[kind](rng).moved(matrix, centre)
        one = material.recoloured(np.asarray(material.colour * np.exp(rng.normal(0, 0.2)), np.float32))
        _paint(scene, outline, one, look, scene.canvas.add(kind))


def _aerial(scene: Scene) -> None:
    """Land from above: large ragged regions, lines, and many small things."""
    rng = scene.rng
    _ground(scene, regions=1)
    for _ in range(int(rng.integers(1, 4))):
        _region(scene, float(rng.uniform(0.15, 0.65)), straight=float(rng.uniform(0, 1.0)))
    for _ in range(int(rng.integers(0, 3))):
        _thing(scene, scale=float(rng.uniform(0.2, 0.6)), kinds=("branches", "bar", "polygon"))
    for _ in range(int(rng.integers(1, 4))):
        material, look = draw_material(rng, scene.palette), _draw_look(scene)
        kind = str(rng.choice(["rectangle", "rectangle", "blob", "clump", "polygon"]))
        scale = float(np.exp(rng.uniform(np.log(0.01), np.log(0.07))))
        hub, spread, angle = scene.place(), rng.uniform(0.05, 0.4) * scene.side, rng.uniform(0, 3)
        for _ in range(int(rng.integers(2, 20))):
            matrix = turn(angle + rng.normal(0, 0.2), scale * scene.side * float(np.exp(rng.normal(0, 0.25))))
            outline = scene.shapes[kind](rng).moved(matrix, hub + rng.normal(0, spread, 2))
            one = material.recoloured(np.asarray(material.colour * np.exp(rng.normal(0, 0.12)), np.float32))
            _paint(scene, outline, one, look, scene.canvas.add(kind))


LAYOUTS: dict[str, tuple[Callable[[Scene], None], float]] = {
    "photo": (_photo, 0.44),
    "still_life": (_still_life, 0.16),
    "faint": (_faint, 0.18),
    "crowd": (_crowd, 0.1),
    "aerial": (_aerial, 0.12),
}
"""Kinds of scene and how often each is drawn."""

THEMES = ("general", "suite", "demo")


def _ground(scene: Scene, regions: int) -> None:
    """Fill the image: one surface, then up to two regions across it (a floor, a sky, water)."""
    everywhere = scene.everywhere
    material = draw_material(scene.rng, scene.palette, contrast=float(scene.rng.uniform(0.2, 1.3)))
    scene.canvas.image[:] = material.paint(everywhere.window, scene.side)
    for _ in range(regions - 1):
        straight = float(scene.rng.choice([1.0, 0.98, 0.8, 0.4]))
        _region(scene, float(scene.rng.uniform(0.2, 0.7)), straight)


def _region(scene: Scene, share: float, straight: float) -> None:
    """Paint a region that covers a `share` of the image; its border is a line at `straight` 1, ragged below."""
    rng, (height, width) = scene.rng, scene.canvas.size
    angle = rng.choice([np.pi / 2, -np.pi / 2, rng.uniform(0, 6.3)], p=[0.5, 0.1, 0.4]) + rng.normal(0, 0.06)
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None] * np.float32(np.sin(angle))
    x = np.linspace(-1, 1, width, dtype=np.float32)[None] * np.float32(np.cos(angle))
    field = y + x
    if straight < 1:
        kind = str(rng.choice(["cloud", "hills", "hills", "swell"]))
        origin = (int(rng.integers(TILE)), int(rng.integers(TILE)))
        rough = cut(kind, 0, origin, (height, width), float(rng.uniform(0.7, 2.5)) * scene.side / 512)
        field = np.float32(straight) * field + np.float32(1 - straight) * 0.9 * rough
    level = np.quantile(field[::8, ::8], 1 - share)
    # The field's slope is some 1/side a pixel: this factor makes the border about a pixel wide.
    cover = ((field - np.float32(level)) * np.float32(scene.side * 0.35) + 0.5).clip(0, 1)
    patch = Patch((slice(0, height), slice(0, width)), np.asarray(cover, np.float32))
    material = draw_material(rng, scene.palette, contrast=float(rng.uniform(0.2, 1.3)))
    scene.canvas.lay(patch, material.paint(patch.window, scene.side), scene.canvas.add("region"))


@dataclass(frozen=True)
class _Look:
    """How a thing is lit: rounding 0 flat to 1 ball, shading strength, gloss, shadow depth and offset, edge softness."""

    rounding: float
    shading: float
    gloss: float
    shadow: float
    offset: float
    soft: float
    opacity: float


def _draw_look(scene: Scene, soft: float | None = None) -> _Look:
    rng = scene.rng
    solid = rng.random() < 0.6
    return _Look(
        rounding=float(rng.uniform(0.1, 1.0)),
        shading=float(rng.uniform(0.2, 1.0)) if solid else 0.0,
        gloss=float(rng.uniform(0.1, 0.8)) if solid and rng.random() < 0.35 else 0.0,
        shadow=float(rng.uniform(0.1, 0.6)) if rng.random() < 0.55 else 0.0,
        offset=float(rng.uniform(0, 0.3)),
        soft=float(rng.gamma(1.0, 0.0015)) if soft is None else soft,
        opacity=float(rng.uniform(0.35, 0.9)) if rng.random() < 0.06 else 1.0,
    )


def _thing(scene: Scene, scale: float, composite: float = 0.0, kinds: tuple[str, ...] | None = None) -> None:
    """Draw one thing of a size (half of its extent, as a share of the side), composite with some probability."""
    rng = scene.rng
    matrix = turn(
        _upright(rng),
        scale * scene.side * (1 if rng.random() < 0.5 else -1),
        scale * scene.side * rng.uniform(0.8, 1.25),
    )
    look = _draw_look(scene)
    if rng.random() < composite:
        kind = str(rng.choice(list(FIGURES)))
        materials = [draw_material(rng, scene.palette) for _ in range(SLOTS)]
        _figure(scene, FIGURES[kind](rng), kind, matrix, materials, look)
        return
    kind = str(rng.choice(kinds or (*scene.shapes, *MASSIVE)))
    if rng.random() < 0.08:
        _faint_thing(scene, scale, kind)
        return
    outline = scene.shapes[kind](rng).moved(matrix @ turn(rng.uniform(0, 6.3)), scene.place())
    _paint(scene, outline, draw_material(rng, scene.palette), look, scene.canvas.add(kind))


def _upright(rng: np.random.Generator) -> float:
    return float(rng.normal(0, 0.12) if rng.random() < 0.7 else rng.uniform(0, 2 * np.pi))


def _figure(
    scene: Scene, figure: tuple[Part, ...], kind: str, matrix: Contour, materials: list[Material], look: _Look
) -> None:
    place = scene.place()
    whole = scene.canvas.add(kind)
    if look.shadow:
        joined = Outline(tuple(c for part in figure for c in part.outline.contours), joined=True).moved(matrix, place)
        patch = rasterise(joined, scene.canvas.size)
        if patch is not None:
            _shadow(scene, patch, look)
    for part in figure:
        _part(scene, part, (matrix, place), whole, materials, look, None)


def _part(
    scene: Scene, part: Part, pose: tuple[Contour, Contour], parent: int, materials: list[Material], look: _Look,
    bounds: Patch | None,
) -> None:  # fmt: skip
    patch = rasterise(part.outline.moved(*pose), scene.canvas.size)
    if patch is None:
        return
    if part.inside and bounds is not None:
        patch = _intersect(patch, bounds)
        if patch is None:
            return
    thing = scene.canvas.add(part.label, parent, annotated=bool(part.label))
    _lay(scene, soften(patch, look.soft * scene.side), materials[part.slot], look, thing)
    for child in part.parts:
        _part(scene, child, pose, thing, materials, look, patch)


def _intersect(patch: Patch, bounds: Patch) -> Patch | None:
    rows, columns = (
        slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(patch.window, bounds.window, strict=True)
    )
    if rows.stop - rows.start < 2 or columns.stop - columns.start < 2:
        return None
    one, other = (
        each.cover[rows.start - each.window[0].start : rows.stop - each.window[0].start,
                   columns.start - each.window[1].start : columns.stop - each.window[1].start]
        for each in (patch, bounds)
    )  # fmt: skip
    return Patch((rows, columns), np.minimum(one, other))


def _paint(scene: Scene, outline: Outline, material: Material, look: _Look, thing: int) -> None:
    patch = rasterise(outline, scene.canvas.size, margin=2 + int(3 * look.soft * scene.side))
    if patch is None:
        return
    if look.shadow:
        _shadow(scene, patch, look)
    _lay(scene, soften(patch, look.soft * scene.side), material, look, thing)


def _lay(scene: Scene, patch: Patch, material: Material, look: _Look, thing: int) -> None:
    surface = material.paint(patch.window, scene.side)
    if look.shading and min(patch.cover.shape) > 6:
        shade, highlight = relief(patch, scene.light, rounding=look.rounding)
        surface *= 1 + np.float32(look.shading) * (shade - 1)
        if look.gloss:
            surface += np.float32(look.gloss) * highlight
    scene.canvas.lay(patch, surface, thing, look.opacity)


def _shadow(scene: Scene, patch: Patch, look: _Look) -> None:
    reach = look.offset * min(max(patch.cover.shape), 0.4 * scene.side)
    x, y, _ = scene.light.direction
    cast_shadow(scene.canvas, patch, (-x * reach, -y * reach), max(1.0, 0.35 * reach), look.shadow)


def _faint_thing(scene: Scene, scale: float, kind: str | None = None) -> None:
    """Change the ground only a little: its brightness, its hue, its grain or its relief, more than one of them often."""
    rng, canvas = scene.rng, scene.canvas
    kind = kind or str(rng.choice([*MASSIVE, "blob", "blob", "blob", "ellipse", "ellipse", "branches", "bar"]))
    matrix = turn(rng.uniform(0, 6.3), scale * scene.side)
    soft = float(rng.gamma(1.3, 0.006)) * scene.side
    patch = rasterise(scene.shapes[kind](rng).moved(matrix, scene.place()), canvas.size, margin=2 + int(3 * soft))
    if patch is None:
        return
    patch = soften(patch, min(soft, 0.15 * min(patch.cover.shape)))
    thing = canvas.add(kind)
    lump = rng.random() < 0.65
    step = 0.5 if lump else 1.0
    gain = np.exp(rng.choice([-1, 1]) * rng.uniform(0.03, 0.35) * step + rng.normal(0, 0.06, 3))
    canvas.tone(patch, np.asarray(gain, np.float32)[:, None, None])
    if lump:
        shade, highlight = relief(patch, scene.light, rounding=float(rng.uniform(0.3, 1.0)))
        canvas.tone(patch, 1 + np.float32(rng.uniform(0.15, 0.8)) * (shade - 1))
        if rng.random() < 0.4:
            canvas.image[:, patch.window[0], patch.window[1]] += (
                np.float32(rng.uniform(0.1, 0.7)) * highlight * patch.cover
            )
    if rng.random() < 0.5:
        shape = (patch.cover.shape[0], patch.cover.shape[1])
        grain = cut(str(rng.choice(["mottle", "rough", "grain", "spots", "pebbles", "fibre"])), 0,
                    (int(rng.integers(TILE)), int(rng.integers(TILE))), shape, float(rng.uniform(0.4, 2)) * scene.side / 512)  # fmt: skip
        canvas.tone(patch, 1 + np.float32(rng.uniform(0.02, 0.12)) * grain)
    if rng.random() < 0.3:
        _edge_shade(scene, patch)
    canvas.claim(patch, thing)


def _edge_shade(scene: Scene, patch: Patch) -> None:
    """Darken the rim, where a lump meets the ground."""
    radius = max(1.0, 0.03 * min(patch.cover.shape))
    rim = np.abs(patch.cover - cv2.GaussianBlur(patch.cover, (0, 0), radius))
    scene.canvas.tone(Patch(patch.window, np.asarray(rim, np.float32)), float(scene.rng.uniform(0.3, 0.8)))


def _folds(scene: Scene) -> None:
    """Give the ground a relief of its own: waves, folds, dents."""
    rng, (height, width) = scene.rng, scene.canvas.size
    small = (max(8, height // 6), max(8, width // 6))
    kind = str(rng.choice(["hills", "swell", "marble", "ridges", "cells"]))
    origin = (int(rng.integers(TILE)), int(rng.integers(TILE)))
    field = cv2.GaussianBlur(cut(kind, 0, origin, small, float(rng.uniform(0.15, 0.6)) * scene.side / 512), (0, 0), 1.5)
    x, y, _ = scene.light.direction
    slope = cv2.Sobel(field, cv2.CV_32F, 1, 0) * x + cv2.Sobel(field, cv2.CV_32F, 0, 1) * y
    slope /= max(float(slope.std()), 1e-6)
    shade = cv2.resize((1 - np.float32(rng.uniform(0.02, 0.2)) * slope).clip(0.3, 1.7), (width, height))
    scene.canvas.image *= shade


def _glints(scene: Scene) -> None:
    """Scatter small white highlights, as on something wet."""
    rng, canvas = scene.rng, scene.canvas
    hub, spread = scene.place(), rng.uniform(0.1, 0.5) * scene.side
    for _ in range(int(rng.integers(3, 40))):
        scale = scene.side * float(np.exp(rng.uniform(np.log(0.002), np.log(0.02))))
        matrix = turn(rng.normal(0.5, 0.6), scale, scale * rng.uniform(0.2, 1))
        patch = rasterise(SHAPES["blob"](rng).moved(matrix, hub + rng.normal(0, spread, 2)), canvas.size)
        if patch is not None:
            region = canvas.image[:, patch.window[0], patch.window[1]]
            region += patch.cover * np.float32(rng.uniform(0.3, 1.0))


def _porthole(scene: Scene) -> None:
    """Hide the rim behind a dark frame, as seen through a tube."""
    rng, (height, width) = scene.rng, scene.canvas.size
    hole = ellipse(rng, aspect=1.0) if rng.random() < 0.5 else rectangle(rng, aspect=1.0)
    reach = rng.uniform(0.9, 1.25)
    outline = hole.moved(turn(0, reach * width / 2, reach * height / 2), (width / 2, height / 2))
    patch = rasterise(outline, scene.canvas.size)
    if patch is None:
        return
    frame = np.ones(scene.canvas.size, np.float32)
    frame[patch.window] -= patch.cover
    scene.canvas.lay(Patch(scene.everywhere.window, frame), _flat(rng), 0)


def _flat(rng: np.random.Generator) -> FloatArray:
    return np.full((3, 1, 1), rng.uniform(0, 0.06), np.float32)


def _defocus(scene: Scene) -> None:
    radius = float(scene.rng.uniform(0.002, 0.012)) * scene.side
    for plane in scene.canvas.image:
        cv2.GaussianBlur(plane, (0, 0), radius, dst=plane)
