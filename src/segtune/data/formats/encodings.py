"""What a data set's mask files hold, inferred from a sample of them and said in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from segtune.core.errors import DataError
from segtune.data.formats.contract import Options
from segtune.data.formats.runs import label_parts
from segtune.data.masks import Encoding, MaskFile, Values

SAMPLE_FILES = 64
SAMPLE_PIXELS = 40_000_000
"""How many mask files are looked at, and how many pixels at most: enough to see rare values, a second of work."""

_FLAT = 0.5
_SINGLE = 0.9
"""Shares from which on values are classes or numbers rather than soft, and numbers rather than classes."""

_COUNTED = 64
"""Values of a file whose parts are counted."""

_MANY = 4096
"""Values of a file that are looked at one by one."""

_BANDS = ({0, 127, 255}, {0, 128, 255})
_VOID_COLOUR = 0xE0E0C0
"""The colour of PASCAL VOC's border, which counts for no class."""


@dataclass(frozen=True)
class FileStatistics:
    """What one mask file's values look like.

    Attributes:
        values: the values in use, ascending.
        source: what they were taken from (`MaskFile.source`).
        lossy: they are not exact.
        flat: share of the pixels between lowest and highest value that lie in a 2 × 2 block of one value. Classes and
            instances are flat; the rim of a soft mask is not.
        bright: share of the nonzero pixels at the highest value.
        single: share of the values that make up one connected part.
        commonest: the value of most pixels.
        palette: colours of the palette indices in use.
    """

    values: tuple[int, ...]
    source: str
    lossy: bool
    flat: float
    bright: float
    single: float
    commonest: int
    palette: tuple[tuple[int, int], ...]

    @property
    def inner(self) -> tuple[int, ...]:
        """Values but 0 and 255."""
        return tuple(value for value in self.values if value not in (0, 255))

    @property
    def fades(self) -> bool:
        """Whether most of the inside is near white and the many values between are its rim."""
        return self.bright > 0.5 and len(self.inner) > 8 and 200 <= self.values[-1] <= 255

    def colour(self, value: int) -> int:
        """Return the colour that a value stands for, 0xRRGGBB."""
        if self.source == "palette":
            return dict(self.palette)[value]
        return value if self.source == "colour" else value * 0x010101


def look_at(file: MaskFile) -> FileStatistics:
    """Return the statistics of one mask file."""
    found, counts = _count(file.values)
    values = tuple(int(value) for value in found[:_MANY])
    bright = float(counts[-1] / max(1, counts[found > 0].sum()))
    exact = not file.lossy and len(values) > 1
    flat = _flatness(file.values) if exact else 0.0
    single = _single_share(file.values, values) if exact and flat > 0.5 else 0.0
    commonest = int(found[counts.argmax()])
    return FileStatistics(values, file.source, file.lossy, flat, bright, single, commonest, file.palette)


def look_at_some(
    paths: Sequence[str], read: Callable[[str], MaskFile | None], limit: int = SAMPLE_FILES
) -> list[FileStatistics]:
    """Return the statistics of some mask files, up to `limit` files and `SAMPLE_PIXELS` pixels.

    Args:
        paths: all mask files; the same ones are chosen each time, spread over them.
        read: returns the file at a path, or None where it cannot be read.
        limit: most files to look at.
    """
    found: list[FileStatistics] = []
    pixels = 0
    for row in np.random.default_rng(0).permutation(len(paths))[:limit]:
        file = read(paths[row])
        if file is not None:
            found.append(look_at(file))
            pixels += file.values.size
        if pixels >= SAMPLE_PIXELS:
            break
    return found


def infer(files: Sequence[FileStatistics], options: Options) -> tuple[Encoding, str]:
    """Return what mask files hold, and a sentence that says so.

    Args:
        files: statistics of a sample of them.
        options: a threshold, and an encoding or a kind of object that overrides what the values suggest.

    Raises:
        DataError: instances are asked for, and the masks tell none apart.
    """
    encoding, words = _read_alike(files, options)
    if options.encoding is not None:
        encoding, words = _as_told(encoding, options), f"Masks are read as {options.encoding}, as told."
    elif options.objects in {"labels", "instances"} and encoding.kind in {"labels", "instances"}:
        encoding = replace(encoding, kind=options.objects)
    if options.objects == "instances" and encoding.kind not in {"labels", "instances"}:
        raise DataError(
            f"Objects are to be instances, but the mask files tell none apart. {words} "
            "Use --objects parts for one object per connected part."
        )
    return encoding, words


def _as_told(inferred: Encoding, options: Options) -> Encoding:
    kind = options.encoding or inferred.kind
    if kind == "soft":
        return inferred if inferred.kind == kind else Encoding(kind, options.threshold)
    return Encoding(kind, options.threshold, (127, 128)) if kind == "band" else replace(inferred, kind=kind)


def _read_alike(files: Sequence[FileStatistics], options: Options) -> tuple[Encoding, str]:
    if any(file.source == "colour" for file in files):
        return _colours(files)
    if any(file.source == "palette" for file in files):
        return _palettes(files)
    values = {value for file in files for value in file.values}
    return _two_values(files, values, options) or _ids(files, values) or _soft(values, options)


