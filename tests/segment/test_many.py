"""Many images: every format holds what single sessions give, and nothing is done twice."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from weakref import WeakSet

import cv2
import numpy as np
import pytest

from segtune.core.errors import DataError, UsageError
from segtune.core.rle import RunLengths
from segtune.data.dataset import open_dataset
from segtune.data.formats.coco_rle import decompress
from segtune.models.quality import QualityMap
from segtune.segment import batches
from segtune.segment.crops import MaskCrop
from segtune.segment.enlarge import Enlarger
from segtune.segment.everything import EverythingSettings, segment_everything
from segtune.segment.many import segment_many
from segtune.segment.outputs import OUTPUTS
from segtune.segment.refine import Cleanup
from segtune.segment.session import Session
from segtune.segment.tiles import TileSettings
from segtune.segment.views import averaged
from segtune.segment.wishes import Wish, Wishes, same_for_all

BOXES = "4,4,30,28;20,10,44,36"


@pytest.fixture
def photos(tmp_path):
    """Five images of three sizes."""
    rng = np.random.default_rng(3)
    for number, size in enumerate([(40, 60), (40, 60), (64, 48), (50, 50), (40, 60)]):
        (tmp_path / "photos").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "photos" / f"{number}.png"), rng.integers(0, 255, (*size, 3), dtype=np.uint8))
    return tmp_path / "photos"


def expected(model, photos, boxes):
    """The masks by image, from a session each."""
    found = {}
    for path in sorted(photos.glob("*.png")):
        session = Session(model, path)
        found[path.name] = [session.segment(box=box).mask.array for box in boxes]
    return found


def written(folder, kind, photos):
    """Read the masks back, by image, from what was written."""
    found = {}
    for path in sorted(photos.glob("*.png")):
        size = cv2.imread(str(path)).shape[:2]
        if kind == "png":
            files = sorted((folder / path.stem).glob("*.png"))
            found[path.name] = [cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) == 255 for file in files]
        elif kind == "rle":
            told = json.loads((folder / f"{path.stem}.json").read_text())["annotations"]
            found[path.name] = [RunLengths(size, decompress(one["segmentation"]["counts"])).decode() for one in told]
        elif kind == "coco":
            told = json.loads((folder / "annotations.json").read_text())
            (image,) = [one for one in told["images"] if one["file_name"] == path.name]
            assert (image["height"], image["width"]) == size
            mine = [one for one in told["annotations"] if one["image_id"] == image["id"]]
            found[path.name] = [RunLengths(size, decompress(one["segmentation"]["counts"])).decode() for one in mine]
    return found


@pytest.mark.parametrize("kind", ["png", "rle", "coco"])
@pytest.mark.parametrize("batch", [1, 3])
def test_masks_are_those_of_a_session_each(model, photos, tmp_path, kind, batch):
    """Encoded and decoded in batches of images of several sizes; a pixel at the threshold may round otherwise."""
    wishes = same_for_all(None, BOXES)
    result = segment_many(model, [photos], tmp_path / "out", wishes, format=kind, batch=batch)

    assert (result.images, result.done, result.failed) == (5, 5, {})
    theirs = expected(model, photos, [wish.box for wish in wishes.of_all])
    ours = written(tmp_path / "out", kind, photos)
    assert ours.keys() == theirs.keys()
    for name, masks in theirs.items():
        assert len(ours[name]) == len(masks)
        for one, other in zip(ours[name], masks, strict=True):
            assert np.count_nonzero(one != other) <= 2


def test_masks_are_cleaned_like_a_session_s(model, photos, tmp_path):
    """Prompted masks and automatic ones, each by itself."""
    cleanup = Cleanup(largest=True, holes=40, smooth=2)
    segment_many(model, [photos], tmp_path / "out", same_for_all(None, BOXES), format="rle", cleanup=cleanup)
    ours = written(tmp_path / "out", "rle", photos)
    for path in sorted(photos.glob("*.png")):
        session = Session(model, path, cleanup=cleanup)
        theirs = [session.segment(box=wish.box).mask.array for wish in same_for_all(None, BOXES).of_all]
        for one, other in zip(ours[path.name], theirs, strict=True):
            assert np.count_nonzero(one != other) <= 2
        plain = Session(model, path).segment(box=same_for_all(None, BOXES).of_all[0].box).mask
        np.testing.assert_array_equal(theirs[0], cleanup(plain.crop).full())
    settings = EverythingSettings(points_per_side=2, pred_iou_thresh=0.0, stability_score_thresh=0.0)
    segment_many(
        model, [photos], tmp_path / "all", same_for_all(None, None), format="rle", everything=settings, cleanup=cleanup
    )
    promised = Cleanup(largest=True, holes=40)
    for masks in written(tmp_path / "all", "rle", photos).values():
        for mask in masks:
            np.testing.assert_array_equal(mask, promised(MaskCrop.of(mask)).full())


def test_probabilities_lie_where_masks_would(model, photos, tmp_path):
    """Above 1/2 they are the masks, cleaned ones too; in between there is more than 0 and 1."""
    for name, cleanup in (("plain", None), ("clean", Cleanup(largest=True, holes=40))):
        wishes = same_for_all(None, BOXES)
        segment_many(model, [photos], tmp_path / f"{name}-masks", wishes, format="png", cleanup=cleanup)
        segment_many(model, [photos], tmp_path / name, wishes, format="probability", cleanup=cleanup)
        masks, values = (sorted((tmp_path / one).glob("*/*.png")) for one in (f"{name}-masks", name))
        assert [path.name for path in values] == [path.name for path in masks]
        assert len(values) == 10
        for mask, value in zip(masks, values, strict=True):
            inside, likely = (cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in (mask, value))
            np.testing.assert_array_equal(likely > 127, inside == 255)
            assert len(np.unique(likely)) > 2


def test_a_labelmap_numbers_objects_with_the_smaller_on_top(model, photos, tmp_path):
    segment_many(model, [photos], tmp_path / "out", same_for_all(None, BOXES), format="labelmap")
    theirs = expected(model, photos, [wish.box for wish in same_for_all(None, BOXES).of_all])

    for name, (first, second) in theirs.items():
        numbers = cv2.imread(str(tmp_path / "out" / name), cv2.IMREAD_UNCHANGED)
        assert numbers.dtype == np.uint8
        # Both are there where one alone is; where they overlap the smaller is seen.
        top = 2 if second.sum() <= first.sum() else 1
        shown = np.where(first & second, top, np.where(first, 1, np.where(second, 2, 0)))
        assert np.count_nonzero(numbers != shown) <= 4


@pytest.mark.parametrize("kind", ["yolo", "geojson"])
def test_outlines_open_as_data_beside_their_images(model, photos, tmp_path, kind):
    """What is written is what segtune, like others, reads: the same masks come back."""
    wishes = Wishes((Wish(box=(4, 4, 30, 28), label="lump"),))
    segment_many(model, [photos], tmp_path / "out", wishes, format=kind)
    target = tmp_path / "out" / "images" if kind == "yolo" else tmp_path / "out"
    target.mkdir(exist_ok=True)
    for path in photos.glob("*.png"):
        (target / path.name).write_bytes(path.read_bytes())

    data = open_dataset(tmp_path / "out", format=kind, objects="instances")
    theirs = expected(model, photos, [(4, 4, 30, 28)])
    assert len(data) == 5
    assert any(mask.any() for (mask,) in theirs.values())
    for sample in data:
        (mask,) = theirs[sample.name.split("/")[-1]]
        if not mask.any():
            continue
        assert set(sample.labels) == {"lump"}
        assert np.count_nonzero(sample.masks().any(axis=0) != mask) <= 4


def test_a_bad_image_is_listed_and_stops_nothing(model, photos, tmp_path):
    (photos / "2.png").write_text("no image")
    result = segment_many(model, [photos], tmp_path / "out", same_for_all("45,30", None))

    assert result.done == 4
    assert list(result.failed) == ["2.png"]
    assert "2.png" in result.failed["2.png"]


def test_a_file_beside_the_images_fails_only_if_it_is_asked_for(model, photos, tmp_path, monkeypatch):
    """A volume whose package is missing, by the file or one of its slices."""
    monkeypatch.setitem(sys.modules, "nibabel", None)
    (photos / "ct.nii.gz").touch()
    wish = (Wish(box=(4, 4, 30, 28)),)
    done = segment_many(model, photos, tmp_path / "alone", Wishes(by_name={"0.png": wish}))
    assert (done.done, done.failed, done.without) == (1, {}, 5)
    for name in ("ct.nii.gz#0003", "ct.nii.gz", str(photos / "ct.nii.gz#0000")):
        out = tmp_path / name.replace("/", "_")
        done = segment_many(model, photos, out, Wishes(by_name={"0.png": wish, name: wish}))
        assert done.done == 1
        assert list(done.failed) == ["ct.nii.gz"]
        assert "nibabel" in done.failed["ct.nii.gz"]
    assert list(segment_many(model, photos, tmp_path / "all", Wishes(of_all=wish)).failed) == ["ct.nii.gz"]


@pytest.mark.parametrize("tiles", [None, TileSettings(side=64)])
def test_a_line_that_leads_nowhere_is_listed_and_stops_nothing(model, photos, tmp_path, tiles):
    (tmp_path / "some.txt").write_text("photos/0.png\nphotos/gone.png\nphotos/1.png\n")
    wishes = same_for_all(None, "4,4,30,28")
    result = segment_many(model, [tmp_path / "some.txt"], tmp_path / "out", wishes, tiles=tiles)

    assert result.done == 2
    assert list(result.failed) == ["gone.png"]
    assert "does not exist" in result.failed["gone.png"]


def test_a_prompt_beside_the_image_is_that_images_fault(model, photos, tmp_path):
    """57 columns are in some images only."""
    result = segment_many(model, [photos], tmp_path / "out", same_for_all("57,30", None))

    assert result.done == 3
    assert set(result.failed) == {"2.png", "3.png"}


def test_done_images_are_left_alone_and_failed_ones_tried_again(model, photos, tmp_path):
    """The second call does what the first could not, and its files are as if one call had done all."""
    good = (photos / "2.png").read_bytes()
    (photos / "2.png").write_text("no image")
    wishes = same_for_all("20,20", None)
    segment_many(model, [photos], tmp_path / "out", wishes, format="coco")
    (photos / "2.png").write_bytes(good)
    result = segment_many(model, [photos], tmp_path / "out", wishes, format="coco")

    assert (result.done, result.before, result.failed) == (1, 4, {})
    told = json.loads((tmp_path / "out" / "annotations.json").read_text())
    # In the order of the inputs, not in that in which they were done.
    assert [one["file_name"] for one in told["images"]] == [f"{n}.png" for n in range(5)]
    assert [one["id"] for one in told["annotations"]] == list(range(1, 6))


def test_a_stop_keeps_what_was_done(model, photos, tmp_path):
    """Asked after each image, it goes on from there when called again."""
    asked = iter([False, False, False, True])
    wishes = same_for_all("20,20", None)
    first = segment_many(model, [photos], tmp_path / "out", wishes, batch=1, stop=lambda: next(asked))
    second = segment_many(model, [photos], tmp_path / "out", wishes, batch=1)

    assert (first.done, first.stopped) == (2, True)
    assert (second.done, second.before) == (3, 2)


def test_another_job_in_the_same_folder_is_refused(model, photos, tmp_path):
    segment_many(model, [photos], tmp_path / "out", same_for_all("20,20", None))
    with pytest.raises(UsageError, match="prompts differs"):
        segment_many(model, [photos], tmp_path / "out", same_for_all("21,20", None))


def test_a_model_calibrated_since_is_another_job(model, photos, tmp_path):
    """One file of results tells one scale of quality, and with tiles the calibrated one too."""
    wishes = same_for_all(None, "4,4,30,28")
    told = {}
    for name, tiles in (("whole", None), ("tiles", TileSettings(side=32))):
        model.quality_map = None
        segment_many(model, [photos], tmp_path / name, wishes, tiles=tiles)
        model.quality_map = QualityMap(0.5, 1.0)
        with pytest.raises(UsageError, match="quality differs"):
            segment_many(model, [photos], tmp_path / name, wishes, tiles=tiles)
        segment_many(model, [photos], tmp_path / f"{name} since", wishes, tiles=tiles)
        told[name] = [
            [
                json.loads(line)["objects"][0]["quality"]
                for line in (folder / "results.jsonl").open()
                if "objects" in line
            ]
            for folder in (tmp_path / name, tmp_path / f"{name} since")
        ]
    for before, since in told.values():
        np.testing.assert_allclose(QualityMap(0.5, 1.0)(before), since, atol=1e-3)
        assert np.abs(np.subtract(before, since)).min() > 0.05


def test_a_job_goes_on_from_another_folder(model, photos, tmp_path, monkeypatch):
    """Prompts that name no file lie nowhere; those that do begin at their own folder."""
    box, masks = same_for_all(None, "4,4,30,28"), Wishes((Wish(mask="0.png"),))
    cv2.imwrite(str(tmp_path / "0.png"), np.full((40, 60), 255, np.uint8))
    monkeypatch.chdir(tmp_path)
    for name, wishes in (("box", box), ("masks", masks)):
        assert segment_many(model, [photos / "0.png"], tmp_path / name, wishes).done == 1
    monkeypatch.chdir(photos)
    assert segment_many(model, [photos], tmp_path / "box", box).before == 1
    with pytest.raises(UsageError, match="prompts differs"):
        segment_many(model, [photos], tmp_path / "masks", masks)


def test_a_name_that_two_images_have_is_of_neither_and_told(model, photos, tmp_path):
    (photos / "deep").mkdir()
    (photos / "deep" / "0.png").write_bytes((photos / "1.png").read_bytes())
    wish = (Wish(box=(4, 4, 30, 28)),)
    (tmp_path / "other").mkdir()
    wishes = Wishes(by_name={"1.png": wish, "nobody.png": wish, "deep/0.png": wish}, folder=tmp_path / "other")
    found = segment_many(model, [photos], tmp_path / "out", wishes)
    assert (found.done, found.without, found.unknown) == (2, 4, ("nobody.png",))
    bare = Wishes(by_name={"0.png": wish, "1.png": wish}, folder=tmp_path / "other")
    moved = photos.rename(tmp_path / "moved")
    (moved / "0.png").rename(moved / "deep" / "a.png")
    (moved / "other").mkdir()
    (moved / "other" / "0.png").write_bytes((moved / "1.png").read_bytes())
    found = segment_many(model, [moved], tmp_path / "bare", bare)
    assert (found.done, found.unknown) == (1, ("0.png",))


def test_an_image_that_a_format_cannot_hold_is_listed(model, photos, tmp_path, monkeypatch):
    """It does not end the job."""

    def write(folder, result, classes):
        if result.name == "1.png":
            raise DataError("Too many objects for it.")

    monkeypatch.setitem(OUTPUTS, "labelmap", replace(OUTPUTS["labelmap"], write=write))
    found = segment_many(model, [photos], tmp_path / "out", same_for_all(None, BOXES), format="labelmap")
    assert (found.done, found.failed) == (4, {"1.png": "Too many objects for it."})


def test_another_image_of_the_same_name_is_not_taken_for_the_one_that_was_done(model, photos, tmp_path):
    """Its name alone does not say which image a mask is of."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "0.png").write_bytes((photos / "2.png").read_bytes())
    segment_many(model, [photos / "0.png"], tmp_path / "out", same_for_all(None, BOXES))
    before = (tmp_path / "out" / "results.jsonl").read_bytes()
    with pytest.raises(UsageError, match=r"under the name 0\.png"):
        segment_many(model, [tmp_path / "other"], tmp_path / "out", same_for_all(None, BOXES))
    assert (tmp_path / "out" / "results.jsonl").read_bytes() == before


