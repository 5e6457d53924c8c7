"""How one thing gets onto the canvas: painted in a material, lit and shadowed, or as a faint change of the ground."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from segtune.data.canvas import Canvas, soften
from segtune.data.cutouts import Cutouts, lay_out, recolour
from segtune.data.figures import SLOTS, Figure, Part
from segtune.data.light import Light, cast_shadow, relief
from segtune.data.shapes import MASSIVE, SHAPES, Contour, Drawer, Outline, Patch, rasterise, turn
from segtune.data.textures import Material, Palette, draw_material
from segtune.data.tiles import TILE, FloatArray, cut, pick

_LUMPS = (*MASSIVE, "blob", "blob", "blob", "clump", "ellipse", "ellipse", "branches", "bar")
_SKINS = ("mottle", "rough", "grain", "spots", "pebbles", "fibre")


@dataclass(frozen=True)
class Kinds:
    """The kinds of things that scenes of a theme are made of.

    Attributes:
        shapes: of outline, by name.
        figures: of composite thing, by name.
        stand_ins: kind of outline that a layout names → those drawn in its place; a kind that is not here stays.
    """

    shapes: Mapping[str, Drawer]
    figures: Mapping[str, Callable[[np.random.Generator], Figure]]
    stand_ins: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass
class Scene:
    """A scene being drawn: the canvas, and what all its things share.

    Attributes:
        canvas: where it is painted.
        rng: its source of randomness.
        palette: its colours.
        light: its lamp.
        kinds: what may appear.
        cutouts: pictures that may appear as things, if any.
    """

    canvas: Canvas
    rng: np.random.Generator
    palette: Palette
    light: Light
    kinds: Kinds
    cutouts: Cutouts | None = None

    @property
    def side(self) -> int:
        """Length in pixels that sizes relate to."""
        return self.canvas.side

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the whole image."""
        return slice(0, self.canvas.size[0]), slice(0, self.canvas.size[1])

    def pick_kind(self, names: Sequence[str]) -> str:
        """Draw one of the `names` of the general theme's outlines, or of those that stand for it here."""
        kind = pick(self.rng, names)
        others = self.kinds.stand_ins.get(kind)
        return kind if others is None else pick(self.rng, others)

    def outline(self, kind: str) -> Outline:
        """Draw an outline of a kind, in unit coordinates."""
        return self.kinds.shapes[kind](self.rng)

    def place(self, central: float = 0.0) -> Contour:
        """Draw a place in the image, x and y in pixels; `central` 0 anywhere to 1 in the middle."""
        height, width = self.canvas.size
        # A little beyond the rim too: real things are cut off by it.
        share = self.rng.uniform(-0.02, 1.02, 2) * (1 - central) + 0.5 * central
        return np.asarray(share * (width, height))

    def length(self, low: float, high: float) -> float:
        """Draw a length in pixels, evenly in its logarithm, from shares of the side."""
        return self.side * float(np.exp(self.rng.uniform(np.log(low), np.log(high))))

    def field(self, kind: str, shape: tuple[int, int], zoom: tuple[float, float], shrink: int = 1) -> FloatArray:
        """Cut a field of `shape` at a random place; `zoom` is its range for a side of 512, `shrink` its coarseness."""
        origin = (int(self.rng.integers(TILE)), int(self.rng.integers(TILE)))
        return cut(kind, 0, origin, shape, float(self.rng.uniform(*zoom)) * self.side / 512 / shrink)


@dataclass(frozen=True)
class Look:
    """How a thing is lit.

    Attributes:
        rounding: 0 a plate to 1 a ball.
        shading: 0 flat colour to 1 Lambert's law.
        gloss: strength of the highlight.
        shadow: darkness of the shadow it casts.
        offset: how far the shadow falls, in shares of the thing.
        soft: radius of its edge, in shares of the side.
        opacity: 1, or less for glass and haze.
    """

    rounding: float
    shading: float
    gloss: float
    shadow: float
    offset: float
    soft: float
    opacity: float


def draw_look(rng: np.random.Generator, soft: float | None = None) -> Look:
    """Draw how things of one kind are lit."""
    # The order of the draws, here and below, is part of what a seed gives.
    solid = rng.random() < 0.65
    return Look(
        rounding=float(rng.uniform(0.1, 1.0)),
        shading=float(rng.uniform(0.2, 1.0)) if solid else 0.0,
        gloss=float(rng.uniform(0.1, 0.8)) if solid and rng.random() < 0.35 else 0.0,
        shadow=float(rng.uniform(0.1, 0.6)) if rng.random() < 0.55 else 0.0,
        offset=float(rng.uniform(0, 0.3)),
        soft=float(rng.gamma(1.0, 0.0015)) if soft is None else soft,
        opacity=float(rng.uniform(0.35, 0.9)) if rng.random() < 0.05 else 1.0,
    )


