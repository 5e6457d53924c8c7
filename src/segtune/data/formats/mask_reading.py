"""Which of a data set's encodings a mask file has, chosen when it is read.

Only a sample of the files was looked at when the encodings were inferred. A file that holds something of which its
encoding would leave nothing, or everything, is one of another kind, and what it holds is inferred from itself.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from segtune.core.errors import DataError
from segtune.data.formats.encodings import TOLD_APART, Encodings, Reading, agree, infer, palettes_hold, stored_as
from segtune.data.formats.mask_colours import DRAW_FLAT, NOT_FLAT, explain, snap
from segtune.data.formats.mask_statistics import FLAT, FileStatistics, count_values, look_at
from segtune.data.images import UnreadableError
from segtune.data.masks import (
    BY_BRIGHTNESS,
    Encoding,
    MaskFile,
    Values,
    as_brightness,
    as_colours,
    as_greys,
    as_seen,
    has_grey_palette,
)

_FEW = 3
"""Values of a data set whose masks are not soft: 0, 255 and one between."""


def match(file: MaskFile, encodings: Encodings, path: Path) -> tuple[Values, Encoding]:
    """Return the values [H, W] of a mask file and what they mean.

    Args:
        file: the file, as it was read.
        encodings: those of the data set.
        path: the file's path, for the error.

    Raises:
        UnreadableError: its colours cannot be understood.
    """
    file = _as_stored(file, encodings)
    kind = stored_as(file)
    reading = encodings.of(kind) or _alone(look_at(file), encodings, path)
    if kind == "colour":
        return _match_colours(file, reading, encodings, path)
    if encodings.options.encoding is None and not _fits(file, reading):
        reading = _other(look_at(file), reading, encodings, path)
    return file.values, reading.encoding


def _as_stored(file: MaskFile, encodings: Encodings) -> MaskFile:
    """Return a file as greys, indices or colours: as those of its data set are taken."""
    if file.alpha == "open" and file.seen in encodings.cut_outs:
        return as_seen(file)
    if encodings.options.encoding in BY_BRIGHTNESS:
        return as_brightness(file)
    if file.source == "palette":
        return _as_palette(file, encodings)
    colours = encodings.of("colour")
    if file.channels and (encodings.channels or (colours is not None and _is_among(file.values, colours))):
        return as_colours(file)
    return file


def _as_palette(file: MaskFile, encodings: Encodings) -> MaskFile:
    palettes = encodings.palettes
    # No file of the sample had a palette: this one must speak for itself.
    if palettes == "unknown":
        palettes = palettes_hold([look_at(file)])
    if palettes == "grey" and has_grey_palette(file):
        return as_greys(file)
    return as_colours(file) if palettes == "colour" else file


def _is_among(greys: Values, colours: Reading) -> bool:
    return {int(value) * 0x010101 for value in count_values(greys)[0]} <= colours.values


def _fits(file: MaskFile, reading: Reading) -> bool:
    """Whether an encoding leaves something of a file that holds something, and not everything of it."""
    encoding, values = reading.encoding, file.values
    if encoding.kind in {"soft", "band"}:
        if file.lossy or values.max() > encoding.threshold:
            return True
        return not set(count_values(values)[0].tolist()) - {0, *encoding.ignore}
    # Background is not 0 here: a file with a 0 is of another kind, unless the others hold one too.
    if encoding.background:
        return 0 in reading.values or bool(values.min() > 0)
    if encoding.kind == "binary" and values.min() > 0:
        found = count_values(values)[0].tolist()
        return len(found) == 1 or reading.values.issuperset(found)
    return True


def _other(statistics: FileStatistics, reading: Reading, encodings: Encodings, path: Path) -> Reading:
    """Return what a file holds that does not fit the others of its kind."""
    alone = _alone(statistics, encodings, path)
    # Among soft masks, specks of 1 are what compression left of nothing.
    specks = statistics.flat < FLAT and len(reading.values) > _FEW
    empty = alone.encoding.kind == "soft" and statistics.values[-1] <= alone.encoding.threshold
    return reading if specks or empty else alone


def _alone(statistics: FileStatistics, encodings: Encodings, path: Path) -> Reading:
    """Return what one file holds, inferred from itself beside what the others hold."""
    options = encodings.options
    asked = replace(options, objects="whole") if options.objects == "instances" else options
    try:
        # The file has been brought to greys, indices or colours already.
        found = infer([replace(statistics, greys=None)], asked).encodings.readings[0]
    except DataError as error:
        raise _not_flat(path, statistics.colours) from error
    others = [reading for reading in encodings.readings if reading.kind != found.kind]
    found = agree([found, *others])[0]
    if options.encoding is None and options.objects == "instances" and found.encoding.kind in TOLD_APART:
        return replace(found, encoding=replace(found.encoding, kind="instances"))
    return found


def _match_colours(file: MaskFile, reading: Reading, encodings: Encodings, path: Path) -> tuple[Values, Encoding]:
    found, counts = count_values(file.values)
    if reading.values.issuperset(found.tolist()) or encodings.options.encoding in TOLD_APART:
        return file.values, reading.encoding
    statistics = look_at(file)
    if not reading.snaps and not statistics.noisy:
        return file.values, reading.encoding
    if not explain(found, counts, sorted(reading.values)):
        reading = _alone(statistics, encodings, path)
        if not explain(found, counts, sorted(reading.values)):
            raise _not_flat(path, len(found))
    return snap(file.values, sorted(reading.values)), reading.encoding


def _not_flat(path: Path, count: int) -> UnreadableError:
    return UnreadableError(path, NOT_FLAT.format(count=count), DRAW_FLAT)
