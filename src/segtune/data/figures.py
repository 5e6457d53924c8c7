"""Composite things: wholes of several parts, some with parts of their own, in unit coordinates like outlines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from segtune.data.shapes import (
    MASSIVE,
    SHAPES,
    Contour,
    Outline,
    bar,
    blob,
    clump,
    ellipse,
    grille,
    lathe,
    leaf,
    rectangle,
    ring,
    strip,
    strokes,
    turn,
    walk,
)  # fmt: skip
from segtune.data.tiles import pick


@dataclass(frozen=True)
class Part:
    """A part of a figure.

    Attributes:
        label: what it is.
        outline: in the whole's coordinates.
        slot: which of the figure's materials it is made of.
        parts: its own parts, painted on it.
        inside: cropped to the part (or whole) it lies on, as a pattern or a window is.
    """

    label: str
    outline: Outline
    slot: int
    parts: tuple[Part, ...] = ()
    inside: bool = False


SLOTS = 5
"""Materials a figure may name."""

Figure = tuple[Part, ...]
"""Parts in the order in which they are painted."""


def _at(
    outline: Outline, x: float, y: float, scale_x: float, scale_y: float | None = None, angle: float = 0
) -> Outline:
    return outline.moved(turn(angle, scale_x, scale_y), (x, y))


def _on(outline: Outline, place: Contour, scale_x: float, scale_y: float | None = None, angle: float = 0) -> Outline:
    return outline.moved(turn(angle, scale_x, scale_y), place)


def _limb(rng: np.random.Generator, start: tuple[float, float], heading: float, length: float, width: float) -> Outline:
    spine = np.asarray(start) + walk(rng, 10, 0.35, length, heading)
    along = np.linspace(0, 1, len(spine))
    return Outline((strip(spine, width * (1 - 0.45 * along)),))


def animal(rng: np.random.Generator) -> Figure:
    """Draw a four-legged body seen from the side."""
    legs, fat = rng.uniform(0.35, 0.8), rng.uniform(0.22, 0.45)
    coat = int(rng.integers(0, 2))
    far = [_limb(rng, (x, 0.1), np.pi / 2 + rng.normal(0, 0.2), legs, 0.09) for x in (-0.45, 0.5)]
    near = [_limb(rng, (x, 0.1), np.pi / 2 + rng.normal(0, 0.2), legs, 0.11) for x in (-0.55, 0.4)]
    head_x, head_y, head = 0.75, -rng.uniform(0.05, 0.55), rng.uniform(0.16, 0.3)
    neck = Outline(
        (strip(np.array([[0.45, -0.05], [0.62, head_y / 2], [head_x, head_y]]), np.array([0.22, 0.17, 0.13])),)
    )
    ears = tuple(
        Part("ear", _at(leaf(rng), head_x - 0.1 + dx, head_y - head, head * 0.55, angle=-1.6 + dx * 3), coat)
        for dx in (-0.05, 0.1)
    )
    eye = Part("eye", _at(ellipse(rng), head_x + 0.08, head_y - 0.05, 0.035), 2)
    muzzle = Part("muzzle", _at(ellipse(rng), head_x + head * 0.9, head_y + 0.06, head * 0.55), 1 - coat)
    spots = tuple(
        Part(
            "spot",
            _on(blob(rng), rng.uniform((-0.6, -0.3), (0.5, 0.3)), rng.uniform(0.06, 0.22)),
            1 - coat,
            inside=True,
        )
        for _ in range(int(rng.integers(0, 6)))
    )
    return (
        # From far to near: legs of the far side, body, legs of the near side.
        Part("tail", _limb(rng, (-0.6, -0.1), np.pi + rng.normal(0, 0.7), 0.6, 0.05), coat),
        *(Part("leg", leg, coat) for leg in far),
        Part("neck", neck, coat),
        Part("body", _at(blob(rng, rough=0.15), -0.05, 0, 0.8, fat * 1.6), coat, spots),
        *(Part("leg", leg, coat) for leg in near),
        Part("head", _at(ellipse(rng, aspect=0.75), head_x, head_y, head), coat, (*ears, muzzle, eye)),
    )


def bird(rng: np.random.Generator) -> Figure:
    """Draw a bird or a fish: a drop with a tail, a wing or fin, a head."""
    tilt = rng.normal(0, 0.3)
    wing = Part("wing", _at(leaf(rng), -0.15, rng.uniform(-0.4, 0.05), 0.55, 0.7, rng.normal(np.pi, 0.7)), 1)
    eye = Part("eye", _at(ellipse(rng, aspect=1), 0.68, -0.18, 0.04), 3)
    beak = Outline((np.array([[0.78, -0.2], [1.05, -0.1 + 0.1 * tilt], [0.78, -0.04]]),))
    return (
        Part("tail", _at(leaf(rng), -0.75, 0.05, 0.45, 0.5, np.pi + tilt), 1),
        Part("leg", _limb(rng, (0.0, 0.3), np.pi / 2, 0.45, 0.03), 2),
        Part("body", _at(blob(rng, rough=0.05), 0, 0, 0.75, 0.6), 0, (wing,)),
        Part("beak", beak, 2),
        Part(
            "head", _at(ellipse(rng, aspect=0.9), 0.62, -0.14, rng.uniform(0.18, 0.27)), int(rng.integers(0, 2)), (eye,)
        ),
    )


def person(rng: np.random.Generator) -> Figure:
    """Draw an upright body in clothes."""
    stance, lean = rng.uniform(0.02, 0.35), rng.normal(0, 0.12)
    arms = [np.pi / 2 - side * rng.uniform(0.1, 2.2) for side in (-1, 1)]
    legs = [_limb(rng, (side * 0.11, 0.15), np.pi / 2 - side * stance, 0.85, 0.12) for side in (-1, 1)]
    # Corner 10 of a limb is where one side of its spine ends: the foot.
    shoes = [
        _at(ellipse(rng, aspect=0.5), float(leg.contours[0][10][0]), float(leg.contours[0][10][1]), 0.1) for leg in legs
    ]
    torso = Outline((np.array([[-0.26, -0.5], [0.26, -0.5], [0.2, 0.22], [-0.2, 0.22]]) + rng.normal(0, 0.03, (4, 2)),))
    badge = Part("badge", _at(SHAPES["strokes"](rng), 0.02, -0.25, 0.15), 4, inside=True)
    hair = Part("hair", _at(blob(rng, rough=0.3), 0, -0.8, 0.17, 0.13), 3, inside=rng.random() < 0.7)
    return (
        *(Part("leg", leg, 1) for leg in legs),
        *(Part("shoe", shoe, 3) for shoe in shoes),
        Part("arm", _limb(rng, (-0.24, -0.45), arms[0], 0.62, 0.08), pick(rng, (0, 2))),
        Part("torso", torso.moved(turn(lean), (0, 0)), 0, (badge,) if rng.random() < 0.4 else ()),
        Part("arm", _limb(rng, (0.24, -0.45), arms[1], 0.62, 0.08), pick(rng, (0, 2))),
        Part("head", _at(ellipse(rng, aspect=0.8), lean, -0.7, 0.19, angle=np.pi / 2), 2, (hair,)),
    )


def vehicle(rng: np.random.Generator) -> Figure:
    """Draw a car, a bus or a cart from the side."""
    tall, cabin = rng.uniform(0.2, 0.5), rng.uniform(-0.6, 0.0)
    wheel, count = rng.uniform(0.14, 0.26), int(rng.integers(2, 4))
    roof = -tall - rng.uniform(0.15, 0.35)
    span = rng.uniform(0.7, 1.2)
    top = np.array(
        [[cabin - 0.1, -tall + 0.05], [cabin, roof], [cabin + span * 0.8, roof], [cabin + span, -tall + 0.05]]
    )
    panes = int(rng.integers(1, 5))
    windows = tuple(
        Part("window", _at(rectangle(rng, aspect=0.9), cabin + span * 0.8 * (i + 0.5) / panes, (roof - tall) / 2 + 0.02,
                           0.33 * span / panes, 0.5 * (-roof - tall) * 0.8), 1, inside=True)
        for i in range(panes)
    )  # fmt: skip
    stripe = Part("stripe", _at(rectangle(rng, aspect=0.06), 0, -tall / 2, 1.0), 3, inside=True)
    lamp = Part("lamp", _at(ellipse(rng), pick(rng, (-0.92, 0.92)), -tall * 0.6, 0.07), 4)
    body = _at(rectangle(rng, aspect=1.0), 0, -tall / 2 + 0.05, 1.0, tall / 2 + 0.05)
    places = np.linspace(-0.62, 0.62, count) + rng.normal(0, 0.05, count)
    wheels = []
    for x in places:
        hub = Part("hub", _at(ellipse(rng, aspect=1), x, 0.1, wheel * 0.55), 4)
        wheels.append(Part("wheel", _at(ellipse(rng, aspect=1), x, 0.1, wheel), 2, (hub,)))
    return (
        Part("cabin", Outline((top,)), 0, windows),
        Part("body", body, 0, (lamp, *((stripe,) if rng.random() < 0.5 else ()))),
        *wheels,
    )


def bicycle(rng: np.random.Generator) -> Figure:
    """Draw two wheels and a frame of thin bars."""
    wheel, height = rng.uniform(0.3, 0.42), rng.uniform(0.45, 0.7)
    joints = np.array([[-0.6, 0.2], [-0.2, -height + 0.3], [0.42, -height + 0.25], [0.6, 0.2], [-0.05, 0.2]])
    joints += rng.normal(0, 0.04, joints.shape)
    width = rng.uniform(0.02, 0.06)
    pairs = ((0, 1), (1, 2), (2, 3), (0, 4), (1, 4), (2, 4))
    frame = Outline(tuple(strip(joints[list(pair)], np.full(2, width)) for pair in pairs), joined=True)
    rim = ellipse(rng, aspect=1).contours[0]
    # Two curves in one outline: the inner one is a hole.
    wheels = [Outline((rim, rim * rng.uniform(0.75, 0.92))).moved(turn(0, wheel), (x, 0.2)) for x in (-0.6, 0.6)]
    return (
        *(Part("wheel", each, 1) for each in wheels),
        Part("frame", frame, 0),
        Part("seat", _at(blob(rng, rough=0.1), -0.22, -height + 0.22, 0.18, 0.1), 2),
    )


def vessel(rng: np.random.Generator) -> Figure:
    """Draw a bottle, a vase or a lamp with a band or a label on it."""
    band = _at(rectangle(rng, aspect=0.5), 0, rng.uniform(-0.3, 0.5), 0.9, 0.12 + 0.25 * rng.random())
    sign = Part("sign", _at(strokes(rng), 0, float(band.contours[0][:, 1].mean()), 0.25), 2, inside=True)
    handle = Part("handle", _at(ring(rng), 0.45, 0, 0.35), 0)
    lid = Part("lid", _at(ellipse(rng, aspect=0.4), 0, -1.0, rng.uniform(0.15, 0.35)), 2)
    body = Part("body", lathe(rng), 0, (Part("band", band, 1, (sign,), inside=True),))
    return tuple(part for part in (handle, body, lid) if part is body or rng.random() < 0.4)


def plant(rng: np.random.Generator) -> Figure:
    """Draw leaves or petals around a stalk, often in a pot."""
    count, spread = int(rng.integers(4, 14)), rng.uniform(0.5, 3.1)
    headings = -np.pi / 2 + np.linspace(-spread, spread, count) + rng.normal(0, 0.15, count)
    length, slim = rng.uniform(0.3, 0.55), rng.uniform(0.5, 1.2)
    leaves = []
    for h in rng.permutation(headings):
        place = length * np.array([np.cos(h), np.sin(h)]) - (0, 0.2)
        leaves.append(Part("leaf", _on(leaf(rng), place, length, length * slim, h), int(rng.integers(0, 2))))
    heart = Part("heart", _at(ellipse(rng, aspect=0.9), 0, -0.2, rng.uniform(0.08, 0.25)), 3)
    pot = Part(
        "pot", _at(lathe(rng), 0, 0.6, 0.6, 0.4), 2, (Part("rim", _at(rectangle(rng, aspect=0.2), 0, 0.28, 0.5), 3),)
    )
    stalk = Part("stalk", _limb(rng, (0, -0.2), np.pi / 2, 1.1, 0.03), 0)
    return (stalk, *leaves, heart) if rng.random() < 0.5 else (*leaves, pot)


def furniture(rng: np.random.Generator) -> Figure:
    """Draw a table, a chair or a shelf: a slab on legs, with or without a back."""
    slant, thick, leg = rng.uniform(0, 0.35), rng.uniform(0.03, 0.12), rng.uniform(0.03, 0.08)
    slab = np.array([[-0.8, 0], [-0.8 + slant, -0.3], [0.8 + slant * 0.3, -0.3], [0.8, 0], [0.8, thick], [-0.8, thick]])
    feet = [(-0.74, 0.9), (0.74, 0.9), (-0.74 + slant, 0.65), (0.7 + slant * 0.3, 0.65)]
    legs = [np.array([[x, -0.05], [x + rng.normal(0, 0.06), y]]) for x, y in feet[: int(rng.integers(2, 5))]]
    back = grille(rng) if rng.random() < 0.6 else rectangle(rng)
    things = tuple(
        Part("thing", _at(SHAPES[pick(rng, MASSIVE)](rng), rng.uniform(-0.5, 0.5), -0.28, 0.2), 2)
        for _ in range(int(rng.integers(0, 3)))
    )
    return (
        *(
            (Part("back", _at(back, slant * 0.6, -0.62, 0.7, 0.42), int(rng.integers(0, 2))),)
            if rng.random() < 0.5
            else ()
        ),
        *(Part("leg", Outline((strip(each, np.full(2, leg)),)), 0) for each in legs),
        Part("slab", Outline((slab,)), 1, things),
    )


def building(rng: np.random.Generator) -> Figure:
    """Draw a house or a tower with rows of openings."""
    wide, columns, rows = rng.uniform(0.35, 1.0), int(rng.integers(1, 6)), int(rng.integers(1, 6))
    fill = rng.uniform(0.2, 0.42)
    pane = (wide * fill * 1.6 / columns, 1.3 * fill / rows)
    windows = tuple(
        Part("window", _at(rectangle(rng, aspect=1), wide * (2 * (c + 0.5) / columns - 1), 1.3 * (r + 0.5) / rows - 0.4,
                           *pane), 1, inside=True)
        for c in range(columns) for r in range(rows)
    )  # fmt: skip
    door = Part("door", _at(rectangle(rng, aspect=1), rng.uniform(-wide, wide) * 0.7, 0.8, 0.13, 0.25), 2, inside=True)
    ridge = rng.uniform(-0.4, 0.4)
    roof = Outline(
        (np.array([[-wide - 0.1, -0.45], [ridge * wide - 0.2, -1], [ridge * wide + 0.2, -1], [wide + 0.1, -0.45]]),)
    )
    wall = Part("wall", _at(rectangle(rng, aspect=1), 0, 0.27, wide, 0.73), 0, (*windows, door))
    side = np.array([[wide, -0.45], [wide + 0.35, -0.3], [wide + 0.35, 0.85], [wide, 1.0]])
    return (Part("side", Outline((side,)), 3), wall, *((Part("roof", roof, 3),) if rng.random() < 0.7 else ()))


def tree(rng: np.random.Generator) -> Figure:
    """Draw a trunk and a crown."""
    crown = clump(rng) if rng.random() < 0.5 else blob(rng, rough=0.8)
    return (
        Part("trunk", _limb(rng, (0, 1.0), -np.pi / 2, 1.2, rng.uniform(0.04, 0.12)), 0),
        Part("crown", _at(crown, 0, -0.35, rng.uniform(0.5, 1.0), rng.uniform(0.5, 0.8)), 1),
    )


def machine(rng: np.random.Generator) -> Figure:
    """Draw an arbitrary body with arbitrary parts on it and at its rim, two levels deep."""
    body = SHAPES[pick(rng, MASSIVE)](rng)
    outside = [_patch(rng, 0.85, (0.15, 0.5), depth=1, inside=False) for _ in range(int(rng.integers(0, 4)))]
    on_it = tuple(_patch(rng, 0.5, (0.12, 0.5), depth=1, inside=True) for _ in range(int(rng.integers(1, 5))))
    return (*outside, Part("body", _at(body, 0, 0, 0.8), 0, on_it))


def _patch(rng: np.random.Generator, reach: float, scales: tuple[float, float], depth: int, inside: bool) -> Part:
    kind = pick(rng, list(SHAPES))
    scale, angle = rng.uniform(*scales), rng.uniform(0, 2 * np.pi)
    place = reach * np.sqrt(rng.uniform(0.1, 1)) * np.array([np.cos(angle), np.sin(angle)])
    outline = _on(SHAPES[kind](rng), place, scale, angle=rng.uniform(0, 6))
    parts: Figure = ()
    if depth and rng.random() < 0.5:
        # Drawn in the part's own coordinates, then brought to where the part lies.
        child = _patch(rng, 0.3, (0.2, 0.6), 0, inside=True)
        parts = (Part(child.label, _on(child.outline, place, scale), child.slot, (), inside=True),)
    return Part(kind, outline, int(rng.integers(0, SLOTS)), parts, inside)


def patterned(rng: np.random.Generator) -> Figure:
    """Draw one body whose surface carries stripes or spots, which are not things of their own."""
    body = SHAPES[pick(rng, MASSIVE)](rng)
    step, angle = rng.uniform(0.1, 0.4), rng.uniform(0, np.pi)
    stripes = []
    for y in np.arange(-1, 1, 2.2 * step):
        spine = np.array([[-1.2, y], [0, y + rng.normal(0, 0.1)], [1.2, y]])
        stripe = Outline((strip(spine, np.full(3, step * 0.5)),)).moved(turn(angle), (0, 0))
        # Without a label it is painted but not annotated.
        stripes.append(Part("", stripe, 1, inside=True))
    return (Part("body", body, 0, tuple(stripes)),)


def pair(rng: np.random.Generator) -> Figure:
    """Draw two or three simple things that make one: a brush, a mushroom, a kite with its line."""
    count = int(rng.integers(2, 4))
    heading = rng.uniform(0, 2 * np.pi)
    axis = np.array([np.cos(heading), np.sin(heading)])
    return tuple(
        Part("part", _on((bar if rng.random() < 0.35 else SHAPES[pick(rng, MASSIVE)])(rng), axis * place,
                         rng.uniform(0.35, 0.7), angle=heading + rng.normal(0, 0.3)), index)
        for index, place in enumerate(np.linspace(-0.6, 0.6, count))
    )  # fmt: skip


FIGURES: dict[str, Callable[[np.random.Generator], Figure]] = {
    "animal": animal, "bird": bird, "person": person, "vehicle": vehicle, "bicycle": bicycle, "vessel": vessel,
    "plant": plant, "furniture": furniture, "building": building, "tree": tree, "machine": machine,
    "patterned": patterned, "pair": pair,
}  # fmt: skip
"""Kinds of composite thing."""
