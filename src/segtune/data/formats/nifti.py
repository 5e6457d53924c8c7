"""NIfTI volumes with mask volumes, slice by slice.

A volume is turned to the patient's axes and cut into axial slices, or along the axis on which it is one slice thick;
they are shown as radiologists see them: front or head up, the patient's right on the left. Volumes of bytes and of
colour are shown as they are, others through the window asked for or that of the volume's 0.5th and 99.5th percentile. A
mask volume may have a fourth axis, one entry per object, with the objects' classes as JSON in a header extension.
Samples are named `volume#slice`; their group is the volume, which is one patient, unless a table says otherwise.
"""

from __future__ import annotations

import gzip
import json
import os
import threading
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from segtune.core.errors import DataError, MissingExtraError
from segtune.core.files import hash_file, hash_text, write_bytes
from segtune.core.rle import RunLengths
from segtune.core.types import Image, Sample
from segtune.data.formats.contract import DataFormat, Options, SetAside, Source
from segtune.data.formats.encodings import Encodings, Inference, infer
from segtune.data.formats.groups import read_groups, write_groups
from segtune.data.formats.image_files import Size
from segtune.data.formats.mask_reading import match
from segtune.data.formats.mask_statistics import count_values, look_at_some
from segtune.data.formats.pairing import IGNORE_FOLDER, Pair, pair_files
from segtune.data.formats.regions import Region, Truth, make_sample
from segtune.data.formats.runs import union
from segtune.data.formats.tree import Tree, stem_of
from segtune.data.formats.window import Window, show_window, window_of
from segtune.data.formats.writing import written_names
from segtune.data.images import PIXEL_LIMIT, UnreadableError, hold_to_limit
from segtune.data.masks import Encoding, MaskFile, Values, are_fractions, decode_values, whole_numbers
from segtune.data.remedies import option

_SUFFIXES = (".nii", ".nii.gz")
_AT_HAND = 2
"""Volumes kept in memory per process: an image and its mask. Compressed ones can only be read whole."""

_WINDOW_VALUES = 2_000_000
"""Values of a volume from which its window is found."""

Volume = npt.NDArray[np.generic]


@dataclass(kw_only=True)
class NiftiSlices(Source):
    """Slices of volumes.

    Attributes:
        pairs: image and mask volumes.
        slices: for each sample, its volume and its slice.
        sizes: (height, width) of the slices of each volume.
        encodings: what the values of mask volumes mean.
        window: the window asked for, or None.
    """

    pairs: Sequence[Pair]
    slices: Sequence[tuple[int, int]]
    sizes: Sequence[Size]
    encodings: Encodings
    window: Window | None

    def sample(self, row: int) -> Sample:
        """Return sample `row`, its mask read."""
        volume, place = self.slices[row]
        return self._sample(row, self._truth(self.pairs[volume], place))

    def bare(self, row: int) -> Sample:
        """Return sample `row`, no mask read."""
        return self._sample(row, Truth(()))

    def _sample(self, row: int, truth: Truth) -> Sample:
        volume, place = self.slices[row]
        read = partial(read_slice, self.root / self.pairs[volume].image, place, self.window)
        return make_sample(self.names[row], self.sizes[volume], truth, self.objects, self.groups[row], read)

    def image_hash(self, row: int) -> str:
        """Return a hash of the volume's file and the number of the slice."""
        volume, place = self.slices[row]
        path = self.root / self.pairs[volume].image
        return hash_text(f"{_hash(path)}#{place}")

    def _truth(self, pair: Pair, place: int) -> Truth:
        regions: list[Region] = []
        ignored: list[RunLengths] = []
        for path in pair.masks:
            labels = _labels_of(self.root / path)
            encoding = _encoding_of(self.root / path, self.encodings)
            for entry, values in enumerate(_values_at(self.root / path, place)):
                truth = decode_values(values, encoding, stored=entry, objects=self.objects)
                named = entry < len(labels)
                regions += [replace(one, label=labels[entry]) for one in truth.regions] if named else truth.regions
                ignored += [truth.ignore] if truth.ignore is not None else []
        if pair.ignore is not None:
            ignored.append(RunLengths.encode(_values_at(self.root / pair.ignore, place)[0] > 0))
        return Truth(tuple(regions), union(ignored) if ignored else None)


def detect(tree: Tree) -> float | None:
    """Return how sure it is that NIfTI volumes and their masks lie here."""
    if tree.chosen is not None or not tree.with_suffix(*_SUFFIXES):
        return None
    pairing = pair_files(tree, is_nifti_name, is_nifti_name)
    return 0.9 if pairing is not None and pairing.pairs else None


