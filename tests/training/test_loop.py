"""The loop: it learns, it resumes exactly, it crowns only what is better, it stops when asked."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small import discs, small_recipe, small_training, stopped_elsewhere, weights

from segtune.core.errors import DataError, ModelError
from segtune.core.rle import RunLengths
from segtune.data.dataset import Dataset
from segtune.models import embedding_cache
from segtune.report.log import read_log
from segtune.training import loop
from segtune.training.batches import BatchSource
from segtune.training.loop import load_trained_weights, train
from segtune.training.recipe import OptimizerRecipe, PromptRecipe

HERE = Path(__file__).parent


def _same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def _events(folder, kind):
    return [event for line in (folder / "log.jsonl").open() if (event := json.loads(line))["event"] == kind]


def test_training_lowers_the_loss(tmp_path):
    """Some epochs on discs bring the loss down and the IoU up."""
    optimizer = OptimizerRecipe(lr=3e-3, batch=4, micro_batch=4, warmup_steps=2, layer_decay=1.0)
    job = small_training(tmp_path, recipe=small_recipe(epochs=12, optimizer=optimizer))
    train(job)
    epochs = [event["train"] for event in _events(tmp_path, "epoch")[1:]]
    assert epochs[-1]["loss"] < 0.8 * epochs[0]["loss"]


@pytest.mark.parametrize(
    ("scope", "prefixes"),
    [
        ("decoder", ("mask_decoder.",)),
        ("decoder+prompt", ("mask_decoder.", "prompt_encoder.")),
        ("late:1", ("mask_decoder.", "prompt_encoder.", "image_encoder.blocks.2.", "image_encoder.neck.")),
        ("full", ("",)),
    ],
)
def test_only_what_is_named_trains(tmp_path, scope, prefixes):
    """Weights outside the scope stay bit-equal; weights inside it move."""
    job = small_training(tmp_path, scope=scope)
    before = weights(job)
    train(job)
    after = weights(job)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all(name.startswith(prefixes) for name in moved)
    assert any(name.startswith("mask_decoder.transformer") for name in moved)


def test_kept_statistics_stay_and_late_layers_train_alone(tmp_path):
    """Of a base with batch norms only named parameters move: their statistics and counters never, in any mode."""
    job = small_training(tmp_path, family="mobile_sam", scope="late:2")
    before = weights(job)
    train(job)
    moved = {name for name, value in weights(job).items() if not torch.equal(before[name], value)}
    # The stage of the last block, and the block before it, whose stage ends in the way between the two.
    allowed = ("mask_decoder.", "prompt_encoder.", "image_encoder.neck.", "image_encoder.layers.3.blocks.0.",
               "image_encoder.layers.2.blocks.0.", "image_encoder.layers.2.downsample.")  # fmt: skip
    assert all(name.startswith(allowed) for name in moved)
    assert not any(name.endswith(("running_mean", "running_var", "num_batches_tracked")) for name in moved)
    assert {"image_encoder.layers.2.downsample.conv2.bn.bias", "image_encoder.layers.3.blocks.0.local_conv.bn.weight",
            "image_encoder.layers.3.blocks.0.attn.attention_biases"} <= moved  # fmt: skip


@pytest.mark.parametrize(
    ("family", "kind", "ema"),
    [("sam", "adamw", None), ("sam", "muon", None), ("mobile_sam", "adamw", None), ("sam", "muon", 0.9)],
)
def test_a_resumed_run_ends_with_the_same_bytes(tmp_path, family, kind, ema):
    """Stopped in the middle of an epoch and taken up by a new process's objects, the weights are bit-equal."""
    recipe = small_recipe(optimizer=small_recipe().optimizer.model_copy(update={"kind": kind, "ema": ema}))
    whole = small_training(tmp_path / "whole", family=family, recipe=recipe)
    train(whole)
    calls = iter(range(100))
    train(small_training(tmp_path / "parts", family=family, recipe=recipe, stop=lambda: next(calls) == 4))
    resumed = small_training(tmp_path / "parts", family=family, recipe=recipe)
    train(resumed, resume=True)
    assert _same(weights(whole), weights(resumed))
    assert _steps(tmp_path / "whole") == _steps(tmp_path / "parts")


