"""Masked images in the one loop: it learns, any number of processes is one, and a resume is exact."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from small import discs, masked_training, small_recipe, weights

from segtune.core.geometry import Frame
from segtune.data.augment import AugmentSettings
from segtune.data.dataset import Dataset
from segtune.data.drawn import drawn_dataset
from segtune.training.loop import train
from segtune.training.masked_images import draw_hidden, patch_losses
from segtune.training.processes import Processes
from segtune.training.recipe import MaskedImageRecipe, OptimizerRecipe

HERE = Path(__file__).parent


def _losses(folder):
    events = map(json.loads, (folder / "log.jsonl").open())
    return [event["loss"] for event in events if event["event"] == "step"]


def _same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("size", "share", "block", "inside", "count"),
    [
        ((64, 64), 0.75, 2, (8, 8), 48),
        ((64, 64), 0.5, 1, (8, 8), 32),
        ((64, 64), 0.01, 2, (8, 8), 4),
        ((64, 64), 0.99, 4, (8, 8), 48),
        ((30, 64), 0.5, 1, (3, 8), 12),
        ((1, 64), 0.5, 1, (1, 8), 4),
    ],
)
def test_a_share_of_whole_blocks_inside_the_image_is_hidden(size, share, block, inside, count):
    """Never all of them, never none, nothing beyond the image, and others for another view."""
    frame, masked = Frame.longest_side(size, 64), MaskedImageRecipe(mask_share=share, block=block)
    hidden = draw_hidden(frame, 8, 8, masked, np.random.default_rng(0))
    assert hidden.sum() == count
    assert not hidden[inside[0] :].any()
    assert not hidden[:, inside[1] :].any()
    if block > 1:
        blocks = hidden.reshape(8 // block, block, 8 // block, block)
        assert np.array_equal(blocks.all(axis=(1, 3)), blocks.any(axis=(1, 3)))
    draws = [draw_hidden(frame, 8, 8, masked, np.random.default_rng(seed)) for seed in range(9)]
    assert np.array_equal(draws[0], hidden)
    assert not all(np.array_equal(draw, hidden) for draw in draws)


def test_each_image_counts_alike_and_each_patch_by_its_own_contrast():
    """The loss is nothing for the normalised truth, whatever the patch's brightness; a mean over hidden patches."""
    patches = torch.randn(2, 2, 2, 12, generator=torch.Generator().manual_seed(0))
    hidden = torch.tensor([[[True, True], [True, False]], [[False, False], [False, True]]])
    truth = patches[hidden]
    truth = (truth - truth.mean(1, keepdim=True)) / truth.std(1, keepdim=True)
    brighter = patches * 9 + 4
    torch.testing.assert_close(patch_losses(truth, brighter, hidden), torch.zeros(2), rtol=0, atol=1e-5)
    wrong = truth.clone()
    wrong[0] += 3
    torch.testing.assert_close(patch_losses(wrong, brighter, hidden), torch.tensor([1.0, 0.0]), rtol=0, atol=1e-5)
    flat = torch.zeros(2, 2, 2, 12)
    assert torch.isfinite(patch_losses(truth, flat, hidden)).all()


def test_training_lowers_the_loss(tmp_path):
    """Some dozens of steps on drawn scenes bring it below what the mean of each patch answers, where it begins."""
    optimizer = OptimizerRecipe(lr=3e-3, batch=8, micro_batch=8, warmup_steps=2, layer_decay=1.0)
    recipe = small_recipe(epochs=20, checkpoint_steps=100, optimizer=optimizer)
    masked, plain = MaskedImageRecipe(mask_share=0.25, block=1), AugmentSettings.none()
    scenes = Dataset.of(drawn_dataset(16, side=64))
    train(masked_training(tmp_path, images=scenes, augment=plain, masked=masked, recipe=recipe))
    losses = _losses(tmp_path)
    assert np.mean(losses[-4:]) < 0.965 * np.mean(losses[:4])


@pytest.mark.parametrize("after_steps", [1, 4])
def test_kill_minus_nine_costs_nothing(tmp_path, after_steps):
    """Killed at any step, with no chance to save, it resumes to the same bytes and the same log."""
    whole = masked_training(tmp_path / "whole")
    train(whole)
    script = (
        "import os, sys\n"
        f"sys.path.insert(0, {str(HERE)!r})\n"
        "from pathlib import Path\n"
        "from small import masked_training\n"
        "from segtune.training.loop import train\n"
        "calls = iter(range(1000))\n"
        f"stop = lambda: os.kill(os.getpid(), 9) if next(calls) == {after_steps} else False\n"
        f"train(masked_training(Path({str(tmp_path / 'killed')!r}), stop=stop))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    resumed = masked_training(tmp_path / "killed")
    train(resumed, resume=True)
    assert _same(weights(whole), weights(resumed))
    assert _losses(tmp_path / "whole") == _losses(tmp_path / "killed")


def _train_in_process(rank, world, folder, store):
    os.environ["OMP_NUM_THREADS"] = "1"
    sys.path.insert(0, str(HERE))
    import torch.distributed as dist
    from small import discs, masked_training

    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    job = masked_training(Path(folder), images=discs(5), recipe=_calm_recipe(), processes=Processes(rank, world))
    train(job)
    if rank == 0:
        torch.save(weights(job), Path(folder) / "weights.pt")
    dist.barrier()  # as `joined` does
    dist.destroy_process_group()


def _calm_recipe():
    # AdamW's first steps have the size of lr whatever the gradient's; where a gradient is all rounding, so is its sign.
    return small_recipe(optimizer=OptimizerRecipe(lr=1e-3, eps=1e-3, batch=4, micro_batch=2, warmup_steps=1))


def test_two_processes_train_as_one_does(tmp_path):
    """Two gloo processes, one of them without an image in the last step, reach the weights of one process."""
    alone = masked_training(tmp_path / "alone", images=discs(5), recipe=_calm_recipe())
    train(alone)
    (tmp_path / "both").mkdir()
    torch.multiprocessing.spawn(_train_in_process, (2, str(tmp_path / "both"), str(tmp_path / "store")), nprocs=2)
    both = torch.load(tmp_path / "both" / "weights.pt", weights_only=True)
    assert max((both[name] - value).abs().max().item() for name, value in weights(alone).items()) < 1e-5
    assert _losses(tmp_path / "both") == [pytest.approx(loss, abs=1e-5) for loss in _losses(tmp_path / "alone")]
