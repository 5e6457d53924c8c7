"""What a data set's mask files hold, inferred from a sample of them and said in words.

Files of one folder may be stored in several ways: as greys, as greys in a JPEG, with a palette, in colour. What the
values mean is inferred for each way apart, so that a stray file of another kind changes nothing for the others; which
meaning a file has is chosen when it is read (`formats.mask_reading`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from segtune.core.errors import DataError
from segtune.data.formats.contract import Options
from segtune.data.formats.mask_colours import DRAW_FLAT, MOST_COLOURS, NOT_FLAT, colours_meant, explain, nearest
from segtune.data.formats.mask_statistics import FLAT, TRIMAP, FileStatistics
from segtune.data.masks import BY_BRIGHTNESS, CUT_OUTS, Encoding, MaskFile
from segtune.data.remedies import option

_SINGLE = 0.9
"""Share from which on values are numbers rather than classes."""

_BANDS = ({0, 127, 255}, {0, 128, 255})
_VOID_COLOUR = 0xE0E0C0
"""The colour of PASCAL VOC's border, which counts for no class."""

_NAMES = {"grey": "grey", "lossy": "a JPEG", "palette": "a palette image", "colour": "coloured"}
TOLD_APART = frozenset({"labels", "instances"})
"""Encodings whose values tell regions apart."""