def read(tree: Tree, options: Options) -> NiftiSlices:
    """Index the slices of volumes by their headers.

    Raises:
        DataError: no volumes with masks.
        MissingExtraError: nibabel is not installed.
    """
    _import_nibabel()
    if options.encoding == "probability":
        raise DataError(
            "Masks of NIfTI volumes are read as masks, not as probability. Read them by "
            f"{option('encoding', 'soft')}, or save slices and their probabilities as image files."
        )
    pairing = pair_files(tree, is_nifti_name, is_nifti_name, options.objects)
    if pairing is None:
        raise DataError(f"{tree.root} holds no NIfTI volumes with masks. {tree.describe()} Expected: {_LAYOUT}.")
    pairs, shapes, bad = _check_shapes(tree.root, pairing.pairs, options.pixel_limit)
    inference = _infer(tree.root, pairs, options)
    slices = [(volume, place) for volume, shape in enumerate(shapes) for place in range(shape[0])]
    names = tuple(f"{pairs[volume].image}#{place:04d}" for volume, place in slices)
    known, more = read_groups(tree, [pair.image for pair in pairs])
    notes = (inference.words, *_of_several_entries(tree.root, pairs), *more)
    groups = tuple(known[volume] or stem_of(pairs[volume].image) for volume, _ in slices)
    set_aside = tuple(sorted([*pairing.set_aside, *bad], key=lambda one: one.name))
    return NiftiSlices(
        root=tree.root, format=FORMAT.name, objects=options.objects, names=names, groups=groups, set_aside=set_aside,
        notes=notes, pairs=pairs, slices=slices, sizes=[(shape[1], shape[2]) for shape in shapes],
        encodings=inference.encodings, window=options.window,
    )  # fmt: skip


def write(samples: Iterable[Sample], folder: Path) -> None:
    """Write each image as a volume of one slice, its objects along the fourth axis of a mask volume."""
    groups = []
    for name, sample in written_names(samples):
        _save(folder / "images" / f"{name}.nii.gz", _colour_volume(sample.image))
        stacked = np.zeros((*sample.size[::-1], 1, max(1, len(sample.objects))), dtype=np.uint8)  # [W, H, 1, N]
        for index, mask in enumerate(sample.objects):
            stacked[..., 0, index] = _to_axes(mask.decode().view(np.uint8))
        _save(folder / "masks" / f"{name}.nii.gz", stacked, list(sample.labels))
        if sample.ignore is not None:
            ignored = _to_axes(sample.ignore.decode().view(np.uint8))
            _save(folder / IGNORE_FOLDER / f"{name}.nii.gz", ignored[..., None])
        groups.append((f"images/{name}.nii.gz", sample.group))
    write_groups(folder, groups)


def is_nifti_name(name: str) -> bool:
    """Whether a file's extension is that of NIfTI."""
    return name.lower().endswith(_SUFFIXES)


def count_slices(path: Path, pixel_limit: int = PIXEL_LIMIT) -> int:
    """Return how many slices a volume has, from its header.

    Raises:
        UnreadableError: it cannot be read, or its slices have more pixels than the limit.
        MissingExtraError: nibabel is not installed.
    """
    return _shape(path, pixel_limit)[0]


def read_slice(path: Path, place: int, window: Window | None = None) -> Image:
    """Return a slice of a volume as RGB uint8 [H, W, 3].

    Args:
        path: the volume.
        place: number of the slice, from the feet.
        window: (centre, width) of the values shown; the volume's own percentiles without it.

    Raises:
        UnreadableError: the volume cannot be read.
    """
    values = _planes(_load(path), place)[0]
    # Volumes of colour are arrays of records.
    if values.dtype.names:
        colour: Any = values
        return np.stack([colour[name] for name in values.dtype.names[:3]], axis=-1).astype(np.uint8)
    if values.dtype != np.uint8 or window is not None:
        values = show_window(values, window or _window(path))
    return np.repeat(np.asarray(values, dtype=np.uint8)[:, :, None], 3, axis=2)


def _planes(volume: Volume, place: int) -> list[Volume]:
    """Return slice `place` of a volume in the patient's axes, once for each entry of a fourth axis."""
    axis = _slice_axis(volume.shape)
    plane = np.take(volume, place, axis=axis)
    # Indices grow to the right, front and head: reversed, the right comes left and front or head on top.
    upright = plane[::-1, ::-1].swapaxes(0, 1)
    return [upright] if upright.ndim == 2 else [upright[..., index] for index in range(upright.shape[2])]  # [H, W] each


