"""COCO: JSON of images, categories and annotations beside the images.

Objects are outlines (`polygons`), compressed or plain run lengths; pixels of a crowd (`iscrowd`) are ignored.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segtune.core.errors import DataError
from segtune.core.files import write_text
from segtune.core.rle import RunLengths
from segtune.core.types import Sample
from segtune.data.formats.annotations import AnnotationBuilder, Annotations
from segtune.data.formats.coco_rle import compress, read_counts
from segtune.data.formats.contract import OF_MASK_FILES, DataFormat, Options, SetAside
from segtune.data.formats.groups import read_groups
from segtune.data.formats.image_files import ImageFiles, ImageFinder, Size, check_sizes
from segtune.data.formats.polygons import trace
from segtune.data.formats.regions import OBJECT, Region, Truth
from segtune.data.formats.runs import union
from segtune.data.formats.sa1b import is_of_one_image
from segtune.data.formats.tree import Tree, name_of
from segtune.data.formats.writing import write_image, written_names

_MARKS = (b'"images"', b'"annotations"', b'"categories"', b'"image_id"', b'"file_name"', b'"category_id"')
_SNIFFED = 1 << 16
"""Bytes at each end of a JSON file that are searched for the words of COCO: files of many gigabytes exist."""

_GROUP_KEYS = ("group", "patient", "patient_id", "video_id", "scene", "sequence")


@dataclass(kw_only=True)
class CocoImages(ImageFiles):
    """Images with annotations in flat arrays.

    Attributes:
        annotations: those of all images.
        numbers: the number by which `annotations` know each image.
        classes: names of classes by number.
    """

    annotations: Annotations
    numbers: list[int]
    classes: list[str]

    def truth(self, row: int) -> Truth:
        """Return the annotations of image `row`."""
        regions: list[Region] = []
        crowds: list[RunLengths] = []
        for stored in self.annotations.of_image(self.numbers[row]):
            try:
                mask = self.annotations.mask(stored, self.sizes[row])
            except ValueError as error:
                raise DataError(f"An annotation of {self.root / self.names[row]} is broken: {error}.") from error
            if self.annotations.crowd[stored]:
                crowds.append(mask)
            else:
                regions.append(Region(mask, self.classes[self.annotations.label[stored]], stored))
        return Truth(tuple(regions), union(crowds) if crowds else None)


def detect(tree: Tree) -> float | None:
    """Return how sure it is that COCO annotations lie here."""
    return 0.9 if annotation_files(tree) else None


def read(tree: Tree, options: Options) -> CocoImages:
    """Index images by their COCO annotations; the outlines and run lengths are held, images are not read."""
    files = annotation_files(tree) or tree.with_suffix(".json")
    if not files:
        raise DataError(f"{tree.root} holds no COCO annotations. {tree.describe()} Expected: {_LAYOUT}.")
    collected = _Collected(ImageFinder(tree, annotations=tree.with_suffix(".json")))
    for path in files:
        collected.add_file(tree.root, path)
    sizes, bad = check_sizes(tree.root, sorted(collected.number_of), collected.claimed_size, options.pixel_limit)
    broken = collected.broken_images()
    names = tuple(path for path in sizes if path not in broken)
    groups, notes = read_groups(tree, names)
    set_aside = [*collected.set_aside, *bad, *(broken[path] for path in sizes if path in broken)]
    return CocoImages(
        root=tree.root, format=FORMAT.name, objects=options.objects, names=names,
        groups=tuple(collected.group_of.get(name) or group for name, group in zip(names, groups, strict=True)),
        set_aside=tuple(sorted(set_aside, key=lambda one: one.name)), notes=(*collected.notes(), *notes),
        sizes=[sizes[name] for name in names], pixel_limit=options.pixel_limit,
        annotations=collected.builder.finish(), numbers=[collected.number_of[name] for name in names],
        classes=list(collected.class_of),
    )  # fmt: skip


def write(samples: Iterable[Sample], folder: Path) -> None:
    """Write images/ as PNG and annotations.json.

    An object is outlines along pixel edges, or, when it has a hole, run lengths. Ignored pixels are a crowd.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    classes: dict[str, int] = {}
    for name, sample in written_names(samples):
        write_image(folder / "images" / f"{name}.png", sample.image)
        image = {"id": len(images) + 1, "file_name": f"{name}.png", "height": sample.size[0], "width": sample.size[1]}
        images.append(image if sample.group is None else {**image, "group": sample.group})
        # The third number is `iscrowd`.
        held = [(mask, label, 0) for mask, label in zip(sample.objects, sample.labels, strict=True)]
        if sample.ignore is not None:
            held.append((sample.ignore, sample.labels[0] if sample.labels else OBJECT, 1))
        for mask, label, crowd in held:
            category = classes.setdefault(label, len(classes) + 1)
            head = {"id": len(annotations) + 1, "image_id": image["id"], "category_id": category, "iscrowd": crowd}
            annotations.append({**head, **describe_mask(mask, outlines=not crowd)})
    categories = [{"id": number, "name": label} for label, number in classes.items()]
    text = json.dumps({"images": images, "annotations": annotations, "categories": categories})
    write_text(folder / "annotations.json", text)