@dataclass(frozen=True)
class Reading:
    """What the mask files stored in one way hold.

    Attributes:
        kind: "grey", "lossy" (grey in a JPEG), "palette" or "colour".
        encoding: what the values mean.
        values: those seen.
        snaps: colours are not exact, and pixels are brought to the nearest of `values`.
    """

    kind: str
    encoding: Encoding
    values: frozenset[int]
    snaps: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether no file was seen to hold anything."""
        return not self.values - {0}


@dataclass(frozen=True)
class Encodings:
    """What a data set's mask files hold.

    Attributes:
        readings: one for each way in which the files looked at are stored.
        palettes: what palettes stand for: "grey", "index", "colour" or, where none was seen, "unknown".
        channels: greys in three equal channels are colours among others.
        cut_outs: colours, 0xRRGGBB, of which masks are cut-outs: one seen all over is object all over.
        options: how the data set is to be read.
    """

    readings: tuple[Reading, ...] = ()
    palettes: str = "unknown"
    channels: bool = False
    cut_outs: frozenset[int] = frozenset()
    options: Options = field(default_factory=Options)

    @property
    def are_certain(self) -> bool:
        """Whether no file was seen to hold a probability between 0 and 1."""
        told = [reading.values for reading in self.readings if reading.encoding.kind == "probability"]
        return not any(values - {0, 255, 65535} for values in told)

    def of(self, kind: str) -> Reading | None:
        """Return what files stored in one way hold, or None where none was looked at."""
        return next((reading for reading in self.readings if reading.kind == kind), None)


@dataclass(frozen=True)
class Inference:
    """What was inferred: the encodings, sentences that say so, and the files that cannot be understood, with why."""

    encodings: Encodings
    words: str
    refused: tuple[tuple[str, str], ...] = ()


def infer(files: Sequence[FileStatistics], options: Options) -> Inference:
    """Return what mask files hold.

    Args:
        files: statistics of a sample of them.
        options: a threshold, and an encoding or a kind of object that overrides what the values suggest.

    Raises:
        DataError: instances are asked for, and the masks tell none apart; or the colours of none can be understood.
    """
    cut_outs = _cut_outs(files)
    files = [file for file in files if not (file.alpha == "open" and file.seen in cut_outs)]
    palettes = palettes_hold(files)
    channels, colours = _channels_hold(files, palettes)
    groups: dict[str, list[FileStatistics]] = {}
    for file in files:
        kind, seen = _kind_of(file, palettes, channels, colours)
        kind = "grey" if options.encoding in BY_BRIGHTNESS and kind != "lossy" else kind
        groups.setdefault(kind, []).append(seen)
    readings: list[Reading] = []
    said: list[tuple[int, str, str]] = []
    # The commonest way of storing comes first, in the words too.
    for kind, members in sorted(groups.items() or [("grey", [])], key=lambda group: -len(group[1])):
        found = _infer_kind(kind, members, options)
        if found is not None:
            readings.append(found[0])
            said.append((len(members), kind, found[1]))
    refused = _refused(groups.get("colour", ()), readings, options)
    if not readings:
        raise DataError(f"The mask files cannot be understood: {refused[0][0]}: {refused[0][1]}. {DRAW_FLAT}")
    words = _in_words([one for one, reading in zip(said, readings, strict=True) if not reading.is_empty] or said[:1])
    words += _on_dark_cut_outs(files)
    agreed = tuple(_brought_to(reading, options) for reading in agree(readings))
    _check_instances(agreed, options, words)
    return Inference(Encodings(agreed, palettes, channels, cut_outs, options), words, refused)


def agree(readings: Sequence[Reading]) -> list[Reading]:
    """Bring together what files stored in different ways hold.

    Two-valued files beside classes or object numbers that include their value hold the same; a single class of a
    palette beside files without classes is just their inside.
    """
    several = [reading for reading in readings if reading.encoding.kind in TOLD_APART and reading.kind != "colour"]
    agreed = []
    for reading in readings:
        inside = reading.values - {0}
        others = [one for one in readings if one is not reading and not one.is_empty]
        classes = [one for one in several if one is not reading and inside <= one.values - {*one.encoding.ignore}]
        if reading.kind in {"grey", "palette"} and len(inside) == 1 and classes:
            agreed.append(replace(reading, encoding=classes[0].encoding, values=classes[0].values))
        elif reading.kind == "palette" and len(inside) == 1 and others and not set(others) & set(several):
            agreed.append(replace(reading, encoding=Encoding("binary")))
        else:
            agreed.append(reading)
    return agreed


def stored_as(file: FileStatistics | MaskFile) -> str:
    """Return the way in which a file is stored, of those told apart in `Reading`."""
    return "lossy" if file.lossy and file.source == "grey" else file.source


def _brought_to(reading: Reading, options: Options) -> Reading:
    """Take classes for object numbers, or the other way round, where objects are asked for in that way."""
    told = options.encoding is None and options.objects in TOLD_APART and reading.encoding.kind in TOLD_APART
    return replace(reading, encoding=replace(reading.encoding, kind=options.objects)) if told else reading


def _check_instances(readings: Iterable[Reading], options: Options, words: str) -> None:
    if options.objects == "instances" and not any(one.encoding.kind in TOLD_APART for one in readings):
        raise DataError(
            f"Objects are to be instances, but the mask files tell none apart. {words} "
            f"For one object per connected part use {option('objects', 'parts')}."
        )


def _in_words(said: Sequence[tuple[int, str, str]]) -> str:
    total = sum(count for count, _, _ in said)
    first, *others = said
    more = [
        f"{count} of {total} mask files looked at {'is' if count == 1 else 'are each'} {_NAMES[kind]}: {words}"
        for count, kind, words in others
        if words != first[2]
    ]
    return " ".join([first[2], *more])


def _cut_outs(files: Iterable[FileStatistics]) -> frozenset[int]:
    """Return the colours of cut-outs where most files with transparency are such; empty ones may be of any kind."""
    said = [file for file in files if file.alpha and not (file.alpha == "shape" and file.values == (0,))]
    colours = [file.seen for file in said if file.alpha in CUT_OUTS]
    return frozenset(colours) if len(colours) > len(said) / 2 else frozenset()


def _on_dark_cut_outs(files: Iterable[FileStatistics]) -> str:
    """Return a sentence where a dark object is told from a dark background by transparency alone, else nothing."""
    count = sum(file.alpha == "dark" for file in files)
    words = (
        f" In {count} mask files looked at what is seen is darker than what is transparent, and taken as the object; "
        "save them without transparency where it is the background."
    )
    return words if count else ""


def palettes_hold(files: Iterable[FileStatistics]) -> str:
    """Return "grey", "index", or "colour" where files differ in the colours of an index; "unknown" without palettes."""
    palettes = [file for file in files if file.source == "palette"]
    if not palettes:
        return "unknown"
    starts_at_zero = any(0 in file.values for file in palettes)
    # A few classes may happen to be grey in a palette of colours, but then 0 is their background.
    if all(file.greys for file in palettes) and not (starts_at_zero and any(file.coloured for file in palettes)):
        return "grey"
    colours_of: dict[int, set[int]] = {}
    for file in palettes:
        for index, colour in file.palette:
            colours_of.setdefault(index, set()).add(colour)
    return "colour" if any(len(colours) > 1 for colours in colours_of.values()) else "index"


def _channels_hold(files: Sequence[FileStatistics], palettes: str) -> tuple[bool, frozenset[int]]:
    """Return whether greys in three equal channels are colours: most files in colour are; and the colours of these."""
    coloured = [file for file in files if _is_coloured(file, palettes)]
    colours = frozenset(file.colour(value) for file in coloured for value in file.values)
    greys = sum(file.channels and file.values != (0,) for file in files)
    return bool(coloured) and len(coloured) >= greys, colours


def _is_coloured(file: FileStatistics, palettes: str) -> bool:
    return file.source == "colour" or (file.source == "palette" and palettes == "colour")


def _kind_of(
    file: FileStatistics, palettes: str, channels: bool, colours: frozenset[int]
) -> tuple[str, FileStatistics]:
    """Return which files a file belongs to, and its statistics as one of these."""
    if file.source == "palette" and palettes == "grey" and file.greys is not None:
        return "grey", file.greys
    among = file.channels and (channels or (bool(colours) and {file.colour(one) for one in file.values} <= colours))
    return ("colour" if among or _is_coloured(file, palettes) else stored_as(file)), file


def _infer_kind(kind: str, files: Sequence[FileStatistics], options: Options) -> tuple[Reading, str] | None:
    """Return what files stored in one way hold, in words too, or None where their colours cannot be understood."""
    values = {value for file in files for value in file.values}
    if kind == "colour":
        return _colours(files, options)
    if options.encoding is not None:
        encoding, words = _as_told(files, values, options)
    elif kind == "palette":
        encoding, words = _trimap(files, values) or _indices(files, values)
    else:
        encoding, words = (
            _trimap(files, values)
            or _two_values(files, values, options)
            or _numbers(files, values)
            or _soft(values, options)
        )
    return Reading(kind, encoding, frozenset(values)), words


def _as_told(files: Sequence[FileStatistics], values: set[int], options: Options) -> tuple[Encoding, str]:
    """Return the encoding told, with nothing else inferred than what that encoding leaves open."""
    kind = options.encoding or "soft"
    words = f"Masks are read as {kind}, as told."
    if kind == "soft":
        grey = {value for file in files if file.source == "grey" for value in file.values}
        return _soft(grey, options)[0], words
    if kind == "probability":
        return Encoding(kind), f"{words} Inside is above 1/2; training sees the probability itself."
    if kind == "band":
        return Encoding(kind, options.threshold, (127, 128)), words
    if kind == "binary":
        background, besides = _background(files, values)
        return Encoding(kind, background=background), words + besides
    ignore, lone, besides = _ignored(files) if _counts_up(files) else ((), False, "")
    return Encoding(kind, ignore=ignore, lone=lone), words + besides


def _trimap(files: Sequence[FileStatistics], values: set[int]) -> tuple[Encoding, str] | None:
    whole = [file for file in files if file.values == TRIMAP]
    if values != {*TRIMAP} or sum(file.bordered for file in whole) < len(whole) / 2 or not whole:
        return None
    words = "Masks are trimaps: 1 is taken as the object, 2 as background, and 3 as a border to be ignored."
    return Encoding("binary", ignore=(3,), background=2), words


def _two_values(files: Sequence[FileStatistics], values: set[int], options: Options) -> tuple[Encoding, str] | None:
    """Zero and one other value, perhaps with an ignored one; or two values without a zero."""
    inside = sorted(values - {0})
    # JPEG makes many values of two: such masks are soft.
    if any(file.lossy for file in files):
        return None
    if 0 not in values and len(inside) == 2:
        return _without_zero(files, inside, options)
    # A file of 0 and 1 among others is one of another kind, whatever the others are.
    greys = {value for file in files if not set(file.values) <= {0, 1} for value in file.values}
    together = any(len(file.values) > 2 or (len(file.values) == 2 and 0 not in file.values) for file in files)
    if greys in _BANDS and together:
        middle = sorted(greys)[1]
        words = f"Masks are 0, {middle} and 255; {middle} is taken as a band to be ignored."
        return Encoding("band", options.threshold, (middle,)), words
    if inside == [1, 255]:
        if together:
            ignore, lone, besides = _ignored(files)
            return Encoding("binary", ignore=ignore, lone=lone), f"Masks are 0 and 1.{besides}"
        return Encoding("binary"), "Some masks are 0 and 1, others 0 and 255; all but 0 is taken as inside."
    if inside == [255]:
        return Encoding("soft", options.threshold), "Masks are 0 and 255."
    if len(inside) == 1:
        return Encoding("binary"), f"Masks are 0 and {inside[0]}."
    return None


def _without_zero(files: Sequence[FileStatistics], values: Sequence[int], options: Options) -> tuple[Encoding, str]:
    low, high = values
    if low <= options.threshold < high <= 255:
        words = f"Masks are {low} and {high}; inside is above {options.threshold}."
        return Encoding("soft", options.threshold), words
    background, besides = _background(files, set(values))
    return Encoding("binary", background=background), f"Masks are {low} and {high}.{besides}"


def _background(files: Iterable[FileStatistics], values: set[int]) -> tuple[int, str]:
    """Return the value that is background, and a sentence about it where it is not 0."""
    if 0 in values or len(values) < 2:
        return 0, ""
    # Equal counts go to the lowest value: the order of the files must not decide.
    commonest = Counter(file.commonest for file in files)
    background = min(commonest, key=lambda value: (-commonest[value], value))
    return background, f" No file holds a 0; the commonest value, {background}, is taken as background."


def _numbers(files: Sequence[FileStatistics], values: set[int]) -> tuple[Encoding, str] | None:
    """Many flat values: classes, or objects by number."""
    told = [file for file in files if file.inner]
    if not told or any(file.lossy for file in files) or median(file.flat for file in told) < FLAT:
        return None
    if sum(file.fades for file in told) > len(told) / 2:
        return None
    kind, words = ("instances", "object numbers") if _are_instances(told) else ("labels", "class values")
    ignore, lone, besides = _ignored(files) if _counts_up(files) else ((), False, "")
    background, more = _background(files, values)
    shown = _listed(values - {*ignore, background})
    encoding = Encoding(kind, ignore=ignore, lone=lone, background=background)
    return encoding, f"Masks hold {words} ({shown}).{more}{besides}"


def _indices(files: Sequence[FileStatistics], values: set[int]) -> tuple[Encoding, str]:
    """Palette indices: classes, or objects by number."""
    told = [file for file in files if file.inner]
    kind, words = ("instances", "object numbers") if told and _are_instances(told) else ("labels", "classes")
    ignore, lone, besides = _ignored(files)
    background, more = _background(files, values)
    shown = _listed(values - {*ignore, background})
    encoding = Encoding(kind, ignore=ignore, lone=lone, background=background)
    return encoding, f"Masks are palette {words} ({shown}).{more}{besides}"


def _counts_up(files: Iterable[FileStatistics]) -> bool:
    """Whether values are counted up from 1, so that 255 is none of them."""
    others = {value for file in files for value in file.inner}
    # Few values, widely spread, are codes or greys and nothing counted.
    return bool(others) and max(others) < 254 and not (len(others) < max(others) / 8 and max(others) > 64)


def _ignored(files: Iterable[FileStatistics]) -> tuple[tuple[int, ...], bool, str]:
    """Return 255 as a value to be ignored where it stands beside others, whether not where it stands alone; in words.

    Beside classes 255 is their border. In files that hold nothing else it is an object, if there are more of these
    than files with a border; otherwise they show a border only.
    """
    marked = [file for file in files if 255 in file.values]
    beside = sum(bool(file.inner) for file in marked)
    alone = len(marked) - beside
    if not beside:
        return (), False, ""
    if alone > beside:
        return (255,), True, " 255 is taken as pixels to be ignored beside other values, else as inside."
    rest = f"; {alone} of {alone + beside} files with it hold nothing else" if alone else ""
    return (255,), False, f" 255 is taken as pixels to be ignored{rest}."


def _are_instances(files: Sequence[FileStatistics]) -> bool:
    """Whether values look like numbers given to objects: one part each, as many as there happen to be."""
    counts = [len([value for value in file.values if value]) for file in files]
    # A single file says little of how numbers vary, and must therefore hold more of them.
    varied = len(set(counts)) >= min(3, len(files)) and median(counts) >= (8 if len(files) == 1 else 3)
    return varied and median(file.single for file in files) >= _SINGLE


def _soft(values: set[int], options: Options) -> tuple[Encoding, str]:
    if not values - {0}:
        return Encoding("soft", options.threshold), "All masks looked at are empty."
    # The threshold is said in 0 to 255, whatever the depth of the files.
    threshold = options.threshold * max(values) // 255 if max(values) > 255 else options.threshold
    return Encoding("soft", threshold), f"Masks are soft, {min(values)} to {max(values)}; inside is above {threshold}."


def _colours(files: Sequence[FileStatistics], options: Options) -> tuple[Reading, str] | None:
    """Coloured files: each colour a class, or the nearest of the colours meant where most files are not flat."""
    exact = [file for file in files if not file.noisy or options.encoding in TOLD_APART]
    # Noisy files would add thousands of colours: theirs count only where areas are filled with them.
    found = {file.colour(value) for file in exact for value in file.values}
    noisy = [file for file in files if file not in exact]
    meant = colours_meant(noisy)
    if not exact and not meant:
        return None
    snaps = len(noisy) > sum(len(file.values) > 1 for file in exact)
    if len(found) <= MOST_COLOURS:
        found |= {colour for colour in meant if nearest(colour, sorted(found)) is None}
    background = _background_colour(files, found)
    void = nearest(_VOID_COLOUR, sorted(found)) if snaps else _VOID_COLOUR
    ignore = {void} & found | {dict(file.palette)[255] for file in files if file.source == "palette" and _borders(file)}
    ignore -= {background}
    encoding = Encoding(
        options.encoding if options.encoding in {"binary", *TOLD_APART} else "labels",
        ignore=() if options.encoding == "binary" else tuple(sorted(one for one in ignore if one is not None)),
        background=background, colours=True,
    )  # fmt: skip
    classes = len(found - {background, *ignore})
    told = f"Masks are read as {options.encoding}, as told" if options.encoding else "Masks are coloured"
    flat = ", but smoothed or compressed with loss: each pixel is taken as the nearest of them" if snaps else ""
    words = f"{told}, each of {classes} colours a class{flat}; #{background:06x} is taken as background."
    return Reading("colour", encoding, frozenset(found), snaps), words


def _background_colour(files: Iterable[FileStatistics], found: set[int]) -> int:
    dark = nearest(0, sorted(found)) if 0 not in found else 0
    if dark == 0 or (dark is not None and any(file.noisy for file in files)):
        return dark
    commonest = Counter(nearest(file.colour(file.commonest), sorted(found)) for file in files)
    return next((colour for colour, _ in commonest.most_common() if colour is not None), min(found))


def _borders(file: FileStatistics) -> bool:
    """Whether palette index 255 stands beside classes."""
    return 255 in file.values and bool(file.inner)


def _refused(
    files: Iterable[FileStatistics], readings: Iterable[Reading], options: Options
) -> tuple[tuple[str, str], ...]:
    """Return the coloured files whose colours are not those meant, with the reason."""
    meant = next((sorted(reading.values) for reading in readings if reading.kind == "colour"), [])
    if options.encoding in TOLD_APART:
        return ()
    return tuple(
        (file.name, NOT_FLAT.format(count=file.colours))
        for file in files
        if file.noisy and not explain(file.values, file.counts, meant)
    )


def _listed(values: Iterable[int]) -> str:
    shown = sorted(value for value in values if value)
    return ", ".join(map(str, shown)) if len(shown) <= 6 else f"{shown[0]} to {shown[-1]}, {len(shown)} values"
