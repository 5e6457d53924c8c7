"""Which mask belongs to which image, from where they lie and what they are called."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from segtune.data.formats.contract import SetAside
from segtune.data.formats.tree import Tree, join, name_of, parent_of, stem_of

IMAGE_FOLDERS = (
    "images", "image", "imgs", "img", "jpegimages", "imagestr", "original", "originals", "photos", "frames", "inputs",
    "input", "scans",
)  # fmt: skip
MASK_FOLDERS = (
    "masks", "mask", "instance_masks", "labels", "label", "segmentationclass", "segmentationclassraw",
    "segmentationobject", "segmentations", "segmentation", "annotations", "ground_truth", "groundtruth", "ground truth",
    "gt", "labelstr", "targets", "target",
)  # fmt: skip
"""Names, in lower case, of folders that hold images and masks, the likelier first."""

IGNORE_FOLDER = "ignore"
"""Beside images/ and masks/: masks of the pixels that do not count."""

_INSTANCE_FOLDERS = ("segmentationobject", "instance_masks", "instances")
_MASK_WORD = r"masks?|seg|segmentation|labels?|gt|ground_?truth|annotation|matte|labelids"
_MASK_END = re.compile(rf"^(.+?)[ _.-]({_MASK_WORD})(?:[ _.-]?\d+)?$", re.IGNORECASE)
_MASK_START = re.compile(rf"^({_MASK_WORD})[ _.-](.+)$", re.IGNORECASE)
_IMAGE_END = re.compile(r"^(.+?)[ _.-](image|img|sat|rgb|leftimg8bit|original|orig|0000)$", re.IGNORECASE)
_IMAGE_START = re.compile(r"^(image|img)[ _.-](.+)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Pair:
    """An image with its masks, as paths below the data folder.

    Attributes:
        image: the image file.
        masks: its mask files; several when each holds one object.
        one_each: each mask file holds one object.
        ignore: a mask of pixels that do not count, or None.
    """

    image: str
    masks: tuple[str, ...]
    one_each: bool = False
    ignore: str | None = None


@dataclass
class Pairing:
    """The pairs of a data folder, in order of the images' paths, and what found no partner."""

    pairs: list[Pair] = field(default_factory=list)
    set_aside: list[SetAside] = field(default_factory=list)


Accepts = Callable[[str], bool]


def pair_files(tree: Tree, is_image: Accepts, is_mask: Accepts, objects: str = "whole") -> Pairing | None:
    """Pair images with masks.

    Understood: folders of images and of masks side by side, at any depth (also with the same folders inside both);
    images in a folder that has a folder of masks in it; `X.jpg` with `X_mask.png` in one folder. A folder of masks may
    hold a folder per image with one file per object.

    Args:
        tree: the data folder.
        is_image: whether a file name can be that of an image.
        is_mask: whether a file name can be that of a mask.
        objects: chooses between class and instance masks where both are there.

    Returns:
        None where no such layout is there.
    """
    key = (is_image, is_mask, objects == "instances")
    if key not in tree.found:
        tree.found[key] = _pair(tree, is_image, is_mask, objects)
    result: Pairing = tree.found[key]
    return result if result.pairs or result.set_aside else None


def _pair(tree: Tree, is_image: Accepts, is_mask: Accepts, objects: str) -> Pairing:
    result = Pairing()
    found = False
    for images, masks, deep in _folder_pairs(tree, is_image, is_mask, objects):
        _pair_folders(tree, images, masks, deep, is_image, is_mask, result)
        found = True
    if not found:
        _pair_side_by_side(tree, is_image, is_mask, result)
    result.pairs.sort(key=lambda pair: pair.image)
    result.set_aside.sort(key=lambda one: one.name)
    return result


def mask_key(stem: str) -> str:
    """Return the part of a mask's name that it shares with its image's: `X` of `X_mask`, `mask_X` and `X_mask_1`."""
    if match := _MASK_END.match(stem):
        return match[1]
    return match[2] if (match := _MASK_START.match(stem)) else stem


def image_key(stem: str) -> str:
    """Return the part of an image's name that it shares with its mask's: `X` of `X_image` and `image_X`."""
    if match := _IMAGE_END.match(stem):
        return match[1]
    return match[2] if (match := _IMAGE_START.match(stem)) else stem


def ignore_mask_of(tree: Tree, image: str) -> str | None:
    """Return the path of the mask of an image's ignored pixels, `ignore/a/X.png` for `images/a/X.jpg`, or None."""
    if not tree.has_folder_named(IGNORE_FOLDER):
        return None
    parts = parent_of(image).split("/")
    for place in range(len(parts) - 1, -1, -1):
        if parts[place].lower() in IMAGE_FOLDERS:
            folder = "/".join([*parts[:place], IGNORE_FOLDER, *parts[place + 1 :]])
            for suffix in (".png", ".tif", ".nii.gz"):
                if tree.has_file(path := join(folder, f"{stem_of(image)}{suffix}")):
                    return path
    return None


def _folder_pairs(tree: Tree, is_image: Accepts, is_mask: Accepts, objects: str) -> Iterable[tuple[str, str, bool]]:
    used: set[str] = set()
    for folder in tree.files:
        if not used.isdisjoint(_upwards(folder)):
            continue
        masks = _named(tree, folder, _mask_folder_order(objects), is_mask)
        if masks is None:
            continue
        images = _named(tree, folder, IMAGE_FOLDERS, is_image)
        if images is None and any(is_image(name) for name in tree.files[folder]):
            yield folder, masks, False
        elif images is not None:
            yield images, masks, True
        else:
            continue
        used |= {one for one in (images, masks) if one is not None}


