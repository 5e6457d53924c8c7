"""Images with masks as image files: folders side by side, files side by side, or a folder of masks per image."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import quote

from segtune.core.errors import DataError
from segtune.core.files import hash_file
from segtune.core.types import Sample
from segtune.data.formats.contract import DataFormat, Options, SetAside, Source
from segtune.data.formats.encodings import SAMPLE_FILES, SAMPLE_PIXELS, FileStatistics, infer, look_at
from segtune.data.formats.pairing import IGNORE_FOLDER, Pair, pair_files
from segtune.data.formats.regions import OBJECT, Truth, make_sample
from segtune.data.formats.runs import union
from segtune.data.formats.tree import Tree
from segtune.data.formats.writing import write_image, write_mask, written_names
from segtune.data.images import PIXEL_LIMIT, UnreadableError, is_image_name, read_image, read_size
from segtune.data.masks import Encoding, read_mask_file, read_truth

Size = tuple[int, int]


@dataclass
class MaskFolder(Source):
    """Pairs of image and mask files."""

    pairs: list[Pair] = field(default_factory=list)
    sizes: list[Size] = field(default_factory=list)
    encoding: Encoding = field(default_factory=Encoding)
    pixel_limit: int = PIXEL_LIMIT

    def sample(self, row: int) -> Sample:
        """Return sample `row`, its masks read."""
        pair, size = self.pairs[row], self.sizes[row]
        read = partial(read_image, self.root / pair.image, pixel_limit=self.pixel_limit)
        return make_sample(self.names[row], size, self._truth(pair), self.objects, self.groups[row], read)

    def image_hash(self, row: int) -> str:
        """Return the SHA-256 of the image file."""
        return hash_file(self.root / self.pairs[row].image)

    def _truth(self, pair: Pair) -> Truth:
        truths = [
            read_truth(
                self.root / path, self.encoding, stored=number, objects=self.objects, pixel_limit=self.pixel_limit
            )
            for number, path in enumerate(pair.masks)
        ]
        ignored = [truth.ignore for truth in truths if truth.ignore is not None]
        return Truth(tuple(region for truth in truths for region in truth.regions), union(ignored) if ignored else None)


def detect(tree: Tree) -> float | None:
    """Return how sure it is that images and mask files lie in `tree`."""
    pairing = pair_files(tree, is_image_name, is_image_name)
    return 0.9 if pairing is not None and pairing.pairs else None


def read(tree: Tree, options: Options) -> MaskFolder:
    """Index a folder of images and mask files."""
    pairing = pair_files(tree, is_image_name, is_image_name, options.objects)
    if pairing is None:
        raise DataError(f"{tree.root} holds no images with masks. {tree.describe()} Expected: {LAYOUT}.")
    pairs, sizes, set_aside = _check_headers(tree.root, pairing.pairs, options.pixel_limit)
    encoding, words = _infer(tree.root, pairs, sizes, options)
    names = tuple(pair.image for pair in pairs)
    return MaskFolder(
        tree.root, FORMAT.name, options.objects, names, (None,) * len(names),
        tuple(sorted([*pairing.set_aside, *set_aside], key=lambda one: one.name)), (words,), pairs, sizes, encoding,
        options.pixel_limit,
    )  # fmt: skip


def write(samples: Iterable[Sample], folder: Path) -> None:
    """Write images/ as PNG, masks/ and, where pixels do not count, ignore/.

    A single object without a class is written as one mask file, several as a folder of files that carry the classes.
    """
    for name, sample in written_names(samples):
        write_image(folder / "images" / f"{name}.png", sample.image)
        if sample.ignore is not None:
            write_mask(folder / IGNORE_FOLDER / f"{name}.png", sample.ignore)
        if len(sample.objects) == 1 and sample.labels == (OBJECT,):
            write_mask(folder / "masks" / f"{name}.png", sample.objects[0])
            continue
        (folder / "masks" / name).mkdir(parents=True, exist_ok=True)
        for number, (mask, label) in enumerate(zip(sample.objects, sample.labels, strict=True)):
            write_mask(folder / "masks" / name / f"{number:04d}.{quote(label, safe=' ')}.png", mask)


def _check_headers(root: Path, pairs: list[Pair], pixel_limit: int) -> tuple[list[Pair], list[Size], list[SetAside]]:
    good, sizes, set_aside = [], [], []
    for pair in pairs:
        try:
            size = read_size(root / pair.image, pixel_limit=pixel_limit)
            _check_masks(root, pair, size, pixel_limit)
        except UnreadableError as error:
            set_aside.append(SetAside(pair.image, error.reason, error.remedy))
        else:
            good.append(pair)
            sizes.append(size)
    return good, sizes, set_aside


def _check_masks(root: Path, pair: Pair, size: Size, pixel_limit: int) -> None:
    for mask in pair.masks:
        found = read_size(root / mask, pixel_limit=pixel_limit)
        if found != size:
            raise UnreadableError(
                root / pair.image,
                f"it is {size[1]} × {size[0]} pixels, its mask {mask} is {found[1]} × {found[0]}",
                "Export the mask at the size of its image, or remove both.",
            )


def _infer(root: Path, pairs: list[Pair], sizes: list[Size], options: Options) -> tuple[Encoding, str]:
    step = max(1, len(pairs) // SAMPLE_FILES)
    files: list[FileStatistics] = []
    pixels = 0
    for pair, size in list(zip(pairs, sizes, strict=True))[::step]:
        for mask in pair.masks[:2]:
            pixels += size[0] * size[1]
            if pixels <= SAMPLE_PIXELS or not files:
                files.append(look_at(read_mask_file(root / mask, pixel_limit=options.pixel_limit)))
    return infer(files, options)


LAYOUT = "images/ and masks/"
FORMAT = DataFormat("mask_folder", LAYOUT, detect, read, write)
