"""A pretraining that starts on masked images: its encoder goes on, images need no masks, and a resume is exact."""

from __future__ import annotations

import json
import signal

import cv2
import numpy as np
import pytest
import torch

from segtune.core.errors import DataError, UsageError
from segtune.models.fingerprint import hash_weights
from segtune.models.open import open_model
from segtune.runs import masked_start, pretrain_data
from segtune.runs import pretrain as module
from segtune.runs.pretrain import pretrain
from segtune.runs.pretrain_settings import load_pretrain_settings
from segtune.training import loop
from segtune.training.checkpoints import CheckpointFolder

SMALL = (
    "training.workers=0", "training.optimizer.batch=2", "training.optimizer.micro_batch=2",
    "training.prompts.corrections=1", "training.prompts.refinements=0", "training.optimizer.precision=fp32",
    "training.checkpoint_steps=1", "validation.images=2", "validation.every=2", "validation.modes=[box]",
    "mae.steps=2",
)  # fmt: skip


def settings(out, *more, **options):
    given = {"steps": 2, "model__size": "micro", "model__init": "mae", "device": "cpu", **options}
    return load_pretrain_settings(out=out, overrides=(*SMALL, *more), **given)


def resumed(out):
    return pretrain(load_pretrain_settings(out=out), resume=True)


def weights(folder):
    return hash_weights(open_model(folder))


def steps(folder):
    events = map(json.loads, (folder / "log.jsonl").open())
    return [(event["step"], event["loss"]) for event in events if event["event"] == "step"]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished pretraining with such a start."""
    folder = tmp_path_factory.mktemp("pretraining") / "run"
    result = pretrain(settings(folder))
    assert (result.steps, result.stopped, result.in_start) == (2, False, False)
    return folder


@pytest.fixture
def photos(tmp_path):
    """Images without a mask."""
    (tmp_path / "photos").mkdir()
    for number in range(3):
        image = np.random.default_rng(number).integers(0, 255, (30, 40, 3)).astype(np.uint8)
        cv2.imwrite(str(tmp_path / "photos" / f"{number}.png"), image)
    return tmp_path / "photos"


def test_the_encoders_weights_go_on_into_the_training(tmp_path, monkeypatch):
    """What the start ends with is what the first prompt meets: all of the encoder but its neck, which stays fresh."""
    met = {}

    def assemble(tree, model, *others):
        met.update({name: value.clone() for name, value in model.image_encoder.state_dict().items()})
        return real(tree, model, *others)

    real = module._assemble
    monkeypatch.setattr(module, "_assemble", assemble)
    pretrain(settings(tmp_path / "run"))
    left = CheckpointFolder(tmp_path / "run" / "mae" / "checkpoints").load("last").tensors["weights"]
    fresh = module._begin(settings(tmp_path / "run").settings, "cpu").image_encoder.state_dict()
    assert set(met) == set(fresh)
    for name, value in met.items():
        if name.startswith("neck."):
            assert torch.equal(value, fresh[name])
        else:
            assert torch.equal(value, left[name])
    assert not torch.equal(met["blocks.2.mlp.lin1.weight"], fresh["blocks.2.mlp.lin1.weight"])
    assert not torch.equal(met["patch_embed.proj.weight"], fresh["patch_embed.proj.weight"])


def test_the_run_tells_of_both_stages(done, tmp_path):
    """Each has its log; the record says how it began; it is another model than one without the start."""
    assert [step for step, _ in steps(done / "mae")] == [step for step, _ in steps(done)] == [1, 2]
    assert json.loads((done / "model" / "segtune.json").read_text())["settings"]["model"]["init"] == "mae"
    pretrain(settings(tmp_path / "plain", model__init=None))
    assert not (tmp_path / "plain" / "mae").exists()
    assert weights(tmp_path / "plain") != weights(done)


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_cut_off_at_any_step_it_ends_with_the_same_bytes(done, tmp_path, monkeypatch, at):
    """Before or at the end of the start, or in the training proper: taken up, it comes to the same weights."""
    calls, real = [], loop._step

    def dies(*arguments):
        calls.append(1)
        if len(calls) == at:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(loop, "_step", dies)
    with pytest.raises(KeyboardInterrupt):
        pretrain(settings(tmp_path / "run"))
    monkeypatch.undo()
    assert resumed(tmp_path / "run").steps == 2
    assert weights(tmp_path / "run") == weights(done)
    assert steps(tmp_path / "run" / "mae") == steps(done / "mae")
    assert steps(tmp_path / "run") == steps(done)


def test_cut_off_between_the_stages_the_start_is_not_done_again(done, tmp_path, monkeypatch):
    """Its weights are those it ended with, without another step; once training has begun it is not even opened."""

    def dies(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_assemble", dies)
    with pytest.raises(KeyboardInterrupt):
        pretrain(settings(tmp_path / "run"))
    assert not (tmp_path / "run" / "checkpoints").exists()
    monkeypatch.undo()
    monkeypatch.setattr(masked_start.MaskedImages, "accumulate", dies)
    resumed(tmp_path / "run")
    assert weights(tmp_path / "run") == weights(done)
    monkeypatch.setattr(pretrain_data, "without_masks", dies)
    assert resumed(tmp_path / "run").steps == 2
    assert weights(tmp_path / "run") == weights(done)


def test_stopped_by_the_user_in_the_start_there_is_no_model_yet(done, tmp_path, monkeypatch):
    """The result says so, no prompt was trained on, and --resume comes to the same weights."""
    step = loop._step
    monkeypatch.setattr(loop, "_step", lambda *given: signal.raise_signal(signal.SIGTERM) or step(*given))
    result = pretrain(settings(tmp_path / "run"))
    assert (result.steps, result.stopped, result.in_start) == (0, True, True)
    assert [number for number, _ in steps(tmp_path / "run" / "mae")] == [1]
    assert not (tmp_path / "run" / "model").exists()
    assert not (tmp_path / "run" / "checkpoints").exists()
    monkeypatch.undo()
    assert resumed(tmp_path / "run").steps == 2
    assert weights(tmp_path / "run") == weights(done)


def test_images_without_masks_will_do(photos, done, tmp_path, monkeypatch):
    """Folders of images alone, with scenes beside them, each with an equal share; the rest trains as ever."""
    seen = []
    real = masked_start.stream
    monkeypatch.setattr(masked_start, "stream", lambda parts, count: seen.append(parts) or real(parts, count))
    pretrain(settings(tmp_path / "run", f"mae.sources=[scenes, {photos}]"))
    (scenes, first), (folder, second) = seen[0]
    assert (len(scenes), len(folder), first, second) == (4, 3, 1.0, 1.0)
    assert weights(tmp_path / "run") != weights(done)


def test_mistakes_are_told_and_nothing_is_touched(tmp_path):
    """No image to start on; a share that hides all; a decoder that no head fits."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no image that can be used"):
        pretrain(settings(tmp_path / "run", f"mae.sources=[{tmp_path / 'empty'}]"))
    assert not (tmp_path / "run").exists()
    with pytest.raises(UsageError, match=r"mae\.mask_share = 1"):
        settings(tmp_path / "run", "mae.mask_share=1")
    with pytest.raises(UsageError, match=r"mae\.decoder_width = 50"):
        settings(tmp_path / "run", "mae.decoder_width=50")


def test_without_a_word_on_steps_it_takes_a_fifth_more(tmp_path):
    """At least one."""
    for asked, expected in ((1000, 200), (4, 1)):
        given = load_pretrain_settings(out=tmp_path, steps=asked, model__init="mae").settings
        assert given.start_recipe.steps == expected
