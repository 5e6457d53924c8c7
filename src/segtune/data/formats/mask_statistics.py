"""What the values of mask files look like: the evidence from which it is inferred what they mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from segtune.data.formats.runs import label_parts
from segtune.data.masks import MaskFile, Values, as_greys, has_grey_palette

SAMPLE_FILES = 64
SAMPLE_PIXELS = 40_000_000
"""How many mask files are looked at, and how many pixels at most: enough to see rare values, a second of work."""

FLAT = 0.5
"""Share from which on values are classes or numbers rather than soft, and colours classes rather than noise."""

_COUNTED = 64
"""Values of a file whose parts are counted."""

_MANY = 4096
"""Values of a file that are looked at one by one."""

_FEW_COLOURS = 8
"""Colours that a file may hold without being suspected of noise."""

TRIMAP = (1, 2, 3)
"""Object, background and the border between them, as in the Oxford-IIIT Pet data set (Parkhi et al., CVPR 2012)."""

_CONTACT = 0.1
"""Share of the edges of a trimap at which object and background may touch without a border between."""


@dataclass(frozen=True)
class FileStatistics:
    """What one mask file's values look like.

    Attributes:
        values: the values in use, ascending; of very many some, the lowest and the highest of greys among them.
        source: what they were taken from (`MaskFile.source`).
        lossy: they are not exact.
        flat: share of the pixels between lowest and highest value that lie in a 2 × 2 block of one value. Classes and
            instances are flat; the rim of a soft mask is not.
        bright: share of the nonzero pixels at the highest value.
        single: share of the values that make up one connected part.
        commonest: the value of most pixels.
        palette: colours of the palette indices in use.
        coloured: the palette holds colours, in use or not.
        channels: the greys may be colours among others (`MaskFile.channels`).
        solid: of a colour file: pixels by colour, for the colours most of whose pixels lie in 2 × 2 blocks.
        colours: of a colour file: how many there are.
        counts: of a colour file: pixels by value of `values`.
        bordered: it holds 1, 2 and 3, and 3 keeps 1 and 2 apart.
        greys: of a file whose palette entries in use are greys: what these look like.
        alpha: what its transparency is (`MaskFile.alpha`).
        seen: the colour of its least transparent pixel, 0xRRGGBB.
        name: the file's path below the data folder.
    """

    values: tuple[int, ...]
    source: str
    lossy: bool
    flat: float
    bright: float
    single: float
    commonest: int
    palette: tuple[tuple[int, int], ...]
    coloured: bool = False
    channels: bool = False
    solid: tuple[tuple[int, int], ...] = ()
    colours: int = 0
    counts: tuple[int, ...] = ()
    bordered: bool = False
    greys: FileStatistics | None = None
    alpha: str = ""
    seen: int = 0
    name: str = ""

    @property
    def inner(self) -> tuple[int, ...]:
        """Values but 0 and 255."""
        return tuple(value for value in self.values if value not in (0, 255))

    @property
    def fades(self) -> bool:
        """Whether most of the inside is near white and the many values between are its rim."""
        return self.bright > 0.5 and len(self.inner) > 8 and 200 <= self.values[-1] <= 255

    @property
    def noisy(self) -> bool:
        """Whether most of many colours fill no area of their own: compressed with loss, or with a smoothed rim."""
        return self.colours > _FEW_COLOURS and len(self.solid) < FLAT * self.colours

    def colour(self, value: int) -> int:
        """Return the colour that a value stands for, 0xRRGGBB."""
        if self.source == "palette":
            return dict(self.palette)[value]
        return value if self.source == "colour" else value * 0x010101


def look_at(file: MaskFile, name: str = "") -> FileStatistics:
    """Return the statistics of one mask file."""
    found, counts = count_values(file.values)
    kept = _kept(counts, file.source)
    values = tuple(int(value) for value in found[kept])
    bright = float(counts[-1] / max(1, counts[found > 0].sum()))
    exact = not file.lossy and len(values) > 1
    flat = _flatness(file.values) if exact else 0.0
    single = _single_share(file.values, values) if exact and flat > 0.5 else 0.0
    statistics = FileStatistics(
        values, file.source, file.lossy, flat, bright, single, int(found[counts.argmax()]), file.palette,
        coloured=file.coloured, channels=file.channels, bordered=values == TRIMAP and _is_bordered(file.values),
        greys=look_at(as_greys(file), name) if has_grey_palette(file) else None, alpha=file.alpha,
        seen=file.seen, name=name,
    )  # fmt: skip
    if file.source == "colour":
        kept_counts = tuple(int(count) for count in counts[kept])
        return replace(statistics, colours=len(found), counts=kept_counts, solid=_solid(file.values, found, counts))
    return statistics


def look_at_some(
    paths: Sequence[str], read: Callable[[str], Sequence[MaskFile]], limit: int = SAMPLE_FILES
) -> list[FileStatistics]:
    """Return the statistics of some mask files, up to `limit` files and `SAMPLE_PIXELS` pixels.

    Args:
        paths: all mask files; the same ones are chosen each time, spread over them.
        read: returns the values at a path, in one piece or several, and none where it cannot be read.
        limit: most files to look at.
    """
    found: list[FileStatistics] = []
    pixels = 0
    for row in np.random.default_rng(0).permutation(len(paths))[:limit]:
        for file in read(paths[row]):
            found.append(look_at(file, paths[row]))
            pixels += file.values.size
        if pixels >= SAMPLE_PIXELS:
            break
    return found


def _kept(counts: Values, source: str) -> npt.NDArray[np.intp]:
    """Return which of a file's values, ascending, are looked at: `_MANY` at most."""
    if source == "colour":
        return np.sort(np.argsort(-counts, kind="stable")[:_MANY])
    # Greys are thinned evenly: the highest tells their full scale.
    return np.linspace(0, len(counts) - 1, min(_MANY, len(counts))).astype(np.intp)


