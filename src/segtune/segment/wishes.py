"""What is asked of each of many images: the same prompts for all, or a file of prompts by image."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from segtune.core.errors import UsageError
from segtune.core.files import hash_file, hash_text
from segtune.core.rle import BoolMask
from segtune.core.types import Image
from segtune.data.formats.regions import OBJECT
from segtune.data.formats.tree import composed
from segtune.data.images import PIXEL_LIMIT, read_image
from segtune.prompts.objects import ObjectPrompt
from segtune.segment.given import given_prompt
from segtune.segment.inputs import InputImage


def _check_label(point: tuple[float, ...]) -> tuple[float, ...]:
    if len(point) > 2 and point[2] not in (0, 1):
        raise PydanticCustomError(
            "label", "A point's third number is 1 (on the object) or 0 (not on it), not {label}", {"label": point[2]}
        )
    return point


GivenPoint = Annotated[tuple[float, ...], Field(min_length=2, max_length=3), AfterValidator(_check_label)]
"""x, y and, where it is said, 1 (on the object) or 0."""


class Wish(BaseModel):
    """One object that is asked for.

    Attributes:
        points: x, y and 1 (on the object) or 0, in original pixels.
        box: x0, y0, x1, y1.
        mask: path of an image that is bright where the object roughly is; in a file, relative to that file.
        text: what it is, in words, for a model that accepts text.
        label: its class in the results.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    points: tuple[GivenPoint, ...] = ()
    box: tuple[float, float, float, float] | None = None
    mask: str | None = None
    text: str | None = None
    label: Annotated[str, Field(min_length=1)] = OBJECT

    def prompt(self, size: tuple[int, int], folder: Path, pixel_limit: int = PIXEL_LIMIT) -> ObjectPrompt:
        """Return the prompt on an image of `size` (height, width); its mask has at most `pixel_limit` pixels.

        Raises:
            UsageError: it does not fit the image, or the mask's file is not there.
            DataError: the mask cannot be read.
        """
        points = [(x, y, int(rest[0]) if rest else 1) for x, y, *rest in self.points]
        mask = None if self.mask is None else _read_mask(folder / self.mask, size, pixel_limit)
        return given_prompt(size, points=points, box=self.box, mask=mask, text=self.text)


_File = TypeAdapter(dict[str, tuple[Wish, ...]])


class Finder(Protocol):
    """Looks at an image and says what to ask of it."""

    @property
    def labels(self) -> Sequence[str]:
        """All classes it may ask for."""

    def __call__(self, image: Image) -> tuple[Wish, ...]:
        """Return what to ask of an image, uint8 [H, W, 3] RGB."""

    def describe(self) -> dict[str, Any]:
        """Return what tells it from others, for JSON."""

    def to(self, device: str) -> Finder:
        """Return it on a device, itself staying where it is; it can be pickled from the CPU."""


@dataclass(frozen=True)
class Asked:
    """What is asked of images that were found.

    Attributes:
        by_image: by the image's name; nothing where nothing is asked of it.
        unknown: keys of `Wishes.by_name` that are of no image, or of several by their files' name.
    """

    by_image: Mapping[str, tuple[Wish, ...]]
    unknown: tuple[str, ...]