def paint_thing(
    scene: Scene, reach: float, *, composite: float = 0.0, central: float = 0.0, kinds: tuple[str, ...] | None = None
) -> None:
    """Paint one thing.

    Args:
        scene: where.
        reach: half of its extent in pixels.
        composite: probability that it is a figure of several parts.
        central: 0 anywhere to 1 in the middle.
        kinds: which outlines it may have; without, any, and one in twelve only a faint change.
    """
    rng, place = scene.rng, scene.place(central)
    pose = upright(rng) @ turn(0, reach * pick(rng, (-1, 1)), reach * rng.uniform(0.8, 1.25))
    look = draw_look(rng)
    if kinds is None and scene.cutouts is not None and rng.random() < scene.cutouts.share:
        paint_cutout(scene, recolour(scene.cutouts.draw(rng), rng), (pose, place), look)
        return
    if rng.random() < composite:
        kind = pick(rng, list(scene.kinds.figures))
        materials = [_visible(scene, place) for _ in range(SLOTS)]
        paint_figure(scene, scene.kinds.figures[kind](rng), kind, (pose, place), materials, look)
        return
    if kinds is None and rng.random() < 0.08:
        paint_faint(scene, reach, place)
        return
    kind = scene.pick_kind(kinds or (*SHAPES, *MASSIVE))
    outline = scene.outline(kind).moved(pose @ turn(rng.uniform(0, 6.3)), place)
    paint(scene, outline, _visible(scene, place), look, scene.canvas.add(kind))


def upright(rng: np.random.Generator) -> Contour:
    """Draw a turn: mostly hardly any, as gravity has it."""
    return turn(float(rng.normal(0, 0.12) if rng.random() < 0.7 else rng.uniform(0, 2 * np.pi)))


def paint(scene: Scene, outline: Outline, material: Material, look: Look, thing: int) -> None:
    """Paint one outline, given in pixels, with its shadow."""
    # Room for the blur of the edge: a Gaussian has nearly ended at three times its radius.
    patch = rasterise(outline, scene.canvas.size, margin=2 + int(3 * look.soft * scene.side))
    if patch is None:
        return
    if look.shadow:
        _shadow(scene, patch, look)
    _lay(scene, soften(patch, look.soft * scene.side), material, look, thing)


def paint_figure(
    scene: Scene, figure: Figure, kind: str, pose: tuple[Contour, Contour], materials: list[Material], look: Look
) -> None:
    """Paint a composite thing; `pose` is the matrix and shift from its coordinates to pixels."""
    whole = scene.canvas.add(kind)
    if look.shadow:
        # One shadow for all parts: one by one they would fall on each other.
        contours = tuple(contour for part in figure for contour in part.outline.contours)
        patch = rasterise(Outline(contours, joined=True).moved(*pose), scene.canvas.size)
        if patch is not None:
            _shadow(scene, patch, look)
    for part in figure:
        _paint_part(scene, part, pose, whole, materials, look, None)


def _paint_part(
    scene: Scene, part: Part, pose: tuple[Contour, Contour], parent: int, materials: list[Material], look: Look,
    bounds: Patch | None,
) -> None:  # fmt: skip
    patch = rasterise(part.outline.moved(*pose), scene.canvas.size)
    if patch is not None and part.inside and bounds is not None:
        patch = patch.within(bounds)
    if patch is None:
        return
    thing = scene.canvas.add(part.label, parent, annotated=bool(part.label))
    _lay(scene, soften(patch, look.soft * scene.side), materials[part.slot], look, thing)
    for child in part.parts:
        _paint_part(scene, child, pose, thing, materials, look, patch)


def paint_cutout(scene: Scene, picture: FloatArray, pose: tuple[Contour, Contour], look: Look) -> None:
    """Paint a picture on a transparent ground, with its shadow and mostly with a grain; `pose` as for a figure."""
    rng = scene.rng
    laid = lay_out(picture, *pose, scene.canvas.size)
    if laid is None:
        return
    patch, surface = laid
    if look.shadow:
        _shadow(scene, patch, look)
    if rng.random() < 0.6:
        grain = scene.field(pick(rng, _SKINS), patch.shape, (0.4, 2.0))
        surface = surface * (1 + np.float32(rng.uniform(0.02, 0.2)) * grain)
    scene.canvas.lay(soften(patch, look.soft * scene.side), surface, scene.canvas.add("cutout"))


