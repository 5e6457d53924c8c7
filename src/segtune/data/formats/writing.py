"""What the formats share when they write: names, images, masks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, count
from pathlib import Path, PurePosixPath
from typing import Protocol, TypeVar
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import PIL.Image

from segtune.core.files import replacing
from segtune.core.rle import RunLengths
from segtune.core.types import Image, Sample
from segtune.data.formats.regions import OBJECT
from segtune.data.formats.tree import stem_of

_IMAGE_FOLDER = "images"


class Named(Protocol):
    """What has a name like a sample's: a path with an extension."""

    @property
    def name(self) -> str:
        """Unique among its kind."""


_Named = TypeVar("_Named", bound=Named)


def written_names(samples: Iterable[_Named], taken: Iterable[str] = ()) -> Iterator[tuple[str, _Named]]:
    """Yield each sample with the path, without extension, that its files get below images/ and masks/.

    It is the sample's name without a leading images/ and without its extension, which stays, after an underscore, where
    two samples would otherwise share a path; where even that is another's, a number follows.

    Args:
        samples: in the order in which they choose.
        taken: paths that none of them may get, as those of files that are there.
    """
    used = set(taken)
    for sample in samples:
        path = PurePosixPath(sample.name)
        folders = [part for part in path.parts[:-1] if part not in ("/", "..")]
        if folders and folders[0].lower() == _IMAGE_FOLDER:
            folders = folders[1:]
        longer = path.name.replace(".", "_")
        file, mark, number = path.name.rpartition("#")
        # Of a slice of a volume: the number tells it from the others, not the extension in front of it.
        short = f"{stem_of(file)}#{number}" if mark and number.isdecimal() else stem_of(path.name)
        choices = chain((short, longer), (f"{longer}_{number}" for number in count(2)))
        name = next(name for choice in choices if (name := "/".join([*folders, choice])) not in used)
        used.add(name)
        yield name, sample


def write_image(path: Path, image: Image) -> None:
    """Write an image, uint8 [H, W, 3] RGB, as PNG."""
    with replacing(path) as temporary:
        PIL.Image.fromarray(image).save(temporary, format="PNG")


def write_mask(path: Path, mask: RunLengths) -> None:
    """Write a mask as a grey PNG of 0 and 255."""
    write_grey(path, as_grey(mask))


def write_grey(path: Path, values: npt.NDArray[np.uint8]) -> None:
    """Write uint8 [H, W] as a grey PNG."""
    with replacing(path) as temporary:
        PIL.Image.fromarray(values).save(temporary, format="PNG")


def mask_files(path: Path, sample: Sample) -> list[tuple[Path, RunLengths]]:
    """Return the files, without extension, that a sample's masks go to, and make the folder they need.

    A single object without a class is one file, `path`; else `path` is a folder of files named by number and class, and
    no object at all is an empty one. `paired.label_in_name` reads the class.
    """
    if sample.labels == (OBJECT,):
        return [(path, sample.objects[0])]
    path.mkdir(parents=True, exist_ok=True)
    # Quoted, as a class may hold a slash.
    named = enumerate(zip(sample.objects, sample.labels, strict=True))
    return [(path / f"{number:04d}.{quote(label, safe=' ')}", mask) for number, (mask, label) in named]


def as_grey(mask: RunLengths) -> npt.NDArray[np.uint8]:
    """Return a mask as uint8 [H, W] of 0 and 255."""
    return mask.decode().view(np.uint8) * np.uint8(255)
