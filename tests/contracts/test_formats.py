"""What every data format keeps, also those registered tomorrow."""

from __future__ import annotations

import hashlib
import pickle
import shutil
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

from segtune.core.errors import DataError, MissingExtraError
from segtune.core.rle import RunLengths
from segtune.core.types import Sample
from segtune.data.dataset import Dataset, open_dataset
from segtune.data.formats import FORMATS
from segtune.data.formats.contract import Options
from segtune.data.formats.tree import Tree


@pytest.fixture(scope="module", params=sorted(FORMATS))
def name(request):
    return request.param


@pytest.fixture(scope="module")
def written(name, tmp_path_factory):
    """A folder of the format, and the samples that were written into it; for reading only."""
    return write(name, drawn_samples(), tmp_path_factory.mktemp(name) / "data")


@pytest.fixture
def breakable(written, tmp_path):
    """The same in a folder of its own."""
    return Path(shutil.copytree(written[0], tmp_path / "data")), written[1]


def write(name: str, samples: list[Sample], folder: Path) -> tuple[Path, list[Sample]]:
    try:
        FORMATS[name].write(samples, folder)
    except MissingExtraError as error:
        pytest.skip(str(error))
    return folder, samples


def drawn_samples() -> list[Sample]:
    """Several classes, an overlap, a hole, two parts, one pixel, everything, a class-less object, and nothing."""
    ring = disc((23, 31), (11, 12), 9) & ~disc((23, 31), (11, 12), 4)
    overlapping = disc((23, 31), (11, 18), 6)
    parts = disc((23, 31), (4, 4), 3) | disc((23, 31), (19, 26), 3)
    lone = np.zeros((40, 17), dtype=bool)
    lone[39, 16] = True
    return [
        sample(
            "images/a.png",
            [ring, overlapping, parts],
            ["cell", "cell", "édge case/1"],
            ignore=disc((23, 31), (20, 5), 3),
        ),
        sample("images/b.png", [lone], ["cell"]),
        sample("images/c.png", [disc((16, 16), (8, 8), 5)], ["object"], ignore=disc((16, 16), (8, 8), 7)),
        sample("images/d.png", [np.ones((12, 20), dtype=bool)], ["object"], group="patient 2"),
        sample("images/e.png", [], [], size=(9, 30), group="patient 2"),
    ]  # fmt: skip


def disc(size: tuple[int, int], centre: tuple[int, int], radius: float) -> np.ndarray:
    y, x = np.mgrid[: size[0], : size[1]]
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2


def sample(name, masks, labels, *, size=None, ignore=None, group="patient 1") -> Sample:
    size = size or masks[0].shape
    image = np.random.default_rng(len(name) + size[0]).integers(0, 256, (*size, 3), dtype=np.uint8)
    runs = tuple(RunLengths.encode(mask) for mask in masks)
    return Sample(
        name, size, runs, tuple(labels), lambda: image, None if ignore is None else RunLengths.encode(ignore), group
    )


def stem(name: str) -> str:
    return PurePosixPath(name.partition("#")[0]).name.partition(".")[0]


def test_what_is_written_is_detected(name, written):
    """A folder that a format wrote is taken for that format without being told."""
    assert open_dataset(written[0]).format == name


def test_identity(name, written):
    """Images, objects, classes, ignored pixels and groups come back exactly, in the same order."""
    folder, samples = written
    data = open_dataset(folder, format=name, objects="instances")
    assert data.set_aside == ()
    assert [stem(one) for one in data.names] == [stem(one.name) for one in samples]
    for read, sample in zip(data, samples, strict=True):
        assert read.size == sample.size
        assert read.objects == sample.objects
        assert read.labels == sample.labels
        assert read.ignore == sample.ignore
        assert read.group == sample.group
        np.testing.assert_array_equal(read.image, sample.image)


def test_written_again_it_stays_the_same(name, written, tmp_path):
    """What was read and is written again is still the same data set, names included."""
    first = open_dataset(written[0], objects="instances")
    FORMATS[name].write(first, tmp_path / "again")
    second = open_dataset(tmp_path / "again", objects="instances")
    assert [stem(one) for one in second.names] == [stem(one) for one in first.names]
    assert [one.objects for one in second] == [one.objects for one in first]


