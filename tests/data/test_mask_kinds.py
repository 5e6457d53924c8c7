"""Files of several kinds in one set of masks: a stray one changes nothing for the others, and none is lost silently."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

from segtune.core.errors import DataError
from segtune.data.dataset import open_dataset
from segtune.data.formats.mask_statistics import SAMPLE_FILES

SIZE = (40, 60)
RED = (255, 0, 0)


def blob(seed: int, radius: int = 9) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    cy, cx = rng.integers(12, 28), rng.integers(12, 48)
    return (y - cy) ** 2 + (x - cx) ** 2 <= radius**2


def save_set(root: Path, masks: dict[str, PIL.Image.Image | np.ndarray]) -> Path:
    """Write a grey image for each mask, and the masks, by their names with extension."""
    (root / "images").mkdir()
    (root / "masks").mkdir()
    for name, mask in masks.items():
        image = mask if isinstance(mask, PIL.Image.Image) else PIL.Image.fromarray(mask)
        PIL.Image.new("L", image.size).save(root / "images" / f"{Path(name).stem}.png")
        image.save(root / "masks" / name)
    return root


def greys(count: int, value: int = 255) -> dict[str, PIL.Image.Image | np.ndarray]:
    return {f"{seed:03d}.png": blob(seed).astype(np.uint8) * np.uint8(value) for seed in range(count)}


def paletted(indices: np.ndarray, colours: dict[int, tuple[int, int, int]]) -> PIL.Image.Image:
    image = PIL.Image.fromarray(indices.astype(np.uint8)).convert("L")
    image.putpalette([channel for index in range(256) for channel in colours.get(index, (0, 0, 0))])
    return image


def coloured(values: np.ndarray, colours: list[tuple[int, int, int]]) -> np.ndarray:
    return np.array(colours, dtype=np.uint8)[values.astype(np.int64)]


def compressed(rgb: np.ndarray, quality: int = 60) -> np.ndarray:
    """What a JPEG leaves of colours."""
    done, data = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1].copy()


def check_blobs(data, *, share: float = 0.0) -> None:
    """Every sample has one object: the blob of its number, but for a share of its pixels."""
    for one in data:
        assert len(one.objects) == 1, one.name
        truth = blob(int(Path(one.name).stem))
        assert (one.masks()[0] ^ truth).sum() <= share * truth.sum(), one.name


def not_looked_at(count: int) -> int:
    """Return a file of so many that is not in the sample."""
    return int(np.random.default_rng(0).permutation(count)[SAMPLE_FILES])


def test_one_palette_file_among_greys(tmp_path):
    """A palette file of 0 and 1 among grey files of 0 and 255: each keeps its object, and both kinds are told."""
    masks = greys(29)
    masks["029.png"] = paletted(blob(29), {1: RED})
    data = open_dataset(save_set(tmp_path, masks))
    check_blobs(data)
    assert all(one.ignore is None for one in data)
    assert "0 and 255" in data.notes[0]
    assert "1 of 30 mask files looked at is a palette image" in data.notes[0]


def test_palette_of_0_and_255(tmp_path):
    """255 is ignored only beside other indices: alone it is the object."""
    data = open_dataset(save_set(tmp_path, {f"{n}.png": paletted(blob(n) * 255, {255: RED}) for n in range(4)}))
    check_blobs(data)
    assert data[0].ignore is None


def test_255_alone_in_most_files(tmp_path):
    """Where most files hold 0 and 255 only, a file with 1 and a border of 255 does not make theirs a border."""
    masks = greys(9)
    ring = cv2.dilate(blob(9).astype(np.uint8), np.ones((5, 5), np.uint8))
    masks["009.png"] = np.where(blob(9), 1, ring * 255).astype(np.uint8)
    data = open_dataset(save_set(tmp_path, masks))
    check_blobs(data)
    assert data[9].ignore is not None
    assert "beside other values" in data.notes[0]


def test_one_colour_file_among_jpegs(tmp_path):
    """A coloured PNG among JPEG masks leaves these soft."""
    masks = {f"{seed:03d}.jpg": blob(seed).astype(np.uint8) * 255 for seed in range(19)}
    masks["019.png"] = coloured(blob(19), [(0, 0, 0), RED])
    data = open_dataset(save_set(tmp_path, masks))
    check_blobs(data, share=0.05)
    assert "soft" in data.notes[0]


@pytest.mark.parametrize("stray", ["grey", "palette", "grey palette", "colour", "two classes"])
def test_a_stray_file_that_was_not_looked_at(tmp_path, stray):
    """A file of another kind is read by what it holds itself, though the sample did not know of its kind."""
    masks = greys(70)
    row = not_looked_at(70)
    inside = blob(row)
    two = inside * np.where(np.arange(SIZE[1]) < SIZE[1] // 2, 1, 2)
    masks[f"{row:03d}.png"] = {
        "grey": inside.astype(np.uint8),
        "palette": paletted(inside, {1: RED}),
        "grey palette": paletted(~inside, {0: (255, 255, 255)}),
        "colour": coloured(inside, [(0, 0, 0), RED]),
        "two classes": two.astype(np.uint8),
    }[stray]
    check_blobs(open_dataset(save_set(tmp_path, masks)))


def test_a_palette_file_among_classes_that_was_not_looked_at(tmp_path):
    """A palette file among grey classes keeps their names."""
    masks = greys(70, value=2)
    for row in range(35):
        masks[f"{row:03d}.png"] = blob(row).astype(np.uint8)
    row = not_looked_at(70)
    masks[f"{row:03d}.png"] = paletted(blob(row) * 2, {1: RED, 2: (0, 255, 0)})
    assert open_dataset(save_set(tmp_path, masks), objects="labels")[row].labels == ("2",)


def test_faint_and_specked_files_stay_empty(tmp_path):
    """Among soft masks that were compressed, a file with specks of 1 and 2 is an empty one."""
    masks = {f"{n:03d}.png": cv2.GaussianBlur(blob(n).astype(np.uint8) * 255, (0, 0), 2) for n in range(5)}
    masks["005.png"] = (np.random.default_rng(0).random(SIZE) < 0.05).astype(np.uint8)
    assert [len(one.objects) for one in open_dataset(save_set(tmp_path, masks))] == [1] * 5 + [0]


def test_a_file_of_0_and_1_among_bands(tmp_path):
    """One file of 0 and 1 does not make objects of the others' bands."""
    masks = {}
    for seed in range(5):
        ring = cv2.dilate(blob(seed).astype(np.uint8), np.ones((5, 5), np.uint8))
        masks[f"{seed}.png"] = np.where(blob(seed), 255, ring * 128).astype(np.uint8)
    masks["5.png"] = blob(5).astype(np.uint8)
    check_blobs(open_dataset(save_set(tmp_path, masks)))


