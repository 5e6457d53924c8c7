"""Images of every kind come out as RGB uint8 as people see them, or as an error that says what is wrong."""

from __future__ import annotations

import io
import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from segtune.core.errors import DataError
from segtune.data.images import UnreadableError, list_images, read_image, read_size, stretch

RED = (200, 30, 40)


@pytest.fixture
def picture() -> np.ndarray:
    """Non-square, with a different colour in each quarter."""
    image = np.zeros((40, 64, 3), dtype=np.uint8)
    image[:20, :32], image[:20, 32:], image[20:, :32], image[20:, 32:] = (
        RED,
        (20, 180, 60),
        (30, 60, 190),
        (240, 240, 10),
    )
    return image


def save(path: Path, values: np.ndarray, mode: str | None = None, **options) -> Path:
    image = PIL.Image.fromarray(values)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def test_plain_rgb(tmp_path, picture):
    """A PNG comes back exactly, writable, and its size is height first."""
    path = save(tmp_path / "a.png", picture)
    image = read_image(path)
    np.testing.assert_array_equal(image, picture)
    assert image.dtype == np.uint8
    assert image.flags.writeable
    assert read_size(path) == (40, 64)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_exif_orientation(tmp_path, picture, orientation, suffix):
    """An image stored turned or mirrored is read upright, and its size is that of the upright image."""
    undo = {
        1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a), 7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
        8: lambda a: np.rot90(a, -1),
    }  # fmt: skip
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a{suffix}"
    options = {"lossless": True} if suffix == ".webp" else {"quality": 95} if suffix == ".jpg" else {}
    save(path, np.ascontiguousarray(undo[orientation](picture)), exif=exif, **options)
    assert read_size(path) == (40, 64)
    image = read_image(path)
    assert image.shape == picture.shape
    assert np.abs(image[10:30:15, 10:60:40].astype(int) - picture[10:30:15, 10:60:40]).max() < 12


def test_grey_and_bilevel(tmp_path):
    """Grey and black-and-white images have three equal channels."""
    grey = np.arange(0, 250, 10, dtype=np.uint8).reshape(5, 5)
    np.testing.assert_array_equal(read_image(save(tmp_path / "g.png", grey)), np.repeat(grey[..., None], 3, axis=2))
    image = read_image(save(tmp_path / "b.png", grey > 100))
    assert set(np.unique(image)) == {0, 255}


def test_alpha_is_dropped(tmp_path, picture):
    """The colours below transparency are those stored: a cut-out does not show its outline."""
    alpha = np.zeros((40, 64, 1), dtype=np.uint8)
    alpha[10:20] = 255
    path = save(tmp_path / "a.png", np.concatenate([picture, alpha], axis=2))
    np.testing.assert_array_equal(read_image(path), picture)
    grey = save(tmp_path / "la.png", np.concatenate([picture[..., :1], alpha], axis=2))
    np.testing.assert_array_equal(read_image(grey), np.repeat(picture[..., :1], 3, axis=2))


def test_cmyk_jpeg(tmp_path, picture):
    """CMYK is converted, not read as four strange channels or inverted."""
    path = save(tmp_path / "a.jpg", picture, "CMYK", quality=95)
    assert np.abs(read_image(path)[5, 5].astype(int) - RED).max() < 25


def test_palette(tmp_path, picture):
    """A palette gives its colours, not its indices; one with transparency as well."""
    indexed = PIL.Image.fromarray(picture).quantize(8)
    indexed.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[5, 5], RED)
    indexed.save(tmp_path / "t.png", transparency=b"\x00\x80\xff")
    np.testing.assert_array_equal(read_image(tmp_path / "t.png")[5, 5], RED)


def test_sixteen_bits_are_stretched(tmp_path):
    """Of 16-bit grey the darkest pixel is black and the brightest white, also when only 12 bits are in use."""
    ramp = np.linspace(100, 4095, 64 * 40).reshape(40, 64).astype(np.uint16)
    for name in ("a.png", "a.tif"):
        image = read_image(save(tmp_path / name, ramp))
        assert image[0, 0, 0] == 0
        assert image[-1, -1, 0] == 255
        assert abs(int(image[20, 0, 0]) - 127) <= 3


def test_float_images(tmp_path):
    """Floats are stretched too, and what is not a number is black."""
    values = np.linspace(-1, 1, 100, dtype=np.float32).reshape(10, 10)
    values[0, 0] = np.nan
    image = read_image(save(tmp_path / "a.tif", values))
    assert image[-1, -1, 0] == 255
    assert image[0, 0, 0] == 0
    assert 100 < image[5, 0, 0] < 150


