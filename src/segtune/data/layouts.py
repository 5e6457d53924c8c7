"""Kinds of scene: which ground, which things, how many and how large."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from segtune.data.cutouts import Cutouts, recolour
from segtune.data.painting import Look, Scene, draw_look, paint, paint_cutout, paint_faint, paint_thing
from segtune.data.shapes import SHAPES, Contour, Outline, Patch, ellipse, rasterise, rectangle, turn
from segtune.data.textures import Material, Palette, draw_material, natural_colour
from segtune.data.tiles import pick


def photo(scene: Scene) -> None:
    """Some things, mostly composite, in front of a ground of a few regions: an everyday photo."""
    rng = scene.rng
    ground(scene, regions=int(rng.integers(1, 5)))
    for _ in range(int(rng.integers(0, 7))):
        paint_thing(scene, scene.length(0.04, 0.3), composite=0.4)
    if rng.random() < 0.35:
        defocus(scene)
    for _ in range(min(1 + int(rng.geometric(0.5)), 6)):
        paint_thing(scene, scene.length(0.12, 0.55), composite=0.75, central=0.5)
    for _ in range(int(rng.integers(0, 4))):
        paint_thing(scene, scene.length(0.02, 0.12), composite=0.2)
    if rng.random() < 0.15:
        dapple(scene)


def still_life(scene: Scene) -> None:
    """Single shapes of all kinds and sizes."""
    ground(scene, regions=int(scene.rng.integers(1, 3)))
    for _ in range(int(scene.rng.integers(3, 14))):
        paint_thing(scene, scene.length(0.03, 0.4), composite=0.15)


def clutter(scene: Scene) -> None:
    """Things upon things over the whole image, of power-law sizes, large ones behind."""
    rng = scene.rng
    ground(scene, regions=1)
    sizes = 0.05 / rng.uniform(0.02, 1, int(rng.integers(20, 45))) ** 0.6
    for size in np.sort(sizes)[::-1]:
        paint_thing(scene, scene.side * float(min(size, 0.45)), composite=0.1)


def faint(scene: Scene) -> None:
    """A surface of one colour with things of nearly the same: lumps, stains, dents, marks."""
    rng = scene.rng
    flesh = np.array([0.75, 0.42, 0.33], np.float32) * rng.uniform(0.6, 1.25) * np.exp(rng.normal(0, 0.12, 3))
    centre = flesh.astype(np.float32) if rng.random() < 0.4 else scene.palette.centre
    scene.palette = Palette(centre, float(rng.uniform(0.6, 0.97)), scene.palette.chroma, (0.2, 0.8))
    ground(scene, regions=1 if rng.random() < 0.8 else 2, contrast=(0.05, 0.8))
    if rng.random() < 0.7:
        folds(scene)
    if rng.random() < 0.3:
        veins(scene)
    if rng.random() < 0.55:
        tunnel(scene)
    for _ in range(min(int(rng.geometric(0.55)), 5)):
        paint_faint(scene, scene.length(0.06, 0.42), scene.place(0.35))
    if rng.random() < 0.5:
        glints(scene)
    if rng.random() < 0.4:
        porthole(scene)


def plate(scene: Scene) -> None:
    """A grey surface worked in one direction, with marks on it: scratches, pits, stains."""
    rng = scene.rng
    scene.palette = Palette(np.full(3, rng.uniform(0.2, 0.7), np.float32), 0.95, 0.1, (0.1, 0.9))
    base = draw_material(rng, scene.palette)
    kinds = (pick(rng, ["fibre", "fibre", "grain", "rough", "ripple"]), "swell")
    directions = np.array([[1.0] * 3, [1.0] * 3], np.float32) * rng.uniform(0.01, 0.1, (2, 1)).astype(np.float32)
    brushed = Material(base.colour, kinds, directions, base.zooms, base.origins, base.quarter, 0.0)
    scene.canvas.image[:] = brushed.paint(scene.window, scene.side)
    for _ in range(min(int(rng.geometric(0.5)), 6)):
        if rng.random() < 0.5:
            paint_faint(scene, scene.length(0.03, 0.35), scene.place())
        else:
            kind = scene.pick_kind(["blob", "ellipse", "bar", "branches", "bar"])
            pose = turn(rng.uniform(0, 6.3), scene.length(0.02, 0.35), scene.length(0.01, 0.2))
            colour = base.colour * np.float32(np.exp(pick(rng, (-1, -1, 1)) * rng.uniform(0.1, 0.8)))
            look = draw_look(rng, soft=float(rng.gamma(1.2, 0.003)))
            outline = scene.outline(kind).moved(pose, scene.place())
            paint(scene, outline, brushed.recoloured(colour), look, scene.canvas.add(kind))


def crowd(scene: Scene) -> None:
    """Many things of one kind and size: cells, stones, fruit, a herd seen from far."""
    rng = scene.rng
    dark = rng.random() < 0.5
    if dark:
        scene.palette = Palette(np.full(3, 0.02, np.float32), 0.9, 0.1, (0.0, 0.2))
    ground(scene, regions=1, contrast=(0.1, 0.8))
    bright = Palette(natural_colour(rng, scene.palette.chroma, (0.3, 0.95)), 0.9, 0.3, (0.2, 1.0))
    material = draw_material(rng, bright if dark else scene.palette, contrast=0.7)
    kind = scene.pick_kind(["blob", "ellipse", "ellipse", "blob", *SHAPES])
    look = draw_look(rng, soft=float(rng.gamma(1.2, 0.003)))
    if scene.cutouts is not None and rng.random() < scene.cutouts.share:
        herd(scene, scene.cutouts, look)
        return
    for place, reach in swarm(scene):
        pose = turn(float(rng.uniform(0, 6.3)), reach * float(np.exp(rng.normal(0, 0.2))))
        colour = material.colour * np.exp(rng.normal(0, 0.25)) + rng.normal(0, 0.02)
        one = material.recoloured(np.asarray(colour, np.float32))
        paint(scene, scene.outline(kind).moved(pose, place), one, look, scene.canvas.add(kind))


def herd(scene: Scene, cutouts: Cutouts, look: Look) -> None:
    """Paint one cut-out again and again, at different sizes and turns."""
    rng = scene.rng
    picture, angle = recolour(cutouts.draw(rng), rng), pick(rng, (0.1, 0.1, 3.1))
    for place, reach in swarm(scene):
        scale = reach * float(np.exp(rng.normal(0, 0.2)))
        pose = turn(float(rng.normal(0, angle)), scale * pick(rng, (-1, 1)), scale)
        paint_cutout(scene, picture, (pose, place), look)


def swarm(scene: Scene) -> list[tuple[Contour, float]]:
    """Draw places and half-extents, in pixels, of many equal things: scattered, heaped, or kept apart."""
    rng, (height, width) = scene.rng, scene.canvas.size
    spacing = scene.length(0.08, 0.35)
    y, x = np.mgrid[spacing * rng.random() : height : spacing, spacing * rng.random() : width : spacing]
    places = np.stack([x.ravel(), y.ravel()], 1)
    reach = spacing * rng.uniform(0.25, 0.55)
    way = rng.random()
    if way < 0.25:
        places = rng.uniform(0, 1, places.shape) * (width, height)
    elif way < 0.4:
        places = rng.normal(0.5, 0.22, places.shape) * (width, height)
    else:
        places = places + rng.normal(0, 0.22 * spacing, places.shape)
    # Gaps, and a bound on what a scene costs.
    kept = places[rng.random(len(places)) < rng.uniform(0.3, 1.0)][:100]
    return [(place, float(reach)) for place in (kept if len(kept) else places[:1])]


def aerial(scene: Scene) -> None:
    """Land from above or afar: large ragged regions, lines, and many small things."""
    rng = scene.rng
    ground(scene, regions=1, annotated=True)
    for _ in range(int(rng.integers(1, 4))):
        region(scene, float(rng.uniform(0.15, 0.7)), straight=float(rng.uniform(0, 1.0)))
    for _ in range(int(rng.integers(0, 3))):
        paint_thing(scene, scene.length(0.2, 0.6), kinds=("branches", "bar", "polygon"))
    for _ in range(int(rng.integers(1, 5))):
        settlement(scene)
    if rng.random() < 0.2:
        dapple(scene)


def settlement(scene: Scene) -> None:
    """Paint a group of like things: houses, trees, boats, fields."""
    rng = scene.rng
    material, look = draw_material(rng, scene.palette), draw_look(rng)
    kind = scene.pick_kind(["rectangle", "rectangle", "blob", "clump", "polygon"])
    reach, hub, angle = scene.length(0.01, 0.08), scene.place(), rng.uniform(0, 3)
    spread = rng.uniform(0.05, 0.4) * scene.side
    for _ in range(int(rng.integers(2, 20))):
        pose = turn(angle + rng.normal(0, 0.2), reach * float(np.exp(rng.normal(0, 0.25))))
        one = material.recoloured(np.asarray(material.colour * np.exp(rng.normal(0, 0.12)), np.float32))
        outline = scene.outline(kind).moved(pose, hub + rng.normal(0, spread, 2))
        paint(scene, outline, one, look, scene.canvas.add(kind))


LAYOUTS: dict[str, tuple[Callable[[Scene], None], float]] = {
    "photo": (photo, 0.42),
    "still_life": (still_life, 0.08),
    "clutter": (clutter, 0.08),
    "faint": (faint, 0.16),
    "plate": (plate, 0.05),
    "crowd": (crowd, 0.09),
    "aerial": (aerial, 0.12),
}
"""Kinds of scene and how often each is drawn."""


def ground(
    scene: Scene, regions: int, *, contrast: tuple[float, float] = (0.2, 1.3), annotated: bool | None = None
) -> None:
    """Fill the image: one surface, then regions across it (a floor, a sky, water) up to the number given."""
    material = draw_material(scene.rng, scene.palette, contrast=float(scene.rng.uniform(*contrast)))
    scene.canvas.image[:] = material.paint(scene.window, scene.side)
    if regions > 1 if annotated is None else annotated:
        everywhere = Patch(scene.window, np.ones(scene.canvas.size, np.float32))
        scene.canvas.claim(everywhere, scene.canvas.add("region"))
    for _ in range(regions - 1):
        region(scene, float(scene.rng.uniform(0.2, 0.7)), pick(scene.rng, (1.0, 0.98, 0.8, 0.4)))


def region(scene: Scene, share: float, straight: float) -> None:
    """Paint a region that covers a `share` of the image; its border is a line at `straight` 1, ragged below."""
    rng, (height, width) = scene.rng, scene.canvas.size
    angle = rng.choice([np.pi / 2, -np.pi / 2, rng.uniform(0, 6.3)], p=[0.5, 0.1, 0.4]) + rng.normal(0, 0.06)
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None] * np.float32(np.sin(angle))
    x = np.linspace(-1, 1, width, dtype=np.float32)[None] * np.float32(np.cos(angle))
    field = y + x
    if straight < 1:
        rough = scene.field(pick(rng, ["cloud", "hills", "hills", "swell"]), (height, width), (0.7, 2.5))
        field = np.float32(straight) * field + np.float32(1 - straight) * 0.9 * rough
    # A smooth field has nearly the same quantiles at every eighth pixel, at a 64th of the cost.
    level = np.quantile(field[::8, ::8], 1 - share)
    # The field rises by some 2/side a pixel: this factor makes the border about a pixel wide.
    cover = ((field - np.float32(level)) * np.float32(scene.side * 0.35) + 0.5).clip(0, 1)
    patch = Patch(scene.window, np.asarray(cover, np.float32))
    contrast = (0.05, 0.4) if rng.random() < 0.4 else (0.3, 1.3)
    material = draw_material(rng, scene.palette, contrast=float(rng.uniform(*contrast)))
    scene.canvas.lay(patch, material.paint(patch.window, scene.side), scene.canvas.add("region"))


def folds(scene: Scene) -> None:
    """Give the ground a relief of its own: waves, folds, dents."""
    rng, (height, width) = scene.rng, scene.canvas.size
    # Folds are smooth, so a sixth of the size will do.
    small = (max(8, height // 6), max(8, width // 6))
    kind = pick(rng, ["hills", "swell", "marble", "marble", "ridges", "cells"])
    field = cv2.GaussianBlur(scene.field(kind, small, (0.9, 3.6), shrink=6), (0, 0), 1.5)
    x, y, _ = scene.light.direction
    slope = cv2.Sobel(field, cv2.CV_32F, 1, 0) * x + cv2.Sobel(field, cv2.CV_32F, 0, 1) * y
    slope /= max(float(slope.std()), 1e-6)
    scene.canvas.image *= cv2.resize((1 - np.float32(rng.uniform(0.02, 0.2)) * slope).clip(0.3, 1.7), (width, height))


def veins(scene: Scene) -> None:
    """Draw fine dark lines into the ground; they belong to it."""
    rng = scene.rng
    gain = np.array([0.95, 0.8, 0.85], np.float32)[:, None, None] ** np.float32(rng.uniform(0.5, 2))
    for _ in range(int(rng.integers(1, 5))):
        outline = SHAPES["branches"](rng)
        thin = Outline(outline.contours, joined=True).moved(turn(0, scene.length(0.2, 0.7)), scene.place())
        patch = rasterise(thin, scene.canvas.size)
        if patch is not None:
            scene.canvas.tone(patch, gain)


def tunnel(scene: Scene) -> None:
    """Let the light fall off from one place, and the depth of another lie in the dark."""
    rng, (height, width) = scene.rng, scene.canvas.size
    # At a quarter of the size: light changes slowly.
    y, x = np.arange(height // 4, dtype=np.float32)[:, None] * 4, np.arange(width // 4, dtype=np.float32)[None] * 4
    near, far = scene.place(0.3), scene.place(0.3)
    bright = 1.3 / (1 + ((x - near[0]) ** 2 + (y - near[1]) ** 2) / (rng.uniform(0.5, 1.2) * scene.side) ** 2)
    if rng.random() < 0.5:
        radius = rng.uniform(0.1, 0.35) * scene.side
        edge = rng.uniform(1.5, 8)
        hole = ((x - far[0]) ** 2 + rng.uniform(0.5, 2) * (y - far[1]) ** 2) / radius**2
        bright = bright * (1 - rng.uniform(0.5, 0.95) / (1 + hole**edge))
    scene.canvas.image *= cv2.resize(bright.astype(np.float32), (width, height))


def glints(scene: Scene) -> None:
    """Scatter small white highlights, as on something wet."""
    rng, canvas = scene.rng, scene.canvas
    hub, spread = scene.place(), rng.uniform(0.1, 0.5) * scene.side
    for _ in range(int(rng.integers(3, 40))):
        reach = scene.length(0.002, 0.02)
        pose = turn(rng.normal(0.5, 0.6), reach, reach * rng.uniform(0.2, 1))
        patch = rasterise(SHAPES["blob"](rng).moved(pose, hub + rng.normal(0, spread, 2)), canvas.size)
        if patch is not None:
            canvas.brighten(patch, float(rng.uniform(0.3, 1.0)))


def porthole(scene: Scene) -> None:
    """Hide the rim behind a dark frame with signs on it, as seen through a tube."""
    rng, (height, width) = scene.rng, scene.canvas.size
    hole = (ellipse if rng.random() < 0.5 else rectangle)(rng, aspect=1.0)
    reach = rng.uniform(0.9, 1.25)
    outline = hole.moved(turn(0, reach * width / 2, reach * height / 2), (width / 2, height / 2))
    patch = rasterise(outline, scene.canvas.size)
    if patch is None:
        return
    frame = np.ones(scene.canvas.size, np.float32)  # [H, W], 0 inside the hole
    frame[patch.window] -= patch.cover
    black = np.full((3, 1, 1), rng.uniform(0, 0.06), np.float32)
    # Given to the ground: what the frame hides belongs to no object.
    scene.canvas.lay(Patch(scene.window, frame), black, 0)
    material = draw_material(rng, Palette(np.ones(3, np.float32), 1.0, 0.0, (0.8, 1.0)), contrast=0.0)
    flat = Look(0, 0, 0, 0, 0, 0, 1)
    for line in range(int(rng.integers(0, 5))):
        place = (0.08 * width, (0.1 + 0.05 * line) * height)
        signs = SHAPES["strokes"](rng).moved(turn(0, 0.06 * scene.side), place)
        paint(scene, signs, material, flat, scene.canvas.add("strokes"))


def dapple(scene: Scene) -> None:
    """Let light and shade of something outside fall across the image."""
    rng, (height, width) = scene.rng, scene.canvas.size
    field = scene.field("hills", (max(8, height // 4), max(8, width // 4)), (0.8, 2.5), shrink=4)
    lit = 1 / (1 + np.exp(-np.float32(rng.uniform(3, 20)) * (field + np.float32(rng.normal(0, 0.5)))))
    shade = 1 - np.float32(rng.uniform(0.2, 0.6)) * lit
    scene.canvas.image *= cv2.resize(shade.astype(np.float32), (width, height))


def defocus(scene: Scene) -> None:
    """Blur what has been painted so far, as a lens does to what lies behind."""
    radius = scene.length(0.002, 0.014)
    for plane in scene.canvas.image:
        cv2.GaussianBlur(plane, (0, 0), radius, dst=plane)
