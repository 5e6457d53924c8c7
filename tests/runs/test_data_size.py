"""What the number of training images suggests."""

import re

import pytest
from disc_data import write_discs

from segtune.runs import data_size
from segtune.runs.data_size import FEW, MANY, VERY_MANY, by_size, count_training_images, suit_data, tell_choice
from segtune.runs.settings import load_settings

LARGE = "facebook/sam-vit-base"

SAID = [f"{name}={value}" for name, value in by_size(12, LARGE, on_gpu=False).items()]
"""All that 12 images would choose for it."""


@pytest.fixture(scope="module")
def discs(tmp_path_factory):
    """Twenty images with a disc each."""
    return write_discs(tmp_path_factory.mktemp("data") / "discs", 20)


def _load(**options):
    return load_settings(data="data", out="run", **options)


def test_images_that_train_are_counted(discs, tmp_path):
    """By the split's share, by a split of one's own, at most as many as are asked for; None without usable data."""
    settings = load_settings(data=discs, out="run").settings.data
    assert count_training_images(settings) == 14
    assert count_training_images(settings.model_copy(update={"train_images": 5})) == 5
    (tmp_path / "train.txt").write_text("000\n001\n002\n")
    (tmp_path / "val.txt").write_text("003\n")
    assert count_training_images(settings.model_copy(update={"split": str(tmp_path)})) == 3
    assert count_training_images(settings.model_copy(update={"path": str(tmp_path / "nowhere")})) is None


@pytest.mark.parametrize("images", [5, FEW, 300, MANY, VERY_MANY])
@pytest.mark.parametrize("on_gpu", [False, True])
def test_nano_stays_as_it_is(images, on_gpu):
    """It gains most when it trains whole, however few or many images there are."""
    assert by_size(images, "nano", on_gpu=on_gpu) == {}


@pytest.mark.parametrize(
    ("images", "on_gpu", "train"),
    [
        (FEW - 1, False, "decoder"), (FEW - 1, True, "decoder"), (FEW, True, None), (MANY - 1, True, None),
        (MANY, True, "late:2"), (VERY_MANY - 1, True, "late:2"), (VERY_MANY, True, "full"), (VERY_MANY, False, None),
    ],
)  # fmt: skip
def test_a_large_base_trains_more_of_itself_on_more_images(images, on_gpu, train):
    """The decoder, what suits the base, late layers, all; with no GPU an encoder never begins to train by itself."""
    assert by_size(images, LARGE, on_gpu=on_gpu).get("model.train") == train


def test_each_value_says_where_it_comes_from():
    """What the number of images changed has it as its origin, all else the origin it had; the run says it in a line."""
    before = _load(model=LARGE)
    after = suit_data(before, 12)
    changed = {name for name, entry in after.entries().items() if entry != before.entries()[name]}
    assert changed == set(by_size(12, LARGE, on_gpu=False))
    assert after.entries()["model.train"] == {"value": "decoder", "origin": "by data size (12 training images)"}
    assert after.entries()["training.optimizer.lr"]["origin"].startswith("suits")
    assert "12 training images (few images" in tell_choice(after, 12)
    assert "model.train=decoder" in tell_choice(after, 12)


def test_few_images_are_called_few_whatever_is_said():
    """The count decides, not which of the values that go with it are left to choose."""
    asked = suit_data(_load(model=LARGE, overrides=["training.patience=9"]), 12)
    assert "12 training images (few images" in tell_choice(asked, 12)
    trained = suit_data(_load(model=LARGE, train="late:2"), 12)
    assert "12 training images (few images: more views of each)" in tell_choice(trained, 12)


@pytest.mark.parametrize(
    ("images", "options", "why"),
    [
        (12, {}, "12 training images: their number changes nothing, for nano gains most when it trains whole"),
        (1, {"train": "decoder"}, "1 training image: .*nano"),
        (VERY_MANY, {}, "10,000 training images: .*nano"),
        (12, {"model": LARGE, "preset": "slides"}, "the preset slides is a recipe of its own"),
        (100, {"model": LARGE}, "changes nothing between 20 and 1,000"),
        (MANY, {"model": LARGE}, "on a GPU only"),
        (12, {"model": LARGE, "overrides": SAID}, "is said already"),
    ],
)  # fmt: skip
def test_a_number_that_changes_nothing_is_told_with_the_reason(images, options, why):
    """One line, whatever base, preset and machine."""
    told = tell_choice(suit_data(_load(device="cpu", **options), images), images)
    assert re.search(why, told)
    assert "\n" not in told


def test_what_is_said_stays():
    """By an option, by --set, and by a preset, which is a recipe of its own."""
    asked = suit_data(_load(model=LARGE, train="late:1", overrides=["training.patience=9"]), 12)
    assert asked.settings.model.train == "late:1"
    assert asked.settings.training.patience == 9
    assert asked.settings.cache.views == 8
    slides = _load(model=LARGE, preset="slides")
    assert suit_data(slides, 12) is slides
    middling = _load(model=LARGE)
    assert suit_data(middling, 100) is suit_data(middling, None) is middling
    assert tell_choice(middling, None) == ""


def test_many_images_wait_for_a_gpu(monkeypatch):
    """The same settings, with a GPU and without."""
    monkeypatch.setattr(data_size, "pick_device", lambda asked: "cuda")
    found = suit_data(_load(model=LARGE), MANY)
    assert found.settings.model.train == "late:2"
    assert "(many images)" in tell_choice(found, MANY)
    monkeypatch.setattr(data_size, "pick_device", lambda asked: "cpu")
    assert suit_data(_load(model=LARGE), MANY).settings.model.train == "decoder+prompt"