def _two_values(files: Sequence[FileStatistics], values: set[int], options: Options) -> tuple[Encoding, str] | None:
    """Zero and one other value, perhaps with an ignored one."""
    inside = sorted(values - {0})
    if any(file.lossy for file in files):
        return None
    together = any(len(file.values) > 2 or (len(file.values) == 2 and 0 not in file.values) for file in files)
    if values in _BANDS and together:
        middle = inside[0]
        words = f"Masks are 0, {middle} and 255; {middle} is taken as a band to be ignored."
        return Encoding("band", options.threshold, (middle,)), words
    if inside == [1, 255]:
        if together:
            return Encoding("binary", ignore=(255,)), "Masks are 0 and 1; 255 is taken as pixels to be ignored."
        return Encoding("binary"), "Some masks are 0 and 1, others 0 and 255; all but 0 is taken as inside."
    if inside == [255]:
        return Encoding("soft", options.threshold), "Masks are 0 and 255."
    if len(inside) == 1:
        return Encoding("binary"), f"Masks are 0 and {inside[0]}."
    return None


def _ids(files: Sequence[FileStatistics], values: set[int]) -> tuple[Encoding, str] | None:
    """Many flat values: classes, or objects by number."""
    told = [file for file in files if file.inner]
    if not told or any(file.lossy for file in files) or median(file.flat for file in told) < _FLAT:
        return None
    if sum(file.fades for file in told) > len(told) / 2:
        return None
    kind, words = ("instances", "object numbers") if _are_instances(told) else ("labels", "class values")
    ignore = (255,) if _marks_ignored(told) else ()
    besides = " 255 is taken as pixels to be ignored." if ignore else ""
    return Encoding(kind, ignore=ignore), f"Masks hold {words} ({_listed(values - set(ignore))}).{besides}"


def _marks_ignored(files: Sequence[FileStatistics]) -> bool:
    """Whether 255 is no class like the others: it stands beside values that are counted up from 1."""
    others = {value for file in files for value in file.inner}
    together = any(255 in file.values for file in files)
    spaced = len(others) < max(others) / 8 and max(others) > 64
    return together and max(others) < 254 and not spaced


def _are_instances(files: Sequence[FileStatistics]) -> bool:
    """Whether values look like numbers given to objects: one part each, as many as there happen to be."""
    counts = [len([value for value in file.values if value]) for file in files]
    varied = len(set(counts)) >= min(3, len(files)) and median(counts) >= (8 if len(files) == 1 else 3)
    return varied and median(file.single for file in files) >= _SINGLE


def _soft(values: set[int], options: Options) -> tuple[Encoding, str]:
    if not values - {0}:
        return Encoding("soft", options.threshold), "All masks looked at are empty."
    threshold = options.threshold * max(values) // 255 if max(values) > 255 else options.threshold
    return Encoding("soft", threshold), f"Masks are soft, {min(values)} to {max(values)}; inside is above {threshold}."


def _palettes(files: Sequence[FileStatistics]) -> tuple[Encoding, str]:
    colours_of: dict[int, set[int]] = {}
    for file in files:
        for index, colour in file.palette:
            colours_of.setdefault(index, set()).add(colour)
    if any(len(colours) > 1 for colours in colours_of.values()):
        return _colours(files)
    classes = {value for file in files for value in file.values} - {255}
    told = [file for file in files if file.inner]
    kind, words = ("instances", "object numbers") if told and _are_instances(told) else ("labels", "classes")
    words = f"Masks are palette {words} ({_listed(classes)}); 255 is taken as pixels to be ignored."
    return Encoding(kind, ignore=(255,)), words


def _colours(files: Sequence[FileStatistics]) -> tuple[Encoding, str]:
    found = {colour for file in files for colour in map(file.colour, file.values)}
    commonest = Counter(file.colour(file.commonest) for file in files)
    background = 0 if 0 in found else commonest.most_common(1)[0][0]
    ignore = (_VOID_COLOUR,) if _VOID_COLOUR in found else ()
    classes = len(found - {background, *ignore})
    words = f"Masks are coloured, each of {classes} colours a class; #{background:06x} is taken as background."
    return Encoding("labels", ignore=ignore, background=background, colours=True), words


def _count(values: Values) -> tuple[Values, Values]:
    """Return the values in use, ascending, and how many pixels have each."""
    if values.dtype.itemsize > 2:
        return np.unique(values, return_counts=True)
    counts = np.bincount(values.ravel())
    found = np.flatnonzero(counts)
    return found, counts[found]


def _flatness(values: Values) -> float:
    inner = (values > values.min()) & (values < values.max())
    inner |= values == values.max() if values.max() < 255 else False
    total = int(inner.sum())
    if not total or min(values.shape) < 2:
        return 0.0
    corner = values[:-1, :-1]
    block = (corner == values[1:, :-1]) & (corner == values[:-1, 1:]) & (corner == values[1:, 1:])
    padded = np.pad(block, 1)
    flat = padded[:-1, :-1] | padded[1:, :-1] | padded[:-1, 1:] | padded[1:, 1:]
    return float((flat & inner).sum() / total)


def _single_share(values: Values, found: Sequence[int]) -> float:
    real = [value for value in found if value][:_COUNTED]
    return sum(int(label_parts(values == value).max()) == 1 for value in real) / max(1, len(real))


def _listed(values: Iterable[int]) -> str:
    shown = sorted(value for value in values if value)
    return ", ".join(map(str, shown)) if len(shown) <= 6 else f"{shown[0]} to {shown[-1]}, {len(shown)} values"