@pytest.mark.parametrize("place", ["sample", "elsewhere"])
def test_colours_that_are_not_flat(tmp_path, place):
    """Colours that went through a JPEG are brought to the few meant: all of them, or a single file's."""
    masks = {}
    for seed in range(4 if place == "sample" else 70):
        rgb = coloured(cv2.resize(blob(seed).astype(np.uint8), (240, 160), interpolation=0), [(0, 0, 0), RED])
        noisy = place == "sample" or seed == not_looked_at(70)
        masks[f"{seed:03d}.png"] = compressed(rgb) if noisy else rgb
    data = open_dataset(save_set(tmp_path, masks))
    for one in data:
        truth = cv2.resize(blob(int(Path(one.name).stem)).astype(np.uint8), (240, 160), interpolation=0) > 0
        assert len(one.objects) == 1
        assert (one.masks()[0] ^ truth).sum() < 0.03 * truth.sum()
    assert ("nearest" in data.notes[0]) == (place == "sample")


def test_smoothed_colours(tmp_path):
    """A smoothed rim between two colours and a light background is no class; the classes keep their colours."""
    colours = [(250, 250, 240), RED, (0, 0, 255)]
    values = np.zeros((160, 240), dtype=np.uint8)
    values[20:80, 20:100], values[60:140, 140:220] = 1, 2
    smooth = cv2.GaussianBlur(coloured(values, colours), (0, 0), 1.5)
    data = open_dataset(save_set(tmp_path, {"a.png": smooth, "b.png": smooth}), objects="labels")
    assert data[0].labels == ("#0000ff", "#ff0000")
    assert np.abs(data[0].masks()[1].sum() / (values == 1).sum() - 1) < 0.05


def test_a_photograph_as_a_mask(tmp_path):
    """Colours none of which stand out are refused: the file is set aside, or the folder where there is nothing else."""
    noise = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    mixed, alone = tmp_path / "mixed", tmp_path / "alone"
    mixed.mkdir()
    alone.mkdir()
    data = open_dataset(save_set(mixed, {**greys(5), "photo.png": noise}))
    check_blobs(data)
    assert [one.name for one in data.set_aside] == ["images/photo.png"]
    assert "stand out" in data.set_aside[0].reason
    with pytest.raises(DataError, match="PNG, one colour per class"):
        open_dataset(save_set(alone, {"photo.png": noise}))


def test_a_photograph_that_was_not_looked_at(tmp_path):
    """Where such a file is met only when it is read, the error names it."""
    masks = greys(70)
    row = not_looked_at(70)
    masks[f"{row:03d}.png"] = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    data = open_dataset(save_set(tmp_path, masks))
    with pytest.raises(DataError, match=f"{row:03d}.png"):
        data[row].masks()


