"""What a run keeps of its images: views for which there is room, of which part of the encoder, the same on resuming."""

import pytest

from segtune.core.errors import UsageError
from segtune.models.embedding_cache import EmbeddingCache
from segtune.runs.cache import affordable_views, tell_views


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
