"""Splits: balanced, leak-free, never with an empty part, and stored so that a change is noticed."""

from __future__ import annotations

import json

import numpy as np
import pytest

from segtune.core.errors import DataError, UsageError
from segtune.core.rle import RunLengths
from segtune.core.types import Sample
from segtune.data.dataset import Dataset, SetAside
from segtune.data.splits import FRACTIONS, PARTS, Split, leaks, make_split, read_split, resolve, write_split
from segtune.data.stratify import fill_parts


def sample(name, *, side=0, group=None):
    mask = np.zeros((20, 20), dtype=bool)
    mask[:side, :side] = True
    objects = (RunLengths.encode(mask),) if side else ()
    return Sample(name, (20, 20), objects, ("object",) * len(objects), read=lambda: None, group=group)


def images(count, **kwargs):
    return Dataset.of(sample(f"images/{number:03d}.png", side=1 + number % 18, **kwargs) for number in range(count))


def sizes(split):
    return tuple(len(split.part(part)) for part in PARTS)


def test_shares_are_as_asked():
    """A thousand images are split 700, 150, 150."""
    assert sizes(make_split(images(1000))) == (700, 150, 150)


@pytest.mark.parametrize("count", [3, 4, 5, 6, 7, 10, 13])
def test_no_part_is_empty_from_three_images_on(count):
    """However few images there are, from three on every part has one, and none is lost."""
    split = make_split(images(count))
    assert min(sizes(split)) >= 1
    assert sorted(split.part("all")) == sorted(images(count).names)


def test_validation_grows_with_the_data():
    """Validation and test have their share of images, not one each."""
    assert min(sizes(make_split(images(60)))[1:]) >= 8


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_images_are_too_few(count):
    """The error says how many images there are and how many are needed."""
    with pytest.raises(DataError, match=rf"at least 3 images.*has {count}"):
        make_split(images(count))


def test_same_seed_same_split_whatever_the_order():
    """A split depends on seed and names, not on the order in which a folder is listed."""
    forward, backward = images(50), Dataset.of(reversed(list(images(50))))
    assert make_split(forward, seed=3).sha256 == make_split(backward, seed=3).sha256
    assert make_split(forward, seed=3).sha256 != make_split(forward, seed=4).sha256


def test_groups_stay_whole():
    """Images of one patient lie on one side, and the shares still hold about."""
    data = Dataset.of(
        sample(f"{number}.png", side=3 + number % 9, group=f"patient {number // 7}") for number in range(140)
    )
    split = make_split(data)
    side = {name: part for part in PARTS for name in split.part(part)}
    for patient in range(20):
        assert len({side[f"{number}.png"] for number in range(7 * patient, 7 * patient + 7)}) == 1
    assert abs(len(split.train) - 98) <= 7
    assert "20 groups whole" in split.origin


def test_look_alikes_stay_on_one_side_also_through_groups():
    """Look-alikes join the groups their images belong to, so that neither is parted."""
    data = Dataset.of(
        sample(f"{number}.png", side=5, group="scene" if number in (1, 2) else None) for number in range(30)
    )
    alike = [("0.png", "1.png"), ("2.png", "3.png"), ("3.png", "elsewhere.png")]
    for seed in range(8):
        split = make_split(data, alike=alike, seed=seed)
        assert leaks(split, [("0.png", "1.png", "2.png", "3.png")]) == ()


def test_too_few_independent_images():
    """Three images of which two are near-duplicates cannot fill three parts, and the error says why."""
    with pytest.raises(DataError, match=r"independent.*near-duplicates"):
        make_split(images(3), alike=[("images/000.png", "images/001.png")])