def test_who_was_asked_to_stop_all_say_so(tmp_path, monkeypatch):
    """Another process was asked: this one ends too, says that it was stopped, and goes on to the same bytes."""
    whole = small_training(tmp_path / "whole")
    assert not train(whole).stopped
    state = train(small_training(tmp_path / "parts", processes=stopped_elsewhere(monkeypatch, after=3)))
    assert (state.stopped, state.step) == (True, 3)
    assert [event["stopped"] for event in _events(tmp_path / "parts", "end")] == [True]
    resumed = small_training(tmp_path / "parts")
    assert not train(resumed, resume=True).stopped
    assert _same(weights(whole), weights(resumed))


def test_an_epochs_time_counts_what_was_before_an_interruption(tmp_path, monkeypatch):
    """By a clock on which each step takes a second: an epoch in two parts took as long as one at a stretch."""

    def seconds(folder, *, resume=False, **changes):
        # Another process has another clock.
        ticks = count(1000 * resume)
        monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
        train(small_training(folder, **changes), resume=resume)
        return [event["seconds"] for event in _events(folder, "epoch")]

    assert seconds(tmp_path / "whole") == [0, 3, 3]
    calls = iter(range(100))
    assert seconds(tmp_path / "parts", stop=lambda: next(calls) == 1) == [0]
    assert seconds(tmp_path / "parts", resume=True) == [0, 3, 3]


def test_a_checkpoint_of_an_earlier_version_is_taken_up(tmp_path):
    """One without the time of its epoch: the weights come out the same, and what it lacks counts from there."""
    whole = small_training(tmp_path / "whole")
    train(whole)
    calls = iter(range(100))
    train(small_training(tmp_path / "parts", stop=lambda: next(calls) == 4))
    resumed = small_training(tmp_path / "parts")
    kept = resumed.checkpoints.load("last")
    earlier = {name: value for name, value in kept.values.items() if name != "seconds"}
    assert len(earlier) == len(kept.values) - 1
    resumed.checkpoints.save("last", kept.tensors, earlier)
    train(resumed, resume=True)
    assert _same(weights(whole), weights(resumed))


@pytest.mark.parametrize("scope", ["pissa:r=2", "adalora:r=2,in=encoder", "lora:r=2,in=encoder,dropout=.5"])
def test_a_resumed_adapter_ends_with_the_same_bytes(tmp_path, scope):
    """What an adapter took out of the base, what AdaLoRA goes by in its choice of ranks, and dropout come back too."""
    pytest.importorskip("peft", reason="pip install 'segtune[peft]'")
    whole = small_training(tmp_path / "whole", scope=scope)
    train(whole)
    calls = iter(range(100))
    train(small_training(tmp_path / "parts", scope=scope, stop=lambda: next(calls) == 4))
    resumed = small_training(tmp_path / "parts", scope=scope)
    train(resumed, resume=True)
    assert _same(weights(whole), weights(resumed))


def _steps(folder):
    return [(event["step"], event["loss"]) for event in _events(folder, "step")]