def test_an_image_that_comes_later_takes_no_files_of_one_that_was_done(model, photos, tmp_path):
    """Sorted before it, it would have had the name without its extension."""
    box = same_for_all(None, "4,4,30,28")
    segment_many(model, [photos], tmp_path / "out", box)
    masks = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.png")}
    assert len(masks) == 5
    cv2.imwrite(str(photos / "0.bmp"), np.full((40, 60, 3), 90, np.uint8))
    again = segment_many(model, [photos], tmp_path / "out", box)
    assert (again.done, again.before) == (1, 5)
    after = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.png")}
    assert len(after) == 6
    assert masks.items() <= after.items()


def test_a_stop_is_heard_between_images_and_between_clicks(model, photos, tmp_path):
    """Not only between batches, of which one may take minutes."""
    asked = []

    def stop():
        asked.append(None)
        return len(asked) > 2

    first = segment_many(model, [photos], tmp_path / "out", same_for_all(None, BOXES), batch=5, stop=stop)
    assert (first.done, first.stopped) == (2, True)
    asked.clear()
    settings = EverythingSettings(points_per_side=8, points_per_batch=4)
    found = segment_many(
        model, [photos], tmp_path / "all", Wishes(), everything=settings, format="rle", batch=5, stop=stop
    )
    assert (found.done, found.stopped) == (0, True)
    assert len(asked) < 16