@dataclass(frozen=True)
class Wishes:
    """What is asked of each image.

    Attributes:
        of_all: of every image.
        by_name: of single images, by name, by path, from the current folder or from `folder`, or by the file's name
            where a single image has it.
        folder: of the file of prompts, where paths of masks begin.
        finder: says more by the image's pixels.
    """

    of_all: tuple[Wish, ...] = ()
    by_name: Mapping[str, tuple[Wish, ...]] = field(default_factory=dict)
    folder: Path = Path()
    finder: Finder | None = None

    def __bool__(self) -> bool:
        """Whether anything is asked at all."""
        return bool(self.of_all or self.by_name or self.finder)

    def of(self, image: InputImage) -> tuple[Wish, ...]:
        """Return what is asked of one image by its name, as keys are once `for_images` has found whose they are."""
        return self.by_name.get(image.name, self.of_all)

    def hash_masks(self, image: InputImage) -> str | None:
        """Return what tells the mask files that are named for one image from others; None where none is named.

        A file that cannot be read counts as such: once it can, it is another.
        """
        names = [wish.mask for wish in self.of(image) if wish.mask is not None]
        return hash_text(json.dumps([_hash(self.folder / name) for name in names])) if names else None

    def for_images(self, images: Sequence[InputImage]) -> Asked:
        """Return what is asked of each image, and what is asked of none; what is asked of one is of no other."""
        alike = Counter(image.path.name for image in images), Counter(composed(image.path.name) for image in images)
        used: set[str] = set()
        named: dict[str, tuple[Wish, ...]] = {}
        known = [(image.name, self._keys(image, alike)) for image in images]
        # The surest of all images first, so that none takes what another is named by in full.
        for column in zip(*(keys for _, keys in known), strict=True):
            for (name, _), key in zip(known, column, strict=True):
                if key is not None and key not in used and name not in named:
                    used.add(key)
                    named[name] = self.by_name[key]
        asked = {image.name: named.get(image.name, self.of_all) for image in images}
        return Asked(asked, tuple(key for key in self.by_name if key not in used))

    def _keys(self, image: InputImage, alike: Sequence[Mapping[str, int]]) -> tuple[str | None, ...]:
        """Return the keys that may mean an image, the surest first; its file's name does only where it is alone.

        Args:
            image: any.
            alike: how many images have a file's name, as it is and `composed`.
        """
        place = os.path.normpath(image.path.absolute())
        words = (image.name, self._names), *((place, each) for each in self._places)
        surest = [known.get(form(word)) for word, forms in words for known, form in forms]
        file = image.path.name
        alone = [
            known.get(form(file)) if count[form(file)] == 1 else None
            for (known, form), count in zip(self._names, alike, strict=True)
        ]
        return *surest, *alone

    @cached_property
    def _names(self) -> _Forms:
        return _by_form({key: key for key in self.by_name})

    @cached_property
    def _places(self) -> tuple[_Forms, ...]:
        """The keys by the places that they mean from the current folder, and from the file's."""
        folders = Path.cwd(), self.folder.absolute()
        return tuple(_by_form({os.path.normpath(folder / key): key for key in self.by_name}) for folder in folders)

    @property
    def labels(self) -> list[str]:
        """All classes asked for, sorted."""
        return sorted({wish.label for wish in self._wished()} | set(self.finder.labels if self.finder else ()))

    @property
    def names_masks(self) -> bool:
        """Whether any prompt is a mask file, whose path begins at `folder`."""
        return any(wish.mask is not None for wish in self._wished())

    def _wished(self) -> Iterator[Wish]:
        yield from self.of_all
        yield from chain.from_iterable(self.by_name.values())

    def to_json(self) -> dict[str, Any]:
        """Return all that is asked, for telling one job from another."""
        shown = {name: [wish.model_dump() for wish in wishes] for name, wishes in sorted(self.by_name.items())}
        found = {"finder": self.finder.describe()} if self.finder else {}
        return {"of_all": [wish.model_dump() for wish in self.of_all], "by_name": shown, **found}


_Forms = tuple[tuple[Mapping[str, str], Callable[[str], str]], ...]
"""Keys by a word, and the form of the word by which to look: the very same first."""


def _by_form(keys: Mapping[str, str]) -> _Forms:
    return (keys, str), ({composed(word): key for word, key in keys.items()}, composed)


def parse_points(text: str) -> tuple[tuple[float, ...], ...]:
    """Return the points in `x,y;x,y,-`: one object's, those with a minus not on it.

    Raises:
        UsageError: it is not of that form.
    """
    points = []
    for part in _parts(text):
        words = [word.strip() for word in part.split(",")]
        try:
            x, y = float(words[0]), float(words[1])
            label = {"": 1.0, "+": 1.0, "1": 1.0, "-": 0.0, "0": 0.0}[words[2] if len(words) > 2 else ""]
            if len(words) > 3 or not (math.isfinite(x) and math.isfinite(y)):
                raise ValueError(part)
        except (ValueError, IndexError, KeyError) as error:
            raise UsageError(
                f"Points are written x,y;x,y,- in pixels, with a minus for those not on the object, but '{part}' was "
                "given."
            ) from error
        points.append((x, y, label))
    return tuple(points)