@pytest.mark.parametrize("after_steps", [1, 3, 4])
def test_kill_minus_nine_costs_nothing(tmp_path, after_steps):
    """Killed in mid-epoch at any step, with no chance to save, a run resumes to the same bytes."""
    whole = small_training(tmp_path / "whole")
    train(whole)
    script = (
        "import os, sys\n"
        f"sys.path.insert(0, {str(HERE)!r})\n"
        "from pathlib import Path\n"
        "from small import small_training\n"
        "from segtune.training.loop import train\n"
        "calls = iter(range(1000))\n"
        f"stop = lambda: os.kill(os.getpid(), 9) if next(calls) == {after_steps} else False\n"
        f"train(small_training(Path({str(tmp_path / 'killed')!r}), stop=stop))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    resumed = small_training(tmp_path / "killed")
    train(resumed, resume=True)
    assert _same(weights(whole), weights(resumed))


def test_killed_while_writing_a_checkpoint(tmp_path, monkeypatch):
    """When the process dies between a checkpoint's files, the one before it is taken up and the end is the same."""
    whole = small_training(tmp_path / "whole")
    train(whole)
    script = (
        "import os, sys\n"
        f"sys.path.insert(0, {str(HERE)!r})\n"
        "from pathlib import Path\n"
        "import segtune.training.checkpoints as checkpoints\n"
        "from small import small_training\n"
        "from segtune.training.loop import train\n"
        "saved, calls = checkpoints.save_file, iter(range(1000))\n"
        "def dying(tensors, path):\n"
        "    saved(tensors, path)\n"
        "    if next(calls) == 4:\n"
        "        os.truncate(path, 10)\n"
        "        os.kill(os.getpid(), 9)\n"
        "checkpoints.save_file = dying\n"
        f"train(small_training(Path({str(tmp_path / 'killed')!r})))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    resumed = small_training(tmp_path / "killed")
    train(resumed, resume=True)
    assert _same(weights(whole), weights(resumed))


def test_a_frozen_encoder_runs_once_for_each_view(tmp_path, monkeypatch):
    """With the cache, two views over four epochs encode each image twice and never again, also in the next run."""
    job = small_training(tmp_path / "a", scope="decoder", cache=tmp_path / "cache", recipe=small_recipe(epochs=4))
    encoded = _count_encodes(job, monkeypatch)
    train(job)
    assert sum(encoded) == 2 * 10
    again = small_training(tmp_path / "b", scope="decoder", cache=tmp_path / "cache", recipe=small_recipe(epochs=4))
    encoded = _count_encodes(again, monkeypatch)
    train(again)
    assert sum(encoded) == 0
    assert _same(weights(job), weights(again))


def test_killed_while_filling_the_cache(tmp_path):
    """A process that dies in the middle of an entry leaves none; the run after it ends with the same bytes."""
    whole = small_training(tmp_path / "whole", scope="decoder", cache=tmp_path / "one")
    train(whole)
    script = (
        "import os, sys\n"
        f"sys.path.insert(0, {str(HERE)!r})\n"
        "from pathlib import Path\n"
        "import segtune.models.embedding_cache as cache\n"
        "from small import small_training\n"
        "from segtune.training.loop import train\n"
        "saved, calls = cache.save_file, iter(range(1000))\n"
        "def dying(tensors, path, note):\n"
        "    saved(tensors, path, note)\n"
        "    if next(calls) == 5:\n"
        "        os.truncate(path, 100)\n"
        "        os.kill(os.getpid(), 9)\n"
        "cache.save_file = dying\n"
        f"place = Path({str(tmp_path)!r})\n"
        "train(small_training(place / 'killed', scope='decoder', cache=place / 'other'))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    resumed = small_training(tmp_path / "killed", scope="decoder", cache=tmp_path / "other")
    train(resumed, resume=True)
    assert _same(weights(whole), weights(resumed))


def test_a_frozen_prefix_runs_once_for_each_view(tmp_path, monkeypatch):
    """Where the last block trains, two views over four epochs run the blocks before it twice an image and no more."""
    given = {"scope": "late:1", "images": 3, "cache": tmp_path / "cache", "recipe": small_recipe(epochs=4)}
    job = small_training(tmp_path / "a", **given)
    early, late = (_count_images(job.model.image_encoder.blocks[number], monkeypatch) for number in (1, 2))
    train(job)
    assert (sum(early), sum(late)) == (2 * 3, 4 * 3)
    again = small_training(tmp_path / "b", **given)
    early = _count_images(again.model.image_encoder.blocks[1], monkeypatch)
    train(again)
    assert sum(early) == 0
    assert _same(weights(job), weights(again))


@pytest.mark.parametrize("family", ["sam", "sam2", "sam3", "sam_hq"])
def test_from_a_kept_prefix_training_is_what_it_is_without(tmp_path, monkeypatch, family):
    """On the same views, with entries that are not rounded, every weight is the same to the bit; rounded, nearly."""
    # An image a batch: a matrix product's rounding may depend on how many images it is of, and the cache takes one.
    one = OptimizerRecipe(lr=1e-3, batch=2, micro_batch=1, warmup_steps=1)
    if family != "sam":
        pytest.importorskip("transformers", reason="pip install 'segtune[hf]'")
    given = {"family": family, "scope": "late:2", "images": 4, "recipe": small_recipe(optimizer=one, epochs=3)}
    rounded = small_training(tmp_path / "half", cache=tmp_path / "half_cache", **given)
    before = weights(rounded)
    train(rounded)
    monkeypatch.setattr(embedding_cache, "_rounded", lambda value: value.detach().cpu().contiguous())
    exact = small_training(tmp_path / "exact", cache=tmp_path / "exact_cache", **given)
    train(exact)
    plain = small_training(tmp_path / "plain", **given)
    same_views = replace(exact.batches.source, cache=None)
    plain = replace(plain, batches=BatchSource(same_views, given["recipe"], plain.processes))
    train(plain)
    assert _same(weights(plain), weights(exact))
    moved = max((value - before[name]).abs().max() for name, value in weights(plain).items())
    apart = max((value - weights(rounded)[name]).abs().max() for name, value in weights(plain).items())
    assert 0 < apart < moved / 2


def test_from_a_kept_prefix_a_run_resumes_to_the_same_bytes(tmp_path):
    """Stopped in the middle of an epoch, it goes on from the cache as if it had never stopped."""
    whole = small_training(tmp_path / "whole", scope="late:1", cache=tmp_path / "cache")
    train(whole)
    asked = iter([False] * 4 + [True])
    stopped = small_training(
        tmp_path / "half", scope="late:1", cache=tmp_path / "other", stop=lambda: next(asked, True)
    )
    train(stopped)
    assert not _same(weights(whole), weights(stopped))
    resumed = small_training(tmp_path / "half", scope="late:1", cache=tmp_path / "other")
    train(resumed, resume=True)
    assert _same(weights(whole), weights(resumed))


def test_a_pass_without_an_object_is_told(tmp_path):
    """All of three pixels by three: the run ends with what to do, rather than as one in which nothing helped."""
    speck = np.zeros((48, 64), dtype=bool)
    speck[20:23, 20:23] = True
    specks = Dataset.of([replace(one, objects=(RunLengths.encode(speck),), labels=("dot",)) for one in discs(6)])
    job = small_training(tmp_path)
    source = replace(job.batches.source, dataset=specks)
    with pytest.raises(DataError, match="not one object to train on"):
        train(replace(job, batches=BatchSource(source, job.recipe, job.processes)))
    # A short epoch of sparse data may have none.
    recipe = small_recipe(epochs=1, epoch_steps=1)
    job = small_training(tmp_path / "short", recipe=recipe)
    train(replace(job, batches=BatchSource(source, recipe, job.processes)))


def _count_images(module, monkeypatch):
    counts, forward = [], module.forward

    def counted(tokens):
        counts.append(len(tokens))
        return forward(tokens)

    monkeypatch.setattr(module, "forward", counted)
    return counts


def _count_encodes(job, monkeypatch):
    counts, encode = [], job.model.encode

    def counted(pixels, frames):
        counts.append(len(pixels))
        return encode(pixels, frames)

    monkeypatch.setattr(job.model, "encode", counted)
    return counts


def test_the_best_epoch_is_kept_and_a_worse_model_is_not(tmp_path):
    """Scores decide: the best epoch's weights are kept, and nothing is crowned that does not beat epoch 0."""
    scores = iter([0.5, 0.4, 0.7, 0.6])
    job = small_training(tmp_path, recipe=small_recipe(epochs=3), validate=lambda: {"box": {"iou": next(scores)}})
    state = train(job)
    assert (state.best_epoch, state.best_score, state.pretrained_score) == (2, 0.7, 0.5)
    assert job.checkpoints.load("best").values == {"epoch": 2, "score": 0.7}


def test_the_best_tuned_weights_stay_though_nothing_is_crowned(tmp_path):
    """No epoch beats epoch 0: none is the best, and the checkpoint "best" is the least bad one of those tuned."""
    worse = iter([0.5, 0.3, 0.45, 0.4])
    recipe = small_recipe(epochs=3)
    job = small_training(tmp_path, recipe=recipe, validate=lambda: {"box": {"iou": next(worse)}})
    state = train(job)
    assert (state.best_epoch, state.best_score, state.tuned_score) == (0, 0.5, 0.45)
    assert job.checkpoints.load("best").values == {"epoch": 2, "score": 0.45}


def test_what_has_to_be_beaten_may_be_another_than_the_model_as_it_came(tmp_path):
    """A model brought to another side does worse until it is tuned; the pretrained one is scored as it is."""
    scores = iter([0.4, 0.45])
    job = small_training(
        tmp_path, validate=lambda: {"box": {"iou": next(scores)}}, validate_start=lambda: {"box": {"iou": 0.5}}
    )
    state = train(job)
    assert (state.best_epoch, state.pretrained_score, state.tuned_score) == (0, 0.5, 0.45)
    assert [event["score"] for event in _events(tmp_path, "epoch")] == [0.5, 0.4, 0.45]


def test_a_stop_that_is_asked_when_all_is_done_stops_nothing(tmp_path):
    """During the last validation: the training is whole, and says so; during an earlier one it is not."""
    asked = []

    def validated_then_asked(epoch):
        def validate():
            asked.append(len(asked) == epoch)
            return {"box": {"iou": 0.5 + len(asked) / 10}}

        return validate

    for epoch, stopped in ((2, False), (1, True)):
        asked.clear()
        job = small_training(tmp_path / str(epoch), validate=validated_then_asked(epoch), stop=lambda: any(asked))
        assert train(job).stopped == stopped


def test_the_best_weights_are_told_as_what_they_are_after_a_kill_and_a_stop(tmp_path, monkeypatch):
    """Killed with the best of epoch 2 written and the state not; taken up, and stopped before that epoch's end."""
    scores, recipe = iter([0.5, 0.6, 0.7]), small_recipe(epochs=3, checkpoint_steps=100)
    job = small_training(tmp_path, recipe=recipe, validate=lambda: {"box": {"iou": next(scores)}})
    saved = job.checkpoints.save

    def dying(name, *given):
        saved(name, *given)
        if name == "best" and given[-1]["epoch"] == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(job.checkpoints, "save", dying)
    with pytest.raises(KeyboardInterrupt):
        train(job)
    resumed = small_training(tmp_path, recipe=recipe, stop=lambda: True)
    state = train(resumed, resume=True)
    assert resumed.checkpoints.load("best").values == {"epoch": 2, "score": 0.7}
    assert (state.epoch, state.stopped, state.best_epoch, state.best_score) == (2, True, 2, 0.7)
    told = read_log(tmp_path / "log.jsonl")
    assert told is not None
    assert (told.best.number, told.best.score) == (2, 0.7)
    # Gone on with, the epoch is done again and judged as if nothing had been.
    scores = iter([0.7, 0.65])
    whole = small_training(tmp_path, recipe=recipe, validate=lambda: {"box": {"iou": next(scores)}})
    state = train(whole, resume=True)
    assert (state.epoch, state.best_epoch, state.best_score, state.stale) == (4, 2, 0.7, 1)


def test_the_average_of_the_weights_is_judged_and_kept(tmp_path):
    """Training goes on from its own weights as without it; what is validated, kept and left at the end is the mean."""
    plain = small_training(tmp_path / "plain")
    train(plain)
    judged = []
    averaging = small_recipe(optimizer=small_recipe().optimizer.model_copy(update={"ema": 0.9}))
    job = small_training(tmp_path / "mean", recipe=averaging)
    job = replace(job, validate=lambda: judged.append(weights(job)) or {"box": {"iou": 0.1 * len(judged)}})
    moved, steps = [], loop.Optimizers.step

    def step(optimizer, number):
        steps(optimizer, number)
        moved.append(weights(job))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.Optimizers, "step", step)
        train(job)
    assert all(torch.equal(value, weights(plain)[name]) for name, value in moved[-1].items())
    name = "mask_decoder.iou_token.weight"
    mean = moved[0][name]
    for number, after in enumerate(moved[1:], start=1):
        mean = mean.lerp(after[name], 1 - min(0.9, (number + 1) / (number + 10)))
    assert torch.allclose(judged[-1][name], mean, atol=1e-7)
    assert not torch.allclose(moved[-1][name], mean, atol=1e-5)
    assert torch.equal(job.checkpoints.load("best").tensors["weights"][name], judged[-1][name])
    assert torch.equal(weights(job)[name], judged[-1][name])
    assert torch.equal(job.checkpoints.load("last").tensors["weights"][name], moved[-1][name])


def test_patience_ends_a_run(tmp_path):
    """After two epochs without a better score the third is not begun."""
    scores = iter([0.5, 0.6, 0.5, 0.5, 0.9])
    recipe = small_recipe(epochs=4, patience=2)
    state = train(small_training(tmp_path, recipe=recipe, validate=lambda: {"box": {"iou": next(scores)}}))
    assert (state.best_epoch, state.epoch) == (1, 4)


def test_patience_waits_for_a_fit_that_climbs_from_below(tmp_path):
    """Each epoch is better than the one before, if worse than the pretrained model: the last beats it."""
    scores = iter([0.5, 0.1, 0.2, 0.3, 0.4, 0.45, 0.6])
    optimizer = OptimizerRecipe(batch=4, micro_batch=2, warmup_steps=1)
    recipe = small_recipe(epochs=6, patience=2, optimizer=optimizer)
    state = train(small_training(tmp_path, recipe=recipe, validate=lambda: {"box": {"iou": next(scores)}}))
    assert (state.best_epoch, state.best_score, state.stale) == (6, 0.6, 0)


def test_patience_does_not_run_out_while_the_rate_rises(tmp_path):
    """Of six epochs of three steps the warm-up takes three: patience begins with the fourth."""
    scores = iter([0.5] + 6 * [0.4])
    recipe = small_recipe(epochs=6, patience=2, optimizer=OptimizerRecipe(batch=4, micro_batch=2, warmup_steps=50))
    state = train(small_training(tmp_path, recipe=recipe, validate=lambda: {"box": {"iou": next(scores)}}))
    assert (state.step, state.stale, state.best_epoch) == (15, 2, 0)


def test_a_gradient_that_is_not_finite_stops_before_the_step(tmp_path):
    """Weights are never spoiled: the error comes first and says what helps."""
    job = small_training(tmp_path)
    with torch.no_grad():
        job.model.mask_decoder.transformer.layers[0].mlp.lin1.weight.fill_(float("nan"))
    before = weights(job)
    with pytest.raises(ModelError, match="not a finite number"):
        train(job)
    after = weights(job)
    assert all(torch.equal(before[name].nan_to_num(), after[name].nan_to_num()) for name in before)


def test_micro_batches_do_not_change_the_gradient(tmp_path):
    """One image at a time or four at once: the same step to rounding."""
    ends = []
    for micro in (1, 4):
        optimizer = OptimizerRecipe(lr=1e-3, eps=1e-3, batch=4, micro_batch=micro, warmup_steps=1)
        job = small_training(tmp_path / str(micro), recipe=small_recipe(epochs=1, optimizer=optimizer))
        train(job)
        ends.append(weights(job))
    assert all((ends[0][name] - ends[1][name]).abs().max() < 2e-5 for name in ends[0])


def test_weights_of_other_settings_are_refused(tmp_path):
    """A checkpoint of another scope is an error that names a parameter."""
    decoder, whole = small_training(tmp_path, scope="decoder"), small_training(tmp_path)
    with pytest.raises(ModelError, match="differ, the first is"):
        load_trained_weights(whole.model, {n: p for n, p in decoder.model.named_parameters() if p.requires_grad})


def _train_in_process(rank, world, folder, store, options):
    os.environ["OMP_NUM_THREADS"] = "1"
    sys.path.insert(0, str(HERE))
    import torch.distributed as dist
    from small import small_training

    from segtune.training.processes import Processes

    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    job = small_training(Path(folder), images=7, recipe=_calm_recipe(), processes=Processes(rank, world), **options)
    train(job)
    _add_up_gradients(Processes(rank, world))
    if rank == 0:
        torch.save(weights(job), Path(folder) / "weights.pt")
    dist.barrier()  # as `joined` does
    dist.destroy_process_group()


def _add_up_gradients(processes):
    """What one process reached counts for all; what none reached keeps no gradient, or the optimizer would move it."""
    reached, unreached = (torch.nn.Parameter(torch.zeros(3)) for _ in range(2))
    if processes.is_first:
        reached.grad = torch.full((3,), 2.0)
    processes.sum_gradients([reached, unreached])
    assert reached.grad.tolist() == [2.0, 2.0, 2.0]
    assert unreached.grad is None


def _calm_recipe():
    # AdamW's first steps have the size of lr whatever the gradient's; where a gradient is all rounding, so is its sign.
    optimizer = OptimizerRecipe(lr=1e-3, eps=1e-3, batch=4, micro_batch=2, warmup_steps=1)
    return small_recipe(optimizer=optimizer)


@pytest.mark.parametrize("scope", ["full", "late:1"])
def test_two_processes_train_as_one_does(tmp_path, scope):
    """Two gloo processes with unequal numbers of objects reach the same weights as one with the same global batch."""
    # Seven images: the last step has three, so the second process has fewer; discs differ in number anyway. Both
    # processes fill one cache.
    options = [{"scope": scope} | ({} if scope == "full" else {"cache": tmp_path / each}) for each in ("one", "two")]
    alone = small_training(tmp_path / "alone", images=7, recipe=_calm_recipe(), **options[0])
    train(alone)
    (tmp_path / "both").mkdir()
    arguments = (2, str(tmp_path / "both"), str(tmp_path / "store"), options[1])
    torch.multiprocessing.spawn(_train_in_process, arguments, nprocs=2)
    both = torch.load(tmp_path / "both" / "weights.pt", weights_only=True)
    worst = max((both[name] - value).abs().max().item() for name, value in weights(alone).items())
    assert worst < 1e-5
    assert _steps(tmp_path / "both") == [
        (step, pytest.approx(loss, abs=1e-5)) for step, loss in _steps(tmp_path / "alone")
    ]


def test_no_object_in_a_step_is_no_harm(tmp_path):
    """Images whose objects are all too small to prompt give a step without gradients, not a crash."""
    prompts = PromptRecipe(objects_per_image=1, corrections=0, refinements=0)
    recipe = small_recipe(epochs=1, epoch_steps=2, prompts=prompts)
    job = small_training(tmp_path, recipe=recipe)
    object.__setattr__(job.batches.source, "dataset", _without_objects(job.batches.source.dataset))
    before = weights(job)
    train(job)
    assert _same(before, weights(job))


def _without_objects(dataset):
    from dataclasses import replace

    return type(dataset).of([replace(sample, objects=(), labels=()) for sample in dataset])
