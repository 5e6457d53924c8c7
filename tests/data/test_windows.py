"""Images read by window: what a window shows is what the whole shows there."""

from __future__ import annotations

import struct
import zlib
from contextlib import suppress

import numpy as np
import PIL.Image
import pytest
import tifffile

from segtune.core.errors import DataError
from segtune.data import images
from segtune.data.formats.tiff_windows import TiffWindows
from segtune.data.images import read_image
from segtune.data.window_files import open_windows
from segtune.data.windows import ArrayWindows

PLACES = [(0, 150, 0, 230), (0, 1, 0, 1), (149, 150, 229, 230), (30, 97, 15, 201), (64, 128, 64, 128)]
LAYOUTS = {
    "strips": {"rowsperstrip": 16},
    "one strip": {"rowsperstrip": 150, "compression": "zlib"},
    "deflated": {"rowsperstrip": 7, "compression": "zlib", "predictor": True},
    "tiles": {"tile": (64, 48)},
    "deflated tiles": {"tile": (64, 48), "compression": "zlib"},
    "planes": {"tile": (64, 48), "compression": "zlib", "planarconfig": "separate"},
    "grey": {"tile": (64, 48), "photometric": "minisblack"},
    "white is zero": {"rowsperstrip": 16, "photometric": "miniswhite"},
    "alpha": {"tile": (64, 48), "extrasamples": ["unassalpha"]},
    "big": {"bigtiff": True, "tile": (64, 64)},
    "big-endian": {"byteorder": ">", "rowsperstrip": 16},
}


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 255, (150, 230, 3), dtype=np.uint8)


def write(path, picture, name):
    options = {"photometric": "rgb", "metadata": None, **LAYOUTS[name]}
    if options["photometric"] != "rgb":
        picture = picture[:, :, 0]
    if "extrasamples" in options:
        picture = np.dstack([picture, picture[:, :, :1]])
    if "planarconfig" in options:
        picture = np.moveaxis(picture, -1, 0)
    tifffile.imwrite(path, picture, **options)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_tiff_is_read_by_window(picture, tmp_path, name):
    """However it is laid out, without decoding more than the segments that the window touches."""
    write(tmp_path / "a.tif", picture, name)
    whole = read_image(tmp_path / "a.tif")
    with open_windows(tmp_path / "a.tif") as windows:
        assert isinstance(windows, TiffWindows)
        assert windows.size == (150, 230)
        for top, bottom, left, right in PLACES:
            window = windows.read(slice(top, bottom), slice(left, right))
            assert window.dtype == np.uint8
            assert np.array_equal(window, whole[top:bottom, left:right])


def test_only_what_is_asked_for_is_decoded(picture, tmp_path, monkeypatch):
    write(tmp_path / "a.tif", picture, "deflated tiles")
    decoded = []
    with open_windows(tmp_path / "a.tif") as windows:
        monkeypatch.setattr(
            windows, "_decode", lambda number: decoded.append(number) or TiffWindows._decode(windows, number)
        )
        windows.read(slice(0, 70), slice(50, 60))
        windows.read(slice(0, 70), slice(50, 60))
    assert decoded == [1, 6]


MODES = {
    "png": ("RGB", "L", "P", "RGBA", "1", "I;16", "LA"),
    "jpg": ("RGB", "L", "CMYK", "1"),
    "tif": ("RGB", "L", "P", "RGBA", "CMYK", "1", "I;16", "F", "LA"),
    "webp": ("RGB", "RGBA"),
}


@pytest.mark.parametrize(("kind", "mode"), [(kind, mode) for kind, modes in MODES.items() for mode in modes])
def test_other_files_are_as_read_whole(picture, tmp_path, kind, mode):
    path = tmp_path / f"a.{kind}"
    shown = PIL.Image.fromarray(picture[:, :, 0].astype(np.uint16) * 9) if mode == "I;16" else None
    (shown or PIL.Image.fromarray(picture).convert(mode)).save(path)
    whole = read_image(path)
    with open_windows(path) as windows:
        assert windows.size == whole.shape[:2]
        for top, bottom, left, right in PLACES:
            assert np.array_equal(windows.read(slice(top, bottom), slice(left, right)), whole[top:bottom, left:right])


