"""Image files without masks look as in a data set of their kind: bands, windows, slices and frames."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest

from segtune.core.errors import DataError, MissingExtraError
from segtune.data.dataset import open_dataset
from segtune.data.formats.tiff_windows import TiffWindows
from segtune.data.images import read_image
from segtune.data.reading import Reading, is_readable, list_parts
from segtune.data.window_files import open_windows
from segtune.data.windows import ArrayWindows

tifffile = pytest.importorskip("tifffile")
nibabel = pytest.importorskip("nibabel")
pydicom = pytest.importorskip("pydicom")

from segtune.data.formats.dicom_image import Header, new_dataset, save_dataset  # noqa: E402

SIZE = (24, 30)
PLACE = [(33550, 12, 3, (0.5, 0.5, 0.0), True), (33922, 12, 6, (0.0, 0.0, 0.0, 4e5, 5e6, 0.0), True)]
GREY = {"photometric": "minisblack", "planarconfig": "contig"}


def bands(count, dtype=np.uint8, scale=1):
    """Bands [H, W, count], each a ramp at a level of its own."""
    ramp = np.linspace(0, 30, SIZE[0] * SIZE[1]).reshape(SIZE)
    return (np.stack([ramp + 40 * number for number in range(count)], axis=-1) * scale).astype(dtype)


def put_mask(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros(SIZE, dtype=np.uint8)
    mask[2:9, 3:12] = 255
    PIL.Image.fromarray(mask).save(path)


def put_tiff(root, values, **options):
    """Write a GeoTIFF with its mask, as a data set; return the image's path."""
    put_mask(root / "masks" / "a.png")
    path = root / "images" / "a.tif"
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, values, extratags=PLACE, metadata=None, **options)
    return path


def put_dicom(path, values, modality="CT", **elements):
    path.parent.mkdir(parents=True, exist_ok=True)
    head = Header(f"1.2.{values.ndim}", "1.2.900", "1.2.800", "P1", modality, values.shape[-2:])
    data = new_dataset(head, "1.2.840.10008.5.1.4.1.1.2")
    data.set_pixel_data(values, "MONOCHROME2", values.dtype.itemsize * 8, generate_instance_uid=False)
    for name, value in elements.items():
        setattr(data, name, value)
    save_dataset(path, data)
    return path


def assert_seen_as(path, expected, reading):
    """Whole and by window."""
    np.testing.assert_array_equal(reading.read(path), expected)
    with open_windows(path, reading) as windows:
        assert windows.size == expected.shape[:2]
        np.testing.assert_array_equal(windows.read(slice(3, 20), slice(5, 29)), expected[3:20, 5:29])


TIFFS = {
    "16 bits": (bands(3, np.uint16, 30), {"photometric": "rgb"}, None),
    "floats": (bands(3, np.float32, 30), GREY, None),
    "five bands": (bands(5), GREY, None),
    "five bands, others": (bands(5), GREY, (4, 3, 2)),
    "five bands in tiles": (bands(5), {**GREY, "tile": (16, 16), "compression": "zlib"}, (4, 3, 2)),
    "five planes": (np.moveaxis(bands(5), -1, 0), {"photometric": "minisblack", "planarconfig": "separate"}, (5, 1, 2)),
    "bands of colours": (bands(3), {"photometric": "rgb"}, (3, 2, 1)),
    "deep bands, others": (bands(5, np.uint16, 30), GREY, (4, 3, 2)),
}


@pytest.mark.parametrize("name", TIFFS)
def test_a_geotiff_is_seen_as_its_data_set_shows_it(tmp_path, name):
    """Read as a run's settings say, whose format was detected, or by the file alone."""
    values, options, chosen = TIFFS[name]
    path = put_tiff(tmp_path, values, **options)
    data = open_dataset(tmp_path, bands=chosen)
    assert data.format == "geotiff"
    assert data[0].image.max() > 30
    assert_seen_as(path, data[0].image, Reading("geotiff", chosen))
    assert_seen_as(path, data[0].image, Reading(None, chosen))