@pytest.mark.parametrize("fill", [-3.4028234663852886e38, 1e31, np.nan, np.inf])
def test_pixels_without_data_leave_the_rest_as_it_is(fill):
    """No-data pixels are black and do not squeeze the others: those look as they do without."""
    values = np.linspace(20, 30, 400, dtype=np.float32).reshape(20, 20)
    holed = values.copy()
    holed[:, :5] = fill
    np.testing.assert_array_equal(stretch(holed)[:, 5:], stretch(values[:, 5:]))
    assert not stretch(holed)[:, :5].any()
    assert not stretch(np.full((3, 3), fill, dtype=np.float32)).any()


@pytest.mark.parametrize(
    ("dtype", "no_data"),
    [(np.float32, -9999), (np.float64, -1.7976931348623157e308), (np.float16, -9999), (np.uint16, 0), (np.int16, -9999),
     (np.uint16, 65535)],
)  # fmt: skip
def test_the_value_that_a_file_calls_no_data(dtype, no_data):
    """The declared value counts as no data in any type."""
    values = np.linspace(20, 4000, 400).reshape(20, 20).astype(dtype)
    holed = values.copy()
    holed[3:7] = no_data
    shown = stretch(holed, float(no_data))
    assert not shown[3:7].any()
    np.testing.assert_array_equal(
        np.delete(shown, range(3, 7), axis=0), stretch(np.delete(values, range(3, 7), axis=0))
    )


@pytest.mark.parametrize("no_data", [-9999.0, 0.5, 1e300, float("nan"), None])
def test_no_data_that_is_no_value_of_the_type(no_data):
    """A declared value that whole numbers cannot hold, or none, changes nothing."""
    values = np.arange(1001, dtype=np.uint16)
    np.testing.assert_array_equal(stretch(values, no_data), stretch(values))


def test_no_data_of_a_plain_tiff(tmp_path):
    """GDAL's tag is heeded in TIFFs that Pillow reads, too."""
    values = np.linspace(20, 30, 400, dtype=np.float32).reshape(20, 20)
    values[:, :5] = -9999
    PIL.Image.fromarray(values).save(tmp_path / "a.tif", tiffinfo={42113: "-9999"})
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[:, 5:, 0], stretch(values[:, 5:]))


def test_stretch_rule():
    """The 0.1th percentile becomes 0, the 99.9th 255; a constant becomes 0."""
    values = np.arange(1001, dtype=np.uint16)
    shown = stretch(values)
    assert shown[1] == 0
    assert shown[999] == 255
    assert shown[600] == round(599 / 998 * 255)
    assert not stretch(np.full((3, 3), 700, dtype=np.uint16)).any()
    rare = np.zeros(10_000, dtype=np.uint16)
    rare[:3] = 9
    assert set(stretch(rare)) == {0, 255}


@pytest.mark.parametrize("kind", ["WEBP", "PNG", "GIF", "BMP", "TIFF"])
def test_content_decides(tmp_path, picture, kind):
    """Other kinds of image named .jpg are read by what they are."""
    path = tmp_path / "a.jpg"
    PIL.Image.fromarray(picture).save(path, format=kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert read_size(path) == (40, 64)
    assert np.abs(read_image(path)[5, 5].astype(int) - RED).max() < 8


def test_first_frame(tmp_path, picture):
    """Of an animation the first frame counts."""
    first, second = PIL.Image.fromarray(picture), PIL.Image.new("RGB", (64, 40))
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    assert np.abs(read_image(tmp_path / "a.gif")[5, 5].astype(int) - RED).max() < 8


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
@pytest.mark.parametrize("share", [0.5, 0.95])
def test_truncated(tmp_path, picture, suffix, share):
    """A file that ends too early is an error that names it and says so."""
    noise = np.random.default_rng(0).integers(0, 256, (80, 90, 3), dtype=np.uint8)
    path = save(tmp_path / f"a{suffix}", noise)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(DataError, match=r"a\..*(truncated|broken|no image)"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_truncated_is_found_by_the_header_check(tmp_path, suffix):
    """A missing end is found when a data set is opened, not in the middle of a run."""
    noise = np.random.default_rng(0).integers(0, 256, (80, 90, 3), dtype=np.uint8)
    path = save(tmp_path / f"a{suffix}", noise)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(UnreadableError, match=r"truncated|broken"):
        read_size(path)


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"quality": 99, "subsampling": 0}, {"comment": b"x" * 20_000}]
)
def test_header_check_agrees_with_reading(tmp_path, options):
    """The size from the header is that of the decoded image, for small and large files, with long comments too."""
    for side in (7, 300):
        noise = np.random.default_rng(0).integers(0, 256, (side, side + 11, 3), dtype=np.uint8)
        path = save(tmp_path / f"{side}.jpg", noise, **options)
        assert read_size(path) == read_image(path).shape[:2] == (side, side + 11)


