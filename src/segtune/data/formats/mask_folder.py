"""Images with masks as image files: folders side by side, files side by side, or a folder of masks per image."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from segtune.core.types import Sample
from segtune.data.formats.contract import DataFormat, Options
from segtune.data.formats.groups import write_groups
from segtune.data.formats.paired import Kind, PairedFiles, index_pairs
from segtune.data.formats.pairing import IGNORE_FOLDER, pair_files
from segtune.data.formats.tree import Tree
from segtune.data.formats.writing import mask_files, write_image, write_mask, written_names
from segtune.data.images import is_image_name, read_image, read_size
from segtune.data.masks import read_mask_file

_LAYOUT = (
    "images/ and masks/ (or image/, imgs/, masks/, labels/, …), X.jpg beside X_mask.png, or a folder of masks per image"
)
_FILES = Kind(is_image_name, is_image_name, read_size, read_image, read_mask_file)


def detect(tree: Tree) -> float | None:
    """Return how sure it is that images and their mask files lie here."""
    if tree.chosen is not None:
        return None
    pairing = pair_files(tree, is_image_name, is_image_name)
    return 0.9 if pairing is not None and pairing.pairs else None


def read(tree: Tree, options: Options) -> PairedFiles:
    """Index a folder of images and mask files."""
    return index_pairs(tree, options, _FILES, FORMAT.name, _LAYOUT)


def write(samples: Iterable[Sample], folder: Path) -> None:
    """Write images/ as PNG, masks/ and, where pixels do not count, ignore/.

    A single object without a class is one mask file; several are a folder of them (`writing.mask_files`).
    """
    groups = []
    for name, sample in written_names(samples):
        write_image(folder / "images" / f"{name}.png", sample.image)
        for path, mask in mask_files(folder / "masks" / name, sample):
            write_mask(path.with_name(f"{path.name}.png"), mask)
        if sample.ignore is not None:
            write_mask(folder / IGNORE_FOLDER / f"{name}.png", sample.ignore)
        groups.append((f"images/{name}.png", sample.group))
    write_groups(folder, groups)


FORMAT = DataFormat("mask_folder", _LAYOUT, detect, read, write, ("bands", "window"))
