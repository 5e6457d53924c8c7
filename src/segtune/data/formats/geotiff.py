"""GeoTIFF images with mask files: laid out like a mask folder, the georeference kept.

Of an image with many bands three become red, green and blue: those asked for, else the first three; of two, the first.
Values of more than 8 bits are stretched over the bands taken together (`data.images.stretch`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segtune.core.errors import MissingExtraError
from segtune.core.files import replacing
from segtune.core.types import Image, Sample
from segtune.data.formats.contract import DataFormat, Options
from segtune.data.formats.georeference import (
    GEO_TAGS,
    PIXELS,
    PLAIN_COMPRESSIONS,
    TIFF_FAULTS,
    TIFF_SUFFIXES,
    Georeference,
    import_tifffile,
    is_tiff_name,
    read_georeference,
)
from segtune.data.formats.groups import write_groups
from segtune.data.formats.paired import Kind, PairedFiles, index_pairs
from segtune.data.formats.pairing import IGNORE_FOLDER, pair_files
from segtune.data.formats.tree import Tree
from segtune.data.formats.writing import as_grey, mask_files, written_names
from segtune.data.images import (
    NO_DATA_TAG,
    PIXEL_LIMIT,
    TooLargeError,
    UnreadableError,
    hold_to_limit,
    is_image_name,
    open_image,
    parse_no_data,
    read_image,
    read_size,
    stretch,
)
from segtune.data.masks import MaskFile, read_mask_file, whole_numbers

Bands = tuple[int, ...]
"""Numbers, from 1, of the bands that become red, green and blue, or of the one that becomes grey."""


_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""Of a TIFF and of a BigTIFF, little-endian and big-endian."""

_BITS, _COMPRESSION, _ORIENTATION = 258, 259, 274
"""TIFF's tags."""

_GREY = 1
"""White-is-zero and black-is-zero, 0 and 1 of TIFF's photometric interpretation; colours begin above."""


@dataclass(frozen=True)
class GeoSample(Sample):
    """A sample that knows where on Earth it lies; `write` keeps it."""

    georeference: Georeference | None = None


@dataclass(kw_only=True)
class GeoTiffs(PairedFiles):
    """Pairs of GeoTIFF images and mask files."""

    def sample(self, row: int) -> GeoSample:
        """Return sample `row` with its georeference."""
        sample = super().sample(row)
        values: dict[str, Any] = {one.name: getattr(sample, one.name) for one in fields(Sample)}
        return GeoSample(**values, georeference=read_georeference(self.root / self.names[row]))


def detect(tree: Tree) -> float | None:
    """Return how sure it is that GeoTIFF images, or TIFFs of many bands, lie here with their masks."""
    if tree.chosen is not None or not tree.with_suffix(*TIFF_SUFFIXES):
        return None
    pairing = pair_files(tree, is_tiff_name, is_image_name)
    if pairing is None or not pairing.pairs:
        return None
    first = tree.root / pairing.pairs[0].image
    if _is_geotiff(first, PIXEL_LIMIT):
        return 1.0
    # Of deep colours alone Pillow shows something: no image of another kind is left out for them.
    together = pair_files(tree, is_image_name, is_image_name) if _has_deep_colours(first, PIXEL_LIMIT) else None
    return 1.0 if together is not None and len(together.pairs) == len(pairing.pairs) else None


def read(tree: Tree, options: Options) -> GeoTiffs:
    """Index a folder of GeoTIFF images and mask files.

    Raises:
        DataError: no pairs, or bands that the images do not have.
        MissingExtraError: tifffile is not installed.
    """
    import_tifffile()
    image = partial(read_geotiff, bands=options.bands)
    kind = Kind(is_tiff_name, is_image_name, size_of_geotiff, image, read_mask)
    index = index_pairs(tree, options, kind, FORMAT.name, _LAYOUT)
    values = {one.name: getattr(index, one.name) for one in fields(index)}
    return GeoTiffs(**{**values, "notes": (*index.notes, *_note_on_bands(index, options.bands))})


def write(samples: Iterable[Sample], folder: Path) -> None:
    """Write images/, masks/ and ignore/ as TIFFs with the samples' georeference, or that of the pixels themselves."""
    groups = []
    for name, sample in written_names(samples):
        known = sample.georeference if isinstance(sample, GeoSample) else None
        georeference = known or PIXELS
        write_geotiff(folder / "images" / f"{name}.tif", sample.image, georeference)
        for path, mask in mask_files(folder / "masks" / name, sample):
            write_geotiff(path.with_name(f"{path.name}.tif"), as_grey(mask), georeference)
        if sample.ignore is not None:
            write_geotiff(folder / IGNORE_FOLDER / f"{name}.tif", as_grey(sample.ignore), georeference)
        groups.append((f"images/{name}.tif", sample.group))
    write_groups(folder, groups)


