"""Training from nothing on drawn scenes."""

import json
import shutil

import pytest
import torch
from small import small_recipe

from segtune.adapters.scopes import train_only
from segtune.models.fingerprint import hash_weights
from segtune.models.sam.build import build_sam
from segtune.models.sam.sizes import MICRO
from segtune.runs.pretrain import Pretraining, pretrain

PLAN = Pretraining(images=5, first=40, side=64, recipe=small_recipe(epochs=1))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished pretraining: its folder, the model, the state."""
    folder, model = tmp_path_factory.mktemp("pretraining"), fresh()
    return folder, model, pretrain(model, PLAN, folder)


def fresh():
    """A micro model with the same fresh weights every time."""
    return build_sam(MICRO, generator=torch.Generator().manual_seed(0))


def test_the_same_plan_gives_the_same_bytes(done, tmp_path):
    """A model drawn alike and trained by the same plan is the same; other scenes make another one."""
    _, model, _ = done
    again, other = fresh(), fresh()
    pretrain(again, PLAN, tmp_path / "again")
    pretrain(other, Pretraining(5, 90, 64, PLAN.recipe), tmp_path / "other")
    assert hash_weights(again) == hash_weights(model) != hash_weights(other)


def test_the_whole_model_trains(done, tmp_path):
    """All parts move, also of a model that came half frozen."""
    model = fresh()
    train_only(model, "decoder")
    pretrain(model, PLAN, tmp_path)
    before = fresh()
    for name, part in model.parts.items():
        old = before.parts[name].state_dict()
        assert any(not torch.equal(value, old[key]) for key, value in part.state_dict().items()), name
    assert hash_weights(model) == hash_weights(done[1])


def test_every_scene_of_the_plan_is_seen(done):
    """An epoch has as many steps as its scenes make, and without validation the last epoch is the best."""
    folder, _, state = done
    steps = [json.loads(line) for line in (folder / "log.jsonl").open() if '"step"' in line.partition(",")[0]]
    assert [step["step"] for step in steps] == [1, 2]
    assert (state.epoch, state.best_epoch) == (2, 1)


def test_a_pretraining_can_be_told_again(done):
    """Plan and record say all it takes to do it again: scenes, recipe, threads, when it began and ended."""
    folder, _, _ = done
    plan = json.loads((folder / "plan.json").read_text())
    assert (plan["images"], plan["first"], plan["side"]) == (5, 40, 64)
    assert type(PLAN.recipe).model_validate(plan["recipe"]) == PLAN.recipe
    record = json.loads((folder / "run.json").read_text())
    assert record["torch_threads"] == torch.get_num_threads()
    assert record["started"] <= record["finished"]


def test_a_finished_pretraining_resumes_to_the_same_model(done, tmp_path):
    """Taken up again after its end, a fresh model gets the weights that were reached."""
    folder, model, state = done
    shutil.copytree(folder, tmp_path / "copy")
    again = fresh()
    resumed = pretrain(again, PLAN, tmp_path / "copy", resume=True)
    assert hash_weights(again) == hash_weights(model)
    assert resumed.step == state.step
