"""YOLO segmentation: images/ and labels/ with one text file per image, one outline per line, classes in data.yaml.

A line is a class number and x, y, x, y, … as shares of the image's width and height. An image without a text file has
no objects. Ignored pixels, which YOLO does not know, lie in ignore/, groups in groups.csv.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from segtune.core.errors import DataError
from segtune.core.files import write_text
from segtune.core.rle import RunLengths
from segtune.core.types import Sample
from segtune.data.formats.contract import OF_MASK_FILES, DataFormat, Options, SetAside
from segtune.data.formats.groups import read_groups, write_groups
from segtune.data.formats.image_files import ImageFiles, check_sizes
from segtune.data.formats.pairing import IGNORE_FOLDER, IMAGE_FOLDERS, ignore_mask_of
from segtune.data.formats.polygons import Ring, join_rings, rasterise, trace
from segtune.data.formats.regions import Region, Truth
from segtune.data.formats.tree import Tree, join, name_of, parent_of, stem_of
from segtune.data.formats.writing import write_image, write_mask, written_names
from segtune.data.images import is_image_name
from segtune.data.masks import Encoding, decode_values, read_mask_file

_LABELS = "labels"
_SUFFIX = ".txt"
_NO_LABELS = ("classes.txt", "names.txt", "labels.txt", "readme.txt", "requirements.txt")
_BOX = 5
"""Numbers in the line of a box: class, centre x and y, width, height."""

_SNIFFED = 20
"""Label files whose first line is looked at."""

_DIGITS = 7
"""Decimals written: a hundredth of a pixel at 100,000 pixels."""


@dataclass(kw_only=True)
class YoloImages(ImageFiles):
    """Images with a text file of outlines each.

    Attributes:
        labels: the text file of each image below the data folder, or None.
        ignored: a mask of pixels that do not count for each image, or None.
        classes: names of classes by number.
    """

    labels: Sequence[str | None]
    ignored: Sequence[str | None]
    classes: Mapping[int, str]

    def truth(self, row: int) -> Truth:
        """Return the outlines of image `row`, filled."""
        size, label = self.sizes[row], self.labels[row]
        regions = []
        for stored, (number, ring) in enumerate(read_outlines(self.root / label) if label else ()):
            mask = rasterise([[ring * np.array([size[1], size[0]])]], size)
            regions.append(Region(mask, self.classes.get(number, str(number)), stored))
        return Truth(tuple(regions), self._ignored(row))

    def _ignored(self, row: int) -> RunLengths | None:
        path = self.ignored[row]
        if path is None:
            return None
        return decode_values(read_mask_file(self.root / path).values, Encoding("binary")).regions[0].mask


def detect(tree: Tree) -> float | None:
    """Return how sure it is that YOLO labels lie here."""
    if tree.chosen is not None:
        return 0.9 if _settings_file(tree) else None
    labels = [label for _, label in _images_and_labels(tree) if label is not None]
    if not labels:
        return None
    # Empty files are images without objects: of those there may be thousands before the first line.
    lines = (line for label in labels if (line := _first_line(tree.root / label)))
    return 0.9 if any(map(_is_label_line, islice(lines, _SNIFFED))) else None


def read(tree: Tree, options: Options) -> YoloImages:
    """Index images by their text files, whose lines are looked over but not yet turned into numbers.

    Raises:
        DataError: no labels, or labels that are boxes.
    """
    pairs = dict(_images_and_labels(tree))
    found = [label for label in pairs.values() if label is not None]
    if not found:
        raise DataError(f"{tree.root} holds no YOLO labels. {tree.describe()} Expected: {_LAYOUT}.")
    faults = {image: _fault(tree.root / label) for image, label in pairs.items() if label is not None}
    if all(fault == _IS_BOX for fault in faults.values()):
        raise DataError(f"The labels in {tree.root} are boxes, such as {found[0]}. Export outlines (segmentation).")
    broken = [
        SetAside(image, f"its labels {pairs[image]} cannot be used: {fault}", "Export them again as outlines.")
        for image, fault in faults.items()
        if fault
    ]
    good = [image for image in pairs if not faults.get(image)]
    sizes, bad = check_sizes(tree.root, good, lambda _: None, options.pixel_limit)
    names = tuple(sizes)
    groups, notes = read_groups(tree, names)
    ignored = [ignore_mask_of(tree, name) for name in names]
    left = _left_over(tree, pairs, [path for path in ignored if path])
    without = sum(pairs[name] is None for name in names)
    words = (f"{without} images have no text file and are taken as images without objects.",) if without else ()
    return YoloImages(
        root=tree.root, format=FORMAT.name, objects=options.objects, names=names, groups=groups,
        set_aside=tuple(sorted([*broken, *bad, *left], key=lambda one: one.name)), notes=(*words, *notes),
        sizes=[sizes[name] for name in names], pixel_limit=options.pixel_limit,
        labels=[pairs[name] for name in names], ignored=ignored,
        classes=_read_classes(tree),
    )  # fmt: skip


def write(samples: Iterable[Sample], folder: Path) -> None:
    """Write images/ as PNG, labels/ and data.yaml; ignored pixels as ignore/, groups as groups.csv."""
    classes: dict[str, int] = {}
    groups = []
    for name, sample in written_names(samples):
        write_image(folder / "images" / f"{name}.png", sample.image)
        lines = [
            outline_line(classes.setdefault(label, len(classes)), mask)
            for mask, label in zip(sample.objects, sample.labels, strict=True)
        ]
        write_text(folder / _LABELS / f"{name}.txt", "".join(lines))
        if sample.ignore is not None:
            write_mask(folder / IGNORE_FOLDER / f"{name}.png", sample.ignore)
        groups.append((f"images/{name}.png", sample.group))
    write_groups(folder, groups)
    write_classes(folder, list(classes))


def write_classes(folder: Path, classes: Sequence[str], images: str = "images") -> None:
    """Write data.yaml, which names the classes by their numbers and the folder of the images."""
    names = dict(enumerate(classes))
    settings = {"path": ".", "train": images, "val": images, "names": names}
    write_text(folder / "data.yaml", yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))


def read_outlines(path: Path) -> list[tuple[int, Ring]]:
    """Return class number and outline, in shares of width and height, of each line.

    Raises:
        DataError: a line that is no outline.
    """
    outlines = []
    for number, line in enumerate(_read_lines(path), start=1):
        try:
            values = np.array(line.split(), dtype=np.float64)
        except ValueError as error:
            raise DataError(f"Line {number} of {path} is no outline ({error}). Export the labels again.") from error
        if not np.isfinite(values).all():
            raise DataError(f"Line {number} of {path} holds numbers that are not finite. Export the labels again.")
        outlines.append((int(values[0]), values[1:].reshape(-1, 2)))
    return outlines


def outline_line(number: int, mask: RunLengths) -> str:
    """Return a line of a label file: class number, then the outline in shares of width and height."""
    height, width = mask.size
    ring = join_rings(trace(mask)) / np.array([width, height])
    return f"{number} {' '.join(f'{value:.{_DIGITS}f}' for value in ring.ravel())}\n"


def _images_and_labels(tree: Tree) -> list[tuple[str, str | None]]:
    """Return each image with its text file or None; images in folders that have no labels at all are left out."""
    pairs = []
    for folder in tree.files:
        images = [name for name in tree.files[folder] if is_image_name(name)]
        place = _label_folder(tree, folder) if images else None
        if place is not None:
            texts = {stem_of(name): name for name in tree.files[place] if name.lower().endswith(_SUFFIX)}
            stems = [(name, stem_of(name)) for name in images]
            pairs += [(join(folder, name), join(place, texts[stem]) if stem in texts else None)
                      for name, stem in stems]  # fmt: skip
    return pairs


def _left_over(tree: Tree, pairs: Mapping[str, str | None], ignored: Iterable[str]) -> Iterator[SetAside]:
    """Yield the images whose folder has no labels at all, and the labels that belong to no image."""
    known = {*pairs, *pairs.values(), *ignored}
    places = {parent_of(label) for label in pairs.values() if label is not None}
    for path in tree.paths():
        if path in known:
            continue
        if is_image_name(name_of(path)):
            yield SetAside(
                path, "its folder has no labels", "Add its labels (an empty file for no object), or remove it."
            )
        elif path.lower().endswith(_SUFFIX) and _may_be_labels(tree, path, places):
            yield SetAside(path, "no image belongs to these labels", "Add the image they belong to, or remove them.")


def _may_be_labels(tree: Tree, path: str, places: Container[str]) -> bool:
    """Whether a text file holds labels, by its folder or its first line; lists of files and of classes do not."""
    if name_of(path).lower() in _NO_LABELS:
        return False
    folders = parent_of(path).lower().split("/")
    line = _first_line(tree.root / path)
    return _LABELS in folders or _is_label_line(line) or (not line and parent_of(path) in places)


def _label_folder(tree: Tree, folder: str) -> str | None:
    """Return the folder of the text files for the images in `folder`: labels/ in place of images/, or itself."""
    parts = folder.split("/")
    for place in range(len(parts) - 1, -1, -1):
        if parts[place].lower() in IMAGE_FOLDERS:
            labels = tree.folder_called("/".join([*parts[:place], _LABELS, *parts[place + 1 :]]))
            if labels is not None:
                return labels
    # Without labels/ the text files may lie beside the images.
    texts = {stem_of(name) for name in tree.files[folder] if name.lower().endswith(_SUFFIX)}
    beside = texts and any(is_image_name(name) and stem_of(name) in texts for name in tree.files[folder])
    return folder if beside else None


_IS_BOX = "its lines are boxes, not outlines"


def _fault(path: Path) -> str | None:
    """Return what is wrong with a text file, from its number of words per line, or None."""
    try:
        counts = [len(line.split()) for line in _read_lines(path)]
    except DataError as error:
        return str(error)
    if counts and all(count == _BOX for count in counts):
        return _IS_BOX
    # A class and at least three points: an odd number from 7 on.
    wrong = next((number for number, count in enumerate(counts, start=1) if count < 7 or count % 2 == 0), None)
    return (
        None if wrong is None else f"line {wrong} has {counts[wrong - 1]} numbers, not a class and three or more x, y"
    )


def _read_lines(path: Path) -> list[str]:
    try:
        # Editors on Windows begin a file by a byte order mark.
        return [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"The labels {path} cannot be read ({error}). Export them again.") from error


def _first_line(path: Path) -> str:
    """Return the first line that is not blank, or nothing."""
    with path.open("rb") as file:
        return next(
            (line for line in file.read(1 << 16).decode("utf-8-sig", errors="replace").splitlines() if line.strip()), ""
        )


def _is_label_line(line: str) -> bool:
    words = line.split()
    try:
        # Outlines may reach a little beyond the image.
        return len(words) >= _BOX and int(words[0]) >= 0 and all(-1 <= float(word) <= 2 for word in words[1:])
    except ValueError:
        return False


def _settings_file(tree: Tree) -> str | None:
    """Return the path of the file that names the classes, or None."""
    names = tree.files.get("", ()) if tree.chosen is None else (tree.chosen,)
    files = [name for name in names if name.lower().endswith((".yaml", ".yml"))]
    return next((name for name in files if isinstance(_load(tree.root / name).get("names"), list | dict)), None)


def _read_classes(tree: Tree) -> dict[int, str]:
    file = _settings_file(tree)
    if file is not None:
        names = _load(tree.root / file)["names"]
        # Both are in use: a list, and numbers with names.
        pairs = enumerate(names) if isinstance(names, list) else names.items()
        try:
            return {int(number): str(name) for number, name in pairs}
        except (TypeError, ValueError) as error:
            raise DataError(
                f"'names' in {tree.root / file} must be a list, or give each class number its name: {error}. "
                "Write it as {0: cat, 1: dog} or [cat, dog]."
            ) from error
    if "classes.txt" in tree.files.get("", ()):
        return dict(enumerate(_read_lines(tree.root / "classes.txt")))
    return {}


def _load(path: Path) -> Mapping[str, Any]:
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{path} cannot be read ({error}). Mend or remove it.") from error
    return settings if isinstance(settings, Mapping) else {}


_LAYOUT = "images/ and labels/ with one .txt of outlines per image, and data.yaml"
FORMAT = DataFormat("yolo", _LAYOUT, detect, read, write, (*OF_MASK_FILES, "bands", "window"))
