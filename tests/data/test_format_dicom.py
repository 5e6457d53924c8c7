"""DICOM: windows, turned greys, frames, and segmentations found by instance, series or place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from segtune.core.errors import DataError
from segtune.data.dataset import open_dataset

pydicom = pytest.importorskip("pydicom")

from segtune.data.formats.dicom_image import Header, is_dicom_name, new_dataset, read_frame, save_dataset, save_image  # noqa: E402
from segtune.data.formats.dicom_segmentation import read_segmentation, save_segmentation  # noqa: E402

SIZE = (14, 20)
CT = "1.2.840.10008.5.1.4.1.1.2"


def header(number: int = 1, patient: str = "P1", **more) -> Header:
    return Header(f"1.2.{number}", "1.2.900", "1.2.800", patient, "CT", SIZE, **more)


def put(path: Path, values: np.ndarray, head: Header | None = None, **elements) -> Header:
    """Write a grey image of stored values, as a scanner does."""
    head = head or header()
    path.parent.mkdir(parents=True, exist_ok=True)
    data = new_dataset(head, CT)
    data.set_pixel_data(
        values, elements.pop("photometric", "MONOCHROME2"), values.dtype.itemsize * 8, generate_instance_uid=False
    )
    for name, value in elements.items():
        setattr(data, name, value)
    save_dataset(path, data)
    return head


def ramp() -> np.ndarray:
    return np.arange(SIZE[0] * SIZE[1], dtype=np.uint16).reshape(SIZE) * 10


def square() -> np.ndarray:
    mask = np.zeros(SIZE, dtype=bool)
    mask[3:9, 4:12] = True
    return mask


def put_mask(path: Path, mask: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(mask.astype(np.uint8) * 255).save(path)


def test_window_of_the_file(tmp_path):
    """Values go through slope and intercept, then the file's first window."""
    put(tmp_path / "a.dcm", ramp(), RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=[0, 50], WindowWidth=[1000, 9])
    image = read_frame(tmp_path / "a.dcm")
    real = ramp().astype(float) * 2 - 1000
    expected = np.clip(((real + 0.5) / 999 + 0.5) * 255, 0, 255)
    assert np.abs(image[..., 0] - expected).max() <= 1
    assert (image == image[..., :1]).all()


def test_window_asked_for_and_none(tmp_path):
    """A window asked for beats that of the file; without any, the percentiles of the image decide."""
    put(tmp_path / "a.dcm", ramp(), WindowCenter=0, WindowWidth=1)
    image = read_frame(tmp_path / "a.dcm", window=(1000, 400))[..., 0]
    assert (image[ramp() < 800] == 0).all()
    assert (image[ramp() > 1200] == 255).all()
    put(tmp_path / "b.dcm", ramp())
    image = read_frame(tmp_path / "b.dcm")[..., 0]
    assert image.min() == 0
    assert image.max() == 255


def test_monochrome1_is_turned(tmp_path):
    """Where low values are bright, the image is turned to white on black."""
    put(tmp_path / "a.dcm", ramp(), photometric="MONOCHROME1")
    image = read_frame(tmp_path / "a.dcm")[..., 0]
    assert image[0, 0] == 255
    assert image[-1, -1] == 0


def test_colour(tmp_path):
    """Colour comes back as it is."""
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    save_image(tmp_path / "a.dcm", image, header())
    np.testing.assert_array_equal(read_frame(tmp_path / "a.dcm"), image)


def test_mask_files(tmp_path):
    """Masks may be image files or DICOM images beside; the patient is the group."""
    for number, patient in ((1, "P1"), (2, "P1"), (3, "P2")):
        put(tmp_path / "images" / f"{number}.dcm", ramp(), header(number, patient))
        put_mask(tmp_path / "masks" / f"{number}.png", square())
    (tmp_path / "masks" / "2.png").unlink()
    put(tmp_path / "masks" / "2.dcm", square().astype(np.uint8) * 255)
    data = open_dataset(tmp_path)
    assert (data.format, data.groups) == ("dicom", ("P1", "P1", "P2"))
    for one in data:
        np.testing.assert_array_equal(one.masks(), [square()])