def describe_mask(mask: RunLengths, *, outlines: bool = True) -> dict[str, Any]:
    """Return a mask as COCO has it: `segmentation`, `area` and `bbox` x, y, width, height.

    Args:
        mask: the mask.
        outlines: as polygons where it has no hole; else as compressed run lengths.
    """
    polygons = trace(mask) if outlines else []
    segmentation: Any = {"size": list(mask.size), "counts": compress(mask.counts)}
    # COCO's polygons know no holes.
    if polygons and all(len(rings) == 1 for rings in polygons):
        segmentation = [[int(value) for value in rings[0].ravel()] for rings in polygons]
    x0, y0, x1, y1 = mask.box or (0, 0, 0, 0)
    return {"segmentation": segmentation, "area": mask.area, "bbox": [x0, y0, x1 - x0, y1 - y0]}


def annotation_files(tree: Tree) -> list[str]:
    """Return the paths of the COCO files in a data folder: the one chosen, or all, `instances_*.json` before others."""
    if tree.chosen is not None:
        return (
            [tree.chosen]
            if tree.chosen.lower().endswith(".json") and _sounds_like_coco(tree.root / tree.chosen)
            else []
        )
    found = [path for path in tree.with_suffix(".json") if _sounds_like_coco(tree.root / path)]
    return [path for path in found if name_of(path).startswith("instances")] or found


def _sounds_like_coco(path: Path) -> bool:
    with path.open("rb") as file:
        text = file.read(_SNIFFED)
        size = file.seek(0, 2)
        # The end too: the words may lie behind gigabytes of annotations.
        file.seek(max(len(text), size - _SNIFFED))
        text += file.read()
    return sum(mark in text for mark in _MARKS) >= 3 and not is_of_one_image(text[:_SNIFFED])


