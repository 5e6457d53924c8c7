"""Which images to go over: files, folders, patterns and lists, each image once and with a name of its own."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from segtune.core.errors import DataError, SegtuneError, UsageError
from segtune.data.formats.tree import Tree, as_text, is_text
from segtune.data.formats.writing import written_names
from segtune.data.images import is_image_name
from segtune.data.reading import is_part, is_readable, list_parts

_LIST = ".txt"


@dataclass(frozen=True)
class InputImage:
    """One image to segment.

    Attributes:
        path: where it lies.
        name: its path below the folder that was given, or as much of its path as tells it from the others.
        stem: the path, without extension, that its results get below the output folder.
        fault: why it cannot be read, in a paragraph, where that is known already; asked for, it is one that failed.
        is_named: prompts can name it; an image that none can and that has a fault counts as asked for.
    """

    path: Path
    name: str
    stem: str = ""
    fault: str = ""
    is_named: bool = True

    def check(self) -> None:
        """Do nothing, or say the fault.

        Raises:
            DataError: there is one.
        """
        if self.fault:
            raise DataError(self.fault)


def find_inputs(inputs: str | Path | Iterable[str | Path], *, without: Path | None = None) -> list[InputImage]:
    """Return the images meant by files, folders (with those below), patterns (`photos/**/*.jpg`) and lists.

    Of a NIfTI volume each slice is an image, of a DICOM file each frame (`data.reading`); a DICOM segmentation is
    none, nor is a DICOM file without an image.
    A list is a .txt file with a path per line, relative to where it lies; only what is given itself is taken for one,
    not what a pattern or another list names. Order is that of the inputs; folders and patterns are sorted. An image
    that is meant twice comes once. A line that leads nowhere, and a name that is no UTF-8, is an image with a fault.

    Args:
        inputs: see above; one, or several.
        without: a folder whose images are not meant, as that of the results, which may lie below the images.

    Raises:
        DataError: nothing is there, or no image is among it.
        UsageError: all images lie in `without`.
    """
    inputs = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    kept_out = None if without is None else Path(os.path.realpath(without))
    found: dict[Path, InputImage] = {}
    left_out = 0
    for given in inputs:
        for image in _read_input(str(given)):
            if kept_out is not None and Path(os.path.realpath(image.path)).is_relative_to(kept_out):
                left_out += 1
            else:
                place = _plain(image.path)
                found.setdefault(place, replace(image, path=place))
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
    named = _distinct(list(found.values()))
    return [replace(image, stem=stem) for stem, image in written_names(named)]


def _read_input(given: str) -> Iterator[InputImage]:
    """Yield what one input means, each image with its shortest name."""
    path = Path(os.path.expanduser(given))  # noqa: PTH111 - Path's own fails where there is no such user
    if path.suffix.lower() == _LIST and _is_there(path) and path.is_file():
        yield from _read_list(path)
    else:
        yield from _expand(path)


def _expand(path: Path) -> Iterator[InputImage]:
    """Yield what a file, a folder or a pattern means."""
    if _is_there(path):
        yield from _below(path) if path.is_dir() else _file(path)
        return
    if is_part(path):
        yield InputImage(path, path.name)
        return
    start, pattern = _split_pattern(path)
    if not any(map(glob.has_magic, pattern)):
        raise DataError(
            f"{as_text(str(path))} does not exist. Give image files, a folder, a pattern in quotes, or a list."
        )
    # Path.glob takes no absolute pattern.
    for match in sorted(glob.glob(os.path.join(glob.escape(start), *pattern), recursive=True)):  # noqa: PTH118, PTH207
        one = Path(match)
        if is_text(match) and one.is_dir():
            yield from _below(one)
        elif is_readable(one) or one.is_dir():
            yield from _file(one)


def _below(folder: Path) -> Iterator[InputImage]:
    tree = Tree.scan(folder)
    for name in tree.paths():
        if is_readable(folder / name):
            yield from _images_in(folder / name, name)
    for name in tree.misnamed:
        # What is in such a folder was not looked at.
        if name.endswith("/") or is_image_name(name):
            yield _misnamed(folder / name, name.rstrip("/"))


def _file(path: Path) -> list[InputImage]:
    if not is_text(str(path)):
        return [_misnamed(Path(as_text(str(path))), as_text(path.name))]
    # What is asked for by itself is told, if it is no image.
    return _images_in(path, path.name) or [InputImage(path, path.name)]


def _images_in(path: Path, name: str) -> list[InputImage]:
    """Return the images in a file, by its name; of one that cannot be opened the file itself, with its fault."""
    try:
        parts = list_parts(path)
    except SegtuneError as error:
        return [InputImage(path, name, fault=str(error))]
    return [InputImage(part, name + part.name.removeprefix(path.name)) for part in parts]


def _misnamed(path: Path, name: str) -> InputImage:
    fault = f"{path} cannot be used: its name is no UTF-8. Rename it, then run the same command again."
    return InputImage(path, name, fault=fault, is_named=False)


def _split_pattern(path: Path) -> tuple[str, tuple[str, ...]]:
    """Return the folder a pattern begins in, whose name may hold brackets of its own, and the parts below it."""
    start, parts = Path(path.anchor), path.parts[1:] if path.anchor else path.parts
    while parts and _is_there(start / parts[0]):
        start, parts = start / parts[0], parts[1:]
    return ("" if start == Path() else str(start)), parts


def _is_there(path: Path) -> bool:
    """Whether there is a file or folder; what can be no path, such as a line of text, is not there."""
    return os.path.exists(path)  # noqa: PTH110 - Path.exists fails on names that are too long


def _read_list(path: Path) -> Iterator[InputImage]:
    """Yield what the lines of a list mean; one that means nothing is an image with a fault."""
    try:
        # Editors on Windows begin a file with a mark.
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        if any("\0" in line for line in lines):
            raise ValueError("it holds zero bytes")
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read as a list of images ({error}). Write one path per line, in UTF-8."
        ) from error
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line:
            continue
        named = path.parent / os.path.expanduser(line)  # noqa: PTH111 - as above
        try:
            yield from _read_line(named)
        except DataError as error:
            fault = f"{error} Line {number} of {path} names it."
            yield InputImage(named, named.name, fault=fault, is_named=False)


def _read_line(named: Path) -> list[InputImage]:
    if named.suffix.lower() == _LIST and _is_there(named) and named.is_file():
        raise DataError(f"{named} is a list itself. Name image files, folders or patterns, or give both lists.")
    found = list(_expand(named))
    if not found:
        raise DataError(f"{named} holds no image. Name image files, folders or patterns, or take it out.")
    return found


def _plain(path: Path) -> Path:
    """Return an absolute path without `..`, by which one file is known from another."""
    path = path.absolute()
    if ".." not in path.parts:
        return path
    plain = os.path.normpath(path)
    # Behind a link to a folder `..` is not where it looks to be.
    same = _is_there(path) and os.path.exists(plain) and os.path.samefile(plain, path)  # noqa: PTH110, PTH121
    return Path(plain) if same else path


def _distinct(found: Sequence[InputImage]) -> Sequence[InputImage]:
    """Lengthen names that several images share until they differ."""
    counts = Counter(image.name for image in found)
    return [
        image if counts[image.name] == 1 else replace(image, name=PurePosixPath(*image.path.parts[1:]).as_posix())
        for image in found
    ]
