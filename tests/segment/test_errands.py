"""Errands make the batches that one machine makes, and one image that workers die of costs no other."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from segtune.core.errors import MissingExtraError, UsageError
from segtune.segment import cluster
from segtune.segment.batches import Task, answer_images
from segtune.segment.errands import TRIES, Errand, Runner, divide
from segtune.segment.inputs import InputImage, find_inputs
from segtune.segment.many import segment_many
from segtune.segment.outputs import Failed
from segtune.segment.pipeline import Pool, Tally
from segtune.segment.tiles import TileSettings
from segtune.segment.views import averaged
from segtune.segment.wishes import Wish, Wishes, same_for_all

BOXES = same_for_all(None, "4,4,30,28;20,10,44,36")


@pytest.fixture
def photos(tmp_path):
    """Seven images of two sizes, as inputs."""
    rng = np.random.default_rng(3)
    (tmp_path / "photos").mkdir()
    for number in range(7):
        size = (40, 60) if number % 2 else (50, 50)
        cv2.imwrite(str(tmp_path / "photos" / f"{number}.png"), rng.integers(0, 255, (*size, 3), dtype=np.uint8))
    return find_inputs([tmp_path / "photos"])


def masks(found):
    """What was found, comparable."""
    return {one.name: [(each.mask.counts.tobytes(), each.quality) for each in one.objects] for one in found}


@pytest.mark.parametrize(("count", "batch", "workers"), [(1, 16, 2), (7, 3, 1), (500, 4, 2), (10_000, 16, 3)])
def test_errands_are_whole_batches_of_all_images_in_order(count, batch, workers):
    images = [InputImage(Path(f"/{number}.png"), f"{number}.png") for number in range(count)]
    errands = list(divide(images, Task(Wishes()), batch, workers))
    assert [image for errand in errands for image in errand.images] == images
    assert all(len(errand.images) % batch == 0 for errand in errands[:-1])
    assert len({errand.number for errand in errands}) == len(errands)
    # Where there is enough to do nobody waits long for the last.
    assert len(errands) >= min(-(-count // batch), 8 * workers)


def test_an_errand_holds_what_is_asked_of_its_images_alone(photos):
    wishes = Wishes(by_name={"1.png": (Wish(box=(1, 1, 9, 9)),), "3.png": (Wish(points=((2, 2),)),)})
    errands = list(divide(photos, Task(wishes), 2, 1))
    assert [sorted(errand.by_name) for errand in errands] == [
        ["0.png", "1.png"],
        ["2.png", "3.png"],
        ["4.png", "5.png"],
        ["6.png"],
    ]
    for errand in errands:
        for image in errand.images:
            assert replace(wishes, by_name=errand.by_name).of(image) == wishes.of(image)
    assert all(len(errand.images) == 1 for errand in divide(photos, Task(wishes, tiles=TileSettings()), 4, 1))


def test_errands_give_what_one_machine_gives_to_the_bit(model, photos):
    """Also after a journey through bytes, with views and with prompts of single images."""
    for viewed, wishes in (
        (model, BOXES),
        (averaged(model, ["flip"]), Wishes(by_name={"3.png": (Wish(box=(4, 4, 30, 28)),)})),
    ):
        task = Task(wishes)
        here = masks(one for group in answer_images(viewed, photos, task, batch=3) for one in group)
        there, carried = pickle.loads(pickle.dumps(cluster._shared(viewed, task)))
        runner = Runner(there, carried, 3, Tally())
        errands = [pickle.loads(pickle.dumps(errand)) for errand in divide(photos, task, 3, 2)]
        assert masks(one for errand in reversed(errands) for one in runner.run(errand)) == here


def test_an_image_that_workers_die_of_is_found_and_the_others_are_done(model, photos):
    """Every death is a `KeyboardInterrupt` here; Ray would send the errand again, as this loop does."""
    deadly, deaths, tally = "2.png", 0, Tally()

    class Dying(Runner):
        def _answer(self, images, task):
            if deadly in {image.name for image in images}:
                raise KeyboardInterrupt
            return super()._answer(images, task)

    while True:
        try:
            found = Dying(model, Task(BOXES), 4, tally).run(Errand(0, tuple(photos)))
            break
        except KeyboardInterrupt:
            deaths += 1
    assert deaths == 2 * TRIES
    assert [one.name for one in found] == [image.name for image in photos]
    assert [one.name for one in found if isinstance(one, Failed)] == [deadly]
    (told,) = [one.reason for one in found if isinstance(one, Failed)]
    assert "died 2 times" in told
    assert "2.png" in told


def test_a_death_that_was_no_image_s_fault_leaves_the_batches_as_they_are(model, photos):
    tally = Tally()
    tally.begin("errand 0")
    found = Runner(model, Task(BOXES), 4, tally).run(Errand(0, tuple(photos)))
    here = [one for group in answer_images(model, photos, Task(BOXES), batch=4) for one in group]
    assert masks(found) == masks(here)


def test_a_pool_takes_gpus_where_there_are_any_and_no_more_than_fits_into_memory(model):
    assert cluster._pool({"CPU": 16.0, "GPU": 3.0}, model) == Pool(3, 1)
    assert cluster._pool({"CPU": 16.0, "memory": 64 * 2**30}, model) == Pool(16, 0)
    assert cluster._pool({"CPU": 16.0, "memory": 3.5 * 2**30}, model) == Pool(3, 0)
    assert cluster._pool({}, model) == Pool(1, 0)


def test_a_place_that_is_none_is_refused(model, photos, tmp_path):
    with pytest.raises(UsageError, match=r"no place to compute named 'loacl'.*'local'"):
        cluster.check_place("loacl")
    with pytest.raises(UsageError, match="place to compute"):
        segment_many(model, [photos[0].path], tmp_path / "out", BOXES, on="moon")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("on", "lacking", "package"),
    [("local", "ray", "ray"), ("auto", "pyarrow", "pyarrow"), ("ray://head:10001", "grpc", "grpcio")],
)
def test_what_is_not_installed_is_named_with_the_command_that_installs_it(monkeypatch, on, lacking, package):
    monkeypatch.setattr(cluster, "find_spec", lambda name: None if name == lacking else object())
    with pytest.raises(MissingExtraError, match=r"pip install 'segtune\[ray\]'") as told:
        cluster.check_place(on)
    assert f"'{package}'" in str(told.value)
    again = pickle.loads(pickle.dumps(told.value))
    assert (str(again), again.exit_code) == (str(told.value), 7)


def test_what_workers_share_travels_by_the_cpu(model):
    """They may have no GPU; the detector too, which need not be where the model is."""

    class Finder:
        labels = ("lump",)
        place = "cuda"

        def to(self, device):
            copy = Finder()
            copy.place = device
            return copy

    finder = Finder()
    _, shared = cluster._shared(model, Task(Wishes(finder=finder)))
    assert (shared.wishes.finder.place, finder.place) == ("cpu", "cuda")
    assert cluster._shared(model, Task(BOXES))[1].wishes.finder is None