@dataclass
class _Collected:
    """What has been read of one or several COCO files."""

    finder: ImageFinder
    builder: AnnotationBuilder = field(default_factory=AnnotationBuilder)
    number_of: dict[str, int] = field(default_factory=dict)
    class_of: dict[str, int] = field(default_factory=dict)
    group_of: dict[str, str] = field(default_factory=dict)
    set_aside: list[SetAside] = field(default_factory=list)
    claimed: dict[str, Size] = field(default_factory=dict)
    broken: dict[int, str] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)
    outlined: set[int] = field(default_factory=set)
    boxes: Counter[int] = field(default_factory=Counter)
    astray: int = 0

    def add_file(self, root: Path, path: str) -> None:
        """Add the images and annotations of one file."""
        document = _load(root / path)
        try:
            names = {_id(one["id"]): str(one["name"]) for one in document.get("categories", [])}
            images = document["images"]
            found = self.finder.candidates([str(one["file_name"]) for one in images], path)
            path_of = {_id(one["id"]): self._add_image(one, found[str(one["file_name"])], path) for one in images}
            for annotation in document.get("annotations", []):
                of_image = _id(annotation["image_id"])
                # Without such an image at all, not of one whose file is missing, which is told elsewhere.
                self.astray += of_image not in path_of
                if (image := path_of.get(of_image)) is not None:
                    self._add_annotation(annotation, image, names)
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            raise DataError(
                f"{root / path} is no complete COCO file: {type(error).__name__} {error}. It must hold 'images' with "
                "'id' and 'file_name', 'height' and 'width' being whole numbers, and 'annotations' with 'image_id' and "
                "'segmentation'."
            ) from error

    def claimed_size(self, path: str) -> Size | None:
        """Return the size an image is said to have."""
        return self.claimed.get(path)

    def broken_images(self) -> dict[str, SetAside]:
        """Return the images with an annotation that cannot be read, and those with boxes alone: they are not empty."""
        remedy = "Export the annotation again, as polygons or run lengths of the image's size."
        paths = {number: path for path, number in self.number_of.items()}
        unusable = {paths[number]: SetAside(paths[number], reason, remedy) for number, reason in self.broken.items()}
        for number in self.boxes.keys() - self.outlined:
            reason = f"its {self.boxes[number]} annotations are boxes without an outline"
            unusable[paths[number]] = SetAside(paths[number], reason, "Outline its objects, or remove the image.")
        return unusable

    def notes(self) -> tuple[str, ...]:
        """Say what was left out of the annotations, and which images they do not name."""
        unnamed = len(set(self.finder.paths) - self.named)
        counts = {
            "annotations are boxes without an outline and are left out": self.boxes.total(),
            "annotations have an image_id that no image has, and are left out": self.astray,
            "image files are named in no annotation file and are left out": unnamed,
        }
        return tuple(f"{count} {words}." for words, count in counts.items() if count)

    def _add_image(self, image: Mapping[str, Any], found: Sequence[str], file: str) -> str | None:
        named = str(image["file_name"])
        self.named.update(found)
        if len(found) != 1:
            self.set_aside.append(_not_found(named, file, found, self.finder.namesakes(named)))
            return None
        path = found[0]
        if path in self.number_of:
            self.set_aside.append(SetAside(named, f"{file} lists it a second time", "Keep one of its entries."))
            return None
        self.number_of[path] = len(self.number_of)
        if image.get("height") and image.get("width"):
            self.claimed[path] = (int(image["height"]), int(image["width"]))
        group = next((image[key] for key in _GROUP_KEYS if image.get(key) is not None), None)
        if group is not None:
            self.group_of[path] = str(group)
        return path

    def _add_annotation(self, annotation: Mapping[str, Any], path: str, names: Mapping[str, str]) -> None:
        number = self.number_of[path]
        outline = annotation.get("segmentation")
        if not outline:
            self.boxes[number] += 1
            return
        self.outlined.add(number)
        category = annotation.get("category_id")
        name = OBJECT if category is None else names.get(_id(category), str(category))
        label = self.class_of.setdefault(name, len(self.class_of))
        crowd = bool(annotation.get("iscrowd"))
        try:
            if isinstance(outline, Mapping):
                self._check_size(path, outline)
                self.builder.add_runs(number, label, read_counts(outline["counts"]), crowd=crowd)
            else:
                self.builder.add_polygons(number, label, [[_ring(one)] for one in outline], crowd=crowd)
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            self.broken[number] = f"annotation {annotation.get('id', '')} cannot be read: {error}"

    def _check_size(self, path: str, outline: Mapping[str, Any]) -> None:
        height, width = (int(value) for value in outline["size"])
        # Some tools give images no size: then the first run lengths say it.
        if self.claimed.setdefault(path, (height, width)) != (height, width):
            raise ValueError(f"its run lengths are for {width} × {height} pixels, the image has another size")


def _id(value: Any) -> str:
    """Return an id as text: some tools write 7 in one place and "7" or 7.0 in another."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _not_found(named: str, file: str, found: Sequence[str], namesakes: int) -> SetAside:
    if not found and namesakes:
        reason = f"{file} names it, but it is not in its folder; {namesakes} files elsewhere are called so"
        return SetAside(named, reason, "Put the image there, or write the path below the data folder of the one meant.")
    if not found:
        remedy = "Put the image there, or take its entry out of the annotations."
        return SetAside(named, f"{file} names it, but there is no such file", remedy)
    reason = f"{file} names it, which is ambiguous: {len(found)} files are called so, such as {' and '.join(found[:2])}"
    return SetAside(named, reason, "Write its path below the data folder, or name the images' folder like that file.")


def _load(path: Path) -> Mapping[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, OSError) as error:
        raise DataError(f"The annotations {path} cannot be read ({error}). Export them again.") from error
    if not isinstance(document, Mapping):
        raise DataError(f"{path} is no COCO file: it must hold an object with 'images' and 'annotations'.")
    return document


def _ring(flat: Any) -> npt.NDArray[np.float64]:
    numbers = np.array(flat, dtype=np.float64)
    if numbers.ndim != 1 or numbers.size % 2 or not np.isfinite(numbers).all():
        raise ValueError("an outline must be a list x, y, x, y, … of numbers")
    return numbers.reshape(-1, 2)


_LAYOUT = "a .json with 'images', 'annotations' and 'categories' beside the images"
FORMAT = DataFormat("coco", _LAYOUT, detect, read, write, (*OF_MASK_FILES, "bands", "window"))