def count_values(values: Values) -> tuple[Values, Values]:
    """Return the values in use, ascending, and how many pixels have each."""
    if values.dtype.itemsize <= 2:
        counts = np.bincount(values.ravel())
        found = np.flatnonzero(counts)
        return found, counts[found]
    # Masks are flat: there are far fewer runs than pixels to sort.
    flat = values.ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    found, places = np.unique(flat[starts], return_inverse=True)
    counts = np.bincount(places.ravel(), weights=np.diff(np.append(starts, flat.size)))
    return found, counts.astype(np.int64)


def _flatness(values: Values) -> float:
    inner = (values > values.min()) & (values < values.max())
    # Below white, the highest value is one more class, not the inside of a soft mask.
    inner |= values == values.max() if values.max() < 255 else False
    total = int(inner.sum())
    if not total or min(values.shape) < 2:
        return 0.0
    return float((_in_blocks(values) & inner).sum() / total)


def _in_blocks(values: Values) -> npt.NDArray[np.bool_]:
    """Return which pixels lie in a 2 × 2 block of one value."""
    corner = values[:-1, :-1]  # [H - 1, W - 1], the upper left pixels of all blocks
    block = (corner == values[1:, :-1]) & (corner == values[:-1, 1:]) & (corner == values[1:, 1:])
    # A pixel lies in up to four blocks, of which it is one corner each.
    padded = np.pad(block, 1)
    return np.asarray(padded[:-1, :-1] | padded[1:, :-1] | padded[:-1, 1:] | padded[1:, 1:])


def _solid(values: Values, found: Values, counts: Values) -> tuple[tuple[int, int], ...]:
    blocks = _in_blocks(values)
    if not blocks.any():
        return ()
    held, inside = count_values(values[blocks][None])
    total = counts[np.searchsorted(found, held)]
    most = inside > FLAT * total
    return tuple((int(value), int(count)) for value, count in zip(held[most], total[most], strict=True))


def _single_share(values: Values, found: Sequence[int]) -> float:
    real = [value for value in found if value][:_COUNTED]
    return sum(int(label_parts(values == value).max()) == 1 for value in real) / max(1, len(real))


def _is_bordered(values: Values) -> bool:
    """Whether 1 and 2 hardly touch, because 3 lies between."""
    small = values.astype(np.int64)
    touching, edges = 0, 0
    for first, second in ((small[1:], small[:-1]), (small[:, 1:], small[:, :-1])):
        differs = first != second
        edges += int(differs.sum())
        # Of 1, 2 and 3 only 1 and 2 make 2.
        touching += int((first * second == 2).sum())
    return touching <= _CONTACT * edges
