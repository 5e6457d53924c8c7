"""The images of a pretraining: what is drawn, what is opened, and what never trains."""

from __future__ import annotations

from dataclasses import replace

import pytest
from disc_data import write_discs
from small import discs

from segtune.core.errors import DataError, UsageError
from segtune.data.dataset import Dataset
from segtune.runs.pretrain_data import HELD_OUT, draw_held_out, open_sources, open_unlabelled
from segtune.runs.pretrain_settings import load_pretrain_settings
from segtune.training.examples import generator


def settings(*overrides, **options):
    return load_pretrain_settings(out="run", overrides=overrides, **options).settings


def grouped(count, group_of):
    """Images with discs, of the group that `group_of` gives each number."""
    return Dataset.of([replace(one, group=group_of(number)) for number, one in enumerate(discs(count))])


def test_images_of_no_group_are_drawn_one_by_one():
    """A tenth, at most as many as asked for: the first of an order that follows from seed and size alone."""
    images = discs(40)
    order = generator(3, "held out", 40).permutation(40)
    for most, count in ((3, 3), (99, 4)):
        assert draw_held_out(images, most, 3) == [images.names[row] for row in sorted(order[:count])]
    assert draw_held_out(images, 3, 4) != draw_held_out(images, 3, 3)


@pytest.mark.parametrize("seed", range(4))
def test_a_group_is_never_on_both_sides(seed):
    """Frames of one video all train or are all kept out; single images fill up what no video fits into."""
    images = grouped(60, lambda number: f"video {number // 4}" if number < 48 else None)
    kept = set(draw_held_out(images, 6, seed))
    group = dict(zip(images.names, images.groups, strict=True))
    assert not {group[name] for name in kept} & {group[name] for name in images.names if name not in kept} - {None}
    assert len(kept) == 6


def test_of_large_groups_the_smallest_is_kept_out_whole():
    """Where none has room in a tenth; of it as many are looked at as asked for."""
    images = grouped(30, lambda number: "small" if number % 3 == 0 else "large")
    assert draw_held_out(images, 2, 0) == [f"disc-{number}" for number in range(0, 30, 3)]
    with pytest.raises(DataError, match=r"All 30 images of .* are of one group"):
        draw_held_out(grouped(30, lambda number: "one"), 2, 0)


def test_groups_of_a_folder_are_kept_whole(tmp_path):
    """Its groups.csv counts; a large group is left out of training whole, and looked at in part."""
    data = write_discs(tmp_path / "discs", 20)
    lines = [f"{number:03}.png,{'a' if number < 6 else 'b'}" for number in range(20)]
    (data / "groups.csv").write_text("\n".join(["name,patient", *lines]))
    (one,) = open_sources(settings("validation.images=4", data__sources=(str(data),)), 64)
    assert set(one.train.groups) == {"b"}
    assert one.held_out.names == ("images/000.png", "images/002.png", "images/004.png")


def test_scenes_never_reach_those_that_are_kept_out():
    """The last training scene may be the one before them; one more is refused, in the start on images too."""
    last = {"steps": 2, "data__first": HELD_OUT - 8, "training__optimizer__batch": 4}
    (one,) = open_sources(settings(**last), 64)
    assert (one.train.names[-1], one.held_out.names[0]) == (f"general-{HELD_OUT - 1}", f"general-{HELD_OUT}")
    with pytest.raises(UsageError, match=rf"from {HELD_OUT} on.*data\.first = {HELD_OUT - 7}"):
        open_sources(settings(**last | {"data__first": HELD_OUT - 7}), 64)
    start = settings("mae.sources=[scenes]", "mae.steps=3", **last, model__init="mae")
    with pytest.raises(UsageError, match="3 steps of 4 scenes"):
        open_unlabelled(start, 64, [one])
