"""Kinds of things that only the suite draws, outlines and figures, so that it holds what no pretraining has seen.

In unit coordinates like `data.shapes` and `data.figures`, whose kinds they stand for: layouts speak of those.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from segtune.data.figures import SLOTS, Figure, Part
from segtune.data.shapes import SHAPES, Contour, Drawer, Outline, arc, strip, turn
from segtune.data.tiles import pick


def crescent(rng: np.random.Generator) -> Outline:
    """Draw a moon's sickle."""
    reach = rng.uniform(1.6, 2.6)
    outer, inner = arc(-reach, reach, 40), arc(-reach, reach, 40)[::-1]
    return Outline((np.concatenate([outer, inner * (rng.uniform(0.2, 0.75), 1)]),))


def spiral(rng: np.random.Generator) -> Outline:
    """Draw a coiled band."""
    t = np.linspace(0.12, 1, 120)
    angle = t * rng.uniform(8, 16)
    return Outline((strip(np.stack([t * np.cos(angle), t * np.sin(angle)], 1), 0.06 + 0.05 * t),))


def gear(rng: np.random.Generator) -> Outline:
    """Draw a toothed wheel or a star round a hole."""
    teeth = int(rng.integers(5, 16))
    angle = np.linspace(0, 2 * np.pi, teeth * 8, endpoint=False)
    radius = 0.85 + 0.15 * np.tanh(rng.uniform(1, 8) * np.cos(teeth * angle))
    rim = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
    return Outline((rim, rim * 0 + arc(0, 2 * np.pi, len(rim)) * rng.uniform(0.1, 0.6)))


def superformula(rng: np.random.Generator) -> Outline:
    """Draw one of the curves of Gielis (2003): flowers, shields, diatoms."""
    lobes, n1, n2, n3 = int(rng.integers(2, 9)), rng.uniform(0.4, 3), *rng.uniform(0.5, 6, 2)
    angle = np.linspace(0, 2 * np.pi, 160, endpoint=False)
    # Kept off 0 below: a negative power of it is infinite.
    wave = np.abs(np.cos(lobes * angle / 4)) ** n2 + np.abs(np.sin(lobes * angle / 4)) ** n3
    radius = np.maximum(wave, 1e-3) ** (-1 / n1)
    radius /= radius.max()
    return Outline((np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1),))


def asterisk(rng: np.random.Generator) -> Outline:
    """Draw arms round a middle, tapered or clubbed: a starfish, a cross, a propeller."""
    count = int(rng.integers(3, 9))
    heading = np.arange(count) * (2 * np.pi / count) + rng.normal(0, 0.08, count)
    length, along = rng.uniform(0.75, 1.0, count), np.linspace(0, 1, 8)
    width = rng.uniform(0.07, 0.2) * (1 + rng.uniform(-0.8, 1.0) * along)
    ends = length[:, None] * np.stack([np.cos(heading), np.sin(heading)], 1)  # [arms, 2]
    hub = arc(0, 2 * np.pi, 24) * rng.uniform(0.15, 0.4)
    return Outline((hub, *(strip(along[:, None] * end, width) for end in ends)), joined=True)


def zigzag(rng: np.random.Generator) -> Outline:
    """Draw a band that folds to and fro: a bolt, a saw's edge, a stair."""
    count = int(rng.integers(3, 9))
    y = rng.uniform(0.2, 0.6) * (-1.0) ** np.arange(count) * rng.uniform(0.6, 1.0, count)
    spine = np.stack([np.linspace(-1, 1, count), y], 1)
    # Moved up and down, not along the normal: at sharp corners that would cross itself.
    half = np.array([0, rng.uniform(0.08, 0.25)]) * np.linspace(1, rng.uniform(0.2, 1), count)[:, None]
    return Outline((np.concatenate([spine + half, (spine - half)[::-1]]),))


def comb(rng: np.random.Generator) -> Outline:
    """Draw a bowed rib with teeth on one side or both: a comb, a feather, a fern, a fishbone."""
    count, slant, bow = int(rng.integers(5, 13)), rng.normal(0, 0.15), rng.normal(0, 0.25)
    x = np.linspace(-1, 1, 24)
    rib = np.stack([x, bow * (1 - x**2)], 1)
    roots = np.linspace(-0.9, 0.9, count)
    length = rng.uniform(0.3, 0.8) * (1 - rng.uniform(0, 0.9) * roots**2)
    width, along = rng.uniform(0.25, 0.6) / count, np.linspace(0, 1, 5)[:, None]
    contours = [strip(rib, np.full(len(x), rng.uniform(0.04, 0.1)))]
    for side in pick(rng, ((-1,), (-1, 1))):
        for root, reach in zip(roots, length, strict=True):
            tooth = np.array([root, bow * (1 - root**2)]) + along * (slant, side * reach)
            contours.append(strip(tooth, np.full(len(along), width)))
    return Outline(tuple(contours), joined=True)


def knot(rng: np.random.Generator) -> Outline:
    """Draw a closed band that crosses itself: a pretzel, a bow, a rope's loops."""
    loops, reach = int(rng.integers(2, 5)), rng.uniform(0.5, 1.2)
    t = np.linspace(0, 2 * np.pi * 61 / 60, 123)
    x, y = np.cos(t) + reach * np.cos(loops * t), np.sin(t) - reach * np.sin(loops * t)
    curve = np.stack([x, y], 1) / (1 + reach)
    width = np.full(7, rng.uniform(0.05, 0.11))
    # Piece by piece: filled as a whole, a crossing would be a hole, or all that the band goes round be in it.
    return Outline(tuple(strip(curve[first : first + 7], width) for first in range(0, 120, 5)), joined=True)


