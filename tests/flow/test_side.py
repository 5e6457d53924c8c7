"""Tuning at another side of the input, through the real command line."""

import json

import pytest
import torch
from disc_data import SMALL

from segtune.adapters.scopes import train_only
from segtune.core.errors import NOT_CROWNED, ModelError
from segtune.models import FAMILIES
from segtune.models.fingerprint import hash_weights
from segtune.models.open import open_model
from segtune.models.save import save_adapter, save_model
from segtune.models.sides import at_side

FEW = ("--set", "evaluation.modes=[click,box]", "--set", "validation.modes=[click,box]", "--set",
       "evaluation.general_modes=[click,box]")  # fmt: skip


def _means(folder, model):
    rows = json.loads((folder / "metrics.json").read_text())["rows"]
    return {row["mode"]: row["mean"] for row in rows if row["model"] == model and row["metric"] == "iou"}


@pytest.fixture
def alone(discs, micro, answer, tmp_path):
    """What the base gives at its own side on a part of a run's images, by prompt mode."""

    def measure(run, part="test"):
        out = tmp_path / f"alone on {part}"
        split = ("--split", run / "split.json", "--part", part)
        code, told = answer("evaluate", micro, discs, *split, "--out", out, "--modes", "click,box")
        assert code == 0, told
        (name,) = {row["model"] for row in json.loads((out / "metrics.json").read_text())["rows"]
                   if not row["model"].startswith("baseline")}  # fmt: skip
        return _means(out, name)

    return measure


def test_a_run_at_a_larger_side(discs, micro, alone, tmp_path, answer):
    """What comes out takes images at that side, is beside the base at its own in each proof, and can be blended."""
    run, blended = tmp_path / "run", tmp_path / "blend"
    words = ("fit", discs, "--out", run, "--model", micro, "--train", "full", "--epochs", "10")
    code, _ = answer(*words, *SMALL, *FEW, "--set", "model.side=96", "--set", "training.keep.distill=.1")
    assert code == 0
    code, found = answer("blend", run, "--out", blended, "--alpha", ".5")
    assert code == 0, found
    assert open_model(run).side == open_model(blended).side == 96
    assert _means(run, "pretrained") == _means(blended, "pretrained") == alone(run)
    # What has to be beaten is the same: enlarged to begin with it does worse, and what mends that is no gain yet.
    epochs = [line for line in map(json.loads, (run / "log.jsonl").open()) if line["event"] == "epoch"]
    assert {mode: values["iou"] for mode, values in epochs[0]["validation"].items()} == alone(run, "val")
    # What is kept is counted from the base at its own side, not from the one that was enlarged to begin with.
    assert found["curve"][0]["gain"]["mean"] != 0


def test_what_is_kept_of_images_is_of_that_side(discs, micro, alone, tmp_path, answer):
    """A frozen encoder's cache serves training; the base, which sees images at its own side, is encoded anew."""
    run, cache = tmp_path / "run", tmp_path / "cache"
    words = ("fit", discs, "--out", run, "--model", micro, "--train", "decoder", "--epochs", "1", *SMALL, *FEW)
    code, told = answer(*words, "--set", "model.side=96", "--set", f"cache.folder={cache}")
    assert code in (0, NOT_CROWNED), told
    assert any(cache.rglob("*.*"))
    # A frozen encoder may run in half precision in a fit.
    assert _means(run, "pretrained") == pytest.approx(alone(run), rel=0.01)


@pytest.mark.parametrize("way", ["lora:r=2,in=encoder,whole=decoder", "conv_lora:r=2,whole=decoder"])
def test_an_adapter_of_that_side(discs, micro, tmp_path, segtune, way):
    """Alone it is put on the base at the side it was trained at, whether or not it can be merged."""
    pytest.importorskip("peft", reason="pip install 'segtune[peft]'")
    run = tmp_path / "run"
    words = ("fit", discs, "--out", run, "--model", micro, "--train", way, "--epochs", "10", *SMALL, *FEW)
    code, _, err = segtune(*words, "--set", "model.side=96", "--set", "training.optimizer.lr=6e-3")
    assert code == 0, err
    whole, alone = open_model(run), open_model(run / "adapter")
    assert whole.side == alone.side == 96
    assert all(torch.allclose(alone.state_dict()[name], value, atol=1e-6) for name, value in whole.state_dict().items())


def _adapter_at(side, base, folder, *, sha256):
    """Write an adapter that was trained on a base at a side, beside that hash; return the adapted model."""
    model = at_side(open_model(base), side)
    adapter = train_only(model, "bias").adapter
    save_adapter(model, adapter, folder, base={"name": str(base), "sha256": sha256})
    return model


def test_a_base_is_known_wherever_it_was_resampled(micro, tmp_path, monkeypatch):
    """Positions resampled on another device differ by rounding: the adapter is known by the base as it was opened."""
    base = open_model(micro)
    _adapter_at(96, micro, tmp_path / "adapter", sha256=hash_weights(base))

    def elsewhere(model, side):
        moved = at_side(model, side)
        with torch.no_grad():
            moved.image_encoder.pos_embed.mul_(1 + 1e-6)
        return moved

    monkeypatch.setattr("segtune.models.open.at_side", elsewhere)
    assert open_model(tmp_path / "adapter").side == 96


def test_an_adapter_written_earlier_is_known_by_the_base_at_its_side(micro, tmp_path):
    """Such a hash is still taken; that of another base is not."""
    _adapter_at(96, micro, tmp_path / "earlier", sha256=hash_weights(at_side(open_model(micro), 96)))
    assert open_model(tmp_path / "earlier").side == 96
    _adapter_at(96, micro, tmp_path / "other", sha256="0" * 64)
    with pytest.raises(ModelError, match="other weights"):
        open_model(tmp_path / "other")


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
