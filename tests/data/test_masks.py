"""What mask files hold is inferred from many of them and read right: the pitfalls of encodings, one by one."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

from segtune.core.errors import DataError, UsageError
from segtune.data.dataset import open_dataset
from segtune.data.masks import Encoding, decode_values, read_mask_file

SIZE = (40, 60)


def blob(seed: int, radius: int = 9) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    cy, cx = rng.integers(12, 28), rng.integers(12, 48)
    return (y - cy) ** 2 + (x - cx) ** 2 <= radius**2


def save_set(root: Path, masks: dict[str, PIL.Image.Image | np.ndarray], **options) -> Path:
    """Write a grey image for each mask, and the masks, by their names with extension."""
    (root / "images").mkdir()
    (root / "masks").mkdir()
    for name, mask in masks.items():
        image = mask if isinstance(mask, PIL.Image.Image) else PIL.Image.fromarray(mask)
        PIL.Image.new("L", image.size).save(root / "images" / f"{Path(name).stem}.png")
        image.save(root / "masks" / name, **options)
    return root


def palette_image(indices: np.ndarray, colours: dict[int, tuple[int, int, int]]) -> PIL.Image.Image:
    image = PIL.Image.new("P", SIZE[::-1])
    image.putdata(indices.ravel().tolist())
    table = np.zeros((256, 3), dtype=np.uint8)
    for index, colour in colours.items():
        table[index] = colour
    image.putpalette(table.ravel().tolist())
    return image


def check_whole(root: Path, truths: dict[str, np.ndarray], says: str, **options) -> None:
    data = open_dataset(root, **options)
    assert says in " ".join(data.notes)
    for one in data:
        expected = truths[Path(one.name).stem]
        np.testing.assert_array_equal(one.masks().any(axis=0), expected)
        assert len(one.objects) == int(expected.any())


@pytest.mark.parametrize("value", [1, 255, 76])
def test_two_values(tmp_path, value):
    """0 and 1, 0 and 255, or 0 and any other single value: what is not 0 is inside."""
    truths = {name: blob(seed) for seed, name in enumerate("abc")}
    save_set(tmp_path, {f"{name}.png": mask.astype(np.uint8) * value for name, mask in truths.items()})
    check_whole(tmp_path, truths, f"0 and {value}")


def test_bilevel_files(tmp_path):
    """One-bit files are read like 0 and 1."""
    truths = {name: blob(seed) for seed, name in enumerate("ab")}
    save_set(tmp_path, {f"{name}.png": PIL.Image.fromarray(mask) for name, mask in truths.items()})
    check_whole(tmp_path, truths, "0 and 1")


def test_zero_and_one_beside_zero_and_255(tmp_path):
    """Files of both kinds in one folder are both read right, and the mixture is told."""
    truths = {"a": blob(0), "b": blob(1)}
    save_set(tmp_path, {"a.png": truths["a"].astype(np.uint8), "b.png": truths["b"].astype(np.uint8) * 255})
    check_whole(tmp_path, truths, "others 0 and 255")


def test_jpeg_masks(tmp_path):
    """A JPEG mask has a dozen grey values around 0 and 255; the object is what was drawn, but for its rim."""
    truths = {name: blob(seed) for seed, name in enumerate("abcd")}
    coloured = {f"{n}.jpg": PIL.Image.fromarray(m.astype(np.uint8) * 255).convert("RGB") for n, m in truths.items()}
    data = open_dataset(save_set(tmp_path, coloured, quality=80))
    assert "soft" in data.notes[0]
    for one in data:
        truth = truths[Path(one.name).stem]
        assert len(one.objects) == 1
        assert (one.masks()[0] ^ truth).sum() < 0.05 * truth.sum()


def test_soft_masks_and_threshold(tmp_path):
    """Soft masks are inside above 127, or above the threshold given, never at it."""
    soft = np.zeros(SIZE, dtype=np.uint8)
    soft[:] = np.linspace(0, 255, SIZE[1], dtype=np.uint8)
    save_set(tmp_path, {"a.png": soft, "b.png": soft[:, ::-1].copy()})
    check_whole(tmp_path, {"a": soft > 127, "b": soft[:, ::-1] > 127}, "above 127")
    check_whole(tmp_path, {"a": soft > 40, "b": soft[:, ::-1] > 40}, "above 40", threshold=40)


def test_blurred_masks_are_soft_not_classes(tmp_path):
    """A rim of many grey values is no list of classes, and a mask without a bright value is empty, not an object."""
    masks = {f"{seed}.png": cv2.GaussianBlur(blob(seed).astype(np.uint8) * 255, (0, 0), 2) for seed in range(5)}
    masks["faint.png"] = masks["0.png"] // 3
    truths = {Path(name).stem: mask > 127 for name, mask in masks.items()}
    check_whole(save_set(tmp_path, masks), truths, "soft")
    assert not truths["faint"].any()


def test_sixteen_bit_soft(tmp_path):
    """A soft mask of 16 bits is inside above the same share of its range."""
    soft = np.zeros(SIZE, dtype=np.uint16)
    soft[:] = np.linspace(0, 65535, SIZE[1])
    save_set(tmp_path, {"a.png": soft})
    check_whole(tmp_path, {"a": soft > 127 * 257}, "soft")


def test_sixteen_bit_soft_with_very_many_values(tmp_path):
    """Of more values than are looked at one by one, the highest still is the full scale."""
    y, x = np.mgrid[:256, :256]
    masks = {}
    for name, radius in (("a", 60), ("b", 80)):
        away = np.hypot(y - 128.3, x - 127.6) - radius
        masks[f"{name}.png"] = np.rint(65535 / (1 + np.exp(away / 12))).astype(np.uint16)
    assert all(len(np.unique(mask)) > 4096 for mask in masks.values())
    full = max(int(mask.max()) for mask in masks.values())
    truths = {Path(name).stem: mask > 127 * full // 255 for name, mask in masks.items()}
    check_whole(save_set(tmp_path, masks), truths, f"to {full}; inside is above {127 * full // 255}")


def test_float_masks(tmp_path):
    """Floats from 0 to 1 in a TIFF are soft."""
    soft = np.zeros(SIZE, dtype=np.float32)
    soft[:] = np.linspace(0, 1, SIZE[1])
    save_set(tmp_path, {"a.tif": soft})
    check_whole(tmp_path, {"a": np.rint(soft * 255) > 127}, "soft")


@pytest.mark.parametrize("middle", [127, 128])
def test_ignore_band(tmp_path, middle):
    """Between 0 and 255 a band of 127 or 128 is ignored: neither object nor background."""
    masks = {}
    for seed in range(3):
        grown = cv2.dilate(blob(seed).astype(np.uint8), np.ones((5, 5)))
        masks[f"{seed}.png"] = np.where(blob(seed), 255, grown * middle).astype(np.uint8)
    data = open_dataset(save_set(tmp_path, masks))
    assert f"{middle} is taken as a band" in data.notes[0]
    for seed, one in enumerate(data):
        np.testing.assert_array_equal(one.masks()[0], blob(seed))
        np.testing.assert_array_equal(one.ignore_mask(), masks[f"{seed}.png"] == middle)


def test_zero_one_and_255(tmp_path):
    """0, 1 and 255 in one file: 255 is ignored."""
    mask = blob(0).astype(np.uint8)
    mask[:4] = 255
    one = open_dataset(save_set(tmp_path, {"a.png": mask}))[0]
    np.testing.assert_array_equal(one.masks()[0], mask == 1)
    np.testing.assert_array_equal(one.ignore_mask(), mask == 255)


def classes(seed: int) -> np.ndarray:
    """Three classes, each in two places."""
    mask = np.zeros(SIZE, dtype=np.uint8)
    for value in (1, 2, 3):
        top = (value - 1) * 13
        mask[top : top + 8, 5 + seed : 15 + seed] = value
        mask[top : top + 8, 30 + seed : 40 + seed] = value
    return mask


def test_class_values(tmp_path):
    """Small flat values are classes: all together, each alone, or each part, with their values as names."""
    save_set(tmp_path, {f"{seed}.png": classes(seed) for seed in range(4)})
    check_whole(tmp_path, {str(seed): classes(seed) > 0 for seed in range(4)}, "class values (1, 2, 3)")
    labels = open_dataset(tmp_path, objects="labels")[0]
    assert labels.labels == ("1", "2", "3")
    np.testing.assert_array_equal(labels.masks(), [classes(0) == value for value in (1, 2, 3)])
    assert open_dataset(tmp_path, objects="parts")[0].labels == ("1", "1", "2", "2", "3", "3")


def test_class_values_with_255(tmp_path):
    """255 beside classes counted up from 1 is ignored; evenly spread grey values are classes up to the last."""
    counted, spread = tmp_path / "counted", tmp_path / "spread"
    counted.mkdir()
    spread.mkdir()
    with_border = [np.where(blob(9, 3), 255, classes(seed)).astype(np.uint8) for seed in range(3)]
    save_set(counted, {f"{seed}.png": mask for seed, mask in enumerate(with_border)})
    one = open_dataset(counted, objects="labels")[0]
    assert one.labels == ("1", "2", "3")
    np.testing.assert_array_equal(one.ignore_mask(), with_border[0] == 255)
    save_set(spread, {f"{seed}.png": classes(seed) * np.uint8(85) for seed in range(3)})
    one = open_dataset(spread, objects="labels")[0]
    assert one.labels == ("170", "255", "85")
    assert one.ignore is None


VOC = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 255: (224, 224, 192)}


def test_palette_classes(tmp_path):
    """A coloured palette gives indices, not grey tones of its colours; 255 is ignored, as in PASCAL VOC."""
    with_border = np.where(blob(9, 3), 255, classes(0))
    root = save_set(tmp_path, {"a.png": palette_image(with_border, VOC), "b.png": palette_image(classes(1), VOC)})
    data = open_dataset(root, objects="labels")
    assert "palette classes (1, 2, 3)" in data.notes[0]
    assert data[0].labels == ("1", "2", "3")
    np.testing.assert_array_equal(data[0].masks()[1], with_border == 2)
    np.testing.assert_array_equal(data[0].ignore_mask(), with_border == 255)
    assert data[1].ignore is None


def test_grey_palette(tmp_path):
    """A palette of greys gives its greys: an optimised file may well have white as index 0."""
    inverted = {0: (255, 255, 255), 1: (0, 0, 0)}
    root = save_set(tmp_path, {"a.png": palette_image(np.where(blob(0), 0, 1), inverted)})
    check_whole(root, {"a": blob(0)}, "0 and 255")


def test_palettes_that_differ(tmp_path):
    """Where files give one index different colours, the colours are the classes."""
    first = palette_image(blob(0) * 1, {0: (0, 0, 0), 1: (255, 0, 0)})
    second = palette_image(blob(1) * 1, {0: (0, 0, 0), 1: (0, 0, 255)})
    data = open_dataset(save_set(tmp_path, {"a.png": first, "b.png": second}), objects="labels")
    assert [one.labels for one in data] == [("#ff0000",), ("#0000ff",)]
    np.testing.assert_array_equal(data[1].masks()[0], blob(1))


def test_colour_classes(tmp_path):
    """Each colour is a class; black is background, or else the commonest colour."""
    table = np.array([(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)], dtype=np.uint8)
    root = save_set(tmp_path, {"a.png": table[classes(0)], "b.png": np.zeros((*SIZE, 3), dtype=np.uint8)})
    data = open_dataset(root, objects="labels")
    assert data[0].labels == ("#0000ff", "#00ff00", "#ff0000")
    np.testing.assert_array_equal(data[0].masks()[2], classes(0) == 1)
    assert data[1].objects == ()


def test_colour_background_that_is_not_black(tmp_path):
    """Without black the commonest colour is the background, and black-less classes keep their names."""
    table = np.array([(200, 200, 10), (255, 0, 0), (0, 255, 0), (0, 0, 255)], dtype=np.uint8)
    one = open_dataset(save_set(tmp_path, {"a.png": table[classes(0)]}), objects="labels")[0]
    assert one.labels == ("#0000ff", "#00ff00", "#ff0000")


def test_nearly_grey_colour_is_grey(tmp_path):
    """A grey mask that was saved as colour, with channels a little apart, is no set of colour classes."""
    noise = np.random.default_rng(0).integers(0, 9, (*SIZE, 3), dtype=np.uint8)
    mask = np.where(blob(0)[..., None], 255 - noise, noise).astype(np.uint8)
    check_whole(save_set(tmp_path, {"a.png": mask}), {"a": blob(0)}, "soft")


def test_cut_out(tmp_path):
    """One colour with varying alpha is a mask by its alpha."""
    white = np.full((*SIZE, 4), 255, dtype=np.uint8)
    white[..., 3] = blob(0) * 255
    check_whole(save_set(tmp_path, {"a.png": white}), {"a": blob(0)}, "0 and 255")


def test_opaque_rgba_and_grey_alpha(tmp_path):
    """Alpha that says nothing is dropped."""
    rgba = np.zeros((*SIZE, 4), dtype=np.uint8)
    rgba[..., :3] = blob(0)[..., None] * 255
    rgba[..., 3] = 255
    grey = np.stack([blob(1) * 255, np.full(SIZE, 255)], axis=2).astype(np.uint8)
    check_whole(save_set(tmp_path, {"a.png": rgba, "b.png": grey}), {"a": blob(0), "b": blob(1)}, "0 and 255")


def numbered(seed: int, count: int, dtype=np.uint16) -> np.ndarray:
    """A grid of touching squares numbered from 1."""
    mask = np.zeros(SIZE, dtype=dtype)
    for number in range(count):
        y, x = divmod(number, 7)
        mask[y * 8 : y * 8 + 8 - number % 2, x * 8 : x * 8 + 8 - seed % 2] = number + 1
    return mask


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_object_numbers(tmp_path, dtype):
    """Numbers given to objects are told from classes by being one part each, as many as there happen to be."""
    masks = {f"{seed}.png": numbered(seed, 5 + 4 * seed, dtype) for seed in range(5)}
    save_set(tmp_path, masks)
    data = open_dataset(tmp_path, objects="instances")
    assert "object numbers" in data.notes[0]
    for seed, one in enumerate(data):
        assert one.labels == ("object",) * (5 + 4 * seed)
        np.testing.assert_array_equal(one.masks()[3], masks[f"{seed}.png"] == 4)
    assert len(open_dataset(tmp_path)[2].objects) == 1


def test_large_object_numbers(tmp_path):
    """16-bit numbers above 255 are not cut to a byte and not taken for a soft mask."""
    masks = {
        f"{seed}.png": numbered(seed, 6 + seed) + np.uint16(1000) * (numbered(seed, 6 + seed) > 0) for seed in range(4)
    }
    data = open_dataset(save_set(tmp_path, masks), objects="instances")
    assert [len(one.objects) for one in data] == [6, 7, 8, 9]


def test_sixteen_bit_binary(tmp_path):
    """0 and 65535 are two values like any others."""
    save_set(tmp_path, {"a.png": blob(0).astype(np.uint16) * 65535})
    check_whole(tmp_path, {"a": blob(0)}, "0 and 65535")


@pytest.mark.parametrize(("told", "expected"), [("soft", 180), ("band", 180), ("binary", 1)])
def test_told_grey(tmp_path, told, expected):
    """Grey masks are read with a threshold, a band or neither, as told; the threshold given counts."""
    ramp = np.tile(np.arange(16, 16 + 4 * SIZE[1], 4, dtype=np.uint8), (SIZE[0], 1))
    one = open_dataset(save_set(tmp_path, {"a.png": ramp}), encoding=told, threshold=179)[0]
    assert ramp[one.masks()[0]].min() >= expected
    assert (one.ignore is not None) == (told == "band")


def test_told_encoding(tmp_path):
    """What is told beats what the values suggest, and an unknown name is refused with the choices."""
    save_set(tmp_path, {f"{seed}.png": numbered(seed, 5 + 4 * seed, np.uint8) for seed in range(5)})
    data = open_dataset(tmp_path, objects="labels", encoding="labels")
    assert data[0].labels == ("1", "2", "3", "4", "5")
    assert "as told" in data.notes[0]
    with pytest.raises(UsageError, match="binary"):
        open_dataset(tmp_path, encoding="binry")


def test_classes_asked_for_as_instances(tmp_path):
    """Values that look like classes are objects when instances are asked for, and the other way round."""
    save_set(tmp_path, {f"{seed}.png": classes(seed) for seed in range(4)})
    assert open_dataset(tmp_path, objects="instances")[0].labels == ("object",) * 3


def test_no_instances_to_tell(tmp_path):
    """Asking two-valued masks for instances is an error that offers parts."""
    save_set(tmp_path, {"a.png": blob(0).astype(np.uint8)})
    with pytest.raises(DataError, match="--objects parts"):
        open_dataset(tmp_path, objects="instances")


def test_mask_with_exif_orientation(tmp_path):
    """A mask that was stored turned, with the orientation in its EXIF data, is turned upright."""
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "a.png"
    PIL.Image.fromarray(np.rot90(blob(0).astype(np.uint8) * 255).copy()).save(path, exif=exif)
    np.testing.assert_array_equal(read_mask_file(path).values > 0, blob(0))


def test_inference_needs_more_than_the_first_file(tmp_path):
    """One file that holds only 0 and 1 does not make the other classes disappear."""
    masks = {"a.png": (classes(0) == 1).astype(np.uint8), "b.png": classes(1), "c.png": classes(2)}
    data = open_dataset(save_set(tmp_path, masks), objects="labels")
    assert [len(one.labels) for one in data] == [1, 3, 3]


def test_decode_values_keeps_value_zero_as_a_class():
    """With another background, 0 is a class like any other."""
    values = np.array([[7, 7, 0], [7, 3, 0]])
    truth = decode_values(values, Encoding("labels", background=7), objects="labels")
    assert [one.label for one in truth.regions] == ["0", "3"]
    np.testing.assert_array_equal(truth.regions[0].mask.decode(), values == 0)


def halo(seed: int) -> np.ndarray:
    """A blob whose probability falls off around it, float in 0 to 1."""
    return cv2.GaussianBlur(blob(seed).astype(np.float64), (0, 0), 3)


@pytest.mark.parametrize(("kind", "full"), [(np.uint8, 255), (np.uint16, 65535)])
def test_probabilities_are_kept_where_told(tmp_path, kind, full):
    """The object is where they are above 1/2, whatever the brightest; the rest of them is read when asked for."""
    truths = {"a": halo(0), "b": halo(1) * 0.6, "c": halo(2)}
    stored = {f"{name}.png": np.rint(values * full).astype(kind) for name, values in truths.items()}
    data = open_dataset(save_set(tmp_path, stored), encoding="probability")
    assert not data.certain
    for one, values in zip(data, stored.values(), strict=True):
        likely = values / full
        assert (one.objects[0].area if one.objects else 0) == (likely > 0.5).sum()
        for mask, read in zip(one.masks(), one.probabilities or (), strict=True):
            np.testing.assert_allclose(read(), likely, atol=1e-6)
            np.testing.assert_array_equal(mask, read() > 0.5)
    soft = open_dataset(tmp_path)
    assert soft.certain
    assert all(one.probabilities is None for one in soft)


def test_probabilities_stored_as_fractions(tmp_path):
    """TIFFs of floats count alike, and what is next to nothing everywhere is no object."""
    stored = {"a.tif": halo(0).astype(np.float32), "b.tif": np.full(SIZE, 0.003, np.float32)}
    stored["c.tif"] = blob(1).astype(np.float32)  # of 0 and 1 alone
    one, none, certain = open_dataset(save_set(tmp_path, stored), encoding="probability")
    np.testing.assert_array_equal(certain.masks()[0], blob(1))
    np.testing.assert_allclose(one.probabilities[0](), stored["a.tif"], atol=0.002)
    assert (none.objects, none.probabilities) == ((), None)


def test_probabilities_of_parts_and_of_classes(tmp_path):
    """A part is sure to be none of the others; a class is as likely as its likeliest object."""
    left, right = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
    left[5:20, 5:20], right[5:20, 35:50] = 200, 180
    left[18:25, 5:20] = 100
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    save_set(tmp_path / "one", {"a.png": np.maximum(left, right)})
    (one,) = open_dataset(tmp_path / "one", encoding="probability", objects="parts")
    first, second = (read() for read in one.probabilities)
    np.testing.assert_allclose(first * 255, np.where(right > 127, 0, np.maximum(left, right)), atol=1e-4)
    assert (second[left > 127] == 0).all()
    save_set(tmp_path / "two", {"a.png": left})
    (tmp_path / "two" / "masks" / "a.png").unlink()
    (tmp_path / "two" / "masks" / "a").mkdir()
    for number, values in enumerate((left, right)):
        PIL.Image.fromarray(values).save(tmp_path / "two" / "masks" / "a" / f"000{number}.cell.png")
    (one,) = open_dataset(tmp_path / "two", encoding="probability", objects="labels")
    assert one.labels == ("cell",)
    np.testing.assert_allclose(one.probabilities[0]() * 255, np.maximum(left, right), atol=1e-4)


def test_drawn_masks_read_as_probabilities_are_certain(tmp_path):
    """0 and 255 among them leave nothing in between."""
    data = open_dataset(save_set(tmp_path, {"a.png": blob(0).astype(np.uint8) * 255}), encoding="probability")
    assert data.certain
    np.testing.assert_array_equal(data[0].probabilities[0](), blob(0))
