"""A Ray of two workers gives what one machine gives, whoever of them dies."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from segtune.core.errors import ModelError, UsageError
from segtune.segment.everything import EverythingSettings
from segtune.segment.many import segment_many
from segtune.segment.refine import Cleanup
from segtune.segment.text import find_by_text
from segtune.segment.tiles import TileSettings
from segtune.segment.views import averaged
from segtune.segment.wishes import Wish, Wishes, same_for_all

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'segtune[ray]'")
pytest.importorskip("ray.data", reason="Ray Data is not installed: pip install 'segtune[ray]'")

COUNT = 24


@pytest.fixture(scope="module")
def two_workers():
    """A Ray of this machine with room for two workers."""
    # What is defined here is not installed where the workers look.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_MODE", "disabled")
        ray.init(
            address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR"
        )  # fmt: skip
        yield
        ray.shutdown()


@pytest.fixture
def photos(tmp_path):
    """Images of two sizes, one of them no image."""
    rng = np.random.default_rng(3)
    (tmp_path / "photos").mkdir()
    for number in range(COUNT):
        size = (40, 60) if number % 3 else (50, 50)
        path = tmp_path / "photos" / f"{number:02}.png"
        cv2.imwrite(str(path), rng.integers(0, 255, (*size, 3), dtype=np.uint8))
    (tmp_path / "photos" / "05.png").write_text("no image")
    return tmp_path / "photos"


@dataclass(frozen=True)
class Waiting:
    """A finder by which a worker tells its number, and at one image waits for its end."""

    folder: Path
    at: bytes
    labels: tuple[str, ...] = ("lump",)

    def __call__(self, image):
        """Ask for a box, but for the first that sees a certain image: never answer."""
        if image.tobytes() == self.at and os.getpid() != int(self.home.read_text()):
            with self.told.open("a") as file:
                file.write(f"{os.getpid()}\n")
            if len(self.told.read_text().split()) == 1:
                threading.Event().wait()
        return (Wish(box=(4, 4, 30, 28), label="lump"),)

    @property
    def home(self):
        """Holds the number of the process that asks, which waits for nobody."""
        return self.folder / "home"

    @property
    def told(self):
        """Holds the numbers of the workers that saw the image."""
        return self.folder / "told"

    def describe(self):
        """Nothing that differs."""
        return {}

    def to(self, device):
        """Anywhere."""
        return self


class Killer:
    """A progress that ends, when a few images are done, the worker that waits."""

    def __init__(self, told: Path) -> None:
        self.told, self.done, self.killed = told, 0, []

    @contextmanager
    def stage(self, name, total=None):
        """Hear of each image."""
        yield self._advance

    def say(self, text):
        """Hear nothing."""

    def _advance(self, n=1, note=""):
        self.done += n
        if self.done >= 6 and not self.killed and self.told.exists():
            self.killed = [int(self.told.read_text().split()[0])]
            os.kill(self.killed[0], signal.SIGKILL)


def files(folder):
    """All files but the journal, by path: bytes."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "results.jsonl")
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def lines(folder):
    """The journal: its head, and the lines of images, sorted."""
    head, *rest = (folder / "results.jsonl").read_text().splitlines()
    return head, sorted(rest)


def test_a_worker_killed_in_the_middle_is_replaced_and_nothing_is_lost_or_done_twice(
    two_workers, model, photos, tmp_path
):
    """Its image, for which it would have waited for ever, is answered by another."""
    finder = Waiting(tmp_path, cv2.imread(str(photos / "13.png"))[..., ::-1].tobytes())
    finder.home.write_text(str(os.getpid()))
    wishes = Wishes(finder=finder)
    here = segment_many(model, [photos], tmp_path / "here", wishes, batch=2)
    killer = Killer(finder.told)
    there = segment_many(model, [photos], tmp_path / "there", wishes, batch=2, on="auto", progress=killer)

    first, *others = finder.told.read_text().split()
    assert killer.killed == [int(first)]
    assert others
    assert first not in others
    assert (there.done, there.failed) == (here.done, here.failed) == (COUNT - 1, here.failed)
    assert list(there.failed) == ["05.png"]
    assert lines(tmp_path / "there") == lines(tmp_path / "here")
    assert files(tmp_path / "there") == files(tmp_path / "here")
    assert len(files(tmp_path / "there")) == COUNT - 1


