"""SA-1B's layout (Kirillov et al. 2023): beside each image a JSON file of the same name with its masks as run lengths.

    sa_1.jpg    sa_1.json: {"image": {"height", "width", …}, "annotations": [{"segmentation": {"size", "counts"}, …}]}

Masks have no class and may lie within each other. Two keys that SA-1B does not have are understood and written: an
annotation's `label`, and `iscrowd` for pixels that do not count.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segtune.core.errors import DataError
from segtune.core.files import write_text
from segtune.core.rle import RunLengths
from segtune.core.types import Sample
from segtune.data.formats.annotations import whole_runs
from segtune.data.formats.coco_rle import compress, read_counts
from segtune.data.formats.contract import OF_MASK_FILES, DataFormat, Options, SetAside
from segtune.data.formats.groups import read_groups, write_groups
from segtune.data.formats.image_files import ImageFiles, ImageFinder, check_sizes
from segtune.data.formats.regions import OBJECT, Region, Truth
from segtune.data.formats.runs import union
from segtune.data.formats.tree import Tree, composed, join, parent_of, stem_of
from segtune.data.formats.writing import write_image, written_names

_SNIFFED = 4096
_TRIED = 8
"""Bytes of a file that are looked at, and files: most that lie beside an image may be of another tool."""

_HEAD = re.compile(rb'"image"\s*:\s*\{')
"""One image, where COCO has a list of them; SA-1B's own files begin with it."""


@dataclass(kw_only=True)
class Sa1bImages(ImageFiles):
    """Images with a JSON file of masks each, read when its image is asked for.

    Attributes:
        files: the JSON file of each image below the data folder.
    """

    files: Sequence[str]

    def truth(self, row: int) -> Truth:
        """Return the masks of image `row`."""
        path = self.root / self.files[row]
        try:
            document = json.loads(path.read_bytes())
            held = [(_mask(one, self.sizes[row]), one) for one in document["annotations"]]
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, OSError) as error:
            raise DataError(
                f"{path} cannot be read as masks of SA-1B ({type(error).__name__}: {error}). Export it again."
            ) from error
        regions = [
            Region(mask, str(one.get("label", OBJECT)), stored)
            for stored, (mask, one) in enumerate(held)
            if not one.get("iscrowd")
        ]
        ignored = [mask for mask, one in held if one.get("iscrowd")]
        return Truth(tuple(regions), union(ignored) if ignored else None)


def detect(tree: Tree) -> float | None:
    """Return how sure it is that images with SA-1B's files of masks lie here."""
    stems = {_stem(path) for path in ImageFinder(tree).paths}
    beside = [path for path in tree.with_suffix(".json") if _stem(path) in stems]
    return 0.95 if any(_sounds_like_sa1b(tree.root / path) for path in beside[:_TRIED]) else None


def read(tree: Tree, options: Options) -> Sa1bImages:
    """Index images by the file of masks beside each; no such file is read yet."""
    files = {_stem(path): path for path in tree.with_suffix(".json")}
    images = ImageFinder(tree).paths
    paired = [path for path in images if _stem(path) in files]
    if not paired:
        raise DataError(f"{tree.root} holds no images with SA-1B's masks. {tree.describe()} Expected: {_LAYOUT}.")
    sizes, bad = check_sizes(tree.root, paired, lambda _: None, options.pixel_limit)
    names = tuple(sizes)
    groups, notes = read_groups(tree, names)
    stems = {_stem(path) for path in images}
    lone = [_alone(path, "no file of masks has its name") for path in images if _stem(path) not in files]
    lone += [_alone(path, "no image has its name") for stem, path in files.items() if stem not in stems]
    return Sa1bImages(
        root=tree.root, format=FORMAT.name, objects=options.objects, names=names, groups=groups,
        set_aside=tuple(sorted([*bad, *lone], key=lambda one: one.name)), notes=notes,
        sizes=[sizes[name] for name in names], pixel_limit=options.pixel_limit,
        files=[files[_stem(name)] for name in names],
    )  # fmt: skip


def write(samples: Iterable[Sample], folder: Path) -> None:
    """Write images/ as PNG, each with its file of masks beside it; groups as groups.csv."""
    groups = []
    for number, (name, sample) in enumerate(written_names(samples), 1):
        write_image(folder / "images" / f"{name}.png", sample.image)
        held: list[tuple[RunLengths, dict[str, Any]]] = [
            (mask, {} if label == OBJECT else {"label": label})
            for mask, label in zip(sample.objects, sample.labels, strict=True)
        ]
        if sample.ignore is not None:
            held.append((sample.ignore, {"iscrowd": 1}))
        document = {
            "image": {
                "image_id": number, "file_name": f"{name}.png", "height": sample.size[0], "width": sample.size[1]
            },
            "annotations": [
                {"id": place, "segmentation": _stored(mask), "area": mask.area, **more}
                for place, (mask, more) in enumerate(held)
            ],
        }  # fmt: skip
        write_text(folder / "images" / f"{name}.json", json.dumps(document))
        groups.append((f"images/{name}.png", sample.group))
    write_groups(folder, groups)


def is_of_one_image(text: bytes) -> bool:
    """Whether the beginning of a JSON file is that of the annotations of one image, as SA-1B has them."""
    return _HEAD.search(text) is not None


def _sounds_like_sa1b(path: Path) -> bool:
    with path.open("rb") as file:
        return is_of_one_image(file.read(_SNIFFED))


def _stem(path: str) -> str:
    return join(composed(parent_of(path)), stem_of(path))


def _mask(annotation: Mapping[str, Any], size: tuple[int, int]) -> RunLengths:
    outline = annotation["segmentation"]
    height, width = (int(value) for value in outline["size"])
    if (height, width) != size:
        raise ValueError(f"a mask is for {width} × {height} pixels, the image has {size[1]} × {size[0]}")
    return whole_runs(read_counts(outline["counts"]), size)


def _stored(mask: RunLengths) -> dict[str, Any]:
    return {"size": list(mask.size), "counts": compress(mask.counts)}


def _alone(path: str, reason: str) -> SetAside:
    return SetAside(path, reason, "Put the image and its .json side by side, or remove it.")


_LAYOUT = "images with a .json of run lengths beside each, as SA-1B has them"
FORMAT = DataFormat("sa1b", _LAYOUT, detect, read, write, (*OF_MASK_FILES, "bands", "window"))