def test_prompts_of_single_images(model, photos, tmp_path):
    """Those nobody asks about are left out and counted; a class is a folder's word in the files' names."""
    wishes = Wishes(by_name={"1.png": (Wish(points=((9, 9),), label="a/b"), Wish(box=(1, 1, 20, 20)))})
    result = segment_many(model, [photos], tmp_path / "out", wishes)

    assert (result.done, result.without) == (1, 4)
    assert sorted(path.name for path in (tmp_path / "out" / "1").iterdir()) == ["0000.a_b.png", "0001.object.png"]


def test_a_mask_prompt_that_was_drawn_anew_is_another_job(model, photos, tmp_path):
    """What was done with the old one is not taken for what the new one asks; one that was missing may come later."""
    drawn = np.zeros((40, 60), np.uint8)
    drawn[5:20, 5:30] = 255
    cv2.imwrite(str(tmp_path / "0.png"), drawn)
    wishes = Wishes(by_name={f"{n}.png": (Wish(mask=f"{n}.png"),) for n in (0, 1)}, folder=tmp_path)
    first = segment_many(model, [photos], tmp_path / "out", wishes)
    assert (first.done, set(first.failed)) == (1, {"1.png"})
    cv2.imwrite(str(tmp_path / "1.png"), drawn)
    second = segment_many(model, [photos], tmp_path / "out", wishes)
    assert (second.done, second.before, second.failed) == (1, 1, {})

    before = (tmp_path / "out" / "results.jsonl").read_bytes()
    cv2.imwrite(str(tmp_path / "1.png"), drawn[::-1])
    with pytest.raises(UsageError, match=r"masks of 1\.png, but the mask files"):
        segment_many(model, [photos], tmp_path / "out", wishes)
    (tmp_path / "1.png").unlink()
    with pytest.raises(UsageError, match="have changed since"):
        segment_many(model, [photos], tmp_path / "out", wishes)
    assert (tmp_path / "out" / "results.jsonl").read_bytes() == before