def test_object_sizes_are_balanced():
    """The parts' mean object sizes are closer than chance would have them."""
    data = Dataset.of(sample(f"{number}.png", side=1 + number // 10) for number in range(190))
    split = make_split(data)
    means = [np.mean([int(name.removesuffix(".png")) // 10 for name in split.part(part)]) for part in PARTS]
    assert max(means) - min(means) < 0.75


def test_empty_images_are_shared_out():
    """Images without objects go to every part."""
    data = Dataset.of(sample(f"{number}.png", side=0 if number < 40 else 5) for number in range(100))
    split = make_split(data)
    for part, fraction in zip(PARTS, FRACTIONS, strict=True):
        empty = sum(int(name.removesuffix(".png")) < 40 for name in split.part(part))
        assert abs(empty - 40 * fraction) <= 1


def test_a_part_may_be_left_out():
    """A fraction of 0 leaves its part empty, and two images then suffice."""
    assert sizes(make_split(images(2), fractions=(0.5, 0.5, 0.0))) == (1, 1, 0)


@pytest.mark.parametrize("fractions", [(0.5, 0.2, 0.2), (0.0, 0.5, 0.5), (1.2, -0.1, -0.1)])
def test_fractions_that_are_none(fractions):
    """Shares that do not sum to 1, or leave nothing to train on, are refused."""
    with pytest.raises(UsageError, match="sum to 1"):
        make_split(images(10), fractions=fractions)


def test_written_and_read_back(tmp_path):
    """A split survives its file unchanged."""
    split = make_split(images(20), seed=5)
    write_split(tmp_path / "split.json", split)
    assert read_split(tmp_path / "split.json") == split
    assert read_split(tmp_path) == split


def test_a_changed_file_is_noticed(tmp_path):
    """A name moved by hand breaks the hash, and the error says what to do."""
    write_split(tmp_path / "split.json", make_split(images(20)))
    content = json.loads((tmp_path / "split.json").read_text())
    content["test"].append(content["train"].pop())
    (tmp_path / "split.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="sha256"):
        read_split(tmp_path / "split.json")


def test_published_lists(tmp_path):
    """Lists of stems per part are read from any one of them and brought to the images' names."""
    (tmp_path / "official_split_train.txt").write_text("000\n001\r\n\n# note\n002\n")
    (tmp_path / "official_split_val.txt").write_text("images/003.png\n")
    (tmp_path / "readme.txt").write_text("nothing")
    split = resolve(read_split(tmp_path / "official_split_val.txt"), images(6))
    assert split.train == ("images/000.png", "images/001.png", "images/002.png")
    assert split.val == ("images/003.png",)
    assert split.test == ()
    assert read_split(tmp_path).sha256 == read_split(tmp_path / "official_split_train.txt").sha256


def test_plain_json(tmp_path):
    """JSON with nothing but the three lists is enough."""
    (tmp_path / "mine.json").write_text(json.dumps({"train": ["a", "b"], "val": ["c"], "test": ["d"]}))
    assert read_split(tmp_path / "mine.json").fractions == (0.5, 0.25, 0.25)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"train": ["a"], "val": ["a"]}', "both in train and in val"),
        ('{"train": ["a", "a"]}', "twice in train"),
        ('{"train": "a"}', "list of names"),
        ("[1, 2]", "cannot be read as a split"),
        ("{", "cannot be read as a split"),
        ("{}", "names no image"),
    ],
)
def test_a_bad_file_is_refused(tmp_path, content, words):
    """Overlap and what is no split are errors that name the fault."""
    (tmp_path / "split.json").write_text(content)
    with pytest.raises(DataError, match=words):
        read_split(tmp_path / "split.json")


def test_stems_and_full_names_that_meet_in_two_parts():
    """The same image under two spellings in two parts is an overlap too."""
    split = Split.of({"train": ["000"], "val": ["images/000.png"]}, seed=0, fractions=FRACTIONS, origin="mine")
    with pytest.raises(DataError, match="both in train and in val"):
        resolve(split, images(3))


def test_a_name_that_no_image_has():
    """An unknown name is an error that shows what names look like."""
    split = Split.of({"train": ["nowhere"]}, seed=0, fractions=FRACTIONS, origin="mine")
    with pytest.raises(DataError, match=r"no image.*images/000.png"):
        resolve(split, images(3))


def test_a_stem_that_two_images_have():
    """A stem shared by two images is an error unless enough of the path is given."""
    data = Dataset.of([sample("a/1.png"), sample("b/1.png")])
    split = Split.of({"train": ["1"]}, seed=0, fractions=FRACTIONS, origin="mine")
    with pytest.raises(DataError, match="2 images are called"):
        resolve(split, data)
    longer = Split.of({"train": ["b/1"]}, seed=0, fractions=FRACTIONS, origin="mine")
    assert resolve(longer, data).train == ("b/1.png",)


def test_images_set_aside_are_left_out():
    """A listed image that was set aside when the data was opened is no error."""
    data = images(3)
    data._source.set_aside = (SetAside("images/010.png", "it is truncated", "Export it again."),)
    split = Split.of({"train": ["000", "010"]}, seed=0, fractions=FRACTIONS, origin="mine")
    assert resolve(split, data).train == ("images/000.png",)


def test_lists_without_a_part(tmp_path):
    """A list whose name says no part is refused with the names that would do."""
    (tmp_path / "names.txt").write_text("a\n")
    with pytest.raises(DataError, match=r"train\.txt, val\.txt and test\.txt"):
        read_split(tmp_path / "names.txt")


def test_nothing_there(tmp_path):
    """A path without a file is an error that says what was expected."""
    with pytest.raises(DataError, match="no split at"):
        read_split(tmp_path / "split.json")


def test_leaks_of_a_users_own_lists():
    """Look-alikes on two sides of a given split are found; those on one side are not."""
    split = Split.of({"train": ["a", "b"], "test": ["c"]}, seed=0, fractions=FRACTIONS, origin="mine")
    assert leaks(split, [("a", "b"), ("b", "c"), ("c", "unlisted")]) == (("b", "c"),)


def test_all_is_every_part():
    """The part "all" holds every name, and another word is refused."""
    split = make_split(images(9))
    assert len(split.part("all")) == 9
    with pytest.raises(UsageError, match="no part 'tests'"):
        split.part("tests")


@pytest.mark.parametrize("seed", range(6))
def test_sparse_objects_reach_every_part(seed):
    """Three of a hundred images hold an object: each part gets one, and the parts keep their sizes."""
    data = Dataset.of(sample(f"{number:03d}", side=8 if number % 33 == 5 else 0) for number in range(99))
    split = make_split(data, seed=seed)
    filled = {one.name for one in data if one.objects}
    assert [len(filled & set(split.part(part))) for part in PARTS] == [1, 1, 1]
    assert sizes(split) == sizes(make_split(images(99), seed=seed))


def test_images_that_may_only_train_never_test():
    """What a base has seen trains, its group with it; the others get their shares of the whole from the rest."""
    data = Dataset.of(
        sample(f"{number:03d}", side=5, group=f"patient {number // 2}" if number < 20 else None)
        for number in range(100)
    )
    seen = [f"{number:03d}" for number in range(60)]
    split = make_split(data, only_train=seen[1:])
    assert set(seen) <= set(split.train)
    assert sizes(split) == (70, 15, 15)


@pytest.mark.parametrize("seed", range(4))
def test_what_only_trains_leaves_training_nothing_to_want(seed):
    """Where the rest is few or in large groups, it goes to validation and test, for training has images."""
    few = Dataset.of(sample(name, side=5) for name in "abcd")
    assert sizes(make_split(few, only_train=["a", "b"], seed=seed)) == (2, 1, 1)
    patients = Dataset.of(
        sample(f"{patient}/{number}", side=5, group=patient)
        for patient, count in (("a", 30), ("b", 40), ("c", 20))
        for number in range(count)
    )
    split = make_split(patients, only_train=["a/0"], seed=seed)
    assert sorted(sizes(split)[1:]) == [20, 40]
    empty = Dataset.of(sample(name, side=5 if name in "bde" else 0) for name in "abcdef")
    split = make_split(empty, only_train=["a", "b"], seed=seed)
    assert [bool({*"bde"} & {*split.part(part)}) for part in PARTS] == [True] * 3
    assert {"a", "b"} <= {*split.train}


def test_the_part_with_most_new_images_gives_one_up():
    """An empty part gets one of the three new images of validation, not the only new one of training."""
    side = [0] * 10 + [0, 1, 1, 1]
    fill_parts([(f"{number:02d}",) for number in range(14)], [1] * 14, side, range(3), {*range(10, 14)})
    assert side == [0] * 10 + [0, 2, 1, 1]


def test_a_base_that_has_seen_too_much_leaves_what_there_is():
    """With less left than the shares ask for, validation and test halve it; with nothing left there is no test."""
    most = [f"images/{number:03d}.png" for number in range(34)]
    split = make_split(images(40), only_train=most)
    assert sizes(split) == (34, 3, 3)
    with pytest.raises(DataError, match="nothing is left for a fair test"):
        make_split(images(40), only_train=images(40).names)


def test_a_list_that_is_no_utf8(tmp_path):
    """A list saved in an old encoding is an error that names it and the remedy."""
    (tmp_path / "train.txt").write_bytes("Käse.png\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"train\.txt is no UTF-8 text.*Save it as UTF-8"):
        read_split(tmp_path)