def _upwards(folder: str) -> Iterable[str]:
    """Yield a folder and those it lies in, but for the data folder."""
    while folder:
        yield folder
        folder = parent_of(folder)


def _mask_folder_order(objects: str) -> tuple[str, ...]:
    return (*_INSTANCE_FOLDERS, *MASK_FOLDERS) if objects == "instances" else MASK_FOLDERS


def _named(tree: Tree, parent: str, names: tuple[str, ...], accepts: Accepts) -> str | None:
    children = {name_of(child).lower(): child for child in tree.folders(parent)}
    for name in names:
        child = children.get(name)
        if child is not None and any(accepts(name_of(path)) for path in tree.paths(child)):
            return child
    return None


def _pair_folders(
    tree: Tree, images: str, masks: str, deep: bool, is_image: Accepts, is_mask: Accepts, result: Pairing
) -> None:
    image_paths = [path for path in tree.paths(images, deep=deep) if is_image(name_of(path))]
    finder = _MaskFinder(tree, masks, is_mask)
    lone = len(image_paths) == 1 and not finder.find(_below(images, image_paths[0]))
    for path in image_paths:
        # One image and masks that are called otherwise: a folder per image, each mask file one object.
        found = _Found(tuple(finder.all), True) if lone else finder.find(_below(images, path))
        if found is None:
            result.set_aside.append(_without_mask(path))
        elif not finder.take(path, found):
            result.set_aside.append(_shared_mask(path, finder.taken[found.masks]))
        else:
            result.pairs.append(Pair(path, found.masks, found.one_each, ignore_mask_of(tree, path)))
    result.set_aside.extend(_without_image(path) for path in finder.left())


@dataclass(frozen=True)
class _Found:
    masks: tuple[str, ...]
    one_each: bool


class _MaskFinder:
    """The masks of one folder, by the keys under which an image may look for them."""

    def __init__(self, tree: Tree, folder: str, is_mask: Accepts) -> None:
        self.all = [path for path in tree.paths(folder) if is_mask(name_of(path))]
        self.taken: dict[tuple[str, ...], str] = {}
        self._exact: dict[str, list[str]] = {}
        self._loose: dict[str, list[str]] = {}
        self._by_stem: dict[str, list[str]] = {}
        self._of_folder: dict[str, list[str]] = {}
        for path in self.all:
            key = _below(folder, path)
            loose = join(parent_of(key), mask_key(stem_of(key)))
            self._exact.setdefault(key, []).append(path)
            self._loose.setdefault(loose, []).append(path)
            self._by_stem.setdefault(name_of(loose), []).append(path)
            self._of_folder.setdefault(parent_of(key), []).append(path)
        # An image without objects has a folder without files.
        for below in tree.folders_below(folder):
            self._of_folder.setdefault(below[len(folder) + 1 :], [])

    def find(self, key: str) -> _Found | None:
        """Return the masks of the image whose path below its folder, without extension, is `key`."""
        loose = join(parent_of(key), image_key(name_of(key)))
        for index in (self._exact, self._loose):
            for one in (key, loose):
                if found := index.get(one):
                    return _Found(tuple(found), len(found) > 1)
        for one in (key, loose):
            if one and one in self._of_folder:
                return _Found(tuple(self._of_folder[one]), True)
        same = self._by_stem.get(name_of(loose), [])
        return _Found((same[0],), False) if len(same) == 1 else None

    def take(self, image: str, found: _Found) -> bool:
        """Note that these masks belong to `image`; False when another image has them."""
        return not found.masks or self.taken.setdefault(found.masks, image) == image

    def left(self) -> list[str]:
        """Return the masks that belong to no image."""
        used = {path for masks in self.taken for path in masks}
        return [path for path in self.all if path not in used]


def _pair_side_by_side(tree: Tree, is_image: Accepts, is_mask: Accepts, result: Pairing) -> None:
    for folder, names in tree.files.items():
        masks: dict[str, list[str]] = {}
        for name in names:
            key = mask_key(stem_of(name)) if is_mask(name) else None
            if key is not None and key != stem_of(name):
                masks.setdefault(key, []).append(join(folder, name))
        taken = {path for paths in masks.values() for path in paths}
        images = [join(folder, name) for name in names if is_image(name) and join(folder, name) not in taken]
        if masks and images:
            _match_names(images, masks, result)


def _match_names(images: list[str], masks: dict[str, list[str]], result: Pairing) -> None:
    for path in images:
        stem = stem_of(path)
        own = masks.pop(stem, None) or masks.pop(image_key(stem), None)
        if own:
            result.pairs.append(Pair(path, tuple(own), len(own) > 1))
        else:
            result.set_aside.append(_without_mask(path))
    result.set_aside.extend(_without_image(path) for paths in masks.values() for path in paths)


def _below(folder: str, path: str) -> str:
    """Return a file's path below `folder`, without its extension."""
    short = path[len(folder) + 1 :] if folder else path
    return join(parent_of(short), stem_of(short))


def _without_mask(path: str) -> SetAside:
    return SetAside(path, "it has no mask", "Add its mask, all black when nothing is on the image, or remove it.")


def _without_image(path: str) -> SetAside:
    return SetAside(path, "this mask has no image", "Add the image it belongs to, or remove it.")


def _shared_mask(path: str, other: str) -> SetAside:
    return SetAside(path, f"its mask is also that of {other}", "Give the images different names and a mask each.")