def jigsaw(rng: np.random.Generator) -> Outline:
    """Draw a piece of a puzzle: four sides with a knob, a notch or neither."""
    along = np.linspace(-1, 1, 40, endpoint=False)
    sides = []
    for number in range(4):
        bump = pick(rng, (-1, 0, 1)) * rng.uniform(0.2, 0.42) * np.exp(-(((along - rng.normal(0, 0.15)) / 0.22) ** 4))
        sides.append(np.stack([along, -1 - bump], 1) @ turn(number * np.pi / 2).T)
    return Outline((np.concatenate(sides) * 0.72 * (1, rng.uniform(0.6, 1.0)),))


HELD_OUT: dict[str, Drawer] = {
    "crescent": crescent, "spiral": spiral, "gear": gear, "superformula": superformula, "asterisk": asterisk,
    "zigzag": zigzag, "comb": comb, "knot": knot, "jigsaw": jigsaw,
}  # fmt: skip
"""Kinds of outline."""

_BODIES = ("superformula", "superformula", "jigsaw", "jigsaw", "crescent", "gear", "asterisk")
_LINES = ("zigzag", "comb", "knot", "spiral", "asterisk")

STAND_INS = {kind: _LINES if kind in {"bar", "branches", "strokes", "grille", "ring"} else _BODIES for kind in SHAPES}
"""Kind of the general theme → those that the suite draws in its place, as slender or as massive."""


def contraption(rng: np.random.Generator) -> Figure:
    """Draw a body with things on it, some of which carry one more, and things at its rim."""
    rim = [
        _thing(rng, tuple(HELD_OUT), _away(rng, 0.85), rng.uniform(0.2, 0.5)) for _ in range(int(rng.integers(0, 4)))
    ]
    held = []
    for _ in range(int(rng.integers(1, 5))):
        place, scale = _away(rng, 0.5), rng.uniform(0.15, 0.45)
        more = (_thing(rng, _BODIES, place, 0.45 * scale, inside=True),) if rng.random() < 0.4 else ()
        held.append(_thing(rng, (*_BODIES, *_LINES), place, scale, more, inside=True))
    return (*rim, _thing(rng, _BODIES, np.zeros(2), 0.85, tuple(held)))


def totem(rng: np.random.Generator) -> Figure:
    """Draw bodies one upon another, each with or without a sign on it."""
    count = int(rng.integers(2, 5))
    parts = []
    for y in np.linspace(1 - 1 / count, 1 / count - 1, count):
        place, scale = np.array([rng.normal(0, 0.08), y]), rng.uniform(0.9, 1.4) / count
        sign = (_thing(rng, _LINES, place, 0.5 * scale, inside=True),) if rng.random() < 0.5 else ()
        parts.append(_thing(rng, _BODIES, place, scale, sign))
    return tuple(parts)


def rosette(rng: np.random.Generator) -> Figure:
    """Draw one thing again and again around another."""
    count, size, slot = int(rng.integers(4, 10)), rng.uniform(0.2, 0.4), int(rng.integers(SLOTS))
    kind = pick(rng, (*_BODIES, *_LINES))
    one = HELD_OUT[kind](rng).moved(turn(rng.uniform(0, 6.3), size), (1 - size, 0))
    around = [Part(kind, one.moved(turn(2 * np.pi * place / count), (0, 0)), slot) for place in range(count)]
    return (*around, _thing(rng, _BODIES, np.zeros(2), rng.uniform(0.3, 0.6)))


def mobile(rng: np.random.Generator) -> Figure:
    """Draw things that hang from a line on threads, which are not things of their own."""
    count = int(rng.integers(2, 6))
    places = np.stack([np.linspace(-0.8, 0.8, count), rng.uniform(0.0, 0.7, count)], 1)
    line = [np.array([[-1.0, -0.75], [1.0, -0.75 + rng.normal(0, 0.1)]])]
    threads = [np.array([[x, -0.75], [x, y]]) for x, y in places]
    width = np.full(2, rng.uniform(0.012, 0.03))
    # Without a label it is painted but not annotated.
    lines = Part("", Outline(tuple(strip(one, width) for one in [*line, *threads]), joined=True), 0)
    hung = [_thing(rng, (*_BODIES, *_LINES), place, rng.uniform(0.5, 0.9) / count + 0.08) for place in places]
    return (lines, *hung)


HELD_OUT_FIGURES: dict[str, Callable[[np.random.Generator], Figure]] = {
    "contraption": contraption, "totem": totem, "rosette": rosette, "mobile": mobile,
}  # fmt: skip
"""Kinds of composite thing."""


def _thing(
    rng: np.random.Generator, kinds: tuple[str, ...], place: Contour, scale: float, parts: Figure = (), *,
    inside: bool = False,
) -> Part:  # fmt: skip
    kind = pick(rng, kinds)
    pose = turn(rng.uniform(0, 2 * np.pi), scale)
    return Part(kind, HELD_OUT[kind](rng).moved(pose, place), int(rng.integers(SLOTS)), parts, inside)


def _away(rng: np.random.Generator, reach: float) -> Contour:
    angle = rng.uniform(0, 2 * np.pi)
    return np.asarray(reach * np.sqrt(rng.uniform(0.1, 1)) * np.array([np.cos(angle), np.sin(angle)]))
