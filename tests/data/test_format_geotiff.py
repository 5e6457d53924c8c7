"""GeoTIFFs: many bands and depths become RGB, and their place on Earth survives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segtune.core.errors import DataError
from segtune.data.dataset import open_dataset
from segtune.data.formats import FORMATS
from segtune.data.formats.georeference import PIXEL_SCALE, TIE_POINT, TRANSFORMATION, read_georeference
from segtune.data.formats.geotiff import GeoSample, read_geotiff

tifffile = pytest.importorskip("tifffile")

SIZE = (24, 30)
GEO_KEYS = (1, 1, 0, 2, 1024, 0, 1, 1, 3072, 0, 1, 32633)
UTM = [
    (PIXEL_SCALE, 12, 3, (0.5, 0.5, 0.0), True),
    (TIE_POINT, 12, 6, (0.0, 0.0, 0.0, 400_000.0, 5_000_000.0, 0.0), True),
    (34735, 3, len(GEO_KEYS), GEO_KEYS, True),
]


GREY = {"photometric": "minisblack", "planarconfig": "contig"}
"""How bands without colours are written."""


def put(root: Path, values: np.ndarray, tags=UTM, **options) -> Path:
    """Write an image a.tif and the mask of a square."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(root / "images" / "a.tif", values, extratags=tags, metadata=None, **options)
    mask = np.zeros(SIZE, dtype=np.uint8)
    mask[2:9, 3:12] = 1
    tifffile.imwrite(root / "masks" / "a.tif", mask)
    return root


def bands(count: int, dtype=np.uint8) -> np.ndarray:
    """Bands [H, W, count], each a ramp at a level of its own."""
    ramp = np.linspace(0, 30, SIZE[0] * SIZE[1]).reshape(SIZE)
    return np.stack([ramp + 40 * number for number in range(count)], axis=-1).astype(dtype)


def test_detected_and_read(tmp_path):
    """A TIFF with a georeference is a GeoTIFF; its sample knows its place."""
    data = open_dataset(put(tmp_path, bands(3), photometric="rgb"))
    one = data[0]
    assert data.format == "geotiff"
    assert isinstance(one, GeoSample)
    assert one.georeference.crs == 32633
    assert one.georeference.transform == (0.5, 0.0, 400_000.0, 0.0, -0.5, 5_000_000.0)
    np.testing.assert_array_equal(one.image, bands(3))
    assert one.objects[0].box == (3, 2, 12, 9)


def test_plain_tiffs_stay_a_mask_folder(tmp_path):
    """TIFFs that anyone can read and that lie nowhere on Earth are plain images."""
    assert open_dataset(put(tmp_path, bands(3), tags=(), photometric="rgb")).format == "mask_folder"


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_many_bands(tmp_path, planar):
    """Of many bands the first three are shown, which is said; others can be chosen; one becomes grey."""
    values = bands(5)
    stored = values if planar == "contig" else np.moveaxis(values, -1, 0)
    put(tmp_path, stored, planarconfig=planar, photometric="minisblack")
    data = open_dataset(tmp_path)
    assert "5 bands, of which 1, 2, 3" in data.notes[-1]
    np.testing.assert_array_equal(data[0].image, values[..., :3])
    np.testing.assert_array_equal(open_dataset(tmp_path, bands=(4, 3, 1))[0].image, values[..., [3, 2, 0]])
    np.testing.assert_array_equal(open_dataset(tmp_path, bands=(5,))[0].image, np.repeat(values[..., 4:], 3, axis=2))


def test_a_band_that_is_not_there(tmp_path):
    """A band beyond the last is an error with the number of bands."""
    data = open_dataset(put(tmp_path, bands(4), photometric="minisblack", planarconfig="contig"), bands=(7, 2, 1))
    with pytest.raises(DataError, match="4 bands, not band 7"):
        assert data[0].image.any()


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32])
def test_deep_bands_keep_their_colour(tmp_path, dtype):
    """More than 8 bits are stretched over the bands together, so that grey stays grey."""
    put(tmp_path, bands(3, np.float64).astype(dtype) * 30, photometric="minisblack", planarconfig="contig")
    image = open_dataset(tmp_path)[0].image
    assert image.min() == 0
    assert image.max() == 255
    assert image[..., 0].mean() < image[..., 1].mean() < image[..., 2].mean()


def test_alpha_and_two_bands(tmp_path):
    """A fourth 8-bit band does not disturb the colours; of two bands the first is shown."""
    np.testing.assert_array_equal(
        read(put(tmp_path / "4", bands(4), photometric="rgb", extrasamples=["unspecified"])), bands(3)
    )
    two = read(put(tmp_path / "2", bands(2), photometric="minisblack", planarconfig="contig"))
    np.testing.assert_array_equal(two, np.repeat(bands(1), 3, axis=2))


def read(root: Path) -> np.ndarray:
    return read_geotiff(root / "images" / "a.tif")