def test_what_cannot_be_done_is_refused(model, photos, tmp_path):
    with pytest.raises(UsageError, match="nothing to segment"):
        segment_many(model, [photos], tmp_path / "out", Wishes())
    with pytest.raises(UsageError, match="takes no prompts"):
        segment_many(model, [photos], tmp_path / "out", same_for_all("20,20", None), everything=EverythingSettings())
    with pytest.raises(UsageError, match="no format named 'pgn'"):
        segment_many(model, [photos], tmp_path / "out", same_for_all("20,20", None), format="pgn")
    for more in ({"tiles": TileSettings(side=32)}, {"everything": EverythingSettings()}):
        wishes = Wishes() if "everything" in more else same_for_all("20,20", None)
        with pytest.raises(UsageError, match="of which masks alone are kept"):
            segment_many(model, [photos], tmp_path / "out", wishes, format="probability", **more)
    with pytest.raises(DataError, match="of any of the 5 images"):
        segment_many(model, [photos], tmp_path / "out", Wishes(by_name={"x.png": (Wish(points=((9, 9),)),)}))
    assert not (tmp_path / "out").exists()
    assert "png" in OUTPUTS


def test_everything_is_what_single_images_give(model, photos, tmp_path):
    """Encoded in batches; a model with views of its own takes part like any other."""
    settings = EverythingSettings(points_per_side=4, pred_iou_thresh=0, stability_score_thresh=0, box_nms_thresh=1)
    for viewed in (model, averaged(model, ["flip"])):
        out = tmp_path / viewed.family
        segment_many(viewed, [photos], out, Wishes(), everything=settings, format="rle", batch=2)
        found = 0
        for path in sorted(photos.glob("*.png")):
            told = json.loads((out / f"{path.stem}.json").read_text())["annotations"]
            image = cv2.imread(str(path))[..., ::-1]
            alone = segment_everything(viewed, np.ascontiguousarray(image), settings)
            assert abs(len(told) - len(alone)) <= 1  # a batch may round otherwise than an image alone
            found += len(alone)
        assert found > 10


