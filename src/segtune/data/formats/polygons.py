"""Polygons to masks and back, exactly.

Vertices are continuous image coordinates: pixel (column, row) covers [column, column + 1) × [row, row + 1), as in
COCO. A pixel is inside when its centre is, by the even-odd rule over all rings, so that a hole is a ring like any
other. `trace` walks along pixel edges, therefore `rasterise(trace(mask))` is the mask.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from segtune.core.rle import RunLengths
from segtune.data.formats.runs import Indices, decode_window, from_runs

Ring = npt.NDArray[np.float64]
"""Vertices x, y of a closed outline, [n, 2]; the last joins the first."""

Polygon = Sequence[Ring]
"""Rings of one piece: its outline and its holes."""


def rasterise(polygons: Iterable[Polygon], size: tuple[int, int]) -> RunLengths:
    """Return the union of polygons as a mask of `size` (height, width); what lies outside the image is cut off."""
    pieces = [_fill(polygon, size) for polygon in polygons]
    if not pieces:
        return from_runs(size, np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
    starts, ends = zip(*pieces, strict=True)
    return from_runs(size, np.concatenate(starts), np.concatenate(ends))


def trace(mask: RunLengths) -> list[list[Ring]]:
    """Return the outlines of a mask along pixel edges.

    Returns:
        One polygon for each 4-connected part: its outer ring, then its holes.
    """
    if mask.box is None:
        return []
    left, top, right, bottom = mask.box
    inside = np.ascontiguousarray(decode_window(mask, slice(top, bottom), slice(left, right)))
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(inside.view(np.uint8), connectivity=4)
    polygons = []
    for part in range(1, count):
        x, y, width, height = (int(value) for value in boxes[part, :4])
        rings = _rings(labels[y : y + height, x : x + width] == part)
        rings.sort(key=lambda ring: -abs(signed_area(ring)))  # the outer ring encloses the others
        polygons.append([ring + np.array([left + x, top + y]) for ring in rings])
    return polygons


def join_rings(polygons: Iterable[Polygon]) -> Ring:
    """Join all rings into one by seams walked there and back, which enclose nothing.

    For formats that know one ring per object; `rasterise` gives the same mask.
    """
    rings = [ring for polygon in polygons for ring in polygon]
    if not rings:
        return np.zeros((0, 2))
    home = rings[0][:1]
    path = [rings[0], home]
    for ring in rings[1:]:
        path += [ring, ring[:1], home]
    return np.concatenate(path if len(rings) > 1 else rings)


def signed_area(ring: Ring) -> float:
    """Return the area inside a ring in square pixels, negative when it runs the other way round (shoelace formula)."""
    x, y = ring[:, 0], ring[:, 1]
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def _fill(polygon: Polygon, size: tuple[int, int]) -> tuple[Indices, Indices]:
    """Return the runs whose pixels' centres lie inside: per column, between every other crossing of its centre line."""
    height, width = size
    rings = [np.asarray(ring, dtype=np.float64) for ring in polygon if len(ring) >= 3]
    if not rings:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    tail = np.concatenate(rings)  # [n, 2], where edges begin
    head = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
    # Edges run from left to right, so that a seam walked both ways gives the same crossings to the last bit.
    swap = (tail[:, 0] > head[:, 0])[:, None]
    left, right = np.where(swap, head, tail), np.where(swap, tail, head)
    # Columns whose centre is in [left, right): half open, so that at a shared corner only one edge counts.
    first = np.clip(np.ceil(left[:, 0] - 0.5), 0, width).astype(np.int64)
    after = np.clip(np.ceil(right[:, 0] - 0.5), 0, width).astype(np.int64)
    crossed = after - first
    edge = np.repeat(np.arange(len(crossed)), crossed)
    # Counts up from the first column of each edge.
    column = first[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(crossed) - crossed, crossed)
    slope = (right[edge, 1] - left[edge, 1]) / (right[edge, 0] - left[edge, 0])
    y = left[edge, 1] + (column + 0.5 - left[edge, 0]) * slope
    order = np.lexsort((y, column))
    row = np.clip(np.ceil(y[order] - 0.5), 0, height).astype(np.int64)
    # Crossings of a column come in pairs, in and out; as pixels in column-major order they are runs.
    place = column[order] * height + row
    return place[0::2], place[1::2]


def _rings(mask: npt.NDArray[np.bool_]) -> list[Ring]:
    """Return the outlines of bool [h, w], all of one 4-connected part, as rings of corners.

    Along each row of the pixel grid corners follow each other in pairs that a horizontal edge joins, along each column
    in pairs that a vertical edge joins; walking these in turn gives the rings.
    """
    points = _corners(mask)
    across, down = _partners(np.lexsort((points[:, 0], points[:, 1]))), _partners(np.lexsort(points.T[::-1]))
    seen = [False] * len(points)
    rings = []
    for start in range(len(points)):
        path: list[int] = []
        here = start
        while not seen[here]:
            beside = across[here]
            seen[here] = seen[beside] = True
            path += [here, beside]
            here = down[beside]
        if path:
            rings.append(points[path].astype(np.float64))
    return rings


def _corners(mask: npt.NDArray[np.bool_]) -> Indices:
    """Return x, y of the corners of a mask's outlines, int64 [n, 2]; where two corners meet, the point twice."""
    around = np.pad(mask, 1)
    a, b, c, d = around[:-1, :-1], around[:-1, 1:], around[1:, :-1], around[1:, 1:]
    once = a ^ b ^ c ^ d  # one or three of four pixels inside
    twice = (a == d) & (b == c) & (a != b)  # two that touch at this point only
    return np.concatenate([np.argwhere(once), np.repeat(np.argwhere(twice), 2, axis=0)])[:, ::-1]


def _partners(order: Indices) -> list[int]:
    partner = np.empty(len(order), dtype=np.int64)
    partner[order[0::2]], partner[order[1::2]] = order[1::2], order[0::2]
    return [int(index) for index in partner]
