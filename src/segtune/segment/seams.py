"""Masks of overlapping tiles, joined to masks of the whole image without one full-size array per object.

Two tiles see their overlap both. Masks that agree there are one object; each mask of a tile has at most one such
counterpart in another tile, the one of highest IoU, so that a whole and its parts stay apart. An object may also lie
in several pieces in one tile, as the arms of a U do: a cut piece without a counterpart belongs to the mask of the
other tile that it lies in, unless that mask already has a counterpart there that overlaps it.

Near its edges a tile sees little of what surrounds an object. What it says there counts only where no other tile of the
object sees the same place clear of its own edges.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace
from itertools import pairwise, product

import numpy as np
import numpy.typing as npt

from segtune.core.rle import BoolMask
from segtune.data.formats.runs import Indices, decode_window, from_runs, runs_of, union
from segtune.metrics.overlap import iou_of_counts
from segtune.segment.everything import AutomaticMask
from segtune.segment.grid import Crop, is_cut_off

_INSIDE = 0.8
"""Share of a piece that must lie in another tile's mask for the piece to belong to it."""

_CELLS = 1 << 22
"""Pixels of all masks that are compared in one step."""

_FRINGE = 1 / 16
"""Share of a tile's side, at its edges, where another tile knows better."""

_Matrix = npt.NDArray[np.float64]
Box = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class _Piece:
    """What one tile saw of an object: `found` is in the tile's own pixels."""

    found: AutomaticMask
    tile: Crop
    is_cut: bool

    @property
    def box(self) -> Box:
        """Tight box in pixels of the image."""
        left, top = self.tile.box[:2]
        x0, y0, x1, y1 = self.found.box
        return x0 + left, y0 + top, x1 + left, y1 + top

    def window(self, box: Box) -> BoolMask:
        """Return the mask in a box of the image that lies in the tile, bool [h, w]."""
        left, top = self.tile.box[:2]
        x0, y0, x1, y1 = _common(box, self.box)
        inside = np.zeros((box[3] - box[1], box[2] - box[0]), dtype=np.bool_)
        if _is_box((x0, y0, x1, y1)):
            part = decode_window(self.found.mask, slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
            inside[y0 - box[1] : y1 - box[1], x0 - box[0] : x1 - box[0]] = part
        return inside

    def runs(self, height: int, *, outside: Sequence[Box] = ()) -> tuple[Indices, Indices]:
        """Return starts and ends of the mask's runs in an image of `height`, but for what lies in some boxes of it."""
        left, top = self.tile.box[:2]
        tall = self.tile.size[0]
        starts, ends = _split_at_columns(*runs_of(self.found.mask), tall)
        columns = starts // tall
        shift = (columns + left) * height + top - columns * tall
        starts, ends = starts + shift, ends + shift
        for box in outside:
            if _is_box(_common(box, self.box)):
                starts, ends = _without_box(starts, ends, box, height)
        return starts, ends


class Seams:
    """Collects the masks of overlapping tiles of one image and joins what belongs together.

    Args:
        size: (height, width) of the image.
        agreement: IoU in the overlap of two tiles from which on their masks are one object.
    """

    def __init__(self, size: tuple[int, int], agreement: float) -> None:
        self._size = size
        self._agreement = agreement
        self._tiles: list[tuple[Crop, range]] = []
        self._pieces: list[_Piece] = []
        self._parents: list[int] = []
        self._refuted: set[int] = set()

    def add(self, tile: Crop, masks: Sequence[AutomaticMask]) -> None:
        """Take the masks of one tile, in its own pixels, and compare them with those of the tiles it overlaps."""
        first = len(self._pieces)
        self._pieces += [_Piece(one, tile, is_cut_off(one.box, tile, self._size)) for one in masks]
        mine = range(first, len(self._pieces))
        self._parents += mine
        for other, theirs in self._tiles:
            shared = _common(tile.box, other.box)
            if _is_box(shared):
                self._compare(shared, theirs, mine)
        self._tiles.append((tile, mine))

    def joined(self, *, doubles: float) -> list[AutomaticMask]:
        """Return the masks of the image, the highest predicted IoU first.

        Args:
            doubles: IoU above which the lesser of two masks is dropped.
        """
        groups: dict[int, list[int]] = {}
        for number in range(len(self._pieces)):
            groups.setdefault(self._root(number), []).append(number)
        grid = _Grid([tile.box for tile, _ in self._tiles])
        whole = [
            self._join([self._pieces[number] for number in group], grid)
            for group in groups.values()
            if not (len(group) == 1 and group[0] in self._refuted)
        ]
        whole.sort(key=lambda one: -one.predicted_iou)
        return _without_doubles(whole, doubles)

    def _compare(self, shared: Box, theirs: range, mine: range) -> None:
        """Join masks of two tiles that agree in the box that both see."""
        numbers = [number for number in (*theirs, *mine) if _is_box(_common(shared, self._pieces[number].box))]
        # Cut off by its own tile, and the other, which sees all of it and beyond, must have found it too.
        self._refuted.update(
            number
            for number in numbers
            if self._pieces[number].is_cut and _common(shared, self._pieces[number].box) == self._pieces[number].box
        )
        split = sum(number in theirs for number in numbers)
        if split in (0, len(numbers)):
            return
        overlaps = _overlaps([self._pieces[number] for number in numbers], shared)
        is_cut = np.array([self._pieces[number].is_cut for number in numbers])
        for one, other in _links(overlaps, split, is_cut, self._agreement):
            self._parents[self._root(numbers[one])] = self._root(numbers[other])

    def _join(self, pieces: Sequence[_Piece], grid: _Grid) -> AutomaticMask:
        """Return one mask of the image made of the pieces of one object."""
        height = self._size[0]
        tiles = {piece.tile.box for piece in pieces}
        doubtful = {tile: grid.doubtful(tile, tiles) for tile in tiles}
        runs = [piece.runs(height, outside=doubtful[piece.tile.box]) for piece in pieces]
        joined = from_runs(self._size, *(np.concatenate(one) for one in zip(*runs, strict=True)))
        # Seen whole by a tile, what others saw of it adds only their faults at their edges.
        whole = [piece for piece in pieces if not piece.is_cut and piece.found.area >= self._agreement * joined.area]
        if len(pieces) == 1 or whole:
            best = max(whole or pieces, key=lambda piece: piece.found.predicted_iou)
            return replace(_placed(best), mask=from_runs(self._size, *best.runs(height)))
        areas = np.array([piece.found.area for piece in pieces], dtype=np.float64)
        predicted, stability = (
            float(np.average([getattr(piece.found, name) for piece in pieces], weights=areas))
            for name in ("predicted_iou", "stability_score")
        )
        boxes = np.array([piece.tile.box for piece in pieces])
        x0, y0, x1, y1 = (int(value) for value in (*boxes[:, :2].min(axis=0), *boxes[:, 2:].max(axis=0)))
        point = _placed(pieces[int(areas.argmax())]).point
        return AutomaticMask(joined, predicted, stability, point, (x0, y0, x1, y1))

    def _root(self, number: int) -> int:
        while self._parents[number] != number:
            # Shortened on the way, so that long chains stay cheap.
            self._parents[number] = self._parents[self._parents[number]]
            number = self._parents[number]
        return number


class _Grid:
    """Where the tiles of a grid, rows by columns, see a place clear of their edges.

    Args:
        tiles: all of them.
    """

    def __init__(self, tiles: Sequence[Box]) -> None:
        self._across = _Axis({(box[0], box[2]) for box in tiles})
        self._down = _Axis({(box[1], box[3]) for box in tiles})

    def doubtful(self, tile: Box, others: Set[Box]) -> list[Box]:
        """Return where, of the tiles of one object, another one knows better than this: boxes at the tile's edges."""
        x0, y0, x1, y1 = tile
        (left, right), (top, bottom) = self._across.clear[x0, x1], self._down.clear[y0, y1]
        fringe = (x0, y0, left, y1), (right, y0, x1, y1), (left, y0, right, top), (left, bottom, right, y1)
        clear: list[Box] = []
        for across, down in product(self._across.near[x0, x1], self._down.near[y0, y1]):
            other = across[0], down[0], across[1], down[1]
            if other != tile and other in others:
                (low, high), (upper, lower) = self._across.clear[across], self._down.clear[down]
                clear.append((low, upper, high, lower))
        return [one for part in fringe for box in clear if _is_box(one := _common(part, box))]


class _Axis:
    """Spans of tiles along one axis of their grid.

    Attributes:
        clear: by span, what of it is clear of the edges behind which the image goes on.
        near: by span, the spans that share something with it, itself among them.
    """

    def __init__(self, spans: Set[tuple[int, int]]) -> None:
        ordered = sorted(spans)
        first, last = ordered[0][0], ordered[-1][1]
        # No more than half of what neighbours share, or there would be places that nobody sees clearly.
        shared = min((one[1] - other[0] for one, other in pairwise(ordered)), default=0)
        fringe = min(shared // 2, round(_FRINGE * (ordered[0][1] - first)))
        self.clear = {
            (low, high): (low + fringe * (low > first), high - fringe * (high < last)) for low, high in ordered
        }
        self.near = {one: [other for other in ordered if other[0] < one[1] and one[0] < other[1]] for one in ordered}


def _links(overlaps: _Matrix, split: int, is_cut: npt.NDArray[np.bool_], agreement: float) -> list[tuple[int, int]]:
    """Return which of n masks of two tiles are of one object.

    Args:
        overlaps: [n, n], pixels that masks share in what both tiles see; the first `split` are of one tile.
        split: see above.
        is_cut: bool [n].
        agreement: least IoU.
    """
    areas = np.diag(overlaps)
    # Where neither is in what both tiles see, they agree on nothing.
    iou = np.where(overlaps > 0, iou_of_counts(overlaps, areas[:, None], areas), 0.0)
    links: list[tuple[int, int]] = []
    partner: dict[int, int] = {}
    rows, columns = np.nonzero(iou[:split, split:] >= agreement)
    order = np.argsort(-iou[rows, columns + split], kind="stable")
    for row, column in zip(rows[order].tolist(), (columns[order] + split).tolist(), strict=True):
        if row not in partner and column not in partner:
            partner[row], partner[column] = column, row
            links.append((row, column))
    first, second = range(split), range(split, len(areas))
    for mine, theirs in ((first, second), (second, first)):
        links += _strays(overlaps, (mine, theirs), is_cut, partner, agreement)
    return links


def _strays(
    overlaps: _Matrix, sides: tuple[range, range], is_cut: npt.NDArray[np.bool_], partner: dict[int, int],
    agreement: float,
) -> list[tuple[int, int]]:  # fmt: skip
    """Return cut pieces of one tile without a counterpart, each with the mask of the other tile that it is part of."""
    mine, theirs = sides
    areas = np.diag(overlaps)
    within: dict[int, list[int]] = {}
    for number in mine:
        if is_cut[number] and number not in partner and areas[number] > 0:
            # The smallest mask that holds it: of a whole and its part, the part.
            holders = [one for one in theirs if overlaps[number, one] >= _INSIDE * areas[number]]
            if holders:
                within.setdefault(min(holders, key=lambda one: areas[one]), []).append(number)
    links = []
    for holder, strays in within.items():
        held = [partner[holder]] if holder in partner else []
        for number in sorted(strays, key=lambda one: -areas[one]):
            if all(overlaps[number, one] < areas[number] / 2 for one in held):
                held.append(number)
        covered, held_area = overlaps[held, holder].sum(), areas[held].sum()
        if covered >= agreement * (areas[holder] + held_area - covered):
            links += [(number, holder) for number in held]
    return links


def _overlaps(pieces: Sequence[_Piece], shared: Box) -> _Matrix:
    """Return float64 [n, n]: the pixels that masks share within a box."""
    total = np.zeros((len(pieces), len(pieces)))
    for box in _strips(shared, max(1, _CELLS // len(pieces))):
        cells = np.stack([piece.window(box).ravel() for piece in pieces]).astype(np.float32)  # [n, pixels]
        total += cells @ cells.T
    return total


def _strips(box: Box, pixels: int) -> Iterator[Box]:
    """Cut a box into upright strips of about so many pixels."""
    x0, y0, x1, y1 = box
    step = max(1, pixels // (y1 - y0))
    for left in range(x0, x1, step):
        yield left, y0, min(left + step, x1), y1


def _placed(piece: _Piece) -> AutomaticMask:
    """Return what a tile found with its click and its crop in pixels of the image; the mask stays as it is."""
    left, top = piece.tile.box[:2]
    x, y = piece.found.point
    return replace(piece.found, point=(x + left, y + top), crop_box=piece.tile.box)


def _without_doubles(masks: Sequence[AutomaticMask], threshold: float) -> list[AutomaticMask]:
    """Return the masks of which no earlier one is a double, by box and by mask."""
    boxes = np.array([one.box for one in masks], dtype=np.float64).reshape(-1, 4)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    dropped = np.zeros(len(masks), dtype=np.bool_)
    for number, one in enumerate(masks):
        if dropped[number]:
            continue
        rest = slice(number + 1, None)
        sides = np.minimum(boxes[number, 2:], boxes[rest, 2:]) - np.maximum(boxes[number, :2], boxes[rest, :2])
        shared = np.maximum(sides, 0).prod(axis=1)
        near = shared > threshold * (areas[number] + areas[rest] - shared)
        for other in (np.flatnonzero(near) + number + 1).tolist():
            areas_of_both = one.area, masks[other].area
            common = sum(areas_of_both) - union([one.mask, masks[other].mask]).area
            dropped[other] |= bool(iou_of_counts(common, *areas_of_both) > threshold)
    return [one for one, gone in zip(masks, dropped.tolist(), strict=True) if not gone]


def _without_box(starts: Indices, ends: Indices, box: Box, height: int) -> tuple[Indices, Indices]:
    """Take a box out of runs, none of which goes on into another column of an image of `height`."""
    x0, y0, x1, y1 = box
    columns = starts // height
    within = (columns >= x0) & (columns < x1)
    top, bottom = columns * height + y0, columns * height + y1
    above, below = np.where(within, np.minimum(ends, top), ends), np.where(within, np.maximum(starts, bottom), ends)
    starts, ends = np.concatenate([starts, below]), np.concatenate([above, ends])
    real = starts < ends
    return starts[real], ends[real]


def _split_at_columns(starts: Indices, ends: Indices, height: int) -> tuple[Indices, Indices]:
    """Split runs that go on from one column into the next."""
    first, last = starts // height, (ends - 1) // height
    count = last - first + 1
    run = np.repeat(np.arange(len(starts)), count)
    column = np.arange(len(run)) - np.repeat(np.cumsum(count) - count, count) + first[run]
    return np.maximum(starts[run], column * height), np.minimum(ends[run], (column + 1) * height)


def _common(one: Box, other: Box) -> Box:
    return max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])


def _is_box(box: Box) -> bool:
    return box[0] < box[2] and box[1] < box[3]
