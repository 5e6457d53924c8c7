"""What a run keeps of its images: views for which there is room, of which part of the encoder, the same on resuming."""

import json
import shutil
from collections import namedtuple

import pytest
import torch

from segtune.adapters.scopes import train_only
from segtune.core.errors import ResourceError, UsageError
from segtune.models.embedding_cache import EmbeddingCache
from segtune.models.prefix import FrozenPrefix
from segtune.runs.cache import affordable_views, open_cache, plan_cache, recorded_cache, tell_views
from segtune.runs.folder import RunFolder
from segtune.runs.settings import CacheSettings
from segtune.training.processes import Processes


@pytest.fixture
def cache(tmp_path):
    """Return a function that makes a cache with room for so many entries."""

    def make(entries):
        return EmbeddingCache(tmp_path / "cache", "encoder", bytes_per_view=1000, limit_bytes=entries * 1000 + 999)

    return make


@pytest.mark.parametrize(
    ("entries", "others", "views"), [(12, 0, 4), (11, 0, 3), (12, 1, 3), (12, 6, 2), (14, 2, 4), (100, 50, 4)]
)
def test_the_validation_s_images_take_their_room_from_the_views(cache, entries, others, views):
    """Three images, four views asked for: as many as fit beside one view of each of the others, and never more."""
    assert affordable_views(cache(entries), 3, 4, others=others) == views


@pytest.mark.parametrize("entries", [3, 4, 5])
def test_one_view_of_each_training_image_comes_before_the_validation_s(cache, entries):
    """Where both do not fit, training still gets its one view: validation's images are then made anew each time."""
    assert affordable_views(cache(entries), 3, 4, others=20) == 1


def test_a_cache_without_room_for_one_view_is_refused(cache):
    """The error names the images and the setting that helps."""
    with pytest.raises(UsageError, match=r"each of the 3 training images.*--set cache\.limit_gib="):
        affordable_views(cache(2), 3, 4)