def test_segmentation_by_instance(tmp_path):
    """Segments lie on the images they name; images of the series without any have no object; others are set aside."""
    heads = [put(tmp_path / "ct" / f"{n}.dcm", ramp(), header(n)) for n in (1, 2, 3)]
    save_segmentation(tmp_path / "seg.dcm", heads[0], [square(), ~square()], ["liver", "ignore"])
    save_segmentation(tmp_path / "seg2.dcm", heads[1], [np.zeros(SIZE, dtype=bool)], ["liver"])
    data = open_dataset(tmp_path)
    assert data.names == ("ct/1.dcm", "ct/2.dcm")
    assert data[0].labels == ("liver",)
    np.testing.assert_array_equal(data[0].masks()[0], square())
    np.testing.assert_array_equal(data[0].ignore_mask(), ~square())
    assert data[1].objects == ()
    assert [one.name for one in data.set_aside] == ["ct/3.dcm"]


def save_by_place(path: Path, *places: str) -> None:
    """Write a segmentation that names only the series, each frame's segment at a height in the patient."""
    save_segmentation(path, header(1), [square()] * len(places), ["liver"] * len(places))
    data = pydicom.dcmread(path)
    for group, place in zip(data.PerFrameFunctionalGroupsSequence, places, strict=True):
        del group.DerivationImageSequence
        group.PlanePositionSequence = [item(ImagePositionPatient=["0", "0", place])]
    del data.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    data.save_as(path)


def item(**elements) -> pydicom.Dataset:
    data = pydicom.Dataset()
    for name, value in elements.items():
        setattr(data, name, value)
    return data


@pytest.mark.parametrize("place", ["-101.875", "-101.8749999999", "-101.88", "-101.87"])
def test_segmentation_by_place(tmp_path, place):
    """A segmentation that names only the series is laid onto its images by their place in the patient, near enough."""
    for n, height in ((1, -104.375), (2, -101.875)):
        put(tmp_path / f"{n}.dcm", ramp(), header(n), ImagePositionPatient=[0, 0, height])
    save_by_place(tmp_path / "seg.dcm", place)
    data = open_dataset(tmp_path)
    assert [len(one.objects) for one in data] == [0, 1]
    assert data.notes == data.set_aside == ()


def test_segments_of_no_image(tmp_path):
    """Frames that lie on no image are counted; a segmentation none of whose frames does leaves no image empty."""
    for n in (1, 2):
        put(tmp_path / f"{n}.dcm", ramp(), header(n), ImagePositionPatient=[0, 0, 2.5 * n])
    save_by_place(tmp_path / "seg.dcm", "5", "7.5")
    data = open_dataset(tmp_path)
    assert [len(one.objects) for one in data] == [0, 1]
    assert data.notes == ("1 frames of segmentations lie on no image that is here, and are left out.",)
    put(tmp_path / "other.dcm", ramp(), replace(header(3), series="1.2.901"))
    save_segmentation(tmp_path / "seg.dcm", replace(header(3), series="1.2.901"), [square()], ["liver"])
    save_by_place(tmp_path / "lost.dcm", "7.5")
    data = open_dataset(tmp_path)
    assert data.names == ("other.dcm",)
    assert [one.name for one in data.set_aside] == ["1.dcm", "2.dcm", "lost.dcm"]


def test_settings_of_frames(tmp_path):
    """Slope, intercept and window of a multi-frame file may be each frame's own, else those of all frames."""
    head = put(tmp_path / "a.dcm", np.stack([ramp()] * 2), header(frames=2))
    data = pydicom.dcmread(tmp_path / "a.dcm")
    rescale = item(RescaleSlope=2, RescaleIntercept=-1000, RescaleType="HU")
    data.SharedFunctionalGroupsSequence = [
        item(PixelValueTransformationSequence=[rescale],
             FrameVOILUTSequence=[item(WindowCenter=0, WindowWidth=1000)])
    ]  # fmt: skip
    own = item(FrameVOILUTSequence=[item(WindowCenter=500, WindowWidth=100)])
    data.PerFrameFunctionalGroupsSequence = [item(), own]
    data.save_as(tmp_path / "a.dcm")
    real = ramp().astype(float) * 2 - 1000
    for frame, (centre, width) in enumerate([(0, 1000), (500, 100)]):
        expected = np.clip(((real - (centre - 0.5)) / (width - 1) + 0.5) * 255, 0, 255)
        assert np.abs(read_frame(tmp_path / "a.dcm", frame=frame)[..., 0] - expected).max() <= 1
    save_segmentation(tmp_path / "seg.dcm", head, [square()], ["liver"])
    assert len(open_dataset(tmp_path)) == 2