def test_place_survives_writing(tmp_path):
    """Written again, image and masks lie where they lay, their tags unchanged."""
    data = open_dataset(put(tmp_path / "in", bands(3), photometric="rgb"))
    FORMATS["geotiff"].write(data, tmp_path / "out")
    for path in ("images/a.tif", "masks/a.tif"):
        assert read_georeference(tmp_path / "out" / path) == read_georeference(tmp_path / "in" / "images" / "a.tif")
    again = open_dataset(tmp_path / "out")
    assert again.format == "geotiff"
    assert again[0].objects == data[0].objects


def test_transformation_tag(tmp_path):
    """A full transformation is read as well as scale and tie point."""
    matrix = (0.5, 0.1, 0, 10.0, -0.2, -0.5, 0, 20.0, 0, 0, 1.0, 0, 0, 0, 0, 1.0)
    put(tmp_path, bands(3), tags=[(TRANSFORMATION, 12, 16, matrix, True)], photometric="rgb")
    reference = read_georeference(tmp_path / "images" / "a.tif")
    assert reference.transform == (0.5, 0.1, 10.0, -0.2, -0.5, 20.0)
    assert reference.crs is None


def test_pixel_is_point(tmp_path):
    """Where coordinates are those of pixels' centres, corners lie half a pixel aside."""
    keys = (1, 1, 0, 1, 1025, 0, 1, 2)
    put(tmp_path, bands(3), tags=[*UTM[:2], (34735, 3, len(keys), keys, True)], photometric="rgb")
    reference = read_georeference(tmp_path / "images" / "a.tif")
    assert reference.transform[2::3] == (399_999.75, 5_000_000.25)


def test_no_place(tmp_path):
    """A TIFF without these tags has no georeference."""
    put(tmp_path, bands(3), tags=(), photometric="rgb")
    assert read_georeference(tmp_path / "images" / "a.tif") is None


@pytest.mark.parametrize("dtype", [np.uint32, np.int16, np.uint16])
def test_masks_of_other_depths(tmp_path, dtype):
    """Object numbers of any whole type are read from TIFF masks."""
    put(tmp_path, bands(3), photometric="rgb")
    numbers = np.zeros(SIZE, dtype=dtype)
    for number in range(9):
        numbers[number * 2 : number * 2 + 2, 3:9] = 300 + number
    tifffile.imwrite(tmp_path / "masks" / "a.tif", numbers)
    one = open_dataset(tmp_path, objects="instances")[0]
    assert [mask.area for mask in one.objects] == [12] * 9


def test_broken_and_too_large(tmp_path):
    """A TIFF cut off, and one above the pixel limit, are set aside with a reason."""
    put(tmp_path, bands(3), photometric="rgb")
    for name in ("b", "c"):
        for folder in ("images", "masks"):
            (tmp_path / folder / f"{name}.tif").write_bytes((tmp_path / folder / "a.tif").read_bytes())
    (tmp_path / "images" / "b.tif").write_bytes(b"II*\x00\xff\xff")
    tifffile.imwrite(tmp_path / "images" / "c.tif", np.zeros((240, 300, 3), dtype=np.uint8), photometric="rgb")
    reasons = {one.name: one.reason for one in open_dataset(tmp_path, pixel_limit=SIZE[0] * SIZE[1]).set_aside}
    assert set(reasons) == {"images/b.tif", "images/c.tif"}
    assert "limit" in reasons["images/c.tif"]


@pytest.mark.parametrize(
    ("dtype", "fill", "text"),
    [("f4", -9999, "-9999"), ("f4", -3.4e38, "-3.4e+38"), ("u2", 0, "0"), ("f4", np.nan, "nan")],
)
def test_pixels_without_data(tmp_path, dtype, fill, text):
    """What GDAL marks as no data is black, and the rest of each band keeps its contrast."""
    values = (1000 + 50 * bands(4, np.float32)).astype(dtype)
    clean = read_geotiff(put(tmp_path / "clean", values[:, 10:].copy(), **GREY) / "images" / "a.tif")
    values[:, :10] = fill
    tags = [*UTM, (42113, 2, len(text) + 1, text, True)]
    shown = read_geotiff(put(tmp_path / "holed", values, tags=tags, **GREY) / "images" / "a.tif")
    assert not shown[:, :10].any()
    np.testing.assert_array_equal(shown[:, 10:], clean)
    assert np.ptp(clean) > 200


def test_no_data_that_bytes_cannot_hold_is_not_complained_of(tmp_path, caplog):
    """-9999 declared for bytes, as many tools write it, is no cause for a message per file."""
    tags = [*UTM, (42113, 2, 6, "-9999", True)]
    data = open_dataset(put(tmp_path, bands(4), tags=tags, **GREY))
    np.testing.assert_array_equal(data[0].image, bands(4)[..., :3])
    assert not caplog.records
