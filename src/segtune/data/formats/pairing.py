"""Which mask belongs to which image, from where they lie and what they are called."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice, product

from segtune.data.formats.contract import SetAside
from segtune.data.formats.tree import Tree, composed, join, name_of, parent_of, stem_of

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
_MASK_END = re.compile(rf"^(.+?)[ _.-]({_MASK_WORD})([ _.-]?\d+)?$", re.IGNORECASE)
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
    hold a folder per image with one file per object. One data folder may mix them; files in no pair are set aside.

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
    folders = list(_folder_pairs(tree, is_image, is_mask, objects))
    for images, masks, deep in folders:
        _pair_folders(tree, images, masks, deep, is_image, is_mask, result)
    for folder in _free_folders(tree, folders):
        _pair_side_by_side(tree, folder, is_image, is_mask, result)
    if result.pairs or result.set_aside:
        left = _in_no_pair(tree, result, lambda name: is_image(name) or is_mask(name))
        result.set_aside += _explain(left, _spare_folders(tree, [masks for _, masks, _ in folders]))
    result.pairs.sort(key=lambda pair: pair.image)
    result.set_aside.sort(key=lambda one: one.name)
    return result


def _free_folders(tree: Tree, folders: Iterable[tuple[str, str, bool]]) -> list[str]:
    """Return the folders whose files no pair of folders has claimed."""
    whole, flat = set[str](), set[str]()
    for images, masks, deep in folders:
        whole.add(masks)
        (whole if deep else flat).add(images)
    return [folder for folder in tree.files if folder not in flat and whole.isdisjoint(_upwards(folder))]


def _in_no_pair(tree: Tree, result: Pairing, accepts: Accepts) -> list[str]:
    """Return the files that are neither in a pair nor set aside yet: nothing is to be lost without a word."""
    known = {one.name for one in result.set_aside}
    for pair in result.pairs:
        known |= {pair.image, *pair.masks, *([pair.ignore] if pair.ignore else ())}
    return [path for path in tree.paths() if accepts(name_of(path)) and path not in known]


def _spare_folders(tree: Tree, chosen: Iterable[str]) -> dict[str, str]:
    """Return the folders of masks that lie beside the one chosen, as SegmentationObject beside SegmentationClass."""
    return {
        child: masks
        for masks in chosen
        for child in tree.folders(parent_of(masks))
        if child != masks and name_of(child).lower() in (*_INSTANCE_FOLDERS, *MASK_FOLDERS)
    }


def _explain(paths: Iterable[str], spare: Mapping[str, str]) -> Iterable[SetAside]:
    """Yield why these files are in no pair: one by one, or a folder of other masks of the same images as a whole."""
    counts: dict[str, int] = {}
    for path in paths:
        folder = next((one for one in _upwards(parent_of(path)) if one in spare), None)
        if folder is not None:
            counts[folder] = counts.get(folder, 0) + 1
        else:
            yield (_without_image if _sounds_like_mask(path) else _without_mask)(path)
    for folder, count in counts.items():
        reason = f"{count} mask files in it are not used: those in {spare[folder]} are"
        yield SetAside(folder, reason, "Ask for the other kind of objects, put all masks into one, or remove it.")


def _sounds_like_mask(path: str) -> bool:
    folders = (name_of(folder).lower() for folder in _upwards(parent_of(path)))
    if any(name in (*_INSTANCE_FOLDERS, *MASK_FOLDERS, IGNORE_FOLDER) for name in folders):
        return True
    return mask_key(stem_of(path)) != stem_of(path)


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
            # What the formats of paired files write.
            for suffix in (".png", ".tif", ".nii.gz"):
                if path := tree.file_called(join(folder, f"{stem_of(image)}{suffix}")):
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
    # Masks, MASKS and masks are one word.
    children = {name_of(child).lower(): child for child in tree.folders(parent)}
    for name in names:
        child = children.get(name)
        if child is not None and any(accepts(name_of(path)) for path in tree.paths(child)):
            return child
    return None


def _pair_folders(
    tree: Tree, images: str, masks: str, deep: bool, is_image: Accepts, is_mask: Accepts, result: Pairing
) -> None:
    # A key is the path below the folder without its extension: a/X for images/a/X.jpg and masks/a/X.png.
    keys = {path: _below(images, path) for path in tree.paths(images, deep=deep) if is_image(name_of(path))}
    finder = _MaskFinder(tree, masks, is_mask, keys.values())
    found = {path: finder.find(key) for path, key in keys.items()}
    lone = next(iter(keys.values())) if len(keys) == 1 else None
    if lone is not None and None in found.values() and _holds_one_image(images, lone, finder.all):
        # One image and masks that are called otherwise: a folder per image, each mask file one object.
        found = dict.fromkeys(found, _Found(tuple(finder.all), True, _BY_FOLDER))
    # The surest first: an image may not lose its own mask to one that would only fit loosely.
    for path, one in sorted(found.items(), key=lambda item: item[1].way if item[1] else _BY_STEM):
        if one is None:
            result.set_aside.append(_without_mask(path))
        elif (other := finder.take(path, one)) is not None:
            result.set_aside.append(_shared_mask(path, other))
        else:
            result.pairs.append(Pair(path, one.masks, one.one_each, ignore_mask_of(tree, path)))
    result.set_aside.extend(_without_image(path) for path in finder.left())


def _holds_one_image(images: str, key: str, masks: Iterable[str]) -> bool:
    """Whether a folder's only image owns all masks beside it, whatever they are called.

    So it is in a folder named like the image. Elsewhere masks numbered as the image is belong to other images, which
    are missing: images/7.png with masks/1.png to masks/3.png.
    """
    stem = name_of(key)
    if stem in {composed(name_of(images)), composed(name_of(parent_of(images)))}:
        return True
    own = {_pattern(stem), _pattern(image_key(stem))} - {None}
    return not any({_pattern(stem_of(path)), _pattern(mask_key(stem_of(path)))} & own for path in masks)


def _pattern(stem: str) -> str | None:
    """Return a name with its numbers blotted out, or None for a name without."""
    return re.sub(r"\d+", "#", stem.lower()) if any(map(str.isdigit, stem)) else None


_BY_FOLDER, _BY_STEM = 4, 5
"""Ways in which masks were found, the surest first: 0 to 3 by the name of mask or image, in full or but for a word."""


@dataclass(frozen=True)
class _Found:
    masks: tuple[str, ...]
    one_each: bool
    way: int


class _MaskFinder:
    """The masks of one folder, by the keys under which an image may look for them."""

    def __init__(self, tree: Tree, folder: str, is_mask: Accepts, images: Iterable[str]) -> None:
        keys = list(images)
        self.all = [path for path in tree.paths(folder) if is_mask(name_of(path))]
        self._taken: dict[str, str] = {}
        self._exact: dict[str, list[str]] = {}
        self._loose: dict[str, list[str]] = {}
        self._by_stem: dict[str, list[str]] = {}
        self._of_below: dict[str, list[str]] = {}
        # An image without objects has a folder without files.
        below = [composed(one[len(folder) + 1 :]) for one in tree.folders_below(folder)]
        self._of_folder: dict[str, list[str]] = {one: [] for one in below}
        stems = _with_keys(map(name_of, keys))
        shared = _shared_names([_stem_in(_below(folder, path)) for path in self.all], stems)
        of_images = {parent_of(one) for one in below if name_of(one) in stems}
        own = _folders_with_images(keys, {_below(folder, path) for path in self.all})
        homes = {parent_of(key) for key in keys} & self._of_folder.keys()
        above_homes = {above for home in homes if home for above in (*_upwards(parent_of(home)), "")}
        for path in self.all:
            key = _below(folder, path)
            loose = join(parent_of(key), shared[_stem_in(key)])
            self._exact.setdefault(key, []).append(path)
            self._loose.setdefault(loose, []).append(path)
            self._of_folder.setdefault(parent_of(key), []).append(path)
            # Among folders of one image each, 3/5.png is the fifth object of image 3 and no mask of image 5.
            if not of_images.isdisjoint(map(parent_of, _upwards(parent_of(key)))):
                continue
            if parent_of(key) not in own:
                self._by_stem.setdefault(name_of(loose), []).append(path)
            elif parent_of(key) not in above_homes:
                self._of_below.setdefault(loose, []).append(path)

    def find(self, key: str) -> _Found | None:
        """Return the masks of the image whose path below its folder, without extension, is `key`."""
        loose = join(parent_of(key), image_key(name_of(key)))
        for way, (index, one) in enumerate(product((self._exact, self._loose), (key, loose))):
            if found := index.get(one):
                return _Found(tuple(found), len(found) > 1, way)
        for one in (key, loose):
            if one and one in self._of_folder:
                return _Found(tuple(self._of_folder[one]), True, _BY_FOLDER)
        # Where an image's folder has one of masks, its mask lies there or is missing.
        at_home = parent_of(key) and parent_of(key) in self._of_folder
        same = list(islice(self._elsewhere(loose), 2)) if not at_home else []
        return _Found((same[0],), False, _BY_STEM) if len(same) == 1 else None

    def _elsewhere(self, key: str) -> Iterable[str]:
        """Yield the masks called like an image that lie in a folder of masks that is not the image's own.

        They may where no images are in the like folder, and above the image's own, where no folder of images below
        that one has a folder of masks.
        """
        yield from self._by_stem.get(name_of(key), ())
        for above in (*_upwards(parent_of(key)), ""):
            yield from self._of_below.get(join(above, name_of(key)), ())

    def take(self, image: str, found: _Found) -> str | None:
        """Note that these masks belong to `image`, or return the image that has one of them already."""
        other = next((self._taken[path] for path in found.masks if path in self._taken), None)
        if other is None:
            self._taken |= dict.fromkeys(found.masks, image)
        return other

    def left(self) -> list[str]:
        """Return the masks that belong to no image."""
        return [path for path in self.all if path not in self._taken]


def _pair_side_by_side(tree: Tree, folder: str, is_image: Accepts, is_mask: Accepts, result: Pairing) -> None:
    stems = {name: stem_of(name) for name in tree.files[folder]}
    masks = {name: stem for name, stem in stems.items() if is_mask(name) and mask_key(stem) != stem}
    images = [join(folder, name) for name in stems if is_image(name) and name not in masks]
    if not masks or not images:
        return
    shared = _shared_names(masks.values(), _with_keys(map(stem_of, images)))
    of_image: dict[str, list[str]] = {}
    for name, stem in masks.items():
        of_image.setdefault(shared[stem], []).append(join(folder, name))
    _match_names(images, of_image, result)


def _match_names(images: list[str], masks: dict[str, list[str]], result: Pairing) -> None:
    # As in folders, an image whose mask bears its full name comes before one that would only fit loosely.
    for path in sorted(images, key=lambda path: stem_of(path) not in masks):
        stem = stem_of(path)
        own = masks.pop(stem, None) or masks.pop(image_key(stem), None)
        if own:
            result.pairs.append(Pair(path, tuple(own), len(own) > 1))
        else:
            result.set_aside.append(_without_mask(path))
    result.set_aside.extend(_without_image(path) for paths in masks.values() for path in paths)


def _with_keys(stems: Iterable[str]) -> set[str]:
    """Return the names, without extension, of images, and those under which else they look for their masks."""
    return {name for stem in stems for name in (stem, image_key(stem))}


def _folders_with_images(images: Iterable[str], masks: Container[str]) -> set[str]:
    """Return the folders whose masks belong to images in the same folder or below, given the keys of images and masks.

    At the top a stray image may lie beside folders of images: only one with a mask there speaks for it.
    """
    return {parent_of(key) for key in images if parent_of(key) or key in masks}


def _stem_in(key: str) -> str:
    """Return the name in a mask's path without extension; a.jpg.png, as some tools write it, loses both."""
    name = name_of(key)
    return name if mask_key(name) != name else stem_of(name)


def _shared_names(masks: Iterable[str], images: set[str]) -> dict[str, str]:
    """Return what the name of each mask shares with its image's: `mask_key`, but for `X_mask_1` of an image `X_1`.

    The number is that of an image only where there is such an image, and no `X_1_mask` that is its own.
    """
    stems = list(masks)
    plain = {mask_key(stem) for stem in stems if _numbered(stem) is None}
    shared = {}
    for stem in stems:
        number = _numbered(stem)
        shared[stem] = number if number in images and number not in plain and number else mask_key(stem)
    return shared


def _numbered(stem: str) -> str | None:
    """Return `X_1` for `X_mask_1`, None for a name without a number behind the word for mask."""
    match = _MASK_END.match(stem)
    return match[1] + match[3] if match and match[3] else None


def _below(folder: str, path: str) -> str:
    """Return a file's path below `folder`, without its extension, `composed` as what it is compared with is."""
    short = composed(path[len(folder) + 1 :] if folder else path)
    return join(parent_of(short), stem_of(short))


def _without_mask(path: str) -> SetAside:
    return SetAside(path, "it has no mask", "Add its mask, all black when nothing is on the image, or remove it.")


def _without_image(path: str) -> SetAside:
    return SetAside(path, "this mask has no image", "Add the image it belongs to, or remove it.")


def _shared_mask(path: str, other: str) -> SetAside:
    return SetAside(path, f"its mask is also that of {other}", "Give the images different names and a mask each.")
