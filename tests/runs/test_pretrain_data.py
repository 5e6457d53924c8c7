"""The images of a pretraining: what is drawn, what is opened, and what never trains."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from disc_data import spoil, write_discs
from small import discs

from segtune.core.errors import DataError, UsageError
from segtune.core.progress import SILENT
from segtune.data.dataset import Dataset, open_dataset
from segtune.data.fingerprints import Fingerprints, digest
from segtune.data.fingerprints import fingerprints as look
from segtune.runs.folder import RunFolder
from segtune.runs.pretrain_data import HELD_OUT, open_pretrain_data
from segtune.runs.pretrain_look import draw_held_out
from segtune.runs.pretrain_settings import load_pretrain_settings
from segtune.training.examples import generator
from segtune.training.processes import Processes


def settings(*overrides, **options):
    return load_pretrain_settings(out="run", overrides=overrides, **options).settings


def opened(tmp_path, *overrides, progress=SILENT, resume=False, started=False, **options):
    """Open the images of a run in `tmp_path`."""
    tree, folder = settings(*overrides, **options), RunFolder(tmp_path / "run")
    return open_pretrain_data(tree, 64, folder, Processes(), progress=progress, resume=resume, started=started)


def grouped(count, group_of):
    """Images with discs, of the group that `group_of` gives each number."""
    return Dataset.of([replace(one, group=group_of(number)) for number, one in enumerate(discs(count))])


def test_images_of_no_group_are_drawn_one_by_one():
    """A tenth, at most as many as asked for: the first of an order that follows from seed and size alone."""
    images = discs(40)
    order = generator(3, "held out", 40).permutation(40)
    for most, count in ((3, 3), (99, 4)):
        expected = [images.names[row] for row in sorted(order[:count])]
        assert draw_held_out(images, set(images.names), most, 3) == expected
    assert draw_held_out(images, set(images.names), 3, 4) != draw_held_out(images, set(images.names), 3, 3)


@pytest.mark.parametrize("seed", range(4))
def test_a_group_is_never_on_both_sides(seed):
    """Frames of one video all train or are all kept out; single images fill up what no video fits into."""
    images = grouped(60, lambda number: f"video {number // 4}" if number < 48 else None)
    kept = set(draw_held_out(images, set(images.names), 6, seed))
    group = dict(zip(images.names, images.groups, strict=True))
    assert not {group[name] for name in kept} & {group[name] for name in images.names if name not in kept} - {None}
    assert len(kept) == 6


def test_of_large_groups_the_smallest_is_kept_out_whole():
    """Where none has room in a tenth; of it as many are looked at as asked for."""
    images = grouped(30, lambda number: "small" if number % 3 == 0 else "large")
    assert draw_held_out(images, set(images.names), 2, 0) == [f"disc-{number}" for number in range(0, 30, 3)]
    # By what it takes of the images with objects, not by its length.
    filled = {f"disc-{number}" for number in range(30) if number % 3 == 0 or number == 1}
    assert draw_held_out(images, filled, 2, 0) == [name for name in images.names if int(name[5:]) % 3]
    images = grouped(30, lambda number: "one")
    with pytest.raises(DataError, match=r"All 30 images of .* are of one group"):
        draw_held_out(images, set(images.names), 2, 0)


@pytest.mark.parametrize("seed", range(4))
def test_images_with_objects_are_kept_out(seed):
    """A tenth of those with objects, whatever else there is; at least one. Without any the folder is refused."""
    images = discs(40)
    for filled, count in ((images.names[:2], 1), (images.names[::2], 2)):
        kept = draw_held_out(images, set(filled), 9, seed)
        assert len(kept) == count
        assert set(kept) <= set(filled)
    with pytest.raises(DataError, match=r"None of the 40 images of .* has an object"):
        draw_held_out(images, set(), 9, seed)


def test_of_a_group_its_images_with_objects_count():
    """A video with one is kept out whole as if it had one image; of videos that have too many the smallest is."""
    images = grouped(40, lambda number: f"video {number // 10}")
    kept = draw_held_out(images, {images.names[number] for number in (5, 15, 25)}, 9, 0)
    assert len(kept) == 10
    assert len({name[:-1] for name in kept}) <= 2
    images = grouped(40, lambda number: "large" if number < 20 else "small" if number < 32 else "empty")
    assert draw_held_out(images, set(images.names[:30]), 2, 0) == list(images.names[20:32])


def test_a_folder_with_few_objects_can_be_looked_at(tmp_path):
    """Of 12 images the one of the two with an object is kept out whatever the seed, and the other one trains."""
    data = write_discs(tmp_path / "discs", 12, empty={*range(12)} - {3, 8})
    for seed in range(4):
        (one,) = opened(tmp_path / str(seed), f"training.seed={seed}", data__sources=(str(data),)).sources
        assert [len(sample.objects) for sample in one.held_out] == [1]
        assert sum(bool(sample.objects) for sample in one.train) == 1


def test_of_a_group_that_is_kept_out_images_with_objects_are_looked_at(tmp_path):
    """Also of a resumed run, which reads no mask for it; one of an earlier version looks at what it looked at."""
    data = write_discs(tmp_path / "discs", 20, empty={0, 2, 4})
    lines = [f"{number:03}.png,{'a' if number < 6 else 'b'}" for number in range(20)]
    (data / "groups.csv").write_text("\n".join(["name,patient", *lines]))
    names = tuple(f"images/{number:03}.png" for number in (1, 5))
    for resume in (False, True):
        (one,) = opened(tmp_path, "validation.images=2", data__sources=(str(data),), resume=resume).sources
        assert one.held_out.names == names
        assert set(one.train.groups) == {"b"}
    told = json.loads((path := tmp_path / "run" / "sources.json").read_text())
    del told["data"][str(data)]["held_out_with_objects"]
    path.write_text(json.dumps(told))
    (one,) = opened(tmp_path, "validation.images=2", data__sources=(str(data),), resume=True).sources
    assert one.held_out.names == ("images/000.png", "images/003.png")


def test_objects_that_are_all_kept_out_are_refused(tmp_path):
    """Where one image alone has any, or the others with one nearly duplicate it: before anything is written."""
    data = write_discs(tmp_path / "discs", 12, empty=range(1, 12))
    with pytest.raises(
        DataError, match=r"Of the 12 images of .* with an object \(1\) are all kept out.*none is left to train on"
    ):
        opened(tmp_path, data__sources=(str(data),))
    for kind in ("images", "masks"):
        shutil.copy(data / kind / "000.png", data / kind / "005.png")
    with pytest.raises(
        DataError, match=r"Of the 12 images of .* with an object \(2\) are all kept out.*none is left to train on"
    ):
        opened(tmp_path, data__sources=(str(data),))
    assert not (tmp_path / "run").exists()


def test_groups_of_a_folder_are_kept_whole(tmp_path):
    """Its groups.csv counts; a large group is left out of training whole, and looked at in part."""
    data = write_discs(tmp_path / "discs", 20)
    lines = [f"{number:03}.png,{'a' if number < 6 else 'b'}" for number in range(20)]
    (data / "groups.csv").write_text("\n".join(["name,patient", *lines]))
    (one,) = opened(tmp_path, "validation.images=4", data__sources=(str(data),)).sources
    assert set(one.train.groups) == {"b"}
    assert one.held_out.names == ("images/000.png", "images/002.png", "images/004.png")


def test_scenes_never_reach_those_that_are_kept_out(tmp_path):
    """The last training scene may be the one before them; one more is refused, in the start on images too."""
    last = {"steps": 2, "data__first": HELD_OUT - 8, "training__optimizer__batch": 4}
    (one,) = opened(tmp_path, **last).sources
    assert (one.train.names[-1], one.held_out.names[0]) == (f"general-{HELD_OUT - 1}", f"general-{HELD_OUT}")
    with pytest.raises(UsageError, match=rf"from {HELD_OUT} on.*data\.first = {HELD_OUT - 7}"):
        opened(tmp_path / "other", **last | {"data__first": HELD_OUT - 7})
    with pytest.raises(UsageError, match="3 steps of 4 scenes"):
        opened(tmp_path / "other", "mae.sources=[scenes]", "mae.steps=3", **last, model__init="mae")
    assert not (tmp_path / "other").exists()


class Heard:
    """A progress that remembers what was said and which stages were opened."""

    def __init__(self):
        self.said, self.stages = [], []

    def stage(self, name, total=None):
        """Remember it."""
        self.stages.append((name, total))
        return SILENT.stage(name, total)

    def say(self, text):
        """Remember it."""
        self.said.append(text)


@pytest.fixture
def data(tmp_path):
    """Twenty images, of which two cannot be decoded and one has no mask."""
    folder = write_discs(tmp_path / "discs", 20)
    for number in (4, 11):
        spoil(folder / "images" / f"{number:03}.png")
    (folder / "masks" / "013.png").unlink()
    return folder


def test_images_that_cannot_be_read_take_no_part(data, tmp_path):
    """They neither train nor are looked at, and are told, as is what was set aside when the folder was opened."""
    heard = Heard()
    (one,) = opened(tmp_path, "validation.images=1", progress=heard, data__sources=(str(data),)).sources
    assert (len(one.train), len(one.held_out)) == (16, 1)
    assert not {"images/004.png", "images/011.png"} & {*one.train.names, *one.held_out.names}
    for sample in one.train:
        assert sample.image.shape == (48, 64, 3)
    unreadable, aside = heard.said
    assert "2 of 19 images, for they cannot be read" in unreadable
    assert "images/004.png" in unreadable
    assert "1 of its files, when it was opened" in aside
    assert "013.png" in aside
    told = json.loads((tmp_path / "run" / "sources.json").read_text())["data"][str(data)]
    assert (told["images"], set(told["unreadable"])) == (17, {"images/004.png", "images/011.png"})
    assert told["held_out"] == list(one.held_out.names)


def test_a_resumed_run_goes_by_what_was_found(data, tmp_path):
    """Nothing is looked at again, and the parts are the same, also where an image can be read again or has gone bad."""
    first = opened(tmp_path, data__sources=(str(data),)).sources[0]
    heard, fresh = Heard(), write_discs(tmp_path / "fresh", 20)
    shutil.copy(fresh / "images" / "004.png", data / "images" / "004.png")
    spoil(data / "images" / "007.png")
    again = opened(tmp_path, progress=heard, resume=True, data__sources=(str(data),)).sources[0]
    assert (again.train.names, again.held_out.names) == (first.train.names, first.held_out.names)
    assert heard.said == heard.stages == []


def test_images_of_the_start_are_looked_over_too(data, tmp_path):
    """Folders without masks, named for the start alone; once it is done they are not opened any more."""
    given = {"data__sources": ("scenes",), "model__init": "mae", "steps": 2}
    override = f"mae.sources=[scenes, {data / 'images'}]"
    scenes, photos = opened(tmp_path, override, **given).unlabelled
    assert (scenes[0].format, len(photos[0])) == ("drawn", 18)
    assert "004.png" not in photos[0].names
    shutil.rmtree(data)
    assert opened(tmp_path, override, resume=True, started=True, **given).unlabelled == ()


def test_a_start_on_nothing_that_can_be_read_is_refused(tmp_path):
    """With the reason of the first; nothing is written."""
    photos = write_discs(tmp_path / "discs", 2) / "images"
    for path in photos.iterdir():
        spoil(path)
    with pytest.raises(DataError, match=r"None of the 2 images of .* can be read.*000\.png cannot be used"):
        opened(tmp_path, f"mae.sources=[{photos}]", model__init="mae", steps=2)
    assert not (tmp_path / "run").exists()


def test_a_run_of_an_earlier_version_is_looked_over_when_it_is_resumed(data, tmp_path):
    """Its folder says nothing of its sources yet; from then on it does."""
    heard = Heard()
    opened(tmp_path, progress=heard, resume=True, data__sources=(str(data),))
    assert heard.stages[0] == ("looking at images", 19)
    assert (tmp_path / "run" / "sources.json").is_file()


def test_too_few_that_can_be_read_are_refused(data, tmp_path):
    """Before anything is written."""
    for number in range(11):
        (data / "masks" / f"{number:03}.png").unlink()
    with pytest.raises(DataError, match="at least 10"):
        opened(tmp_path, data__sources=(str(data),))
    shutil.copytree(write_discs(tmp_path / "fresh", 2) / "masks", data / "masks", dirs_exist_ok=True)
    with pytest.raises(DataError, match="9 images, of which a tenth"):
        opened(tmp_path, data__sources=(str(data),))
    assert not (tmp_path / "run").exists()


def known(tmp_path):
    """Return what the run in `tmp_path` remembers, by name."""
    prints = Fingerprints.read(RunFolder(tmp_path / "run").fingerprints)
    assert len(set(prints.names)) == len(prints)
    return dict(zip(prints.names, prints.digests, strict=True))


def test_all_images_of_folders_are_remembered(data, tmp_path):
    """Those that train, those kept out and those of the start, each picture once, under the path they lie at."""
    other = write_discs(tmp_path / "other", 12, seed=3)
    given = {"data__sources": (str(data), "scenes", str(other)), "model__init": "mae", "steps": 2}
    found = opened(tmp_path, f"mae.sources=[scenes, {data / 'images'}]", **given)
    told = known(tmp_path)
    for folder, source in ((data, found.sources[0]), (other, found.sources[2])):
        for sample in (*source.train, *source.held_out):
            assert told[str(folder / sample.name)] == digest(sample.image)
    # Of the image without a mask only the start knows; the other 17 are those that train.
    assert str(data / "images" / "013.png") in told
    assert len(told) == 17 + 1 + 12


def test_what_the_base_has_seen_is_remembered_too(data, tmp_path):
    """Also where nothing but scenes is trained on, also from its model/; and no file is left where nothing is known."""
    base = RunFolder(tmp_path / "base")
    seen = open_dataset(write_discs(tmp_path / "other", 12, seed=3))
    look(seen).write(base.fingerprints)
    opened(tmp_path, data__sources=("scenes",), model__init=str(base.model), steps=2)
    assert known(tmp_path) == dict(zip(seen.names, (digest(one.image) for one in seen), strict=True))
    opened(tmp_path, data__sources=(str(data), "scenes"), model__init=str(base.path), steps=2)
    assert len(known(tmp_path)) == 17 + 12
    opened(tmp_path, data__sources=("scenes",), steps=2)
    assert not RunFolder(tmp_path / "run").fingerprints.exists()


def test_the_like_of_what_is_kept_out_takes_no_part(tmp_path):
    """Stored again in whichever folder, or read for the start on images: it is told, and left out."""
    data, other = (write_discs(tmp_path / name, 20, seed=seed) for name, seed in (("a", 0), ("b", 50)))
    given = {"data__sources": (str(data), str(other)), "model__init": "mae", "steps": 2}
    override = f"mae.sources=[{data / 'images'}]"
    (kept,) = opened(tmp_path, "validation.images=1", override, **given).sources[0].held_out.names
    for kind in ("images", "masks"):
        shutil.copy(data / kind / Path(kept).name, other / kind / "twice.png")
    first = opened(tmp_path / "new", "validation.images=1", override, progress=(heard := Heard()), **given)
    assert first.sources[0].held_out.names == (kept,)
    assert "images/twice.png" not in first.sources[1].train.names
    assert Path(kept).name not in first.unlabelled[0][0].names
    told = json.loads((tmp_path / "new" / "run" / "sources.json").read_text())
    assert told["data"][str(other)]["alike"] == ["images/twice.png"]
    assert any("1 images that nearly duplicate ones kept out (images/twice.png)" in text for text in heard.said)


def test_a_folder_of_one_scene_is_refused(tmp_path):
    """All of its images are alike, so a look at those kept out would say nothing."""
    data = write_discs(tmp_path / "discs", 12)
    for number in range(1, 12):
        for kind in ("images", "masks"):
            shutil.copy(data / kind / "000.png", data / kind / f"{number:03}.png")
    with pytest.raises(DataError, match=r"All 12 images of .* nearly duplicate one that is"):
        opened(tmp_path, data__sources=(str(data),))
    assert not (tmp_path / "run" / "sources.json").exists()


@pytest.mark.parametrize(
    ("override", "words"),
    [("data.format=coco", "no COCO annotations"), ("data.pixel_limit=9", "limit of 9 pixels.*pixel_limit=N")],
)
def test_folders_are_read_as_the_settings_say(tmp_path, override, words):
    """A format, an encoding, bands and the rest are said as they are to a fit."""
    data = write_discs(tmp_path / "discs", 12)
    with pytest.raises(DataError, match=words):
        opened(tmp_path, override, data__sources=(str(data),))