def paint_faint(scene: Scene, reach: float, place: Contour) -> None:
    """Change the ground only a little: its brightness, hue, grain or relief, often more than one of them."""
    rng, canvas = scene.rng, scene.canvas
    kind = scene.pick_kind(_LUMPS)
    soft = float(rng.gamma(1.3, 0.006)) * scene.side
    outline = scene.outline(kind).moved(turn(rng.uniform(0, 6.3), reach), place)
    patch = rasterise(outline, canvas.size, margin=2 + int(3 * soft))
    if patch is None:
        return
    # Blurred over its whole width, nothing of it would be more than half covered, which is what counts as seen.
    patch = soften(patch, min(soft, 0.15 * min(patch.cover.shape)))
    lump = rng.random() < 0.65
    if lump and rng.random() < 0.3:
        cast_shadow(canvas, patch, (0, 0), max(2.0, 0.3 * reach), float(rng.uniform(0.1, 0.35)))
    step = pick(rng, (-1, 1)) * rng.uniform(0.03, 0.35) * (0.6 if lump else 1.0)
    gain = np.exp(step + rng.normal(0, 0.07, 3) * (1 if rng.random() < 0.7 else 0))
    canvas.tone(patch, np.asarray(gain, np.float32)[:, None, None])
    if lump:
        _raise(scene, patch)
    if rng.random() < 0.5:
        grain = scene.field(pick(rng, _SKINS), patch.shape, (0.4, 2.0))
        canvas.tone(patch, 1 + np.float32(rng.uniform(0.02, 0.12)) * grain)
    if rng.random() < 0.3:
        radius = max(1.0, 0.03 * min(patch.shape))
        # What a blur changes is the rim.
        rim = np.abs(patch.cover - cv2.GaussianBlur(patch.cover, (0, 0), radius))
        canvas.tone(Patch(patch.window, np.asarray(rim, np.float32)), float(rng.uniform(0.3, 0.8)))
    canvas.claim(patch, canvas.add(kind))


def _raise(scene: Scene, patch: Patch) -> None:
    """Shade the ground under a patch as if it bulged, smooth or knobbly, now and then wet."""
    rng = scene.rng
    bumps = None
    if rng.random() < 0.4:
        bumps = np.float32(rng.uniform(0.03, 0.12)) * scene.field(pick(rng, ["cells", "hills"]), (72, 72), (0.3, 1))
    shade, highlight = relief(patch, scene.light, rounding=float(rng.uniform(0.3, 1.0)), bumps=bumps)
    scene.canvas.tone(patch, 1 + np.float32(rng.uniform(0.15, 0.9)) * (shade - 1))
    if rng.random() < 0.4:
        scene.canvas.brighten(patch, np.float32(rng.uniform(0.1, 0.7)) * highlight)


def _lay(scene: Scene, patch: Patch, material: Material, look: Look, thing: int) -> None:
    surface = material.paint(patch.window, scene.side)
    if look.shading and min(patch.shape) > 6:
        shade, highlight = relief(patch, scene.light, rounding=look.rounding)
        surface *= 1 + np.float32(look.shading) * (shade - 1)
        if look.gloss:
            surface += np.float32(look.gloss) * highlight
    scene.canvas.lay(patch, surface, thing, look.opacity)


def _shadow(scene: Scene, patch: Patch, look: Look) -> None:
    reach = look.offset * min(max(patch.shape), 0.4 * scene.side)
    x, y, _ = scene.light.direction
    # Away from the lamp.
    cast_shadow(scene.canvas, patch, (-x * reach, -y * reach), max(1.0, 0.35 * reach), look.shadow)


def _visible(scene: Scene, place: Contour) -> Material:
    """Draw a material that mostly does not vanish against what is at `place`."""
    material = draw_material(scene.rng, scene.palette)
    behind = scene.canvas.colour_at(place)
    if np.abs(material.colour - behind).max() > 0.15 or scene.rng.random() < 0.2:
        return material
    factor = scene.rng.uniform(1.5, 2.2) if behind.mean() < 0.4 else scene.rng.uniform(0.35, 0.65)
    return material.recoloured(np.asarray((material.colour * factor + 0.05 * (factor > 1)).clip(0, 1), np.float32))