def test_colours_of_many_bits_are_stretched_without_a_place_on_earth(tmp_path):
    """Their high bytes are nearly black. Beside images of other kinds no data set is of them alone."""
    put_mask(tmp_path / "masks" / "a.png")
    (tmp_path / "images").mkdir()
    path = tmp_path / "images" / "a.tif"
    tifffile.imwrite(path, bands(3, np.uint16, 30), photometric="rgb", metadata=None)
    assert read_image(path).max() < 20
    data = open_dataset(tmp_path)
    assert data.format == "geotiff"
    assert data[0].image.max() == 255
    assert_seen_as(path, data[0].image, Reading())
    # As cameras note it; Pillow alone turns the image.
    tifffile.imwrite(tmp_path / "c.tif", bands(3, np.uint16, 30), photometric="rgb", extratags=[(274, 3, 1, 6, True)])
    np.testing.assert_array_equal(Reading().read(tmp_path / "c.tif"), read_image(tmp_path / "c.tif"))
    put_mask(tmp_path / "masks" / "b.png")
    PIL.Image.fromarray(bands(3)).save(tmp_path / "images" / "b.png")
    assert len(open_dataset(tmp_path)) == 2


def test_bytes_are_read_by_window_whatever_their_bands(tmp_path):
    """Only deep values, which are stretched over the whole image, need all of it."""
    many = put_tiff(tmp_path / "many", bands(5), **GREY)
    deep = put_tiff(tmp_path / "deep", bands(5, np.uint16), **GREY)
    with open_windows(many) as windows:
        assert isinstance(windows, TiffWindows)
    with open_windows(deep) as windows:
        assert not isinstance(windows, TiffWindows)


def test_a_geotiff_that_pillow_decodes_is_held_as_pillow_keeps_it(tmp_path):
    """Not as an array beside it; LZW is not decoded by window."""
    path = tmp_path / "a.tif"
    tags = {33550: (0.5, 0.5, 0.0), 33922: (0.0, 0.0, 0.0, 4e5, 5e6, 0.0)}
    PIL.Image.fromarray(bands(3)).save(path, compression="tiff_lzw", tiffinfo=tags)
    for reading in (Reading(), Reading("geotiff")):
        assert reading.is_geotiff(path)
        assert_seen_as(path, bands(3), reading)
        with open_windows(path, reading) as windows:
            assert not isinstance(windows, TiffWindows | ArrayWindows)


def test_a_tiff_is_read_by_pillow_where_the_data_set_does(tmp_path):
    """As in data of a mask folder: of 16 bits the high byte, whatever bands were asked for."""
    path = put_tiff(tmp_path, bands(3, np.uint16, 200), photometric="rgb")
    assert_seen_as(path, read_image(path), Reading("mask_folder", (3, 2, 1)))
    assert (Reading().read(path) != read_image(path)).any()


def test_readings_that_differ_are_told_apart():
    """And those that read all files alike are not."""
    told = [Reading(name).to_json() for name in (None, "geotiff", "mask_folder")]
    assert told[0] == {}
    assert all(told.count(one) == 1 for one in told)
    assert Reading("coco", window=(4, 8)).to_json() == Reading("yolo", window=(4, 8)).to_json()


def test_bands_that_are_asked_for_are_shown(tmp_path):
    """Even where a run's data was of a format without any."""
    path = put_tiff(tmp_path, bands(3, np.uint16, 200), photometric="rgb")
    reading = Reading("mask_folder", window=(40, 400))
    assert reading.told() == reading
    assert reading.told(window=(0, 9)) == Reading("mask_folder", window=(0, 9))
    assert_seen_as(path, Reading(bands=(3, 2, 1)).read(path), reading.told(bands=(3, 2, 1)))


def test_a_band_that_is_not_there_is_told(tmp_path):
    path = put_tiff(tmp_path, bands(4), **GREY)
    with pytest.raises(DataError, match=r"a\.tif.* 4 bands, not band 7"):
        Reading(bands=(7, 2, 1)).read(path)
    with pytest.raises(DataError, match="4 bands, not band 7"), open_windows(path, Reading(bands=(7, 2, 1))):
        pass


def test_what_only_is_called_a_tiff_is_told_as_any_image(tmp_path):
    (tmp_path / "a.tif").write_text("nothing")
    with pytest.raises(DataError, match="it holds text, not an image"):
        Reading().read(tmp_path / "a.tif")
    with pytest.raises(DataError, match="does not exist any more"):
        Reading().read(tmp_path / "none.tif")


@pytest.mark.parametrize("window", [None, (900.0, 800.0)])
def test_dicom_is_seen_as_its_data_set_shows_it(tmp_path, window):
    """Through the file's own window, or that asked for."""
    values = np.arange(SIZE[0] * SIZE[1], dtype=np.uint16).reshape(SIZE) * 3
    path = put_dicom(tmp_path / "images" / "a.dcm", values, WindowCenter=700, WindowWidth=300)
    put_mask(tmp_path / "masks" / "a.png")
    assert_seen_as(path, open_dataset(tmp_path, window=window)[0].image, Reading("dicom", window=window))
    assert list_parts(path) == [path]


