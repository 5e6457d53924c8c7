"""Checkpoints are whole or not there."""

import json

import pytest
import torch

from segtune.core.errors import ModelError
from segtune.training.checkpoints import CheckpointFolder


def test_what_was_saved_comes_back(tmp_path):
    """Tensors and values survive bit for bit."""
    folder = CheckpointFolder(tmp_path / "checkpoints")
    weights = {"a": torch.randn(3, 4), "b": torch.tensor([1, 2], dtype=torch.int64)}
    folder.save("last", {"weights": weights}, {"step": 7, "score": 0.1 + 0.2})
    loaded = folder.load("last")
    assert loaded.values == {"step": 7, "score": 0.1 + 0.2}
    assert all(torch.equal(loaded.tensors["weights"][name], value) for name, value in weights.items())


def test_only_the_newest_of_a_name_is_kept(tmp_path):
    """Older checkpoints and half-written ones are cleared away."""
    folder = CheckpointFolder(tmp_path)
    (tmp_path / ".last-dead.tmp").mkdir()
    for step in range(3):
        folder.save("last", {"weights": {"a": torch.full((2,), float(step))}}, {"step": step})
    folder.save("best", {"weights": {"a": torch.ones(2)}}, {})
    assert folder.load("last").values["step"] == 2
    assert sum(place.is_dir() for place in tmp_path.iterdir()) == 2


def test_a_failed_save_leaves_the_one_before(tmp_path):
    """An error while writing (here: a value JSON cannot hold) costs nothing."""
    folder = CheckpointFolder(tmp_path)
    folder.save("last", {"weights": {"a": torch.zeros(2)}}, {"step": 1})
    with pytest.raises(TypeError):
        folder.save("last", {"weights": {"a": torch.ones(2)}}, {"step": object()})
    assert folder.load("last").values["step"] == 1
    assert not list(tmp_path.glob(".*"))


def test_a_damaged_file_is_named(tmp_path):
    """A flipped byte is found by the manifest's hash, before anything is loaded."""
    folder = CheckpointFolder(tmp_path)
    folder.save("last", {"weights": {"a": torch.zeros(100)}}, {})
    place = tmp_path / json.loads((tmp_path / "last.json").read_text())["folder"]
    content = bytearray((place / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (place / "weights.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=r"weights\.safetensors is missing or damaged"):
        folder.load("last")


def test_nothing_to_resume_is_said(tmp_path):
    """Loading from an empty folder is a clear error."""
    with pytest.raises(ModelError, match="no checkpoint 'last'"):
        CheckpointFolder(tmp_path).load("last")


def test_a_pointer_that_was_never_finished_is_no_harm(tmp_path):
    """Killed while the pointer was written: the next save goes on and clears the half file away."""
    folder = CheckpointFolder(tmp_path)
    folder.save("last", {"weights": {"a": torch.zeros(2)}}, {"step": 1})
    (tmp_path / ".last.5d41.tmp.json").write_text("")
    folder.save("last", {"weights": {"a": torch.ones(2)}}, {"step": 2})
    assert folder.load("last").values["step"] == 2
    assert not list(tmp_path.glob(".*"))
