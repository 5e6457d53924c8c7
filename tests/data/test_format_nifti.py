"""NIfTI volumes: cut into slices, turned as radiologists see them, a patient a group."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from segtune.core.errors import DataError
from segtune.data.dataset import open_dataset
from segtune.data.formats import nifti

nibabel = pytest.importorskip("nibabel")

SHAPE = (12, 16, 4)
"""Right, front, head."""


def put(path: Path, values: np.ndarray, axes: str = "RAS") -> None:
    """Save values, given right, front, head, with the axes of the file in another order or direction."""
    path.parent.mkdir(parents=True, exist_ok=True)
    there = nibabel.orientations.axcodes2ornt(axes)
    image = nibabel.Nifti1Image(values, np.eye(4))
    image.as_reoriented(
        nibabel.orientations.ornt_transform(nibabel.orientations.axcodes2ornt("RAS"), there)
    ).to_filename(path)


def volume() -> np.ndarray:
    """Bright at the patient's right, front and head."""
    values = np.zeros(SHAPE, dtype=np.int16)
    values[9:, 12:, 2:] = 1000
    return values


def inside() -> np.ndarray:
    return (volume() > 0).astype(np.uint8)


def pair(root: Path, name: str = "case1", axes: str = "RAS", suffix: str = ".nii.gz") -> Path:
    put(root / "images" / f"{name}{suffix}", volume(), axes)
    put(root / "masks" / f"{name}{suffix}", inside(), axes)
    return root


@pytest.mark.parametrize("axes", ["RAS", "LPS", "LAS", "PIR", "SRA"])
def test_upright_whatever_the_file(tmp_path, axes):
    """Front is up and the patient's right on the left, whatever the order of the file's axes; so is the mask."""
    data = open_dataset(pair(tmp_path, axes=axes))
    assert data.names == tuple(f"images/case1.nii.gz#{place:04d}" for place in range(4))
    one = data[3]
    assert one.size == (16, 12)
    assert (one.image[:4, :3] == 255).all()
    assert not one.image[4:].any()
    assert one.objects[0].box == (0, 0, 3, 4)
    assert data[0].objects == ()


def test_one_thin_axis(tmp_path):
    """A volume one slice thick along another axis is one sample: a coronal slice with the head up."""
    put(tmp_path / "images" / "a.nii", volume()[:, 12:13])
    put(tmp_path / "masks" / "a.nii", inside()[:, 12:13])
    data = open_dataset(tmp_path)
    assert len(data) == 1
    assert data[0].size == (4, 12)
    assert data[0].objects[0].box == (0, 0, 3, 2)


def test_window(tmp_path):
    """The window asked for decides what is black and white, else the volume's percentiles."""
    values = volume()
    values[0, 0] = 400
    put(tmp_path / "images" / "a.nii.gz", values)
    put(tmp_path / "masks" / "a.nii.gz", inside())
    image = open_dataset(tmp_path, window=(200, 400))[0].image
    assert image[-1, -1, 0] == 255
    assert image[8, 8, 0] == 0
    assert 95 < open_dataset(tmp_path)[0].image[-1, -1, 0] < 110


@pytest.mark.filterwarnings("error:invalid value")
def test_voxels_without_a_value(tmp_path):
    """NaN in a volume of floats, such as outside of a scanner's view, is black and raises no warning."""
    values = volume().astype(np.float32)
    values[:, :4] = np.nan
    put(pair(tmp_path) / "images" / "case1.nii.gz", values)
    image = open_dataset(tmp_path)[3].image
    assert (image[:4, :3] == 255).all()
    assert not image[4:].any()


def test_several_entries_of_one_volume(tmp_path):
    """Of a volume with a fourth axis the first entry is shown, and a note says so."""
    put(pair(tmp_path) / "images" / "case1.nii.gz", np.stack([volume(), 1000 - volume()], axis=3))
    put(pair(tmp_path, "case2") / "images" / "case2.nii.gz", volume()[..., None])
    data = open_dataset(tmp_path)
    assert (data[3].image[:4, :3] == 255).all()
    assert [note for note in data.notes if note.startswith("1 volumes have several entries along a fourth axis")]


def test_bytes_are_shown_as_they_are(tmp_path):
    """A volume of bytes needs no window."""
    values = np.arange(12 * 16 * 2, dtype=np.uint64).reshape(12, 16, 2).astype(np.uint8)
    put(tmp_path / "images" / "a.nii.gz", values)
    put(tmp_path / "masks" / "a.nii.gz", inside()[..., 2:])
    np.testing.assert_array_equal(open_dataset(tmp_path)[1].image[..., 0], values[::-1, ::-1, 1].T)


def test_groups_are_patients(tmp_path):
    """All slices of a volume are one group: its name, or what the table says."""
    pair(tmp_path, "case1")
    pair(tmp_path, "case2")
    assert set(open_dataset(tmp_path).groups) == {"case1", "case2"}
    (tmp_path / "groups.csv").write_text("name,group\ncase1,p\ncase2,p\n")
    assert set(open_dataset(tmp_path).groups) == {"p"}


