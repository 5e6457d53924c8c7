"""Data sets whose images are files: what their formats share."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from segtune.core.files import hash_file
from segtune.core.types import Image, Sample
from segtune.data.formats.contract import SetAside, Source
from segtune.data.formats.names import agreeing
from segtune.data.formats.regions import Truth, make_sample
from segtune.data.formats.tree import Tree, composed, join, name_of, parent_of, stem_of
from segtune.data.images import PIXEL_LIMIT, UnreadableError, is_image_name, read_image, read_size

Size = tuple[int, int]
"""(height, width) in pixels."""


@dataclass(kw_only=True)
class ImageFiles(Source):
    """Images that are files, each named by its path below the data folder.

    Attributes:
        sizes: (height, width) of each image.
        read_image: (path, pixel limit) → RGB uint8 [H, W, 3].
        pixel_limit: most pixels an image may have.
    """

    sizes: Sequence[Size]
    read_image: Callable[[Path, int], Image] = read_image
    pixel_limit: int = PIXEL_LIMIT

    @abstractmethod
    def truth(self, row: int) -> Truth:
        """Return what is known about image `row`."""

    def sample(self, row: int) -> Sample:
        """Return sample `row`, its objects read."""
        read = partial(self.read_image, self.root / self.names[row], self.pixel_limit)
        return make_sample(self.names[row], self.sizes[row], self.truth(row), self.objects, self.groups[row], read)

    def image_hash(self, row: int) -> str:
        """Return the SHA-256 of the image file."""
        return hash_file(self.root / self.names[row])


class ImageFinder:
    """Finds the image files that annotations name."""

    def __init__(self, tree: Tree, is_image: Callable[[str], bool] = is_image_name) -> None:
        self.paths = [path for path in tree.paths() if is_image(name_of(path))]
        self._known = {composed(path): path for path in self.paths}
        self._by_name: dict[str, list[str]] = {}
        self._by_stem: dict[str, list[str]] = {}
        for path in self.paths:
            self._by_name.setdefault(composed(name_of(path)), []).append(path)
            self._by_stem.setdefault(stem_of(path), []).append(path)

    def candidates(self, names: Iterable[str], file: str = "") -> dict[str, list[str]]:
        """Return the paths of the images that each of the names in the annotation file `file` may stand for.

        Looked for beside that file, in folders named like it, in the data folder, in images/, in folders that agree
        with the name's, and anywhere. A file elsewhere is another image, and the one named is missing, where others of
        the name's folder were found in their place, or another name says that file. More than one where several files
        have the name, and nothing says which is meant.
        """
        # Annotations made on Windows name files by backslashes.
        shorts = {name: composed(str(PurePosixPath(name.replace("\\", "/"))).lstrip("/")) for name in names}
        found: dict[str, list[str]] = {name: [] for name in shorts}
        placed, taken = set[str](), set[str]()
        for way in (self._in_place, self._in_folder_called_so, self._anywhere):
            tried = [name for name, short in shorts.items() if not found[name] and parent_of(short) not in placed]
            ways = {name: way(shorts[name], file) for name in tried}
            found |= {name: paths for name, paths in ways.items() if not taken.issuperset(paths)}
            taken |= {path for paths in ways.values() for path in paths}
            # Of a name without folders the rest may lie anywhere, unless the images lie in a part such as train/.
            placed |= {parent_of(shorts[name]) for name in tried if found[name]
                       and (parent_of(shorts[name]) or parent_of(found[name][0]) not in {"", "images"})}  # fmt: skip
        return found

    def find_stem(self, stem: str) -> str | None:
        """Return the path of the one image whose name without extension is `stem`, or None."""
        same = self._by_stem.get(composed(stem), [])
        return same[0] if len(same) == 1 else None

    def _in_place(self, short: str, file: str) -> list[str]:
        """Return the paths of the images called so where the annotation file `file` says that they lie."""
        near = composed(parent_of(file))
        if beside := self._known.get(join(near, short)):
            return [beside]
        same = self._anywhere(short)
        ending = [path for path in same if f"/{composed(path)}".endswith(f"/{short}")]
        if named_alike := _in_folder_named_like(file, ending, short):
            return [named_alike]
        for folder in ("", "images", join(near, "images")):
            if found := self._known.get(join(folder, short)):
                return [found]
        # An image in no folder agrees with every folder.
        return agreeing([path for path in same if parent_of(path)], short) if parent_of(short) else []

    def _in_folder_called_so(self, short: str, _file: str) -> list[str]:
        folder = name_of(parent_of(short))
        return [path for path in self._anywhere(short) if composed(name_of(parent_of(path))) == folder]

    def _anywhere(self, short: str, _file: str = "") -> list[str]:
        return self._by_name.get(name_of(short), [])


def _in_folder_named_like(file: str, paths: Sequence[str], short: str) -> str | None:
    """Return the one path in a folder named like an annotation file: train/ or train2017/ of instances_train2017.json.

    Published data sets have the same file names in each part. Of several folders the one right above counts.
    """
    stem = stem_of(file).lower()
    words = [word for word in re.split(r"[\s_.-]+", stem) if word]
    above = {path: PurePosixPath(composed(path)[: -len(short)].lower()).parts for path in paths}
    for hint in (stem, *words, *(word.rstrip("0123456789") for word in words)):
        inside = [path for path in paths if hint in above[path]]
        right_above = [path for path in inside if above[path][-1] == hint]
        if len(only := right_above or inside) == 1:
            return only[0]
    return None


def check_sizes(
    root: Path,
    paths: Iterable[str],
    claimed: Callable[[str], Size | None],
    pixel_limit: int,
    size_of: Callable[[Path, int], Size] = read_size,
) -> tuple[dict[str, Size], list[SetAside]]:
    """Read the headers of image files.

    Args:
        root: the data folder.
        paths: the images' paths below it.
        claimed: the size that the annotations say an image has, or None.
        pixel_limit: most pixels an image may have.
        size_of: reads a header.

    Returns:
        The size of each image that can be used, and the others with the reason.
    """
    sizes: dict[str, Size] = {}
    bad: list[SetAside] = []
    for path in paths:
        try:
            size = size_of(root / path, pixel_limit)
        except UnreadableError as error:
            bad.append(SetAside(path, error.reason, error.remedy))
            continue
        expected = claimed(path)
        if expected is None or expected == size:
            sizes[path] = size
        else:
            bad.append(_other_size(path, size, expected))
    return sizes, bad


def _other_size(path: str, size: Size, expected: Size) -> SetAside:
    turned = "; the EXIF orientation may not have been applied when it was annotated" if size == expected[::-1] else ""
    reason = f"it is {size[1]} × {size[0]} pixels, its annotations are for {expected[1]} × {expected[0]}{turned}"
    return SetAside(path, reason, "Annotate the image at its own size, or put the annotated image there.")