@pytest.mark.parametrize(("objects", "expected"), [("whole", 3), ("parts", 4), ("labels", 2), ("instances", 3)])
def test_what_one_object_is(name, written, objects, expected):
    """Stored masks, connected parts, classes or instances of the first image become its objects."""
    first = open_dataset(written[0], objects=objects)[0]
    assert len(first.objects) == len(first.labels) == expected
    assert (first.masks().any(axis=0) == written[1][0].masks().any(axis=0)).all()


def test_lazy_and_picklable(name, written):
    """A data set crosses to a worker as a small message that holds no pixels, and reads there what it reads here."""
    data = open_dataset(written[0])
    message = pickle.dumps(data)
    assert len(message) < 20_000
    twin = pickle.loads(message)
    assert twin.names == data.names
    assert [one.objects for one in twin] == [one.objects for one in data]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(data[0])).image, data[0].image)


def test_names_groups_and_hashes(name, written):
    """Names are unique, each image has a hash of its own, stable between openings, and a subset keeps them."""
    data, again = open_dataset(written[0]), open_dataset(written[0])
    hashes = [data.image_hash(index) for index in range(len(data))]
    assert len(set(data.names)) == len(set(hashes)) == len(data) == len(data.groups)
    assert hashes == [again.image_hash(index) for index in range(len(again))]
    part = data.subset(data.names[3:0:-2])
    assert part.names == (data.names[3], data.names[1])
    assert part.groups == (data.groups[3], data.groups[1])
    assert part.image_hash(0) == hashes[3]
    assert part[0].objects == data[3].objects


def test_sources_are_never_written(name, written):
    """Opening and reading change no file and add none."""
    before = contents(written[0])
    for one in open_dataset(written[0], objects="parts"):
        assert one.image.shape == (*one.size, 3)
    assert contents(written[0]) == before


def test_a_broken_image_is_named(name, breakable):
    """A truncated image is set aside or gives an error; either way its name is told, and the others stay usable."""
    victim = next(path for path in sorted(breakable[0].rglob("a.*")) if is_image(path))
    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 3])
    data = open_dataset(breakable[0])
    told = [one.name for one in data.set_aside]
    for index in range(len(data)):
        try:
            assert data[index].image.any()
        except DataError as error:
            told.append(str(error))
    assert any("a." in one for one in told)
    assert sum("a." not in one for one in data.names) == len(breakable[1]) - 1


def test_broken_annotations_are_named(name, breakable):
    """Garbage in place of each file that is not an image gives errors that name a file, never another exception."""
    for path in breakable[0].rglob("*"):
        if path.is_file() and not is_image(path):
            path.write_bytes(b"{garbage")
    try:
        data = open_dataset(breakable[0], format=name)
        told = [one.name for one in data.set_aside] + [error_of(data, index) for index in range(len(data))]
    except DataError as error:
        told = [str(error)]
    assert any(told)


def test_a_sample_without_its_objects_reads_no_mask(name, breakable):
    """It is the same image, also where each file that is not an image has gone bad since the folder was opened."""
    data = open_dataset(breakable[0])
    for path in breakable[0].rglob("*"):
        if path.is_file() and not is_image(path):
            path.write_bytes(b"{garbage")
    for index, sample in enumerate(breakable[1]):
        bare = data.bare(index)
        assert (bare.name, bare.size, bare.group) == (data.names[index], sample.size, sample.group)
        assert (bare.objects, bare.labels, bare.ignore) == ((), (), None)
        np.testing.assert_array_equal(bare.image, sample.image)


def test_nothing_there(name, tmp_path):
    """An empty folder is not taken for a data set of any format, and told to be one it is a clear error."""
    tree = Tree.scan(tmp_path)
    assert FORMATS[name].detect(tree) is None
    with pytest.raises(DataError, match=str(tmp_path)):
        FORMATS[name].read(tree, Options())


def test_no_object_at_all(name, tmp_path):
    """A data set whose every mask is empty is an error that says so."""
    write(name, [sample(f"images/{one}.png", [], [], size=(12, 15)) for one in "ab"], tmp_path / "data")
    with pytest.raises(DataError, match=r"has an object|no object|No image|laid out"):
        open_dataset(tmp_path / "data")


def is_image(path: Path) -> bool:
    return path.parent.name == "images" and path.suffix.lower() in {".png", ".dcm", ".gz", ".tif"}


def error_of(data: Dataset, index: int) -> str:
    try:
        assert data[index].size
    except DataError as error:
        return str(error)
    return ""


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }
