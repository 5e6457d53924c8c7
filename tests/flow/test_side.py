"""Tuning at another side of the input, through the real command line."""

import json

import pytest
import torch
from disc_data import SMALL

from segtune.core.errors import NOT_CROWNED
from segtune.models import FAMILIES
from segtune.models.open import open_model
from segtune.models.save import save_model

FEW = ("--set", "evaluation.modes=[click,box]", "--set", "validation.modes=[click,box]", "--set",
       "evaluation.general_modes=[click,box]")  # fmt: skip


def test_a_run_at_a_larger_side(discs, micro, tmp_path, answer):
    """What comes out takes images at that side, is beside the base at its own in the proof, and can be blended."""
    run = tmp_path / "run"
    words = ("fit", discs, "--out", run, "--model", micro, "--train", "full", "--epochs", "10")
    code, _ = answer(*words, *SMALL, *FEW, "--set", "model.side=96", "--set", "training.keep.distill=.1")
    assert code == 0
    assert open_model(run).side == 96
    code, _ = answer("evaluate", micro, discs, "--split", run / "split.json", "--out", tmp_path / "alone")
    assert code == 0
    scored = [json.loads((folder / "metrics.json").read_text())["rows"] for folder in (run, tmp_path / "alone")]
    before, own = ({(row["mode"], row["metric"]): row["mean"] for row in rows if row["model"] != "tuned"}
                   for rows in scored)  # fmt: skip
    assert before["click", "iou"] == own["click", "iou"]
    code, found = answer("blend", run, "--out", tmp_path / "blend", "--alpha", ".5")
    assert code == 0, found
    assert open_model(tmp_path / "blend").side == 96


def test_cached_embeddings_are_of_that_side(discs, micro, tmp_path, answer):
    """A frozen encoder's cache serves training; the base, which sees images at its own side, is encoded anew."""
    words = ("fit", discs, "--out", tmp_path / "run", "--model", micro, "--train", "decoder", "--epochs", "1", *SMALL)
    code, _ = answer(*words, *FEW, "--set", "model.side=48", "--set", f"cache.folder={tmp_path / 'cache'}")
    assert code in (0, NOT_CROWNED)


@pytest.mark.parametrize("way", ["lora:r=2,in=encoder", "conv_lora:r=2"])
def test_an_adapter_of_that_side(discs, micro, tmp_path, segtune, way):
    """Alone it is put on the base at the side it was trained at, whether or not it can be merged."""
    pytest.importorskip("peft", reason="pip install 'segtune[peft]'")
    run = tmp_path / "run"
    words = ("fit", discs, "--out", run, "--model", micro, "--train", way, "--epochs", "8", *SMALL, *FEW)
    code, _, err = segtune(*words, "--set", "model.side=96")
    assert code == 0, err
    whole, alone = open_model(run), open_model(run / "adapter")
    assert whole.side == alone.side == 96
    assert all(torch.allclose(alone.state_dict()[name], value, atol=1e-6) for name, value in whole.state_dict().items())


@pytest.mark.parametrize(("side", "told"), [(97, "multiple of the patch"), (96, "take images at one side")])
def test_what_cannot_be(discs, micro, tmp_path, segtune, side, told):
    """A side that patches do not fill, and a network that is made for one."""
    base = micro
    if side == 96:
        base = tmp_path / "mobile"
        save_model(FAMILIES["mobile_sam"].tiny(torch.Generator().manual_seed(0)), base)
    code, _, err = segtune("fit", discs, "--out", tmp_path / "run", "--model", base, "--set", f"model.side={side}")
    assert code == 2
    assert told in " ".join(err.split())
    assert not (tmp_path / "run").exists()