def test_many_exact_colours_are_objects(tmp_path):
    """A colour for each of many objects is exact, however many there are."""
    numbers = np.arange(6 * 10).reshape(6, 10).repeat(6, axis=0).repeat(6, axis=1)
    rng = np.random.default_rng(0)
    table = rng.integers(0, 255, (60, 3))
    table[0] = 0
    one = open_dataset(save_set(tmp_path, {"a.png": table.astype(np.uint8)[numbers]}), objects="instances")[0]
    assert len(one.objects) == 59


def test_white_background_of_colours(tmp_path):
    """Empty files of a coloured set, white all over, are not greys with an object on the whole image."""
    white = (255, 255, 255)
    masks: dict[str, np.ndarray] = {f"{n}.png": coloured(np.zeros(SIZE), [white]) for n in range(5)}
    masks["5.png"] = coloured(blob(5), [white, RED])
    assert [len(one.objects) for one in open_dataset(save_set(tmp_path, masks))] == [0] * 5 + [1]


def test_one_and_two_without_a_zero(tmp_path):
    """1 and 2: the commonest is background, and the note says so."""
    data = open_dataset(save_set(tmp_path, {f"{n}.png": blob(n).astype(np.uint8) + 1 for n in range(3)}))
    check_blobs(data)
    assert "commonest value, 1, is taken as background" in data.notes[0]


@pytest.mark.parametrize("palette", [False, True])
def test_classes_without_a_zero(tmp_path, palette):
    """The same for several classes, whether palette indices or greys."""
    values = np.full(SIZE, 4, dtype=np.uint8)
    values[4:12, 4:16], values[20:30, 30:45] = 1, 2
    mask = paletted(values, {1: RED, 2: (0, 255, 0), 4: (9, 9, 80)}) if palette else values
    data = open_dataset(save_set(tmp_path, {"a.png": mask}), objects="labels")
    assert data[0].labels == ("1", "2")
    assert "commonest value, 4" in data.notes[0]


def test_trimaps(tmp_path):
    """1, 2 and 3 with 3 between: object, background, and a border that is ignored."""
    masks = {}
    for seed in range(3):
        ring = cv2.dilate(blob(seed).astype(np.uint8), np.ones((5, 5), np.uint8))
        masks[f"{seed}.png"] = np.where(blob(seed), 1, np.where(ring, 3, 2)).astype(np.uint8)
    data = open_dataset(save_set(tmp_path, masks))
    check_blobs(data)
    np.testing.assert_array_equal(data[0].ignore_mask(), masks["0.png"] == 3)
    assert "trimaps" in data.notes[0]


def test_a_grey_among_palette_classes(tmp_path):
    """PASCAL VOC's class 7 is grey: files that hold only 0 and 7 are palette files like the others."""
    palette = {1: (128, 0, 0), 7: (128, 128, 128)}
    masks = {"a.png": paletted(blob(0) * 7, palette), "b.png": paletted(blob(1) * 7, palette)}
    masks["c.png"] = paletted(blob(2), palette)
    assert [one.labels for one in open_dataset(save_set(tmp_path, masks), objects="labels")] == [("7",), ("7",), ("1",)]


def test_a_grey_background_in_a_palette_of_colours(tmp_path):
    """Index 0 is background whatever its colour, in files without an object too."""
    palette = {0: (200, 200, 200), 1: RED}
    masks = {"0.png": paletted(blob(0), palette), "1.png": paletted(blob(1) & False, palette)}
    assert [len(one.objects) for one in open_dataset(save_set(tmp_path, masks))] == [1, 0]


def cut_out(inside: np.ndarray, seen: tuple[int, int, int], unseen: tuple[int, int, int]) -> np.ndarray:
    """RGBA: one colour where something is seen, another stored where nothing is."""
    return np.dstack([coloured(inside, [unseen, seen]), inside * 255]).astype(np.uint8)


WHITE, BLACK = (255,) * 3, (0,) * 3


@pytest.mark.parametrize(("seen", "unseen"), [(WHITE, WHITE), (BLACK, BLACK), (BLACK, WHITE), (WHITE, BLACK)])
def test_cut_outs(tmp_path, seen, unseen):
    """Of a cut-out what is seen is the object, in black too; where nothing is seen there is none, where all is, one."""
    masks = {f"{n}.png": cut_out(blob(n), seen, unseen) for n in range(3)}
    masks["3.png"] = cut_out(np.zeros(SIZE), seen, unseen)
    # Brighter than what is unseen, it is told by its colour as well.
    whole = np.ones(SIZE, dtype=bool)
    masks["4.png"] = cut_out(whole, seen, unseen)
    data = open_dataset(save_set(tmp_path, masks))
    check_blobs(data.subset(data.names[:3]))
    assert [int(one.masks().sum()) for one in (data[3], data[4])] == [0, whole.size]


