"""MobileSAM through the real command line: from an original checkpoint to a tuned one, and everything a base is for."""

import copy
import json

import numpy as np
import pytest
import torch
from disc_data import CROWNS, blank, write_discs

from segtune.cli import main
from segtune.models.open import open_model
from segtune.models.sam.build import build_mobile_sam
from segtune.models.sam.sizes import MOBILE_MICRO
from segtune.models.save import save_model, save_original
from segtune.segment.session import Session
from segtune.training.checkpoints import CheckpointFolder


@pytest.fixture(scope="module")
def mobile():
    """A tiny model with fresh weights."""
    return build_mobile_sam(MOBILE_MICRO, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def empty(mobile):
    """The same, but that its masks are all empty."""
    return blank(copy.deepcopy(mobile))


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """Eight images with a disc each."""
    return write_discs(tmp_path_factory.mktemp("data") / "few", 8)


@pytest.fixture(scope="module")
def run(tmp_path_factory, few, empty):
    """A finished run that trained everything, crowned."""
    folder = tmp_path_factory.mktemp("runs")
    save_model(empty, folder / "base")
    words = ["fit", str(few), "--out", str(folder / "run"), "--model", str(folder / "base"), "--train", "full"]
    assert main([*words, "--epochs", "3", *CROWNS]) == 0
    return folder / "run"


def test_the_whole_way_from_an_original_checkpoint(empty, tmp_path, answer):
    """fit, evaluate, segment and reopen; the result is said to be a checkpoint of the original layout, and is one.

    It holds what was learned.
    """
    few = write_discs(tmp_path / "few", 5)
    save_original(empty, tmp_path / "mobile_sam.pt")
    words = ("fit", few, "--out", tmp_path / "run", "--model", tmp_path / "mobile_sam.pt", "--train", "late:1")
    code, facts = answer(*words, "--epochs", "3", *CROWNS)
    assert code == 0
    assert "original layout of MobileSAM" in facts["layout"]
    record = json.loads((tmp_path / "run" / "run.json").read_text())["model"]
    assert (record["family"], record["layout"]) == ("mobile_sam", facts["layout"])
    code, found = answer("evaluate", tmp_path / "run", few, "--out", tmp_path / "e", "--modes", "box")
    assert code == 0
    assert {row["mode"] for row in found["rows"]} == {"box"}
    code, facts = answer(
        "segment", tmp_path / "run", few / "images" / "000.png", "--out", tmp_path / "m", "--boxes", "9,9,50,40"
    )
    assert (code, facts["images"]) == (0, 1)
    folder, alone = open_model(tmp_path / "run"), open_model(tmp_path / "run" / "model" / "mobile_sam.pt")
    assert folder.side == alone.side == 1024
    assert all(torch.equal(value, alone.state_dict()[name]) for name, value in folder.state_dict().items())
    learned = CheckpointFolder(tmp_path / "run" / "checkpoints").load("best").tensors["weights"]
    expected = empty.state_dict() | learned
    assert not [name for name, value in folder.state_dict().items() if not torch.equal(value, expected[name])]
    assert any(not torch.equal(value, empty.state_dict()[name]) for name, value in learned.items())


def test_a_run_is_tuned_further_with_its_encoder_frozen(run, tmp_path, answer):
    """A run's model is a base again; where the encoder is frozen, its embeddings are kept on disk and read."""
    cache, others = tmp_path / "cache", write_discs(tmp_path / "others", 8, seed=5)
    words = ("fit", others, "--out", tmp_path / "more", "--model", run, "--train", "decoder", "--epochs", "1")
    code, _ = answer(*words, *CROWNS, "--set", f"cache.folder={cache}")
    assert code in (0, 3)
    assert list(cache.rglob("*.safetensors"))
    before, after = open_model(run).state_dict(), open_model(tmp_path / "more").state_dict()
    encoder = [name for name in before if name.startswith("image_encoder.")]
    assert encoder
    assert all(torch.equal(before[name], after[name]) for name in encoder)


def test_the_statistics_are_the_bases(run, mobile):
    """However much was trained, the batch norms' statistics are those the base came with."""
    tuned = open_model(run).state_dict()
    kept = [name for name, _ in mobile.named_buffers() if name in tuned]
    assert kept
    assert all(torch.equal(tuned[name], mobile.state_dict()[name]) for name in kept)


def test_masks_without_prompts(run, few, tmp_path, answer):
    """Everything mode runs on it like on any base."""
    words = ("segment", run, few / "images" / "000.png", "--out", tmp_path / "out", "--everything")
    code, facts = answer(*words, "--set", "points_per_side=4")
    assert (code, facts["images"]) == (0, 1)


def test_a_session_keeps_its_embedding(mobile, tmp_path):
    """An embedding saved by one session answers in another as it did."""
    save_model(mobile, tmp_path / "base")
    image = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    session = Session(tmp_path / "base", image)
    session.save(tmp_path / "kept.safetensors")
    again = Session.load(tmp_path / "base", tmp_path / "kept.safetensors")
    asked = {"points": [(20, 20)], "box": (5, 5, 40, 30)}
    first, second = (each.segment(**asked).mask for each in (session, again))
    assert np.array_equal(first.array, second.array)