def test_plain_files_are_not_opened_twice(tmp_path, picture, monkeypatch):
    """The size of a plain PNG or JPEG is found without Pillow: opening large data sets depends on it."""
    monkeypatch.setattr("PIL.Image.open", lambda path: pytest.fail(f"{path} was opened with Pillow"))
    assert read_size(save(tmp_path / "a.png", picture)) == (40, 64)
    assert read_size(save(tmp_path / "a.jpg", picture)) == (40, 64)


def test_bytes_after_the_end_are_no_fault(tmp_path, picture):
    """Some cameras write on behind a JPEG's end; such a file is read."""
    path = save(tmp_path / "a.jpg", picture)
    path.write_bytes(path.read_bytes() + bytes(500))
    assert read_size(path) == (40, 64)
    assert read_image(path).shape == (40, 64, 3)


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "empty"), (b"hello, I am a text", "text"), (bytes(300), "no image")]
)
def test_no_image(tmp_path, content, reason):
    """What is no image is named with what it is instead and what to do."""
    path = tmp_path / "a.png"
    path.write_bytes(content)
    for read in (read_image, read_size):
        with pytest.raises(UnreadableError, match=reason) as caught:
            read(path)
        assert str(path) in str(caught.value)
        assert caught.value.remedy in str(caught.value)


def test_missing(tmp_path):
    """A file that has gone is a DataError, not a FileNotFoundError."""
    with pytest.raises(DataError, match="does not exist"):
        read_image(tmp_path / "a.png")


def test_pixel_limit(tmp_path, picture):
    """An image above the limit is refused by its header alone; the limit can be set."""
    path = save(tmp_path / "a.png", picture)
    for read in (read_image, read_size):
        with pytest.raises(UnreadableError, match=r"limit of 2,000 pixels.*--tiles"):
            read(path, 2000)
    assert read_size(path, 40 * 64) == (40, 64)


def test_decompression_bomb(tmp_path):
    """A small file that claims four gigapixels is refused, in the words of this project."""
    header = struct.pack(">IIBBBBB", 65_000, 65_000, 8, 2, 0, 0, 0)
    path = tmp_path / "a.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )
    with pytest.raises(UnreadableError, match="pixels"):
        read_size(path)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def test_error_crosses_processes(tmp_path):
    """An error raised in a DataLoader worker arrives whole."""
    error = UnreadableError(tmp_path / "a.png", "it is odd", "Mend it.")
    twin = pickle.loads(pickle.dumps(error))
    assert str(twin) == str(error)
    assert (twin.reason, twin.remedy) == ("it is odd", "Mend it.")


def test_list_images(tmp_path, picture):
    """Images are listed by extension or content in a stable order; hidden files, texts and folders are not."""
    for name in ("b.PNG", "a.jpg", ".hidden.png"):
        save(tmp_path / name, picture, format="PNG")
    buffer = io.BytesIO()
    PIL.Image.fromarray(picture).save(buffer, format="JPEG")
    (tmp_path / "IMG001").write_bytes(buffer.getvalue())
    (tmp_path / "README").write_text("no image")
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "c.png").mkdir()
    assert list_images(tmp_path) == ["IMG001", "a.jpg", "b.PNG"]


def test_damaged_avif(tmp_path):
    """Pillow says RuntimeError of an AVIF whose pixels are damaged; here it is a file that cannot be used, like any."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = save(tmp_path / "a.avif", noise)
    content = bytearray(path.read_bytes())
    at = content.index(b"mdat") + 8
    content[at:] = bytes(len(content) - at)
    path.write_bytes(content)
    with PIL.Image.open(path) as opened, pytest.raises(RuntimeError):
        opened.load()
    with pytest.raises(UnreadableError, match=r"a\.avif.*cannot be decoded"):
        read_image(path)
