"""Torch's generators: each process's own, the processor's and its GPU's, come back to where they were."""

from __future__ import annotations

import pytest
import torch
from small import small_training, weights

from segtune.training import loop
from segtune.training.generators import gather_generators, set_generators
from segtune.training.loop import train
from segtune.training.processes import Processes

CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")


@pytest.fixture
def gpu(monkeypatch):
    """A generator in place of a GPU's, reached by the functions through which torch reaches that one."""
    generator = torch.Generator()
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: generator.get_state())
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: generator.set_state(state))
    monkeypatch.setattr(torch.cuda, "manual_seed_all", generator.manual_seed)
    return generator


def _draws(gpu):
    return torch.rand(3).tolist(), torch.rand(3, generator=gpu).tolist()


def test_both_generators_of_a_process_come_back(gpu):
    """What they drew after they were kept they draw once more."""
    set_generators({}, Processes(), CUDA, 5)
    _draws(gpu)
    kept = gather_generators(Processes(), CUDA)
    assert set(kept) == {"0", "0.cuda"}
    first = _draws(gpu)
    torch.manual_seed(99)
    set_generators(kept, Processes(), CUDA, 5)
    assert _draws(gpu) == first


def test_of_what_was_not_kept_the_seed_decides(gpu):
    """A new process, or a GPU where there was none, begins as in a run of its own; on the CPU a GPU is left out."""
    _draws(gpu)
    kept = gather_generators(Processes(), CPU)
    assert set(kept) == {"0"}
    expected = torch.rand(3).tolist()
    set_generators(kept, Processes(), CUDA, 5)
    assert _draws(gpu) == (expected, torch.rand(3, generator=torch.Generator().manual_seed(5)).tolist())
    draws = []
    for said in (kept, {}):
        set_generators(said, Processes(1, 2), CUDA, 5)
        draws.append(_draws(gpu))
        _draws(gpu)
    assert draws[0] == draws[1]


def test_each_process_has_its_own(gpu, monkeypatch):
    """All of them are kept, by rank, and none gets another's."""
    states = [{"0": torch.zeros(1), "0.cuda": torch.ones(1)}]
    monkeypatch.setattr(Processes, "gather", lambda self, own: [*states, own])
    kept = gather_generators(Processes(1, 2), CUDA)
    assert set(kept) == {"0", "0.cuda", "1", "1.cuda"}
    first = _draws(gpu)
    set_generators(kept, Processes(1, 2), CUDA, 5)
    assert _draws(gpu) == first


def test_what_a_gpu_draws_is_part_of_an_exact_resume(gpu, tmp_path, monkeypatch):
    """Gradients with noise from the GPU's generator: cut in mid-epoch, a run comes to the same weights."""
    monkeypatch.setattr(loop, "_device_of", lambda model: CUDA)
    step = loop._step

    def noisy(job, optimizer, batches, state):
        with torch.no_grad():
            for parameter in job.model.parameters():
                parameter += 1e-3 * torch.randn(parameter.shape, generator=gpu)
        return step(job, optimizer, batches, state)

    monkeypatch.setattr(loop, "_step", noisy)
    whole = small_training(tmp_path / "whole", images=6)
    train(whole)
    calls = iter(range(100))
    train(small_training(tmp_path / "parts", images=6, stop=lambda: next(calls) == 2))
    gpu.manual_seed(12345)  # another process has drawn nothing yet
    resumed = small_training(tmp_path / "parts", images=6)
    train(resumed, resume=True)
    ends = weights(whole), weights(resumed)
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_draws_on_where_it_was():
    """The same with the real thing."""
    set_generators({}, Processes(), CUDA, 5)
    torch.rand(4, device=CUDA)
    kept = gather_generators(Processes(), CUDA)
    first = torch.rand(4, device=CUDA)
    torch.manual_seed(1)
    set_generators(kept, Processes(), CUDA, 5)
    assert torch.equal(torch.rand(4, device=CUDA), first)