def test_the_limit_that_is_suggested_is_enough(tmp_path):
    """Following the advice works: what is suggested is never rounded below what is needed."""
    for images in (3, 10, 130):
        small = EmbeddingCache(tmp_path, "e", bytes_per_view=(1 << 30) // 100, limit_bytes=1)
        with pytest.raises(UsageError) as refused:
            affordable_views(small, images, 4)
        limit = float(str(refused.value).rsplit("cache.limit_gib=", 1)[1].rstrip("."))
        enough = EmbeddingCache(tmp_path, "e", bytes_per_view=small.bytes_per_view, limit_bytes=int(limit * (1 << 30)))
        assert affordable_views(enough, images, 4) >= 1


def test_it_is_said_when_fewer_views_are_kept_than_asked_for(cache):
    """What was asked for is named only where it did not fit."""
    fitting, short = tell_views(cache(12), 3, 4, 4), tell_views(cache(3), 3, 1, 4)
    assert "4 views of each of 3 images" in fitting
    assert "asked for" not in fitting
    assert "1 view of each of 3 images" in short
    assert "4 were asked for, for which the limit has no room" in short


@pytest.fixture
def plan(micro, tmp_path):
    """Return a function that plans the cache of a run of a micro model, six images and two of the validation."""

    def make(scope, *, begun=False, said=None, **settings):
        class Hears:
            def say(self, text):
                if said is not None:
                    said.append(text)

        train_only(micro, scope)
        given = CacheSettings(folder=str(tmp_path / "cache"), **settings)
        run = RunFolder(tmp_path / "run")
        run.path.mkdir(exist_ok=True)
        return plan_cache(given, micro, run, Processes(), images=6, others=2, begun=begun, progress=Hears())

    return make


def _record(tmp_path):
    path = tmp_path / "run" / "run.json"
    return json.loads(path.read_text())["cache"] if path.exists() else None


@pytest.mark.parametrize(("scope", "stages"), [("decoder", None), ("late:1", 3), ("late:2", 2)])
def test_what_is_frozen_is_kept_and_recorded(plan, tmp_path, scope, stages):
    """A frozen encoder's embeddings, or what comes in front of late layers, with their size; people are told."""
    said = []
    made = plan(scope, said=said)
    assert made.views == 4
    assert made.cache.prefix == FrozenPrefix(stages)
    record = _record(tmp_path)
    assert (record["stages"], record["views"], record["asked"]) == (stages, 4, 4)
    assert record["bytes"] == 24 * record["bytes_per_view"] == 24 * made.cache.bytes_per_view
    assert said[0].startswith("Embeddings" if stages is None else "Activations in front of the layers that train")


@pytest.mark.parametrize(("scope", "settings"), [("full", {}), ("late:3", {}), ("late:1", {"prefix": False})])
def test_nothing_is_kept_where_there_is_nothing_to_keep(plan, tmp_path, scope, settings):
    """All of the encoder trains, all but its patch embedding, or fresh views were asked for."""
    assert plan(scope, **settings) is None
    assert _record(tmp_path) is None


def test_late_layers_never_get_fewer_views_for_want_of_room(plan, tmp_path):
    """They train on fresh views instead, and the way to room is told; embeddings are kept in fewer views."""
    size = plan("late:1").cache.bytes_per_view
    said = []
    assert plan("late:1", limit_gib=25 * size / (1 << 30), said=said) is None
    assert "every image is encoded anew" in said[0]
    assert _record(tmp_path)["views"] == 0
    assert plan("late:1", limit_gib=26.01 * size / (1 << 30)).views == 4
    assert plan("decoder", limit_gib=8.01 * plan("decoder").cache.bytes_per_view / (1 << 30)).views == 1


def test_a_run_goes_on_as_it_began(plan, tmp_path):
    """Room that came or went since changes neither the views nor whether there is a cache."""
    began = plan("late:1", views=3)
    later = plan("late:1", begun=True, views=3, limit_gib=1e-9)
    assert (later.views, later.cache.prefix, later.cache.encoder) == (3, began.cache.prefix, began.cache.encoder)
    assert plan("late:1", limit_gib=1e-9) is None
    assert plan("late:1", begun=True) is None


def test_a_run_of_before_there_were_prefixes_goes_on_as_it_began(plan, micro, tmp_path):
    """Its record knows embeddings or nothing: late layers went without a cache."""
    run = RunFolder(tmp_path / "run")
    assert plan("late:1", begun=True) is None
    run.write_record(cache={"views": 2, "asked": 4, "bytes_per_view": 1, "bytes": 12})
    assert plan("decoder", begun=True).cache.prefix == FrozenPrefix()
    settings = CacheSettings(folder=str(tmp_path / "cache"))
    assert recorded_cache(settings, micro, run).prefix == FrozenPrefix()


_Usage = namedtuple("_Usage", "total used free")


def test_the_disk_s_room_counts_too(micro, plan, tmp_path, monkeypatch):
    """No more is planned than the disk has free, some of it spared; the error then names the disk, not the limit."""
    spare = 1 << 30
    monkeypatch.setattr(shutil, "disk_usage", lambda place: _Usage(0, 0, spare + 5000))
    settings = CacheSettings(folder=str(tmp_path / "not" / "yet" / "there"))
    assert open_cache(settings, micro, FrozenPrefix()).limit_bytes == 5000
    with pytest.raises(ResourceError, match=r"has room for 0\.0 GiB alone.*cache\.folder"):
        plan("decoder")
    cache = EmbeddingCache.for_model(micro, tmp_path / "cache")
    cache.put(cache.key("a"), {"features": torch.ones(8, 8)})
    # What lies there already makes room for new entries.
    there = CacheSettings(folder=str(tmp_path / "cache"))
    assert open_cache(there, micro, FrozenPrefix()).limit_bytes == 5000 + cache.size_bytes