def parse_boxes(text: str) -> tuple[tuple[float, float, float, float], ...]:
    """Return the boxes in `x0,y0,x1,y1;…`, one object each.

    Raises:
        UsageError: it is not of that form.
    """
    boxes = []
    for part in _parts(text):
        try:
            x0, y0, x1, y1 = (float(word) for word in part.split(","))
            if not all(map(math.isfinite, (x0, y0, x1, y1))):
                raise ValueError(part)
        except ValueError as error:
            raise UsageError(f"Boxes are written x0,y0,x1,y1;x0,y0,x1,y1 in pixels, but '{part}' was given.") from error
        boxes.append((x0, y0, x1, y1))
    return tuple(boxes)


def same_for_all(points: str | None = None, boxes: str | None = None) -> Wishes:
    """Return the wishes written as `parse_points` and `parse_boxes` read them; points join a single box.

    Raises:
        UsageError: not of that form, or points beside several boxes, where nobody knows whose they are.
    """
    clicks, frames = parse_points(points or ""), parse_boxes(boxes or "")
    if clicks and len(frames) > 1:
        raise UsageError(
            f"Points say where one object is, but {len(frames)} boxes were given beside them. Give one box, or write "
            "what belongs together into a file for --prompts."
        )
    if not frames:
        return Wishes((Wish(points=clicks),) if clicks else ())
    return Wishes(tuple(Wish(points=clicks, box=frame) for frame in frames))


def gather_wishes(points: str | None, boxes: str | None, file: Path | None) -> Wishes:
    """Return the wishes of a file, or those of `same_for_all`.

    Raises:
        UsageError: both are given, or what is given cannot be read.
    """
    if file is None:
        return same_for_all(points, boxes)
    if points or boxes:
        raise UsageError("Prompts come from a file or from --points and --boxes, not both. Leave one of them out.")
    return read_wishes(file)


def read_wishes(path: str | Path) -> Wishes:
    """Return the prompts in a JSON file: {"image.jpg": [{"points": [[x, y, 1]], "box": [x0, y0, x1, y1], …}]}.

    Raises:
        UsageError: the file cannot be read or is not of that form.
    """
    path = Path(path)
    try:
        # Editors on Windows begin a file with a mark.
        told = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_once)
        by_name = _File.validate_python(told)
        names = _once([(PurePosixPath(name.replace("\\", "/")).as_posix(), by_name[name]) for name in by_name])
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no file of prompts: {_what(error)}. {_EXPECTED}") from error
    return Wishes(by_name=names, folder=path.parent)


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON, of which Python would keep the last value of a key and drop the others unsaid.

    Raises:
        ValueError: a key comes twice.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        ((key, times),) = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"'{key}' comes {times} times. Write all that is asked under one '{key}'")
    return found


_EXPECTED = (
    'Expected {"image.jpg": [{"points": [[x, y, 1]], "box": [x0, y0, x1, y1], "mask": "file", "label": "…"}]}, in '
    "pixels of the original images."
)


def _what(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{' → '.join(map(str, first['loc']))}: {first['msg'][0].lower()}{first['msg'][1:]}"
    return str(error)


def _parts(text: str) -> Sequence[str]:
    return [part.strip() for part in text.split(";") if part.strip()]


def _hash(path: Path) -> str | None:
    try:
        return hash_file(path)
    except OSError:
        return None


def _read_mask(path: Path, size: tuple[int, int], pixel_limit: int) -> BoolMask:
    """Return the mask prompt in a file for an image of `size`.

    Raises:
        UsageError: no such file, of another size than the image, or empty.
    """
    if not path.exists():
        raise UsageError(
            f"The mask file {path} does not exist. Paths of masks begin at the folder of the file of prompts."
        )
    values = read_image(path, pixel_limit).max(axis=2)
    if values.shape != size:
        (height, width), (rows, columns) = size, values.shape
        raise UsageError(
            f"A mask prompt must be as large as its image, which has {width} × {height} pixels, but {path} has "
            f"{columns} × {rows}. Bring it to that size."
        )
    # 0 and 1 are in use too, and as brightness nothing of them would be left.
    inside: BoolMask = values > (0 if values.max() <= 1 else 127)
    if not inside.any():
        raise UsageError(f"The mask prompt in {path} is empty. Draw it again, or leave it out.")
    return inside
