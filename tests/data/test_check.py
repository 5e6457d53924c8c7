"""The data doctor: each thing it must find, on small folders made for it, and nothing on a sound one."""

from __future__ import annotations

import json
import shutil
import tracemalloc

import cv2
import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest

from segtune.core.rle import RunLengths
from segtune.core.types import Sample
from segtune.data.check import check_dataset
from segtune.data.check_measure import Measured
from segtune.data.check_swaps import Misfits, covered_pixels, find_misfits
from segtune.data.check_turned import find_unturned
from segtune.data.dataset import Dataset, open_dataset
from segtune.data.splits import leaks, make_split

HEIGHT, WIDTH = 96, 128


def scene(seed, mask, height=HEIGHT, width=WIDTH):
    """A textured ground with the masked object lighter and redder than it."""
    rng = np.random.default_rng(seed)
    ground = cv2.resize(rng.random((7, 9, 3)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    picture = 50 + 70 * ground + rng.normal(0, 3, (height, width, 3))
    picture[mask] += np.array([90, 50, 30])
    for _ in range(14):
        x, y = int(rng.integers(width)), int(rng.integers(height))
        cv2.circle(picture, (x, y), int(rng.integers(2, 6)), tuple(rng.uniform(20, 130, 3)), -1)
    return np.clip(picture, 0, 255).astype(np.uint8)


def disc(x, y, radius, height=HEIGHT, width=WIDTH):
    rows, columns = np.mgrid[:height, :width]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


class Folder:
    """A data folder to be filled, sound unless told otherwise."""

    def __init__(self, path, sound=None):
        self.path, self.sound = path, sound
        for name in ("images", "masks"):
            (path / name).mkdir()

    def fill(self, count=20):
        """Add sound pairs."""
        for kind in ("images", "masks"):
            for number in range(count):
                shutil.copy2(self.sound / kind / f"{number:02d}.png", self.path / kind)
        return self

    def add(self, name, image=None, mask=None, *, suffix="png", kind="PNG", mask_suffix="png"):
        """Add one image, one mask or both."""
        if image is not None:
            PIL.Image.fromarray(image).save(self.path / "images" / f"{name}.{suffix}", kind)
        if mask is not None:
            values = mask.astype(np.uint8) * 255 if mask.dtype == bool else mask
            PIL.Image.fromarray(values).save(self.path / "masks" / f"{name}.{mask_suffix}")
        return self

    def check(self, **options):
        """Return what the doctor finds."""
        return check_dataset(open_dataset(self.path, **options))


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    drawn = Folder(tmp_path_factory.mktemp("sound"))
    rng = np.random.default_rng(99)
    for number in range(40):
        x, y = int(rng.integers(30, 98)), int(rng.integers(30, 66))
        mask = disc(x, y, int(rng.integers(9, 24)))
        drawn.add(f"{number:02d}", scene(number, mask), mask)
    return drawn.path


@pytest.fixture
def folder(tmp_path, sound):
    return Folder(tmp_path, sound)


def test_a_sound_folder_is_good(folder):
    """Nothing is found where nothing is wrong, and the verdict says so."""
    check = folder.fill().check()
    assert check.findings == ()
    assert check.level == "good"
    assert check.verdict == "20 images with 20 objects can be used. Nothing stands in the way of training."
    assert check.alike == ()


def test_unpaired_files(folder):
    """An image without a mask and a mask without an image are both named."""
    check = folder.fill().add("lone", scene(50, disc(60, 50, 20))).add("orphan", mask=disc(60, 50, 20)).check()
    assert check.of_rule("unpaired_image").images == ("images/lone.png",)
    assert check.of_rule("unpaired_mask").images == ("masks/orphan.png",)
    assert "2 files had to be left out" in check.verdict


def test_other_masks_beside_those_that_are_read_are_a_note(folder):
    """Instance masks beside the class masks that are read are told, and are no fault."""
    shutil.copytree(folder.fill().path / "masks", folder.path / "SegmentationObject")
    check = folder.check()
    assert [(one.rule, one.severity, one.images) for one in check.findings] == [
        ("other_masks", "note", ("SegmentationObject",))
    ]
    assert check.level == "good"


def test_thousands_of_objects_need_no_full_size_array_each(folder, monkeypatch):
    """What is covered comes from the union of run lengths; the dense masks [N, H, W] are never made."""
    folder.fill(22)
    shutil.copy2(folder.path / "images" / "00.png", folder.path / "images" / "copy.png")
    shutil.copy2(folder.path / "masks" / "00.png", folder.path / "masks" / "copy.png")
    monkeypatch.setattr(Sample, "masks", lambda _: pytest.fail("dense masks were made"))
    check = folder.check()
    assert check.of_rule("exact_duplicates").images == ("images/00.png", "images/copy.png")
    masks = [disc(20, 20, 9), disc(60, 50, 20), disc(65, 50, 20)]
    of = tuple(RunLengths.encode(mask) for mask in masks)
    for objects, expected in ((of, np.any(masks, axis=0)), ((), np.zeros((HEIGHT, WIDTH), dtype=bool))):
        sample = Sample("a", (HEIGHT, WIDTH), objects, ("object",) * len(objects), read=lambda: None)
        np.testing.assert_array_equal(covered_pixels(sample), expected)


def test_size_mismatch(folder):
    """A mask of another size is an error that names both sizes."""
    folder.fill().add("wrong", scene(50, disc(60, 50, 20)), disc(60, 50, 20, 80, 100))
    found = folder.check().of_rule("size_mismatch")
    assert found.severity == "error"
    assert found.images == ("images/wrong.png",)
    assert "is 128 × 96, its mask 100 × 80" in found.value
    assert found.groups == (("images/wrong.png", "masks/wrong.png"),)


def test_swapped_masks_of_different_sizes(folder):
    """Two images whose masks have each other's size are called swapped."""
    one, other = disc(60, 50, 20), disc(40, 40, 15, 80, 100)
    folder.fill().add("a", scene(50, one), other).add("b", scene(51, other, 80, 100), one)
    check = folder.check()
    assert check.of_rule("swapped_masks").images == ("images/a.png", "images/b.png")
    assert len(check.of_rule("size_mismatch").images) == 2


def test_a_mask_drawn_on_a_near_duplicate(folder):
    """A mask that has the size of a look-alike of its image is traced to it."""
    mask = disc(60, 50, 20)
    image = scene(50, mask)
    folder.fill().add("large", image, mask)
    folder.add("small", cv2.resize(image, (96, 72), interpolation=cv2.INTER_AREA), mask)
    check = folder.check()
    assert "the mask of images/small.png has the size of images/large.png" in check.of_rule("size_mismatch").value
    assert check.duplicates.groups == (("images/large.png", "images/small.png"),)


def test_swapped_masks_of_one_size(folder):
    """Exchanged masks of equal size are found by the edges of the images."""
    folder.fill(40)
    left, right = disc(34, 34, 18), disc(92, 60, 22)
    folder.add("x", scene(60, left), right).add("y", scene(61, right), left)
    found = folder.check().of_rule("swapped_masks")
    assert set(found.images) == {"images/x.png", "images/y.png"}


def test_a_mask_that_follows_nothing(folder):
    """A mask in the midst of noise is named first among those to be looked at."""
    image = np.random.default_rng(60).integers(0, 160, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    image[disc(34, 34, 18)] += 90
    folder.fill(40).add("loose", image, disc(92, 60, 22))
    assert folder.check().of_rule("loose_mask").images[0] == "images/loose.png"


def test_masks_of_very_many_images_are_compared_by_rank():
    """Whether masks follow their images is asked of all pairs without an array of them, which grew with the square."""
    fits = np.random.default_rng(0).integers(0, 9, (20_000, 2)) / 4.0  # most pairs have an equal one
    measured = [Measured(str(number), (9, 9), fit=(*map(float, fit),)) for number, fit in enumerate(fits)]
    tracemalloc.start()
    found = find_misfits(Dataset.of([]), measured)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == Misfits()
    assert most < 20_000_000


@pytest.mark.parametrize(("better", "loose"), [(15, ()), (16, ("0",))])
def test_masks_that_fit_alike_turned_and_as_they_lie(better, loose):
    """Four of five pairs of a lying and a turned mask must tell them apart, and equal ones do not."""
    lying = [0.5, *[2.0] * better, *[1.0] * (19 - better)]
    measured = [Measured(str(number), (9, 9), fit=(fit, 1.0)) for number, fit in enumerate(lying)]
    data = Dataset.of([Sample(one.name, one.size, (), (), read=lambda: None) for one in measured])
    assert find_misfits(data, measured).loose == loose


def test_exact_duplicates(folder):
    """The same picture under two names is found, and its masks are compared."""
    mask = disc(60, 50, 20)
    image = scene(50, mask)
    check = folder.fill().add("one", image, mask).add("two", image, disc(60, 50, 14)).check()
    assert check.of_rule("exact_duplicates").groups == (("images/one.png", "images/two.png"),)
    assert check.of_rule("labels_disagree").severity == "warning"
    assert "0.49" in check.of_rule("labels_disagree").value


def test_labels_that_agree_are_a_note(folder):
    """Two nearly equal masks of one picture are no warning."""
    mask = disc(60, 50, 20)
    image = scene(50, mask)
    check = folder.fill().add("one", image, mask).add("two", image, disc(60, 50, 19)).check()
    assert check.of_rule("labels_disagree").severity == "note"


def test_near_duplicates_stay_together_in_a_split(folder):
    """A crop of an image is found, and a split made with the finding keeps both on one side."""
    mask = disc(60, 50, 20)
    image = scene(50, mask)
    folder.fill().add("whole", image, mask).add("crop", image[6:, 8:122].copy(), mask[6:, 8:122].copy())
    check = folder.check()
    assert check.of_rule("near_duplicates").groups == (("images/crop.png", "images/whole.png"),)
    for seed in range(6):
        split = make_split(open_dataset(folder.path), alike=check.alike, areas=check.areas, seed=seed)
        assert leaks(split, check.alike) == ()


def test_areas_spare_a_split_the_masks(folder):
    """A split from the check's areas is the split from the masks themselves."""
    check, dataset = folder.fill().check(), open_dataset(folder.path)
    assert make_split(dataset, areas=check.areas) == make_split(dataset)


def test_empty_masks(folder):
    """A few black masks are a warning; the images stay, without objects."""
    check = folder.fill().add("nothing", scene(50, disc(0, 0, 0)), np.zeros((HEIGHT, WIDTH), bool)).check()
    assert check.of_rule("empty_mask").images == ("images/nothing.png",)
    assert check.of_rule("empty_mask").severity == "warning"
    assert check.object_counts.count(0) == 1


def test_many_empty_masks_are_meant(folder):
    """Where a third of the images show nothing, that is a note."""
    folder.fill(20)
    for number in range(10):
        folder.add(f"bare {number}", scene(100 + number, disc(0, 0, 0)), np.zeros((HEIGHT, WIDTH), bool))
    assert folder.check().of_rule("empty_mask").severity == "note"


def test_no_objects_at_all():
    """A data set without any object is an error, said once."""
    pictures = [scene(number, disc(0, 0, 0)) for number in range(4)]
    check = check_dataset(
        Dataset.of(
            Sample(f"{number}", (HEIGHT, WIDTH), (), (), read=lambda image=image: image)
            for number, image in enumerate(pictures)
        )
    )
    assert check.of_rule("no_objects").severity == "error"
    assert check.level == "bad"
    assert check.of_rule("empty_mask") is None


def test_faint_masks(folder):
    """A mask of soft greys with none above the threshold is told apart from an empty one."""
    for number in range(24):
        mask = disc(40 + 2 * number, 50, 18)
        soft = cv2.GaussianBlur(mask.astype(np.float32) * 255, (0, 0), 2).astype(np.uint8)
        folder.add(f"{number:02d}", scene(number, mask), soft)
    faint = (cv2.GaussianBlur(disc(60, 50, 18).astype(np.float32), (0, 0), 2) * 90).astype(np.uint8)
    check = folder.add("faint", scene(60, disc(60, 50, 18)), faint).check()
    assert check.of_rule("faint_mask").images == ("images/faint.png",)
    assert check.of_rule("empty_mask") is None
    assert check.of_rule("soft_masks") is not None


def test_lossy_masks(folder):
    """Masks in JPEG files are noted, with the number of greys in them."""
    for number in range(24):
        mask = disc(40 + 2 * number, 50, 18)
        folder.add(f"{number:02d}", scene(number, mask), mask, mask_suffix="jpg")
    found = folder.check().of_rule("lossy_masks")
    assert "24 masks" in found.title
    assert "greys where two were meant" in found.value


def test_wrong_extension(folder):
    """A WEBP file named .jpg is noted with its true kind."""
    mask = disc(60, 50, 20)
    found = folder.fill().add("w", scene(50, mask), mask, suffix="jpg", kind="WEBP").check().of_rule("wrong_extension")
    assert found.images == ("images/w.jpg",)
    assert "1 in truth WEBP" in found.value


def test_a_truncated_image(folder):
    """An image whose end is missing is named, wherever in reading that is noticed."""
    folder.fill().add("broken", scene(50, disc(60, 50, 20)), disc(60, 50, 20))
    path = folder.path / "images" / "broken.png"
    path.write_bytes(path.read_bytes()[:2000])
    check = folder.check()
    assert any("images/broken.png" in finding.images for finding in check.findings if finding.severity == "error")
    assert len(check.measured) == 20


def test_a_file_that_breaks_between_opening_and_reading(folder):
    """An image that cannot be decoded any more is a finding, not a crash."""
    dataset = open_dataset(folder.fill().path)
    (folder.path / "images" / "03.png").write_bytes(b"gone")
    check = check_dataset(dataset)
    assert check.of_rule("unreadable_image").images == ("images/03.png",)
    assert "1 file had to be left out" in check.verdict
    assert len(check.measured) == 19


def test_full_masks(folder):
    """A mask that is white all over is named."""
    check = folder.fill().add("white", scene(50, disc(60, 50, 20)), np.ones((HEIGHT, WIDTH), bool)).check()
    assert check.of_rule("full_mask").images == ("images/white.png",)


def test_specks_and_pinholes(folder):
    """Tiny loose parts and tiny holes are counted apart from the object."""
    mask = disc(60, 50, 25)
    mask[5, 5] = mask[90, 120] = True
    mask[50, 60] = False
    check = folder.fill().add("dirty", scene(50, mask), mask).check()
    assert check.of_rule("specks").images == ("images/dirty.png",)
    assert check.of_rule("specks").value.startswith("2 parts")
    assert check.of_rule("holes").images == ("images/dirty.png",)
    assert check.of_rule("holes").value.startswith("1 hole")


def test_a_ring_has_no_pinhole(folder):
    """A hole as large as it is meant to be is none to be filled."""
    ring = disc(60, 50, 30) & ~disc(60, 50, 15)
    assert folder.fill().add("ring", scene(50, ring), ring).check().of_rule("holes") is None


def test_objects_at_the_border(folder):
    """Objects that touch the rim are counted."""
    found = folder.fill().add("cut", scene(50, disc(0, 50, 20)), disc(0, 50, 20)).check().of_rule("border")
    assert found.images == ("images/cut.png",)
    assert "1 object" in found.title


def test_tiny_objects(folder):
    """An object of a few pixels is named."""
    check = folder.fill().add("dot", scene(50, disc(60, 50, 1)), disc(60, 50, 1)).check()
    assert check.of_rule("tiny_objects").images == ("images/dot.png",)


def test_many_parts_suggest_parts_as_objects(folder):
    """Masks of many discs suggest --objects parts, and the suggestion ends once it is followed."""
    for number in range(24):
        mask = np.zeros((HEIGHT, WIDTH), bool)
        for x in (20, 50, 80, 110):
            mask |= disc(x, 30 + number, 9)
        folder.add(f"{number:02d}", scene(number, mask), mask)
    assert "--objects parts" in folder.check().of_rule("many_parts").remedy
    check = folder.check(objects="parts")
    assert check.of_rule("many_parts") is None
    assert sum(check.object_counts) == 96


def test_the_same_mask_on_different_images(folder):
    """One mask used twice on images that differ is named, one on look-alikes is not."""
    mask = disc(60, 50, 20)
    image = scene(50, mask)
    folder.fill().add("a", image, mask).add("b", scene(51, mask), mask).add("c", image, mask)
    assert folder.check().of_rule("same_mask").groups == (("images/a.png", "images/b.png", "images/c.png"),)
    (folder.path / "masks" / "b.png").unlink()
    assert folder.check().of_rule("same_mask") is None


def test_grey_images(folder):
    """Grey images are noted, all of them or some among coloured ones."""
    mask = disc(60, 50, 20)
    grey = np.repeat(scene(50, mask).mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
    found = folder.fill().add("grey", grey, mask).check().of_rule("grey_images")
    assert found.images == ("images/grey.png",)
    for number in range(20):
        (folder.path / "masks" / f"{number:02d}.png").unlink()
    assert folder.check().of_rule("grey_images").title == "All images are grey."


def test_flat_images_and_few_images(folder):
    """One-coloured images and a handful of images are warned of."""
    folder.fill(5).add("flat", np.full((HEIGHT, WIDTH, 3), 90, np.uint8), disc(60, 50, 20))
    check = folder.check()
    assert check.of_rule("flat_image").images == ("images/flat.png",)
    assert "6 images" in check.of_rule("few_images").title


def test_rare_classes(folder):
    """Classes with a few objects are noted beside common ones."""
    for number in range(24):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[disc(40, 50, 16)] = 1
        mask[disc(90, 50, 14)] = 2 if number else 3
        folder.add(f"{number:02d}", scene(number, mask > 0), mask)
    found = folder.check(objects="labels").of_rule("rare_class")
    assert found.images == ("images/00.png",)


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_images(folder, count):
    """Very small data sets are checked like any other."""
    check = folder.fill(count).check()
    assert len(check.measured) == count
    assert check.of_rule("few_images") is not None


def test_json_is_plain_and_complete(folder):
    """check.json holds findings, likenesses and statistics as plain values."""
    mask = disc(60, 50, 20)
    folder.fill().add("one", scene(50, mask), mask).add("two", scene(50, mask), mask).add("lone", scene(51, mask))
    check = folder.check()
    facts = json.loads(json.dumps(check.to_json(), allow_nan=False))
    assert facts["schema"] == 1
    assert (facts["images"], facts["objects"], facts["level"]) == (22, 22, "warning")
    assert facts["exact_duplicates"] == [["images/one.png", "images/two.png"]]
    assert facts["set_aside"][0]["name"] == "images/lone.png"
    rules = {finding["rule"]: finding for finding in facts["findings"]}
    assert rules["exact_duplicates"]["count"] == 2
    assert all(finding["remedy"] for finding in facts["findings"])
    statistics = facts["statistics"]
    assert statistics["object_share"]["least"] <= statistics["object_share"]["median"]
    assert sum(statistics["object_share"]["histogram"]) == 22
    assert statistics["objects_per_image"]["histogram"] == {"1": 22}
    assert statistics["image_size"]["width"]["median"] == WIDTH


def test_places_show_where_objects_lie(folder):
    """Objects on the left fill the left of the map."""
    for number in range(20):
        mask = disc(20, 48, 12 + number % 5)
        folder.add(f"{number:02d}", scene(number, mask), mask)
    places = np.array(folder.check().statistics["places"])
    assert places[:, :8].sum() > 0.9 * places.sum()
    assert places[12, 3] == 1.0


def test_the_gravest_come_first(folder):
    """Errors precede warnings, warnings precede notes, in the summary too."""
    folder.fill().add("wrong", scene(50, disc(60, 50, 20)), disc(60, 50, 20, 80, 100))
    folder.add("cut", scene(51, disc(0, 50, 20)), disc(0, 50, 20)).add("lone", scene(52, disc(60, 50, 20)))
    check = folder.check()
    order = [("error", "warning", "note").index(finding.severity) for finding in check.findings]
    assert order == sorted(order)
    assert order[0] == 0
    assert order[-1] == 2
    assert "To be mended before training: 1 image with a mask of another size." in check.summary()[0]


def test_source_files_are_left_alone(folder):
    """Checking changes no file."""
    folder.fill(6)
    before = {path: path.stat().st_mtime_ns for path in folder.path.rglob("*")}
    folder.check()
    assert {path: path.stat().st_mtime_ns for path in folder.path.rglob("*")} == before


@pytest.mark.parametrize(("orientation", "upright"), [(2, np.fliplr), (3, lambda mask: np.rot90(mask, 2))])
def test_masks_of_images_that_are_shown_turned(folder, orientation, upright):
    """A mask drawn on the pixels as stored is told; one drawn on the image as it is shown is none."""
    mask = disc(30, 30, 14)
    note = PIL.Image.Exif()
    note[0x0112] = orientation
    folder.fill()
    for name, drawn in (("stored", mask), ("shown", np.ascontiguousarray(upright(mask)))):
        folder.add(name, mask=drawn)
        PIL.Image.fromarray(scene(50, mask)).save(folder.path / "images" / f"{name}.jpg", quality=95, exif=note)
    found = folder.check().of_rule("unturned_masks")
    assert (found.severity, found.images) == ("error", ("images/stored.jpg",))
    assert "EXIF orientation" in found.remedy


@pytest.mark.parametrize("orientation", range(2, 9))
def test_masks_are_turned_as_their_images(orientation):
    """Each orientation brings the mask of a square image where Pillow brings the pixels."""
    side = 96
    mask = disc(30, 22, 14, side, side)
    stored = PIL.Image.fromarray(scene(7, mask, side, side))
    stored.getexif()[0x0112] = orientation
    shown = np.asarray(PIL.ImageOps.exif_transpose(stored))
    one = Sample("a", (side, side), (RunLengths.encode(mask),), ("object",), read=lambda: shown)
    lying, turned = find_unturned(Dataset.of([one]), {"a": orientation})["a"]
    assert turned > 2.5 * lying