def test_of_an_image_without_crops_no_pixels_are_kept(model, photos, tmp_path, monkeypatch):
    """Everything mode has its embedding; only crops are cut from the image."""
    seen = []
    search = batches.segment_everything

    def searching(model, image, settings, **rest):
        seen.append(image is None)
        return search(model, image, settings, **rest)

    monkeypatch.setattr(batches, "segment_everything", searching)
    for layers in (0, 1):
        settings = EverythingSettings(points_per_side=2, crop_n_layers=layers)
        segment_many(model, [photos], tmp_path / str(layers), Wishes(), everything=settings, format="rle", batch=5)
    assert seen == [True] * 5 + [False] * 5


def test_of_a_batch_one_mask_at_a_time_is_at_its_image_s_size(model, photos, tmp_path, monkeypatch):
    """What was looked at is let go: five images of a batch with two boxes each hold no ten masks."""
    alive, most = WeakSet(), []
    enlarge = Enlarger.__call__

    def enlarging(self, logits):
        crop = enlarge(self, logits)
        alive.add(crop)
        most.append(len(alive))
        return crop

    monkeypatch.setattr(Enlarger, "__call__", enlarging)
    for name, tiles in (("whole", None), ("tiles", TileSettings(side=32))):
        most.clear()
        segment_many(model, [photos], tmp_path / name, same_for_all(None, BOXES), tiles=tiles, batch=5, format="rle")
        assert len(most) == 10
        assert max(most) <= 2


def test_a_mask_too_large_to_clean_stays_as_it_was_found(model, photos, tmp_path, monkeypatch):
    """It would have to be written out in full, so it is told instead; the others are cleaned."""
    cleanup = Cleanup(opening=2.0)
    wishes = same_for_all(None, BOXES)
    told = {}
    for name, used in (("found", None), ("clean", cleanup)):
        segment_many(model, [photos], tmp_path / name, wishes, cleanup=used, format="rle")
        told[name] = written(tmp_path / name, "rle", photos)
    monkeypatch.setattr(batches, "PIXEL_LIMIT", 2450)  # two of the five images are larger
    result = segment_many(model, [photos], tmp_path / "some", wishes, cleanup=cleanup, format="rle")
    large = 0
    for name, masks in written(tmp_path / "some", "rle", photos).items():
        for found, clean, mask in zip(told["found"][name], told["clean"][name], masks, strict=True):
            is_large = MaskCrop.of(found).inside.size > 2450
            large += is_large
            np.testing.assert_array_equal(mask, found if is_large else clean)
    assert result.uncleaned == large
    assert 0 < large < 10
