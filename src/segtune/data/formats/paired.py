"""Images with their masks in files of their own: what the formats of that kind share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from urllib.parse import unquote

from segtune.core.errors import DataError
from segtune.core.rle import RunLengths
from segtune.core.types import Image, Probability
from segtune.data.formats.contract import Options, SetAside
from segtune.data.formats.encodings import TOLD_APART, Encodings, Inference, infer
from segtune.data.formats.groups import read_groups
from segtune.data.formats.image_files import ImageFiles, Size
from segtune.data.formats.mask_colours import DRAW_FLAT
from segtune.data.formats.mask_reading import match
from segtune.data.formats.mask_statistics import look_at_some
from segtune.data.formats.pairing import Pair, pair_files
from segtune.data.formats.regions import Region, Truth
from segtune.data.formats.runs import union
from segtune.data.formats.tree import Tree, name_of
from segtune.data.images import UnreadableError
from segtune.data.masks import Encoding, MaskFile, Values, as_greys, as_probability, decode_values, has_grey_palette


@dataclass(frozen=True)
class Kind:
    """One kind of image and mask files. The functions are module-level ones, so that a data set pickles.

    Attributes:
        is_image: whether a file name can be that of an image.
        is_mask: whether it can be that of a mask.
        size: (path, pixel limit) → (height, width), from the header.
        image: (path, pixel limit) → RGB uint8 [H, W, 3].
        mask: (path, colours, pixel limit) → values (`data.masks.read_mask_file`).
    """

    is_image: Callable[[str], bool]
    is_mask: Callable[[str], bool]
    size: Callable[[Path, int], Size]
    image: Callable[[Path, int], Image]
    mask: Callable[[Path, bool, int], MaskFile]


@dataclass(kw_only=True)
class PairedFiles(ImageFiles):
    """Pairs of image and mask files.

    Attributes:
        kind: how the files are read.
        pairs: one per name.
        encodings: what mask files of several objects hold.
        encodings_each: what mask files of one object hold.
    """

    kind: Kind
    pairs: Sequence[Pair]
    encodings: Encodings
    encodings_each: Encodings

    def truth(self, row: int) -> Truth:
        """Return what the mask files of image `row` hold."""
        pair, size = self.pairs[row], self.sizes[row]
        regions: list[Region] = []
        ignored = []
        for stored, path in enumerate(pair.masks):
            values, encoding = self._read(path, pair.one_each, size)
            truth = decode_values(values, encoding, stored=stored, objects=self.objects)
            if encoding.kind == "probability":
                likely = (partial(self._probability, path, pair.one_each, size),)
                truth = replace(truth, regions=tuple(replace(one, likely=likely) for one in truth.regions))
            label = label_in_name(path) if pair.one_each else None
            regions += truth.regions if label is None else [replace(one, label=label) for one in truth.regions]
            ignored += [truth.ignore] if truth.ignore is not None else []
        if pair.ignore is not None:
            # Any value but 0, whatever the encoding of the masks.
            ignored.append(RunLengths.encode(self._values_to_ignore(pair.ignore, size) > 0))
        return Truth(tuple(regions), union(ignored) if ignored else None)

    def _read(self, path: str, one_each: bool, size: Size) -> tuple[Values, Encoding]:
        """Return the values of a mask file, and what they mean."""
        file = self._mask_file(path, size)
        values, encoding = match(file, self.encodings_each if one_each else self.encodings, self.root / path)
        if one_each and encoding.kind in TOLD_APART:
            # Numbers or classes in a file of one object are just its inside.
            encoding = replace(encoding, kind="binary")
        return values, encoding

    def _probability(self, path: str, one_each: bool, size: Size) -> Probability:
        return as_probability(self._read(path, one_each, size)[0])

    def _values_to_ignore(self, path: str, size: Size) -> Values:
        file = self._mask_file(path, size)
        return as_greys(file).values if has_grey_palette(file) else file.values

    def _mask_file(self, path: str, size: Size) -> MaskFile:
        file = self.kind.mask(self.root / path, False, self.pixel_limit)
        if file.values.shape != size:
            raise UnreadableError(self.root / path, _other_size(size, path, file.values.shape), _SAME_SIZE)
        return file


def index_pairs(tree: Tree, options: Options, kind: Kind, name: str, layout: str) -> PairedFiles:
    """Index the pairs of a folder.

    Args:
        tree: the data folder.
        options: how it is to be read.
        kind: how the files are read.
        name: the format's name.
        layout: what was expected, for the error.

    Raises:
        DataError: no pairs are there, or the objects asked for cannot be told from the masks.
    """
    pairing = pair_files(tree, kind.is_image, kind.is_mask, options.objects)
    if pairing is None:
        raise DataError(f"{tree.root} holds no images with masks. {tree.describe()} Expected: {layout}.")
    pairs, sizes, bad = _check_headers(tree.root, pairing.pairs, kind, options.pixel_limit)
    encodings, encodings_each, notes, refused = _infer(tree.root, pairs, kind, options)
    pairs, sizes, unclear = _without(pairs, sizes, refused)
    names = tuple(pair.image for pair in pairs)
    groups, more = read_groups(tree, names)
    set_aside = tuple(sorted([*pairing.set_aside, *bad, *unclear], key=lambda one: one.name))
    return PairedFiles(
        root=tree.root, format=name, objects=options.objects, names=names, groups=groups, set_aside=set_aside,
        notes=(*notes, *more), sizes=sizes, read_image=kind.image, pixel_limit=options.pixel_limit, kind=kind,
        pairs=pairs, encodings=encodings, encodings_each=encodings_each,
        certain=encodings.are_certain and encodings_each.are_certain,
    )  # fmt: skip


def label_in_name(path: str) -> str | None:
    """Return the class in the name of a file of one object, `0007.polyp.png`, or None."""
    number, _, rest = name_of(path).partition(".")
    label, _, _ = rest.rpartition(".")
    return unquote(label) if label and number.isdecimal() else None


_SAME_SIZE = "Export the mask at the size of its image, or remove both."


def _check_headers(
    root: Path, pairs: Sequence[Pair], kind: Kind, pixel_limit: int
) -> tuple[list[Pair], list[Size], list[SetAside]]:
    good, sizes, bad = [], [], []
    for pair in pairs:
        try:
            size = kind.size(root / pair.image, pixel_limit)
            _check_masks(root, pair, size, kind, pixel_limit)
        except UnreadableError as error:
            # The fault may be the image's own or that of one of its masks.
            at = error.path.relative_to(root).as_posix()
            reason = error.reason if at == pair.image else f"its mask {at} cannot be used: {error.reason}"
            bad.append(SetAside(pair.image, reason, error.remedy))
        else:
            good.append(pair)
            sizes.append(size)
    return good, sizes, bad


def _check_masks(root: Path, pair: Pair, size: Size, kind: Kind, pixel_limit: int) -> None:
    for mask in (*pair.masks, *([pair.ignore] if pair.ignore else ())):
        found = kind.size(root / mask, pixel_limit)
        if found != size:
            raise UnreadableError(root / pair.image, _other_size(size, mask, found), _SAME_SIZE)


def _other_size(size: Size, mask: str, found: tuple[int, ...]) -> str:
    words = f"it is {size[1]} × {size[0]} pixels, its mask {mask} is {found[1]} × {found[0]}"
    if found == size[::-1]:
        words += "; one of them may lack the other's EXIF orientation"
    return words


def _infer(
    root: Path, pairs: Sequence[Pair], kind: Kind, options: Options
) -> tuple[Encodings, Encodings, tuple[str, ...], dict[str, str]]:
    """Return the encodings of mask files of several objects and of one object, notes, and files refused with why."""
    read = partial(_try_mask, kind, root, options.pixel_limit)
    several = look_at_some([pair.masks[0] for pair in pairs if not pair.one_each], read)
    each = look_at_some([pair.masks[0] for pair in pairs if pair.one_each and pair.masks], read)
    whole = replace(options, objects="whole")
    found = Inference(Encodings(options=options), "")
    found_each = Inference(Encodings(options=whole), "")
    notes = []
    if each:
        found_each = infer(each, whole)
        notes.append(f"Each object has a mask file of its own. {found_each.words}")
    if several:
        told_apart = each and options.objects == "instances"
        found = infer(several, whole if told_apart else options)
        notes.append(found.words)
    return found.encodings, found_each.encodings, tuple(notes), dict((*found.refused, *found_each.refused))


def _without(
    pairs: Sequence[Pair], sizes: Sequence[Size], refused: Mapping[str, str]
) -> tuple[list[Pair], list[Size], list[SetAside]]:
    """Return the pairs none of whose masks is refused, with their sizes, and the others with the reason."""
    good, kept, bad = [], [], []
    for pair, size in zip(pairs, sizes, strict=True):
        mask = next((mask for mask in pair.masks if mask in refused), None)
        if mask is None:
            good.append(pair)
            kept.append(size)
        else:
            bad.append(SetAside(pair.image, f"its mask {mask} cannot be used: {refused[mask]}", DRAW_FLAT))
    return good, kept, bad


def _try_mask(kind: Kind, root: Path, pixel_limit: int, path: str) -> Sequence[MaskFile]:
    try:
        return (kind.mask(root / path, False, pixel_limit),)
    except UnreadableError:
        return ()
