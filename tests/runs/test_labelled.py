"""Labelled images for what is fitted to a model afterwards: of many groups, and none that its run knows."""

from __future__ import annotations

import json
import shutil

import pytest
from disc_data import write_discs

from segtune.core.errors import DataError, UsageError
from segtune.core.files import write_json
from segtune.data.splits import read_split
from segtune.runs.data import prepare_data
from segtune.runs.folder import RunFolder
from segtune.runs.labelled import other_images, validation_images
from segtune.runs.settings import load_settings


def _prepare(folder, data, **options):
    settings = load_settings(data=data, out=folder, **options)
    run = RunFolder(folder)
    prepare_data(settings.settings.data, run)
    settings.write(run.settings)
    return run


@pytest.fixture(scope="module")
def discs(tmp_path_factory):
    """Twelve images with a disc each."""
    return write_discs(tmp_path_factory.mktemp("data") / "discs", 12)


@pytest.fixture(scope="module")
def run(discs, tmp_path_factory):
    """The folder of a run on them, as it is before training, each connected part an object."""
    return _prepare(tmp_path_factory.mktemp("runs") / "run", discs, data__objects="parts", data__threshold=200)


def _copy(source, name, target, as_name):
    for kind in ("images", "masks"):
        (target / kind).mkdir(parents=True, exist_ok=True)
        shutil.copy(source / kind / name.rsplit("/", 1)[-1], target / kind / as_name)


def test_validation_images_are_of_many_patients(tmp_path):
    """Though the first by name are all of one, and the first slices of each show no object."""
    data = write_discs(tmp_path / "data", 24, empty={*range(5), *range(8, 12)})
    lines = [f"images/{number:03}.png,{'abc'[number // 8]}" for number in range(24)]
    (data / "groups.csv").write_text("\n".join(["image,group", *lines]))
    parts = {"train": range(21, 24), "val": range(20)}
    split = tmp_path / "split.json"
    split.write_text(json.dumps({part: [f"images/{row:03}.png" for row in rows] for part, rows in parts.items()}))
    run = _prepare(tmp_path / "run", data, data__split=str(split))
    found = validation_images(run.path, 4).images
    assert all(sample.objects for sample in found)
    assert set(found.groups) == {"a", "b", "c"}
    assert found.names == validation_images(run.path, 4).images.names
    assert len(validation_images(run.path, 100).images) == 11


def test_other_data_is_read_as_the_run_reads_its_own(run, tmp_path):
    """Whatever its format: what is an object, and from which grey on."""
    data = write_discs(tmp_path / "other", 3, seed=9)
    found = other_images(run.path, data, 50, tested=False)
    assert (len(found.images), found.left_out) == (3, 0)
    assert found.images.objects == "parts"


def test_what_the_run_knows_is_left_out(discs, run, tmp_path):
    """Under another name too; its test images only where something is told on them."""
    split = read_split(run.split)
    data = write_discs(tmp_path / "other", 3, seed=9)
    _copy(discs, split.train[0], data, "learned.png")
    _copy(discs, split.test[0], data, "tested.png")
    for tested, names in ((False, {"tested"}), (True, set())):
        found = other_images(run.path, data, 50, tested=tested)
        assert {name for name in found.images.names if name[7] == "t"} == {f"images/{name}.png" for name in names}
        assert (len(found.images), found.left_out) == (3 + len(names), 2 - len(names))
    # As many as were asked for are found behind those that are left out.
    assert len(other_images(run.path, data, 3, tested=True).images) == 3


@pytest.mark.parametrize("moved", [False, True])
def test_a_run_s_own_data_leaves_nothing(discs, run, tmp_path, moved):
    """Wherever it lies now, and the error says the way out."""
    data = shutil.copytree(discs, tmp_path / "moved") if moved else discs
    with pytest.raises(DataError, match=r"12 of the 12 images.*without --data"):
        other_images(run.path, data, 50, tested=True)


def test_a_blend_knows_what_its_run_knows(discs, run, tmp_path):
    """By the run it was made from; where that is gone nothing is told on images that may have been fitted to."""
    blend = RunFolder(tmp_path / "blend")
    blend.model.mkdir(parents=True)
    for source, target in ((run.split, blend.split), (run.fingerprints, blend.fingerprints)):
        shutil.copy(source, target)
    write_json(blend.model / "segtune.json", {"blend": {"alpha": 0.5, "run": str(run.path)}})
    assert set(validation_images(blend.path, 50).images.names) <= set(read_split(run.split).val)
    data = write_discs(tmp_path / "other", 3, seed=9)
    _copy(discs, read_split(run.split).test[0], data, "tested.png")
    found = other_images(blend.model, data, 50, tested=True)
    assert (found.images.objects, found.left_out) == ("parts", 1)
    write_json(blend.model / "segtune.json", {"blend": {"alpha": 0.5, "run": str(tmp_path / "gone")}})
    with pytest.raises(DataError, match="blended from"):
        other_images(blend.path, data, 50, tested=True)
    with pytest.raises(UsageError, match="--data"):
        validation_images(blend.path, 50)