def _to_axes(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Bring an image [H, W, ...] to where `_planes` finds it, [W, H, ...]."""
    return image.swapaxes(0, 1)[::-1, ::-1]


def _slice_axis(shape: tuple[int, ...]) -> int:
    # A volume of one slice may be thin along any axis.
    thin = [axis for axis in range(3) if shape[axis] == 1]
    return thin[0] if len(thin) == 1 else 2


def _check_shapes(
    root: Path, pairs: Sequence[Pair], pixel_limit: int
) -> tuple[list[Pair], list[tuple[int, int, int]], list[SetAside]]:
    """Return the pairs that fit together with slices, height and width of each, and the others with the reason."""
    good, shapes, bad = [], [], []
    for pair in pairs:
        try:
            shape = _shape(root / pair.image, pixel_limit)
            for other in (*pair.masks, *([pair.ignore] if pair.ignore else ())):
                found = _shape(root / other, pixel_limit)
                if found != shape:
                    reason = f"its {other} has {_words(found)}, the volume {_words(shape)}"
                    raise UnreadableError(root / pair.image, reason, "Bring both onto the same grid.")
        except UnreadableError as error:
            bad.append(SetAside(pair.image, error.reason, error.remedy))
        else:
            good.append(pair)
            shapes.append(shape)
    return good, shapes, bad


def _of_several_entries(root: Path, pairs: Iterable[Pair]) -> tuple[str, ...]:
    """Say how many volumes of images have a fourth axis, of which one entry is shown."""
    count = sum(_open(root / pair.image).shape[3:] not in {(), (1,)} for pair in pairs)
    words = (
        f"{count} volumes have several entries along a fourth axis, such as times or MR sequences, of which the first "
        "is shown; to train on another, save it as the volume."
    )
    return (words,) if count else ()


def _words(shape: tuple[int, int, int]) -> str:
    return f"{shape[0]} slices of {shape[2]} × {shape[1]}"


def _shape(path: Path, pixel_limit: int) -> tuple[int, int, int]:
    """Return slices, height and width of a volume, from its header."""
    volume = _open(path)
    # Only the lengths are put in the patient's order: values stay on the disk.
    order = _import_nibabel().io_orientation(volume.affine)[:, 0].astype(int)
    lengths = (*volume.shape, 1)[:3]
    shape = tuple(lengths[int(place)] for place in np.argsort(order))
    axis = _slice_axis(shape)
    across, down = (length for index, length in enumerate(shape[:3]) if index != axis)
    hold_to_limit(path, (down, across), pixel_limit)
    return shape[axis], down, across


def _infer(root: Path, pairs: Sequence[Pair], options: Options) -> Inference:
    def look(path: str) -> list[MaskFile]:
        try:
            return _telling(root / path)
        except UnreadableError:
            return []

    several = [pair.masks[0] for pair in pairs if pair.masks]
    if any(len(_open(root / path).shape) == 4 for path in several):
        # Objects are told apart by the fourth axis, whatever the values are.
        options = replace(options, objects="whole")
    return infer(look_at_some(several, look, limit=_LOOKED_AT), options)


def _telling(path: Path) -> list[MaskFile]:
    """Return the slices of a mask volume that say most: the fullest one, and some with values that it lacks."""
    volume = _load(path)
    axis = _slice_axis(volume.shape)
    others = tuple(index for index in range(volume.ndim) if index != axis)
    filled = np.count_nonzero(volume, axis=others)
    places = np.flatnonzero(filled)
    spread = [*places[:: max(1, len(places) // _SLICES)], *np.flatnonzero(filled == 0)[:1]]
    chosen: list[Values] = []
    seen: set[int] = set()
    for place in (int(filled.argmax()), *map(int, spread)):
        values = _values_at(path, place)[0]
        found = set(count_values(values)[0].tolist())
        if not chosen or found - seen:
            chosen.append(values)
            seen |= found
        if len(chosen) == _CHOSEN:
            break
    return [MaskFile(values, "grey") for values in chosen]


def _values_at(path: Path, place: int) -> list[Values]:
    """Return slice `place` of a mask volume as whole numbers, once for each entry of a fourth axis."""
    fractions = _are_fractions(path)
    return [whole_numbers(values, fractions) for values in _planes(_load(path), place)]


@lru_cache(maxsize=1024)
def _are_fractions(path: Path) -> bool:
    """Whether a volume holds fractions: said of all of it, for a slice may happen to hold only 0 and 1."""
    volume = _load(path)
    # fmax passes over NaN, which `max` would return.
    if not np.issubdtype(volume.dtype, np.floating) or np.fmax.reduce(volume, axis=None) > 1:
        return False
    # Slice by slice, for memory's sake.
    return any(are_fractions(plane) for plane in np.moveaxis(volume, _slice_axis(volume.shape), 0))


@lru_cache(maxsize=1024)
def _encoding_of(path: Path, encodings: Encodings) -> Encoding:
    """Return what the values of one mask volume mean, by its fullest slice, so that all its slices are read alike."""
    return match(_telling(path)[0], encodings, path)[1]


_SLICES, _CHOSEN = 32, 4
"""Slices of a mask volume whose values are listed, and those that are looked at closely."""

_LOOKED_AT = 8
"""Mask volumes that are looked at: each must be read whole."""


def _open(path: Path) -> Any:
    """Return a volume, its values not yet read."""
    nibabel = _import_nibabel()
    try:
        volume = nibabel.load(path)
    except (nibabel.filebasedimages.ImageFileError, OSError, ValueError, EOFError) as error:
        raise UnreadableError(path, f"it is no NIfTI that can be read ({error})", "Export it again.") from error
    if not 2 <= len(volume.shape) <= 4 or 0 in volume.shape:
        raise UnreadableError(path, f"its shape is {volume.shape}, not that of slices", "Export it again.")
    return volume


_LOADING: dict[Path, threading.Lock] = {}
"""Held while a volume is read: threads that read its slices ahead wait for the first instead of reading it too."""

if hasattr(os, "register_at_fork"):
    # A forked process has none of the threads that would let go of them.
    os.register_at_fork(after_in_child=_LOADING.clear)


def _load(path: Path) -> Volume:
    """Return the values of a volume, its axes in the order and direction of the patient's: right, front, head."""
    with _LOADING.setdefault(path, threading.Lock()):
        return _load_whole(path)


@lru_cache(maxsize=_AT_HAND)
def _load_whole(path: Path) -> Volume:
    nibabel = _import_nibabel()
    volume = _open(path)
    try:
        values = np.asanyarray(volume.dataobj)
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise UnreadableError(path, f"it is truncated or broken ({error})", "Copy it again from its source.") from error
    values = values[..., None] if values.ndim == 2 else values
    return np.asarray(nibabel.apply_orientation(values, nibabel.io_orientation(volume.affine)))


@lru_cache(maxsize=64)
def _window(path: Path) -> Window:
    volume = _load(path)
    # Evenly chosen values: two percentiles need no more.
    step = max(1, volume.size // _WINDOW_VALUES)
    return window_of(volume.ravel()[::step])


@lru_cache(maxsize=64)
def _hash(path: Path) -> str:
    return hash_file(path)


@lru_cache(maxsize=1024)
def _labels_of(path: Path) -> tuple[str, ...]:
    """Return the classes along a mask volume's fourth axis, from its header, or nothing."""
    for extension in _import_nibabel().load(path).header.extensions:
        try:
            labels = json.loads(extension.get_content())["labels"]
        except (ValueError, KeyError, TypeError):
            continue
        return tuple(str(label) for label in labels)
    return ()


def _colour_volume(image: Image) -> Volume:
    turned = _to_axes(image)[:, :, None]
    if (image[..., :1] == image).all():
        return turned[..., 0]
    colour = np.zeros(turned.shape[:3], dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    for channel, name in enumerate("RGB"):
        colour[name] = turned[..., channel]
    return colour


def _save(path: Path, volume: Volume, labels: Sequence[str] | None = None) -> None:
    nibabel = _import_nibabel()
    image = nibabel.Nifti1Image(volume, np.eye(4))
    if labels:
        content = json.dumps({"labels": labels}).encode()
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", content))
    # No time in the header: the same samples give the same bytes.
    write_bytes(path, gzip.compress(image.to_bytes(), mtime=0))


def _import_nibabel() -> ModuleType:
    try:
        import nibabel
    except ImportError as error:
        raise MissingExtraError("nibabel", "data", "Reading NIfTI") from error
    return nibabel


_LAYOUT = "images/ and masks/ of .nii or .nii.gz, or X.nii.gz beside X_seg.nii.gz"
FORMAT = DataFormat("nifti", _LAYOUT, detect, read, write, ("bands",))