@pytest.mark.parametrize("window", [None, (500.0, 300.0)])
def test_slices_are_seen_as_their_data_set_shows_them(tmp_path, window):
    """Named as its samples are."""
    values = np.random.default_rng(0).integers(-100, 1000, (*SIZE[::-1], 3)).astype(np.int16)
    for folder, each in (("images", values), ("masks", (values > 500).astype(np.uint8))):
        (tmp_path / folder).mkdir()
        nibabel.Nifti1Image(each, np.eye(4)).to_filename(tmp_path / folder / "a.nii.gz")
    data = open_dataset(tmp_path, window=window)
    parts = list_parts(tmp_path / "images" / "a.nii.gz")
    assert [part.relative_to(tmp_path).as_posix() for part in parts] == list(data.names)
    for part, sample in zip(parts, data, strict=True):
        assert_seen_as(part, sample.image, Reading("nifti", window=window))
    with pytest.raises(DataError, match=r"holds 3 images\. Name one of them: a\.nii\.gz#0000 to a\.nii\.gz#0002"):
        Reading().read(tmp_path / "images" / "a.nii.gz")
    with pytest.raises(DataError, match="none has the number 3"):
        Reading().read(tmp_path / "images" / "a.nii.gz#0003")
    with pytest.raises(DataError, match="larger than the limit of 10 pixels"):
        Reading().read(parts[0], 10)


def test_frames_are_told_apart_and_a_segmentation_is_no_image(tmp_path):
    values = np.random.default_rng(0).integers(0, 255, (2, *SIZE), dtype=np.uint8)
    # As scanners write them.
    path = put_dicom(tmp_path / "cine", values, NumberOfFrames=2)
    parts = list_parts(path)
    assert [part.name for part in parts] == ["cine#0000", "cine#0001"]
    for part, frame in zip(parts, values, strict=True):
        assert_seen_as(part, np.repeat(frame[..., None], 3, axis=2), Reading())
    marked = put_dicom(tmp_path / "marked.dcm", values[0], "SEG")
    assert list_parts(marked) == []
    with pytest.raises(DataError, match="a DICOM segmentation, not an image"):
        Reading().read(marked)
    report = tmp_path / "report.dcm"
    save_dataset(report, new_dataset(Header("1.2", "1.3", "1.4", "P", "SR", (0, 0)), "1.2.840.10008.5.1.4.1.1.88.11"))
    assert list_parts(report) == []
    with pytest.raises(DataError, match="it holds no image"):
        Reading().read(report)


def test_what_counts_as_an_image(tmp_path):
    """By its name; what may be anything, by its first bytes. A name may end like that of a slice."""
    for name in ("a.PNG", "a.nii", "a.nii.gz", "a.dcm"):
        assert is_readable(tmp_path / name)
    put_dicom(tmp_path / "IM0001", np.zeros(SIZE, np.uint8))
    (tmp_path / "README").write_text("words")
    assert is_readable(tmp_path / "IM0001")
    assert not any(is_readable(tmp_path / name) for name in ("README", "none", "a.json"))
    PIL.Image.fromarray(bands(3)).save(tmp_path / "a#0001", format="PNG")
    assert list_parts(tmp_path / "a#0001") == [tmp_path / "a#0001"]
    np.testing.assert_array_equal(Reading().read(tmp_path / "a#0001"), bands(3))


@pytest.mark.parametrize("kind", ["8 bits", "heights", "CMYK"])
def test_what_pillow_opens_needs_no_package(tmp_path, monkeypatch, kind):
    """It looks the same by either reader; of a bare install it is a picture like any other."""
    values, colour = {
        "8 bits": (bands(3), "rgb"),
        "heights": (bands(1, np.uint16, 30)[..., 0], "minisblack"),
        "CMYK": (bands(4), "separated"),
    }[kind]
    path = put_tiff(tmp_path, values, photometric=colour)
    by_format = Reading().read(path)
    monkeypatch.setitem(__import__("sys").modules, "tifffile", None)
    assert_seen_as(path, by_format, Reading())
    with pytest.raises(DataError, match=r"larger than the limit of 10 pixels.* --tiles"):
        Reading().read(path, 10)


def test_a_missing_package_is_told(tmp_path, monkeypatch):
    path = put_tiff(tmp_path, bands(5), **GREY)
    monkeypatch.setitem(__import__("sys").modules, "tifffile", None)
    for read in (Reading().read, lambda path: open_windows(path).__enter__()):
        with pytest.raises(MissingExtraError, match="tifffile"):
            read(path)