def read_geotiff(path: Path, pixel_limit: int = PIXEL_LIMIT, bands: Bands | None = None) -> Image:
    """Return a TIFF as RGB uint8 [H, W, 3].

    Raises:
        UnreadableError: the file cannot be read, is too large, or lacks a band.
    """
    size_of_geotiff(path, pixel_limit)
    shown = shown_bands(path, bands)
    if shown is None:
        return read_image(path, pixel_limit)
    return to_rgb(read_bands(path), shown, path, _read_no_data(path))


def shown_bands(path: Path, bands: Bands | None = None) -> Bands | None:
    """Return the bands of a TIFF that are shown; None where Pillow shows the file as people see it.

    Raises:
        UnreadableError: the file cannot be read, or lacks a band that was asked for.
    """
    with _first_page(path) as page:
        return None if bands is None and _is_plain(page) else _choose(bands, int(page.samplesperpixel), path)


def to_rgb(values: npt.NDArray[np.generic], bands: Bands | None, path: Path, no_data: float | None = None) -> Image:
    """Return bands [H, W, S] of an image file as RGB uint8 [H, W, 3], black where a band of many bits is `no_data`."""
    chosen = values[:, :, [band - 1 for band in _choose(bands, values.shape[2], path)]]
    grey_or_rgb = chosen if chosen.dtype == np.uint8 else stretch(chosen, no_data)
    # One band becomes three.
    return np.ascontiguousarray(np.broadcast_to(grey_or_rgb, (*values.shape[:2], 3)))


def read_bands(path: Path) -> npt.NDArray[np.generic]:
    """Return all bands of a TIFF, [H, W, S], in the file's own type.

    Raises:
        UnreadableError: the file cannot be read.
    """
    tifffile = import_tifffile()
    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages[0]
            values = np.asarray(page.asarray())
            return _bands_last(values, str(page.axes))
    except (tifffile.TiffFileError, *TIFF_FAULTS) as error:
        remedy = "Export it uncompressed or deflated, or install the package imagecodecs."
        raise UnreadableError(path, f"it cannot be decoded ({error})", remedy) from error


def size_of_geotiff(path: Path, pixel_limit: int = PIXEL_LIMIT) -> tuple[int, int]:
    """Return (height, width) of a TIFF, or of a mask file of another kind, from its header.

    Raises:
        UnreadableError: the file cannot be read or is too large.
    """
    if not is_tiff_name(path.name):
        return read_size(path, pixel_limit)
    with _first_page(path) as page:
        size = int(page.imagelength), int(page.imagewidth)
    hold_to_limit(path, size, pixel_limit)
    return size


def read_mask(path: Path, colours: bool = False, pixel_limit: int = PIXEL_LIMIT) -> MaskFile:
    """Return the values of a mask file; one that Pillow cannot read must be a TIFF of one band.

    Raises:
        UnreadableError: the file cannot be read.
    """
    try:
        return read_mask_file(path, colours, pixel_limit)
    except UnreadableError:
        if not is_tiff_name(path.name):
            raise
    values = read_bands(path)
    if values.shape[2] != 1:
        raise UnreadableError(path, f"a mask must have one band, it has {values.shape[2]}", "Export one band.")
    return MaskFile(whole_numbers(values[:, :, 0]), "grey")


def write_geotiff(path: Path, values: npt.NDArray[np.uint8], georeference: Georeference) -> None:
    """Write an image [H, W, 3] or a mask [H, W] as a deflated TIFF with a georeference."""
    tifffile = import_tifffile()
    colour = "rgb" if values.ndim == 3 else "minisblack"
    tags = [(*tag, True) for tag in georeference.tags]
    with replacing(path) as temporary:
        # Without `metadata=None` tifffile adds a description of its own.
        tifffile.imwrite(temporary, values, photometric=colour, compression="zlib", extratags=tags, metadata=None)


