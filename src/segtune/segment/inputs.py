"""Which images to go over: files, folders, patterns and lists, each image once and with a name of its own."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from segtune.core.errors import DataError, UsageError
from segtune.data.formats.tree import Tree
from segtune.data.formats.writing import written_names
from segtune.data.images import is_image_name

_LIST = ".txt"


@dataclass(frozen=True)
class InputImage:
    """One image to segment.

    Attributes:
        path: where it lies.
        name: its path below the folder that was given, or as much of its path as tells it from the others.
        stem: the path, without extension, that its results get below the output folder.
    """

    path: Path
    name: str
    stem: str = ""


def find_inputs(inputs: Iterable[str | Path], *, without: Path | None = None) -> list[InputImage]:
    """Return the images meant by files, folders (with those below), patterns (`photos/**/*.jpg`) and lists.

    A list is a .txt file with a path per line, relative to where it lies. Order is that of the inputs; folders and
    patterns are sorted. An image that is meant twice comes once.

    Args:
        inputs: see above.
        without: a folder whose images are not meant, as that of the results, which may lie below the images.

    Raises:
        DataError: nothing is there, or no image is among it.
        UsageError: all images lie in `without`.
    """
    inputs = list(inputs)
    found: dict[Path, str] = {}
    left_out = 0
    for given in inputs:
        for path, name in _expand(str(given)):
            if without is not None and path.resolve().is_relative_to(without.resolve()):
                left_out += 1
            else:
                found.setdefault(path.absolute(), name)
    if left_out and not found:
        raise UsageError(
            f"All {left_out} images lie in {without}, where the results are to go, and might be replaced by them. Give "
            "--out another folder."
        )
    if not found:
        raise DataError(
            f"No image was found in {', '.join(map(str, inputs)) or 'nothing'}. Give image files, a folder, a pattern "
            "in quotes, or a .txt file with a path per line."
        )
    named = [InputImage(path, name) for path, name in _distinct(found)]
    return [InputImage(image.path, image.name, stem) for stem, image in written_names(named)]


def _expand(given: str) -> Iterator[tuple[Path, str]]:
    """Yield what one input means, each path with its shortest name."""
    path = Path(given).expanduser()
    if path.is_dir():
        for below in Tree.scan(path).paths():
            if is_image_name(below):
                yield path / below, below
    elif path.is_file() and path.suffix.lower() == _LIST:
        for line in _read_list(path):
            if line.strip():
                yield from _expand(str(path.parent / line.strip()))
    elif path.exists():
        yield path, path.name
    elif glob.has_magic(given):
        # Path.glob takes no absolute pattern.
        for match in sorted(glob.glob(str(path), recursive=True)):  # noqa: PTH207
            yield from _expand(match)
    else:
        raise DataError(f"{path} does not exist. Give image files, a folder, a pattern in quotes, or a list.")


def _read_list(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} cannot be read as a list of images ({error}). Write one path per line, in UTF-8."
        ) from error


def _distinct(found: dict[Path, str]) -> Sequence[tuple[Path, str]]:
    """Lengthen names that several images share until they differ."""
    counts = Counter(found.values())
    return [
        (path, name if counts[name] == 1 else PurePosixPath(*path.parts[1:]).as_posix()) for path, name in found.items()
    ]
