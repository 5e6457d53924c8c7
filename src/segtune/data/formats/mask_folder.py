"""Images with masks as image files: folders side by side, files side by side, or a folder of masks per image."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from segtune.core.types import Sample
from segtune.data.formats.contract import DataFormat, Options
from segtune.data.formats.groups import write_groups
from segtune.data.formats.paired import Kind, PairedFiles, index_pairs
from segtune.data.formats.pairing import IGNORE_FOLDER, pair_files
from segtune.data.formats.regions import OBJECT
from segtune.data.formats.tree import Tree
from segtune.data.formats.writing import write_image, write_mask, written_names
from segtune.data.images import is_image_name, read_image, read_size
from segtune.data.masks import read_mask_file

_LAYOUT = (
    "images/ and masks/ (or image/, imgs/, masks/, labels/, …), X.jpg beside X_mask.png, or a folder of masks per image"
)
_FILES = Kind(is_image_name, is_image_name, read_size, read_image, read_mask_file)


def detect(tree: Tree) -> float | None:
    """Return how sure it is that images and their mask files lie here."""
    pairing = pair_files(tree, is_image_name, is_image_name)
    return 0.8 if pairing is not None and pairing.pairs else None


def read(tree: Tree, options: Options) -> PairedFiles:
    """Index a folder of images and mask files."""
    return index_pairs(tree, options, _FILES, FORMAT.name, _LAYOUT)


def write(samples: Iterable[Sample], folder: Path) -> None:
    """Write images/ as PNG, masks/ and, where pixels do not count, ignore/.

    A single object without a class is written as one mask file; several are a folder of files, named by number and
    class, and no object at all is an empty folder.
    """
    groups = []
    for name, sample in written_names(samples):
        write_image(folder / "images" / f"{name}.png", sample.image)
        _write_masks(folder / "masks" / name, sample)
        if sample.ignore is not None:
            write_mask(folder / IGNORE_FOLDER / f"{name}.png", sample.ignore)
        groups.append((f"images/{name}.png", sample.group))
    write_groups(folder, groups)


def _write_masks(path: Path, sample: Sample) -> None:
    if sample.labels == (OBJECT,):
        write_mask(path.with_name(f"{path.name}.png"), sample.objects[0])
        return
    path.mkdir(parents=True, exist_ok=True)
    for number, (mask, label) in enumerate(zip(sample.objects, sample.labels, strict=True)):
        write_mask(path / f"{number:04d}.{quote(label, safe=' ')}.png", mask)


FORMAT = DataFormat("mask_folder", _LAYOUT, detect, read, write)
