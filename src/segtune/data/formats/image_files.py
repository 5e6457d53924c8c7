"""Data sets whose images are files: what their formats share."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath

from segtune.core.files import hash_file
from segtune.core.types import Image, Sample
from segtune.data.formats.contract import SetAside, Source
from segtune.data.formats.names import agreeing
from segtune.data.formats.regions import Truth, make_sample
from segtune.data.formats.tree import Tree, composed, join, name_of, parent_of, stem_of
from segtune.data.images import PIXEL_LIMIT, UnreadableError, is_image_name, read_image, read_size
from segtune.data.split_lists import PART_WORDS

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
        return self._sample(row, self.truth(row))

    def bare(self, row: int) -> Sample:
        """Return sample `row`, no mask or annotation read."""
        return self._sample(row, Truth(()))

    def _sample(self, row: int, truth: Truth) -> Sample:
        read = partial(self.read_image, self.root / self.names[row], self.pixel_limit)
        return make_sample(self.names[row], self.sizes[row], truth, self.objects, self.groups[row], read)

    def image_hash(self, row: int) -> str:
        """Return the SHA-256 of the image file."""
        return hash_file(self.root / self.names[row])


class ImageFinder:
    """Finds the image files that annotations name.

    Args:
        tree: the data folder.
        is_image: whether a file name is that of an image.
        annotations: the annotation files there, whose folders and whose names tell parts such as val/.
    """

    def __init__(
        self, tree: Tree, is_image: Callable[[str], bool] = is_image_name, annotations: Iterable[str] = ()
    ) -> None:
        self.paths = [path for path in tree.paths() if is_image(name_of(path))]
        self._known = {composed(path): path for path in self.paths}
        self._by_name: dict[str, list[str]] = {}
        self._by_stem: dict[str, list[str]] = {}
        for path in self.paths:
            self._by_name.setdefault(composed(name_of(path)), []).append(path)
            self._by_stem.setdefault(stem_of(path), []).append(path)
        files = list(annotations)
        self._parts = {composed(parent_of(file)) for file in files}
        self._part_words = {word for file in files for word in _words(file)}

    def candidates(self, names: Iterable[str], file: str = "") -> dict[str, list[str]]:
        """Return the paths of the images that each of the names in the annotation file `file` may stand for.

        Looked for beside that file, in folders named like it, in the data folder, in images/, in folders that agree
        with the name's, and anywhere. A file elsewhere is another image, and the one named is missing, where others of
        the name's folder were found in their place and it does not lie below that or lies in another part, and where
        another name says that file or may as well mean it. More than one where several files have the name, and nothing
        says which is meant.
        """
        shorts = {name: _short(name) for name in names}
        found: dict[str, list[str]] = {short: [] for short in shorts.values()}
        homes: dict[str, set[str]] = {}
        taken = set[str]()
        for way in (self._in_place, self._in_folder_called_so, self._anywhere):
            claims = {short: self._at_home(way(short, file), homes.get(parent_of(short)), short, file)
                      for short, paths in found.items() if not paths}  # fmt: skip
            claims = claims if way == self._in_place else _in_own_part(claims, file)
            contested = _contested(claims, in_place=way == self._in_place)
            new = {short: paths for short, paths in claims.items()
                   if short not in contested and not taken.issuperset(paths)}  # fmt: skip
            found |= new
            taken |= {path for paths in claims.values() for path in paths}
            for short, paths in new.items():
                homes.setdefault(parent_of(short), set()).update(_homes(paths, short, file))
        return {name: found[short] for name, short in shorts.items()}

    def namesakes(self, name: str) -> int:
        """Return how many images, wherever they lie, have the file name of `name`."""
        return len(self._anywhere(_short(name)))

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
        ending = [path for path in same if f"/{composed(path)}".endswith(f"/{short}")
                  and not _is_of_another_part(composed(path)[: -len(short)], short, file)]  # fmt: skip
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

    def _at_home(self, paths: list[str], homes: Container[str] | None, short: str, file: str) -> list[str]:
        """Return the paths that lie below one of the folders in which the others were found, in no other part.

        All of them where no others were found.
        """
        if homes is None:
            return paths
        own = [path for path in paths if not _is_of_another_part(parent_of(path), short, file)]
        if not homes:
            return own
        return [path for path in own if any(folder in homes for folder in _above(path))
                and not self._is_of_another_file(path, file)]  # fmt: skip

    def _is_of_another_file(self, path: str, file: str) -> bool:
        """Whether a path lies in a folder that another annotation file than `file` lies in or is named like."""
        above = list(_above(composed(path)))
        own = set(_above(composed(file)))
        if any(folder in self._parts and folder not in own for folder in above if folder):
            return True
        words = {name_of(folder).lower() for folder in above if folder}
        return not self._part_words.isdisjoint(words - {*_words(file)})


def _short(name: str) -> str:
    # Annotations made on Windows name files by backslashes.
    return composed(str(PurePosixPath(name.replace("\\", "/"))).lstrip("/"))


def _contested(claims: Mapping[str, Sequence[str]], *, in_place: bool) -> set[str]:
    """Return the names that mean one file, and so does another of them; of those `in_place` none that ends its path."""
    meant = {short: paths[0] for short, paths in claims.items()
             if len(paths) == 1 and not (in_place and f"/{composed(paths[0])}".endswith(f"/{short}"))}  # fmt: skip
    wanted = Counter(meant.values())
    return {short for short, path in meant.items() if wanted[path] > 1}


def _homes(paths: Iterable[str], short: str, file: str) -> set[str]:
    """Return the folders below which others of the folder of the name `short` lie too, now that it was found here.

    Of a name without folders that is the folder named like the annotation file, else that file's own; none where it was
    found in no part such as train/: others may be in any.
    """
    if parent_of(short):
        return {parent_of(path) for path in paths}
    near = parent_of(file)
    hints = _words(file)
    homes = set[str]()
    for path in paths:
        above = [folder for folder in _above(path) if folder == near or folder != "images"]
        named_alike = (folder for folder in above if composed(name_of(folder)).lower() in hints)
        homes.add(next(named_alike, near if near in above else ""))
    return homes - {""}


def _in_own_part(claims: dict[str, list[str]], file: str) -> dict[str, list[str]]:
    """Return the paths of each name without those in another part, but all where each lies in such.

    Parts that were made by lists alone lie in one folder, whatever that is called.
    """
    own = {short: [path for path in paths if not _is_of_another_part(parent_of(path), short, file)]
           for short, paths in claims.items()}  # fmt: skip
    return own if any(own.values()) else claims


def _is_of_another_part(folder: str, short: str, file: str) -> bool:
    """Whether a folder is called like a part of a split, as test/ is, and the annotation file like other parts only.

    Whatever the name `short` says in full is what it means.
    """
    own = _parts_said(file)
    return bool(own and (said := _parts_said(folder)) and said.isdisjoint(own | _parts_said(parent_of(short))))


@lru_cache(maxsize=4096)
def _parts_said(path: str) -> frozenset[str]:
    """Return the parts of a split that the last part of a path or a folder above says."""
    words = {word for name in (path, *_above(path)) for word in _words(name)}
    return frozenset(part for part, names in PART_WORDS.items() if not words.isdisjoint(names))


def _above(path: str) -> Iterable[str]:
    """Yield the folders that a file lies in, the innermost first, the data folder, "", at last."""
    while path:
        path = parent_of(path)
        yield path


def _in_folder_named_like(file: str, paths: Sequence[str], short: str) -> str | None:
    """Return the one path in a folder named like an annotation file: train/ or train2017/ of instances_train2017.json.

    Published data sets have the same file names in each part. Of several folders the one right above counts.
    """
    above = {path: PurePosixPath(composed(path)[: -len(short)].lower()).parts for path in paths}
    for hint in _words(file):
        inside = [path for path in paths if hint in above[path]]
        right_above = [path for path in inside if above[path][-1] == hint]
        if len(only := right_above or inside) == 1:
            return only[0]
    return None


def _words(file: str) -> list[str]:
    """Return what a folder may be called after an annotation file: its name, the words in it, these without numbers."""
    stem = stem_of(file).lower()
    words = [word for word in re.split(r"[\s_.-]+", stem) if word]
    return [stem, *words, *(word.rstrip("0123456789") for word in words)]


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