@pytest.mark.parametrize(
    ("seen", "unseen", "told"), [(BLACK, WHITE, True), (BLACK, BLACK, False), (WHITE, BLACK, False)]
)
def test_dark_cut_outs_are_told(tmp_path, seen, unseen, told):
    """A note says where transparency alone makes the darker of two greys the object: it may be the background."""
    data = open_dataset(save_set(tmp_path, {f"{n}.png": cut_out(blob(n), seen, unseen) for n in range(3)}))
    words = "In 3 mask files looked at what is seen is darker than what is transparent, and taken as the object"
    assert any(words in note for note in data.notes) == told


def test_a_black_cut_out_among_opaque_files(tmp_path):
    """Where transparency mostly says nothing, a stray cut-out keeps its object and black files stay empty."""
    masks = {f"{n}.png": np.dstack([coloured(blob(n), [BLACK, WHITE]), np.full(SIZE, 255, "u1")]) for n in range(3)}
    masks["3.png"] = cut_out(blob(3), BLACK, WHITE)
    masks["4.png"] = cut_out(np.ones(SIZE, dtype=bool), BLACK, BLACK)
    data = open_dataset(save_set(tmp_path, masks))
    check_blobs(data.subset(data.names[:4]))
    assert not data[4].objects


def test_an_opaque_black_file_among_white_cut_outs(tmp_path):
    """It is an empty mask: black is not what they cut out."""
    masks = {f"{n}.png": cut_out(blob(n), WHITE, WHITE) for n in range(3)}
    masks["3.png"] = cut_out(np.ones(SIZE, dtype=bool), BLACK, BLACK)
    assert [len(one.objects) for one in open_dataset(save_set(tmp_path, masks))] == [1, 1, 1, 0]


def test_grey_classes_on_transparent_black(tmp_path):
    """Classes that are told by their greys keep them, though nothing is seen around them."""
    masks = {f"{n}.png": cut_out(blob(n), (1 + n % 2,) * 3, BLACK) for n in range(4)}
    data = open_dataset(save_set(tmp_path, masks), objects="labels")
    assert [one.labels for one in data] == [("1",), ("2",), ("1",), ("2",)]


def test_black_and_white_in_a_stock_palette(tmp_path):
    """Black and white saved with a stock palette of colours, at indices other than 0, are black and white."""
    masks = {f"{n}.png": paletted(np.where(blob(n), 215, 10), {215: (255,) * 3, 3: RED}) for n in range(3)}
    check_blobs(open_dataset(save_set(tmp_path, masks)))


@pytest.mark.parametrize("told", ["labels", "binary"])
def test_told_starts_clean(tmp_path, told):
    """What is told leaves nothing of what would have been inferred: 128 is no band then."""
    values = np.zeros(SIZE, dtype=np.uint8)
    values[4:20, 4:20], values[24:36, 30:50] = 128, 255
    one = open_dataset(save_set(tmp_path, {"a.png": values}), encoding=told, objects="labels")[0]
    assert one.ignore is None
    assert one.labels == (("128", "255") if told == "labels" else ("object",))
    assert sum(mask.area for mask in one.objects) == (values > 0).sum()


@pytest.mark.parametrize("told", ["soft", "band"])
def test_told_soft_reads_colours_by_brightness(tmp_path, told):
    """Coloured files that are to be read as soft have no values but their brightness."""
    masks = {"0.png": coloured(blob(0), [(0, 0, 9), RED]), "1.png": paletted(blob(1), {1: RED})}
    check_blobs(open_dataset(save_set(tmp_path, masks), encoding=told))


def test_float_files_of_whole_numbers(tmp_path):
    """Classes saved as floats are classes in files that hold no more than 0 and 1, too."""
    masks = {f"{n}.tif": blob(n).astype(np.float32) * (1 + n % 2) for n in range(4)}
    data = open_dataset(save_set(tmp_path, masks), objects="labels")
    assert [one.labels for one in data] == [("1",), ("2",), ("1",), ("2",)]


def test_fractions_beside_zero_and_one(tmp_path):
    """A float file of 0 and 1 among soft ones is inside where it is 1."""
    masks = {f"{n}.tif": cv2.GaussianBlur(blob(n).astype(np.float32), (0, 0), 1) for n in range(4)}
    masks["4.tif"] = blob(4).astype(np.float32)
    check_blobs(open_dataset(save_set(tmp_path, masks)), share=0.1)