def test_a_job_goes_on_elsewhere_and_one_file_for_all_is_the_same(two_workers, model, photos, tmp_path):
    """Begun here, stopped, ended by workers: as if one machine had done all."""
    wishes = same_for_all(None, "4,4,30,28;20,10,44,36")
    segment_many(model, [photos], tmp_path / "here", wishes, batch=2, format="coco")
    asked = iter([False] * 9 + [True] * 100)
    begun = segment_many(model, [photos], tmp_path / "there", wishes, batch=2, format="coco", stop=lambda: next(asked))
    ended = segment_many(model, [photos], tmp_path / "there", wishes, batch=2, format="coco", on="auto")
    again = segment_many(model, [photos], tmp_path / "there", wishes, batch=2, format="coco", on="auto")

    assert (begun.done, begun.stopped) == (6 - 1, True)
    assert (ended.before, ended.done, list(ended.failed)) == (5, COUNT - 6, ["05.png"])
    assert (again.before, again.done, list(again.failed)) == (COUNT - 1, 0, ["05.png"])
    told, there = (json.loads((tmp_path / name / "annotations.json").read_text()) for name in ("here", "there"))
    assert [one["file_name"] for one in there["images"]] == [one["file_name"] for one in told["images"]]
    assert len(there["annotations"]) == len(told["annotations"])
    names = [json.loads(line)["image"] for line in lines(tmp_path / "there")[1]]
    assert sorted(set(names)) == sorted(path.name for path in photos.iterdir())
    assert [name for name in names if name != "05.png"] == sorted(set(names) - {"05.png"})


GRID = EverythingSettings(points_per_side=4, pred_iou_thresh=0, stability_score_thresh=0, box_nms_thresh=1)
SMALL_TILES = TileSettings(side=32)


@pytest.mark.parametrize(
    ("way", "options"),
    [
        ("prompts", {"tiles": SMALL_TILES}),
        ("none", {"everything": GRID}),
        ("none", {"everything": GRID, "tiles": SMALL_TILES}),
        ("text", {"format": "coco"}),
        ("prompts", {"cleanup": Cleanup(largest=True, holes=20)}),
    ],
    ids=["prompts in windows", "everything", "everything in tiles", "text", "clean-up"],
)
def test_all_ways_of_asking_give_there_what_they_give_here(
    two_workers, model, photos, tmp_path, monkeypatch, request, way, options
):
    """To the byte: prompts of single images with mask files too, tiles, everything, text, views."""
    monkeypatch.chdir(tmp_path)  # paths are relative to it, which workers are not in
    for path in sorted(photos.iterdir())[10:]:
        path.unlink()
    cv2.imwrite("coarse.png", np.pad(np.full((20, 20), 255, np.uint8), 10))
    wishes = Wishes()
    if way == "prompts":
        boxes = (Wish(box=(4, 4, 30, 28)), Wish(points=((20, 20, 1), (2, 2, 0)), label="b"), Wish(points=((9, 30),)))
        told = {"01.png": boxes, "02.png": boxes, "04.png": boxes[1:], "05.png": boxes, "06.png": boxes[:1]}
        wishes = Wishes(by_name=told | {"07.png": (Wish(mask="coarse.png"),)})
        cv2.imwrite("photos/07.png", np.zeros((40, 40, 3), np.uint8))
    elif way == "text":
        wishes = Wishes(finder=find_by_text("cat, dog", str(request.getfixturevalue("owl")), 0.0))
    entrant = averaged(model, ["flip"])
    found = {}
    for place in (None, "auto"):
        out = Path(f"out-{place}")
        result = segment_many(entrant, ["photos"], out, wishes, batch=2, on=place, **options)
        found[place] = result.done, result.failed, result.unknown, lines(out), files(out)
    assert found["auto"] == found[None]
    assert list(found[None][1]) == ["05.png"]
    objects = [one for line in found[None][3][1] for one in json.loads(line).get("objects", ())]
    assert sum(one["area"] > 0 for one in objects) > 5


def test_what_ends_a_job_here_ends_it_there_in_the_same_words(two_workers, model, photos, tmp_path):
    """And a stop keeps what was done."""
    wishes = same_for_all("20,20", None)
    stopped = segment_many(model, [photos], tmp_path / "stopped", wishes, on="auto", batch=2, stop=lambda: True)
    assert (stopped.done, stopped.stopped) == (0, True)
    assert lines(tmp_path / "stopped")[1] == []
    with pytest.raises(UsageError, match="connected to a Ray already"):
        segment_many(model, [photos], tmp_path / "local", wishes, on="local")

    class Refusing(type(model)):
        """Takes nothing."""

        def decode(self, embedding, prompts, multimask):
            raise ModelError("No prompt is taken.")

    model.__class__ = Refusing
    with pytest.raises(ModelError, match=r"No prompt is taken\."):
        segment_many(model, [photos], tmp_path / "refused", wishes, on="auto", batch=2)
