"""Adapters through the real command line: trained, killed, resumed, merged or not, opened alone, and used."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from disc_data import SMALL
from safetensors.torch import load_file

from segtune.models.fingerprint import hash_weights
from segtune.models.open import open_model

FEW_MODES = ("--set", "validation.modes=[box]", "--set", "evaluation.modes=[click,box]")
LEARNS = ("--epochs", "10", *SMALL, *FEW_MODES, "--set", "lr=1e-2")


def fit(answer, discs, micro, run, way):
    """A short fit that beats the random base."""
    words = ("fit", discs, "--out", run, "--model", micro, "--train", way, *LEARNS)
    return answer(*words, "--set", f"cache.folder={run.parent / 'cache'}")


def test_lora_is_merged_and_kept_alone(discs, micro, tmp_path, segtune):
    """The run's model is plain weights that differ where LoRA went; the adapter alone opens to the same model."""
    pytest.importorskip("peft", reason="pip install 'segtune[peft]'")
    run = tmp_path / "run"
    words = ("fit", discs, "--out", run, "--model", micro, "--train", "lora:r=4,in=encoder,whole=decoder", *LEARNS)
    code, _, err = segtune(*words)
    assert code == 0, err
    assert "parameters train" in err
    assert "merged into plain weights" in err
    base, tuned = load_file(micro / "model.safetensors"), load_file(run / "model" / "model.safetensors")
    assert set(base) == set(tuned)
    changed = {name for name in base if not torch.equal(base[name], tuned[name])}
    assert any(name.startswith("vision_encoder.layers") for name in changed)
    assert any(name.startswith("mask_decoder") for name in changed)
    in_encoder = {name for name in changed if name.startswith("vision_encoder")}
    assert not any("norm" in name or name.endswith(".bias") for name in in_encoder)
    assert not any(name.startswith("prompt_encoder") for name in changed)
    record = json.loads((run / "run.json").read_text())
    assert record["model"]["train"] == "lora:r=4,in=encoder,whole=decoder"
    assert record["model"]["parameters_trained"] == sum(
        value.numel() for value in load_file(run / "adapter" / "adapter.safetensors").values()
    )
    assert hash_weights(open_model(run / "adapter")) == hash_weights(open_model(run))
    # Its base moved away: told by name, with the remedy, which works.
    told = json.loads((run / "adapter" / "segtune.json").read_text())
    told["adapter"]["base"]["name"] = str(tmp_path / "gone")
    (run / "adapter" / "segtune.json").write_text(json.dumps(told))
    code, _, err = segtune("evaluate", run / "adapter", discs, "--out", tmp_path / "e", "--modes", "box")
    assert code == 5
    assert "Put the base's own folder as 'base' into the adapter's" in " ".join(err.split())
    shutil.copytree(micro, run / "adapter" / "base")
    assert hash_weights(open_model(run / "adapter")) == hash_weights(open_model(run))


def test_a_part_that_trains_whole_has_a_rate_of_its_own(discs, micro, tmp_path, segtune):
    """As good as none here: the decoder stays where it was while LoRA in the encoder learns."""
    pytest.importorskip("peft", reason="pip install 'segtune[peft]'")
    run, way = tmp_path / "run", "lora:r=4,in=encoder,whole=decoder"
    words = ("fit", discs, "--out", run, "--model", micro, "--train", way, "--epochs", "10", *SMALL, *FEW_MODES)
    code, _, err = segtune(*words, "--set", "lr=1e-2", "--set", "training.optimizer.whole_scale=1e-9")
    assert code == 0, err
    learned = load_file(run / "adapter" / "adapter.safetensors")
    base = open_model(micro).state_dict()
    decoder = {name for name in learned if name in base}
    assert decoder
    assert all(torch.allclose(learned[name], base[name], atol=1e-6) for name in decoder)
    assert any(value.abs().max() > 1e-3 for name, value in learned.items() if "lora_B" in name)


def test_what_cannot_be_merged_is_used_like_any_model(discs, micro, tmp_path, answer, segtune):
    """Bottlenecks in the encoder: the run says that SamModel cannot open them; evaluate, segment and fit can."""
    run = tmp_path / "run"
    words = (
        "fit",
        discs,
        "--out",
        run,
        "--model",
        micro,
        "--train",
        "bottleneck:width=8,in=encoder,whole=decoder",
        *LEARNS,
    )
    code, _, err = segtune(*words)
    assert code == 0, err
    assert "transformers' SamModel cannot" in " ".join(err.split())
    assert not (run / "model" / "config.json").exists()
    _, found = answer("evaluate", run, discs, "--out", tmp_path / "e", "--modes", "box")
    fitted = json.loads((run / "metrics.json").read_text())["rows"]
    scores = {(row["model"], row["metric"]): row["mean"] for row in fitted if row["mode"] == "box"}
    for row in found["rows"]:
        if row["metric"] == "iou" and ("tuned", "iou") in scores and not row["model"].startswith("baseline"):
            assert row["mean"] == pytest.approx(scores["tuned", "iou"], abs=1e-6)
    code, _, err = segtune("segment", run, discs / "images", "--everything", "--out", tmp_path / "masks")
    assert code == 0, err
    # The alone is small, and the same; and its decoder can be tuned further with the adapters in place.
    assert hash_weights(open_model(run / "adapter")) == hash_weights(open_model(run))
    code, found = fit(answer, discs, run, tmp_path / "more", "decoder")
    assert code in (0, 3), found
    assert open_model(tmp_path / "more").attached.spec.startswith("bottleneck:")
    code, _, err = segtune("fit", discs, "--out", tmp_path / "no", "--model", run, "--train", "tokens", *LEARNS)
    assert code == 2
    assert "second adapter" in err
    assert not (tmp_path / "no").exists()
    code, _, err = segtune("blend", run, "--out", tmp_path / "blend")
    assert code == 5
    assert "'bottleneck:" in err
    assert "plain weights cannot express" in " ".join(err.split())
    assert not (tmp_path / "blend").exists()


def test_a_finished_run_with_an_adapter_is_resumed_to_the_same_bytes(discs, micro, tmp_path, answer):
    """Taken up after its end it writes the same model and the same adapter; tokens keep the encoder's cache."""
    run = tmp_path / "run"
    code, found = fit(answer, discs, micro, run, "tokens:4")
    assert code in (0, 3), found
    assert json.loads((run / "run.json").read_text())["cache"]["bytes"] > 0
    before = hash_weights(open_model(run))
    code, _ = answer("fit", discs, "--out", run, "--resume")
    assert code in (0, 3)
    assert hash_weights(open_model(run)) == before


def test_a_mistake_in_train_leaves_no_run(discs, micro, tmp_path, segtune):
    """Told before the data is read, with the nearest; the same folder can be used at once."""
    for way, words in (
        ("lorra", "Did you mean 'lora'"),
        ("lora:rank=4", "Known: alpha"),
        ("late:9", "between 1 and 3"),
    ):
        code, _, err = segtune("fit", discs, "--out", tmp_path / "run", "--model", micro, "--train", way)
        assert code == 2
        assert words in " ".join(err.split())
        assert not (tmp_path / "run").exists()