def test_orientation_is_applied(picture, tmp_path):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.fromarray(picture).save(tmp_path / "a.jpg", exif=exif)
    PIL.Image.fromarray(picture).save(tmp_path / "a.tif", exif=exif)
    for name in ("a.jpg", "a.tif"):
        with open_windows(tmp_path / name) as windows:
            assert windows.size == (230, 150)
            window = windows.read(slice(20, 60), slice(30, 90))
            assert np.array_equal(window, read_image(tmp_path / name)[20:60, 30:90])


def test_an_orientation_behind_the_pixels_of_a_png_does_not_count(picture, tmp_path):
    """It counts for no reader, whatever Pillow brings up once it has decoded the file."""
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "a.png"
    PIL.Image.fromarray(picture).save(path)
    content = exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(content)) + b"eXIf" + content + struct.pack(">I", zlib.crc32(b"eXIf" + content))
    written = path.read_bytes()
    end = written.rindex(b"IEND") - 4
    path.write_bytes(written[:end] + chunk + written[end:])
    with open_windows(path) as windows:
        assert windows.size == read_image(path).shape[:2] == (150, 230)
        assert np.array_equal(windows.read(slice(0, 150), slice(0, 230)), read_image(path))


def test_no_limit_on_pixels_holds(picture, tmp_path, monkeypatch):
    """Neither the house's nor Pillow's."""
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 1000)
    monkeypatch.setattr(images, "PIXEL_LIMIT", 1000)
    PIL.Image.fromarray(picture).save(tmp_path / "a.png")
    with open_windows(tmp_path / "a.png") as windows:
        assert windows.read(slice(0, 9), slice(0, 9)).shape == (9, 9, 3)


def test_a_damaged_file_is_named(picture, tmp_path):
    (tmp_path / "a.png").write_text("nothing")
    (tmp_path / "a.tif").write_text("nothing")
    for name in ("a.png", "a.tif", "none.png", "none.tif"):
        with pytest.raises(DataError, match=name), open_windows(tmp_path / name):
            pass
    write(tmp_path / "b.tif", picture, "deflated tiles")
    content = bytearray((tmp_path / "b.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        start = file.pages[0].dataoffsets[3]
    content[start : start + 40] = bytes(40)
    (tmp_path / "b.tif").write_bytes(content)
    with open_windows(tmp_path / "b.tif") as windows:
        windows.read(slice(0, 10), slice(0, 10))
        with pytest.raises(DataError, match=r"b\.tif"):
            windows.read(slice(0, 150), slice(0, 230))


def test_a_smaller_view_is_the_mean(picture):
    """By strips or at once, whole factors or not; never enlarged."""
    smooth = np.repeat(np.repeat(picture[:15, :23], 10, axis=0), 10, axis=1)
    windows = ArrayWindows(smooth)
    assert np.array_equal(windows.read_small(slice(0, 150), slice(0, 230), 500), smooth)
    assert np.array_equal(windows.read_small(slice(0, 150), slice(0, 230), 23), picture[:15, :23])
    assert windows.read_small(slice(0, 150), slice(0, 230), 100).shape == (65, 100, 3)
    assert windows.read_small(slice(0, 2), slice(0, 230), 10).shape == (1, 10, 3)


def test_strips_do_not_show(picture, monkeypatch):
    windows = ArrayWindows(np.repeat(np.repeat(picture, 4, axis=0), 4, axis=1))
    at_once = windows.read_small(slice(0, 600), slice(0, 920), 230)
    monkeypatch.setattr("segtune.data.windows._STRIP", 10_000)
    assert np.array_equal(windows.read_small(slice(0, 600), slice(0, 920), 230), at_once)


def test_a_tiff_without_a_page_is_no_image(picture, tmp_path):
    """Its first page's place may be damaged alone: what is left is a header."""
    write(tmp_path / "a.tif", picture, "strips")
    content = bytearray((tmp_path / "a.tif").read_bytes())
    content[4:8] = b"\xff\xff\xff\x7f"
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.tif"), open_windows(tmp_path / "a.tif"):
        pass


def test_a_tiff_of_strips_without_rows_is_left_to_another_reader(picture, tmp_path):
    """Its strips say nothing of where rows lie; what reads a TIFF whole may still know."""
    write(tmp_path / "a.tif", picture, "strips")
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as file:
        file.pages[0].tags["RowsPerStrip"].overwrite(0)
    with suppress(DataError), open_windows(tmp_path / "a.tif") as windows:
        assert not isinstance(windows, TiffWindows)
