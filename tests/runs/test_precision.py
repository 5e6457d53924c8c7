"""Precision, the encoder's and the training's: settled once, from then on read from the record."""

import json
from dataclasses import replace

import pytest
import torch
from small import discs

from segtune.core.files import read_json
from segtune.data.dataset import Dataset
from segtune.models import precision as measuring
from segtune.runs import precision as settling
from segtune.runs.folder import RunFolder
from segtune.runs.precision import _boxed, settle_precision, settle_training_precision
from segtune.training.processes import Processes
from segtune.training.recipe import Recipe


@pytest.fixture
def folder(tmp_path):
    """A run folder with a record."""
    made = RunFolder(tmp_path)
    made.write_record(started="now")
    return made


@pytest.fixture
def crowd():
    """Eight images, every second one without objects, the others with many."""
    many = [replace(one, objects=one.objects * 6, labels=one.labels * 6) for one in discs(8)]
    return Dataset.of(replace(s, objects=(), labels=()) if row % 2 == 0 else s for row, s in enumerate(many))


@pytest.mark.parametrize("asked", ["fp32", "bf16"])
def test_a_precision_that_is_asked_for_is_taken_unmeasured(micro, folder, asked):
    """It is set on the model and noted with its reason, beside what the record holds already."""
    assert settle_precision(asked, folder, micro, discs(2), Processes()) == asked
    assert micro.encoder_precision == asked
    noted = {"precision": asked, "agreement": None, "reason": "It was asked for."}
    assert json.loads(folder.record.read_text()) == {"started": "now", "encoder_precision": noted}


def test_a_resumed_run_takes_what_the_record_says(micro, folder):
    """Whatever is asked for now: another precision would give other bytes."""
    settle_precision("bf16", folder, micro, discs(2), Processes())
    before = folder.record.read_bytes()
    micro.encoder_precision = "fp32"
    for asked in ("fp32", "auto"):
        assert settle_precision(asked, folder, micro, discs(2), Processes()) == "bf16"
        assert micro.encoder_precision == "bf16"
    assert folder.record.read_bytes() == before


def test_other_processes_take_what_the_first_has_settled(micro, folder, monkeypatch):
    """They choose nothing, write nothing and read nothing: a disk they share may show them an older record."""
    monkeypatch.setattr(Processes, "share", lambda self, value: "bf16")
    before = folder.record.read_bytes()
    assert settle_precision("fp32", folder, micro, discs(2), Processes(1, 2)) == micro.encoder_precision == "bf16"
    assert folder.record.read_bytes() == before


def test_auto_measures_on_the_images_that_train(micro, folder, monkeypatch):
    """On a frozen encoder masks are compared, and their agreement decides; torch's generator is not drawn from."""
    monkeypatch.setattr(measuring, "has_fast_bf16", lambda _: True)
    micro.requires_grad_(False)
    state = torch.get_rng_state()
    chosen = settle_precision("auto", folder, micro, discs(5), Processes())
    noted = read_json(folder.record)["encoder_precision"]
    assert 0 < noted["agreement"] <= 1
    assert chosen == ("bf16" if noted["agreement"] >= measuring.REQUIRED_AGREEMENT else "fp32")
    assert torch.equal(torch.get_rng_state(), state)


def test_masks_are_compared_on_few_objects_of_few_images_that_have_some(micro, crowd):
    """Images without objects do not count among the four, and of a crowd four are taken."""
    found = list(_boxed(micro, Dataset.of([*crowd, *(replace(one, name=f"more {one.name}") for one in crowd)])))
    assert len(found) == 4
    assert all(len(prompts) == 4 and prompts.has_box.all() for _, prompts in found)
    assert [image.tobytes() for image, _ in found] == [crowd[row].image.tobytes() for row in (1, 3, 5, 7)]
    assert len(list(_boxed(micro, crowd.subset(["disc-0", "disc-1"])))) == 1


def test_the_boxes_masks_are_compared_on_are_the_same_every_time(micro, crowd):
    """Which objects are drawn depends on the image's name alone: a run looks at the same ones as the run before."""
    first, again = ([prompts.boxes for _, prompts in _boxed(micro, crowd)] for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    (alone,) = (prompts.boxes for _, prompts in _boxed(micro, crowd.subset(["disc-3"])))
    assert torch.equal(alone, first[1])


@pytest.mark.parametrize(("fast", "chosen"), [(True, "bf16"), (False, "fp32")])
def test_training_takes_bf16_where_it_is_computed_fast(folder, monkeypatch, fast, chosen):
    """Unasked; what was chosen stands in the record, and nothing else of the recipe changes."""
    for place in (settling, measuring):
        monkeypatch.setattr(place, "has_fast_bf16", lambda _: fast)
    recipe = Recipe.model_validate({"epochs": 3, "optimizer": {"lr": 0.5}})
    settled = settle_training_precision(recipe, "cpu", folder, Processes())
    assert settled == Recipe.model_validate({"epochs": 3, "optimizer": {"lr": 0.5, "precision": chosen}})
    noted = read_json(folder.record)["training_precision"]
    assert noted["precision"] == chosen
    assert noted["reason"] == f"This machine's cpu has {'' if fast else 'no '}bfloat16 arithmetic of its own."


def test_a_resumed_training_goes_on_as_it_began(folder, monkeypatch):
    """On a machine of another kind too: its steps would be others."""
    monkeypatch.setattr(settling, "has_fast_bf16", lambda _: True)
    settle_training_precision(Recipe(), "cpu", folder, Processes())
    before = folder.record.read_bytes()
    monkeypatch.setattr(settling, "has_fast_bf16", lambda _: False)
    assert settle_training_precision(Recipe(), "cpu", folder, Processes()).optimizer.precision == "bf16"
    assert folder.record.read_bytes() == before


@pytest.mark.parametrize("asked", ["fp32", "bf16"])
def test_a_training_precision_that_is_asked_for_is_taken(folder, monkeypatch, asked):
    """Whatever the machine is good at."""
    monkeypatch.setattr(settling, "has_fast_bf16", lambda _: asked == "fp32")
    recipe = Recipe.model_validate({"optimizer": {"precision": asked}})
    assert settle_training_precision(recipe, "cpu", folder, Processes()) == recipe
    assert read_json(folder.record)["training_precision"]["reason"] == "It was asked for."


def test_other_processes_train_as_the_first_does(folder, monkeypatch):
    """Else the gradients that are added up would be of two kinds."""
    monkeypatch.setattr(settling, "has_fast_bf16", lambda _: False)
    monkeypatch.setattr(Processes, "share", lambda self, value: "bf16")
    before = folder.record.read_bytes()
    assert settle_training_precision(Recipe(), "cpu", folder, Processes(1, 2)).optimizer.precision == "bf16"
    assert folder.record.read_bytes() == before