def test_hashes_differ_by_slice(tmp_path):
    """Slices of one file have different hashes."""
    data = open_dataset(pair(tmp_path))
    assert len({data.image_hash(index) for index in range(4)}) == 4


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz"),
        ("a.nii.gz", "a_seg.nii.gz"),
        ("p1/scan.nii", "p1/scan_mask.nii"),
        ("images/a.nii.gz", "labels/a.nii.gz"),
    ],
)
def test_layouts(tmp_path, image, mask):
    """Volumes and masks are paired as the usual tools lay them out."""
    put(tmp_path / image, volume())
    put(tmp_path / mask, inside())
    data = open_dataset(tmp_path)
    assert (data.format, len(data), data.set_aside) == ("nifti", 4, ())


def test_class_values(tmp_path):
    """Values of a mask volume are classes, as whole numbers whatever their type."""
    organs = np.zeros(SHAPE, dtype=np.float32)
    organs[1:4, 1:7], organs[6:10, 2:5], organs[6:10, 8:12] = 1, 2, 2
    put(tmp_path / "images" / "a.nii.gz", volume())
    put(tmp_path / "masks" / "a.nii.gz", organs)
    one = open_dataset(tmp_path, objects="labels")[1]
    assert one.labels == ("1", "2")
    assert [mask.area for mask in one.objects] == [18, 12 + 16]


def test_float_classes_slice_by_slice(tmp_path):
    """Slices that hold only 0 and 1, or 1 and 2, of a float volume are read like the others."""
    organs = np.zeros(SHAPE, dtype=np.float32)
    organs[1:4, 1:7, 0] = 1
    organs[..., 1] = 1
    organs[6:10, 2:5, 1] = 2
    organs[6:10, 8:12, 2] = 2
    put(tmp_path / "images" / "a.nii.gz", volume())
    put(tmp_path / "masks" / "a.nii.gz", organs)
    data = open_dataset(tmp_path, objects="labels")
    assert [one.labels for one in data] == [("1",), ("1", "2"), ("2",), ()]
    assert data[1].objects[1].area == 12


def test_fractions_are_decided_by_volume(tmp_path):
    """A slice of a soft volume that happens to hold only 0 and 1 is inside where it is 1."""
    soft = np.zeros(SHAPE, dtype=np.float32)
    soft[2:8, 2:8, 0] = 1
    soft[2:8, 2:8, 1] = np.linspace(0.1, 1, 6)[:, None]
    put(tmp_path / "images" / "a.nii.gz", volume())
    put(tmp_path / "masks" / "a.nii.gz", soft)
    areas = [one.masks().sum() for one in open_dataset(tmp_path)]
    assert areas == [36, (np.linspace(0.1, 1, 6) > 0.5).sum() * 6, 0, 0]


def test_one_volume_of_another_kind(tmp_path):
    """A volume of 0 and 1 among those of 0 and 255 that was not looked at is not empty."""
    for number in range(12):
        put(tmp_path / "images" / f"{number:02d}.nii", volume())
        one = number == int(np.random.default_rng(0).permutation(12)[-1])
        put(tmp_path / "masks" / f"{number:02d}.nii", inside() * np.uint8(1 if one else 255))
    assert [len(one.objects) for one in open_dataset(tmp_path)] == [0, 0, 1, 1] * 12


def test_probabilities_of_volumes_are_refused(tmp_path):
    """Rather than read as masks without a word."""
    with pytest.raises(DataError, match="--encoding soft"):
        open_dataset(pair(tmp_path), encoding="probability")


def test_other_grid_and_broken_file(tmp_path):
    """A mask on another grid and a file cut off are set aside with their reasons."""
    for name in ("case1", "case2", "case3"):
        pair(tmp_path, name)
    put(tmp_path / "masks" / "case2.nii.gz", inside()[:, :, :3])
    path = tmp_path / "images" / "case3.nii.gz"
    path.write_bytes(path.read_bytes()[:40])
    data = open_dataset(tmp_path)
    reasons = {one.name: one.reason for one in data.set_aside}
    assert len(data) == 4
    assert "4 slices of 12 × 16" in reasons["images/case2.nii.gz"]
    assert "images/case3.nii.gz" in reasons


def test_a_volume_cut_off_behind_its_header(tmp_path):
    """Values that end too early are an error that names the volume."""
    noise = np.random.default_rng(0).integers(0, 1000, (64, 64, 4)).astype(np.int16)
    put(tmp_path / "images" / "a.nii.gz", noise)
    put(tmp_path / "masks" / "a.nii.gz", (noise > 500).astype(np.uint8))
    path = tmp_path / "images" / "a.nii.gz"
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(DataError, match=r"a\.nii\.gz"):
        assert open_dataset(tmp_path)[0].image.any()


def test_threads_that_read_slices_of_a_volume_decompress_it_once(tmp_path, monkeypatch):
    """As those do that read ahead: the second waits for the first."""
    put(tmp_path / "case1.nii.gz", volume())
    opened, both = [], threading.Barrier(2)
    read = nifti._open

    def note(path: Path) -> object:
        opened.append(path)
        with suppress(threading.BrokenBarrierError):
            both.wait(0.2)  # for the other, if it comes here too
        return read(path)

    monkeypatch.setattr(nifti, "_open", note)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda place: nifti.read_slice(tmp_path / "case1.nii.gz", place), range(2)))
    assert len(opened) == 1