def test_frames(tmp_path):
    """Each frame of a file is a sample of one patient with a hash of its own, and its own segments."""
    values = np.stack([ramp().astype(np.uint8), 255 - ramp().astype(np.uint8)])
    head = header()
    put(tmp_path / "cine.dcm", values, head, NumberOfFrames=2)
    save_segmentation(tmp_path / "seg.dcm", head, [square()], ["valve"])
    data = pydicom.dcmread(tmp_path / "seg.dcm")
    source = data.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    source.ReferencedFrameNumber = 2
    data.save_as(tmp_path / "seg.dcm")
    opened = open_dataset(tmp_path)
    assert opened.names == ("cine.dcm#0000", "cine.dcm#0001")
    assert opened.groups == ("P1", "P1")
    assert [len(one.objects) for one in opened] == [0, 1]
    assert opened.image_hash(0) != opened.image_hash(1)
    np.testing.assert_array_equal(opened[1].image[..., 0], values[1])


def test_segments_of_odd_sizes_survive(tmp_path):
    """Frames whose pixels do not fill whole bytes are packed and read bit for bit."""
    head = replace(header(), size=(5, 7))
    masks = [np.random.default_rng(n).random((5, 7)) < 0.5 for n in range(5)]
    put(tmp_path / "a.dcm", np.zeros((5, 7), dtype=np.uint8), head)
    save_segmentation(tmp_path / "seg.dcm", head, masks, list("abcde"))
    one = open_dataset(tmp_path)[0]
    np.testing.assert_array_equal(one.masks(), masks)
    assert one.labels == tuple("abcde")


def test_patient_taken_out(tmp_path):
    """Without the patient's id the study is the group: it is one patient's."""
    put(tmp_path / "images" / "a.dcm", ramp(), header(1, patient=""))
    put_mask(tmp_path / "masks" / "a.png", square())
    assert open_dataset(tmp_path).groups == ("1.2.800",)


def test_files_without_extension(tmp_path):
    """Files named as scanners name them are found by their first bytes; others beside them do no harm."""
    head = put(tmp_path / "IM000001", ramp())
    save_segmentation(tmp_path / "SE000001", head, [square()], ["liver"])
    (tmp_path / "README").write_text("about these images " * 20)
    (tmp_path / "DICOMDIR").write_bytes(bytes(200))
    data = open_dataset(tmp_path)
    assert (data.format, data.names) == ("dicom", ("IM000001",))


def test_broken_files(tmp_path):
    """Files that are cut off or no DICOM are set aside by name, a broken segmentation too."""
    head = put(tmp_path / "a.dcm", ramp())
    save_segmentation(tmp_path / "seg.dcm", head, [square()], ["liver"])
    data = pydicom.dcmread(tmp_path / "seg.dcm")
    del data.SegmentSequence
    data.save_as(tmp_path / "seg2.dcm")
    (tmp_path / "b.dcm").write_bytes(b"no image")
    reasons = {one.name: one.reason for one in open_dataset(tmp_path).set_aside}
    assert set(reasons) == {"b.dcm", "seg2.dcm"}
    assert "segmentation" in reasons["seg2.dcm"]


def test_several_frames_and_one_mask_file(tmp_path):
    """One mask file for many frames is set aside: it cannot be told which frame it is for."""
    put(tmp_path / "images" / "a.dcm", ramp(), header(1))
    put(tmp_path / "images" / "b.dcm", np.stack([ramp(), ramp()]), header(2), NumberOfFrames=2)
    for name in "ab":
        put_mask(tmp_path / "masks" / f"{name}.png", square())
    assert "2 frames" in open_dataset(tmp_path).set_aside[0].reason


def test_no_masks(tmp_path):
    """Images alone are an error that names the folder."""
    put(tmp_path / "a.dcm", ramp())
    with pytest.raises(DataError, match=str(tmp_path)):
        open_dataset(tmp_path)


def test_segmentation_says_what_it_covers(tmp_path):
    """Frames, labels, images and series are read without pixels."""
    save_segmentation(tmp_path / "seg.dcm", header(4), [square(), square()], ["a", "b"])
    found = read_segmentation(tmp_path / "seg.dcm")
    assert [(one.frame, one.segment, one.label, one.image) for one in found.frames] == [
        (0, 1, "a", "1.2.4"),
        (1, 2, "b", "1.2.4"),
    ]
    assert found.images == {"1.2.4"}
    assert found.series == {"1.2.900"}


@pytest.mark.parametrize(
    ("name", "may_be"), [("a.dcm", True), ("IM1", True), ("1.2.840.3", True), ("a.png", False), ("DICOMDIR", False)]
)
def test_names(name, may_be):
    """DICOM files have .dcm, no extension, or one of digits."""
    assert is_dicom_name(name) == may_be
