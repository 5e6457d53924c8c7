"""Where a model computes."""

import pytest
import torch

from segtune.core.errors import UsageError
from segtune.models.device import pick_device


@pytest.fixture
def gpus(monkeypatch):
    """Make torch see so many GPUs."""

    def see(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.delenv("LOCAL_RANK", raising=False)

    return see


def test_a_gpu_is_taken_where_there_is_one(gpus):
    """Auto means the GPU if there is one; a name is taken at its word."""
    gpus(0)
    assert pick_device("auto") == "cpu"
    gpus(2)
    assert pick_device("auto") == "cuda"
    assert pick_device("cpu") == "cpu"
    assert pick_device("cuda:1") == "cuda:1"


def test_each_process_gets_a_gpu_of_its_own(gpus, monkeypatch):
    """Under torchrun the local number of a process is that of its GPU."""
    gpus(4)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert pick_device("auto") == pick_device("cuda") == "cuda:3"
    assert pick_device("cpu") == "cpu"


def test_a_gpu_that_is_not_there(gpus):
    """The error names the remedy."""
    gpus(0)
    with pytest.raises(UsageError, match="device=cpu"):
        pick_device("cuda:0")


def test_a_device_that_nobody_knows(gpus):
    """A name of torch's, and a number there is."""
    gpus(2)
    with pytest.raises(UsageError, match="'gpu' is none that torch knows"):
        pick_device("gpu")
    with pytest.raises(UsageError, match="torch sees 2 here"):
        pick_device("cuda:2")
    with pytest.raises(UsageError, match="'mps' is none that segtune computes on"):
        pick_device("mps")
