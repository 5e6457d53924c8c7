"""Images without masks: folders that have none, and data sets whose masks are left alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from segtune.core.errors import DataError
from segtune.core.types import Sample
from segtune.data.dataset import Dataset
from segtune.data.drawn import Numbered
from segtune.data.formats.contract import Source
from segtune.data.formats.image_files import ImageFiles, check_sizes
from segtune.data.formats.regions import Truth
from segtune.data.formats.tree import Tree, name_of
from segtune.data.images import PIXEL_LIMIT, is_image_name


class _BareImages(ImageFiles):
    def truth(self, row: int) -> Truth:
        return Truth(())


@dataclass(kw_only=True)
class _WithoutMasks(Source):
    dataset: Dataset

    def sample(self, row: int) -> Sample:
        return replace(self.dataset.bare(row), name=self.names[row])

    def image_hash(self, row: int) -> str:
        return self.dataset.image_hash(row)


def open_images(path: Path, *, pixel_limit: int = PIXEL_LIMIT) -> Dataset:
    """Open every image file below a folder as a sample without objects; of each only the header is read now.

    Args:
        path: the folder. Masks that lie in it as image files are taken for images.
        pixel_limit: images with more pixels are set aside, like those that cannot be read.

    Raises:
        DataError: no image is there that can be used.
    """
    tree = Tree.scan(Path(path))
    found = [name for name in tree.paths() if is_image_name(name_of(name))]
    sizes, bad = check_sizes(tree.root, found, lambda name: None, pixel_limit)
    if not sizes:
        reason = f" {bad[0].name}: {bad[0].reason}. {bad[0].remedy}" if bad else f" {tree.describe()}"
        raise DataError(f"{tree.root} has no image that can be used.{reason} Give a folder of images.")
    source = _BareImages(
        root=tree.root, format="images", objects="whole", names=tuple(sizes), groups=(None,) * len(sizes),
        set_aside=tuple(bad), sizes=tuple(sizes.values()), pixel_limit=pixel_limit,
    )  # fmt: skip
    return Dataset(source)


def without_masks(dataset: Dataset) -> Dataset:
    """Return the same images, numbered, none with an object, their masks unread."""
    source = _WithoutMasks(
        root=dataset.root, format=dataset.format, objects=dataset.objects, names=Numbered("image", 0, len(dataset)),
        groups=(None,) * len(dataset), dataset=dataset,
    )  # fmt: skip
    return Dataset(source)