def _note_on_bands(index: PairedFiles, bands: Bands | None) -> tuple[str, ...]:
    """Say which bands are shown, judging by the first image."""
    if not index.names:
        return ()
    count = _count_bands(index.root / index.names[0])
    if bands is None and count in (1, 3):
        return ()
    shown = bands or _first_bands(count)
    return (f"Images have {count} bands, of which {', '.join(map(str, shown))} are shown as red, green and blue.",)


def _choose(bands: Bands | None, count: int, path: Path) -> Bands:
    """Return the bands to show of `count`; asked of every image, for files of one folder may differ in their bands."""
    wanted = bands or _first_bands(count)
    if max(wanted) > count or min(wanted) < 1:
        raise UnreadableError(path, f"it has {count} bands, not band {max(wanted)}", "Choose other bands.")
    return wanted


def _first_bands(count: int) -> Bands:
    return (1, 2, 3) if count >= 3 else (1,)


def _count_bands(path: Path) -> int:
    with import_tifffile().TiffFile(path) as file:
        return int(file.pages[0].samplesperpixel)


def _read_no_data(path: Path) -> float | None:
    with import_tifffile().TiffFile(path) as file:
        return parse_no_data(file.pages[0].tags.valueof(NO_DATA_TAG))


@contextmanager
def _first_page(path: Path) -> Iterator[Any]:
    """Open a TIFF's first page; what is wrong with the file becomes an `UnreadableError`."""
    tifffile = import_tifffile()
    try:
        with tifffile.TiffFile(path) as file:
            yield file.pages[0]
    except (tifffile.TiffFileError, *TIFF_FAULTS) as error:
        raise UnreadableError(path, f"it is no TIFF that can be read ({error})", "Export it again.") from error


def _is_plain(page: Any) -> bool:
    """Whether Pillow reads it as people see it: up to four bands of 8 bits, in any colours it knows."""
    # Several bands that are said to be grey are no colours to Pillow, which refuses them.
    coloured = page.samplesperpixel == 1 or int(page.photometric) > _GREY
    return page.samplesperpixel in (1, 3, 4) and page.bitspersample == 8 and coloured


def needs_more_than_pillow(path: Path, pixel_limit: int = PIXEL_LIMIT) -> bool:
    """Whether a file is a GeoTIFF, a TIFF of many bands or one of colours of more than 8 bits.

    Without tifffile only what Pillow does not open: the rest it reads then, as any picture.
    """
    return _is_geotiff(path, pixel_limit) or _has_deep_colours(path, pixel_limit)


def _is_geotiff(path: Path, pixel_limit: int) -> bool:
    """Whether it is a TIFF with a place on Earth, by its tags, or one of bands that Pillow does not read."""
    try:
        with open_image(path, pixel_limit) as opened:
            return any(code in getattr(opened, "tag_v2", {}) for code in GEO_TAGS) and _has_tifffile()
    except TooLargeError:
        # Each reader says so itself.
        return _begins_as_tiff(path) and _has_tifffile()
    except UnreadableError:
        # What only is called one is left to Pillow, which says what is wrong with it.
        return _begins_as_tiff(path)


def _has_deep_colours(path: Path, pixel_limit: int) -> bool:
    """Whether Pillow would keep the high byte of each band of a TIFF, as RGB, where tifffile reads all of it."""
    try:
        with open_image(path, pixel_limit) as opened:
            tags = getattr(opened, "tag_v2", {})
            is_deep = opened.mode in {"RGB", "RGBA"} and max(tags.get(_BITS, (8,))) > 8
            # Others Pillow alone decodes, or turns.
            is_simple = tags.get(_COMPRESSION, 1) in PLAIN_COMPRESSIONS and tags.get(_ORIENTATION, 1) == 1
            return is_deep and is_simple and _has_tifffile()
    except UnreadableError:
        return False


def _has_tifffile() -> bool:
    try:
        import_tifffile()
    except MissingExtraError:
        return False
    return True


def _begins_as_tiff(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) in _SIGNATURES
    except OSError:
        return False


def _bands_last(values: npt.NDArray[np.generic], axes: str) -> npt.NDArray[np.generic]:
    if values.ndim == 2:
        return values[:, :, None]
    if values.ndim != 3 or "S" not in axes:
        raise ValueError(f"its axes are {axes}, not rows, columns and bands")
    # tifffile calls bands S: in front of rows and columns in planar files.
    return np.moveaxis(values, axes.index("S"), -1)


_LAYOUT = "a mask folder whose images are GeoTIFFs"
FORMAT = DataFormat("geotiff", _LAYOUT, detect, read, write, ("window",))
