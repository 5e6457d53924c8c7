"""Every family of models through the real command line: tuned, measured, used, opened again."""

from __future__ import annotations

import json

import pytest
import torch
from disc_data import CROWNS, blank, write_discs

from segtune.adapters.parts import part_prefixes
from segtune.core.errors import MissingExtraError
from segtune.models import FAMILIES
from segtune.models.open import open_model
from segtune.models.save import RECORD, save_model
from segtune.segment.session import Session
from segtune.training.checkpoints import CheckpointFolder


@pytest.fixture(scope="module", params=sorted(set(FAMILIES) - {"sam"}))  # the other tests here are of "sam"
def base(request, tmp_path_factory):
    """A small random base of each family, as a local folder."""
    folder = tmp_path_factory.mktemp("bases") / request.param
    try:
        model = FAMILIES[request.param].tiny(torch.Generator().manual_seed(0))
    except MissingExtraError as error:
        pytest.skip(str(error))
    save_model(model, folder)
    return folder


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    return write_discs(tmp_path_factory.mktemp("few") / "discs", 8)


def test_a_family_from_fit_to_reopened(answer, segtune, base, few, tmp_path):
    """All of a base is tuned and crowned; the result opens to what was learned, is measured and segments."""
    save_model(blank(open_model(base)), tmp_path / "blank")
    base, run = tmp_path / "blank", tmp_path / "run"
    code, _, err = segtune("fit", few, "--out", run, "--model", base, "--train", "full", "--epochs", "8", *CROWNS)
    assert code == 0, err
    scores = json.loads((run / "run.json").read_text())["training"]
    assert scores["pretrained_validation_score"] == 0  # so that being crowned hangs on no decimal
    assert scores["validation_score"] > 0.05
    before, after = open_model(base), open_model(run)
    assert type(after) is type(before)
    assert after.preparation == before.preparation
    assert_learned(before, after, CheckpointFolder(run / "checkpoints").load("best").tensors["weights"])
    code, _ = answer("evaluate", run, few, "--out", tmp_path / "matrix", "--modes", "click,box,everything")
    assert code == 0
    code, facts = answer("segment", run, few / "images", "--out", tmp_path / "masks", "--boxes", "10,10,50,40")
    assert (code, facts["done"]) == (0, 8)
    code, facts = answer("segment", run, few / "images" / "003.png", "--out", tmp_path / "all", "--everything")
    assert (code, facts["done"]) == (0, 1)
    assert json.loads((run / "model" / "config.json").read_text())["model_type"] in FAMILIES[before.family].model_types


def test_a_phrase_behind_the_name_goes_all_the_way(answer, segtune, few, tmp_path):
    """As published files come, without a word of ours: the phrase is remembered, and each asks for its own."""
    pytest.importorskip("transformers", reason="pip install 'segtune[hf]'")
    base, run = tmp_path / "sam3", tmp_path / "run"
    save_model(blank(FAMILIES["sam3_concepts"].tiny(torch.Generator().manual_seed(0))), base)
    (base / RECORD).unlink()
    code, _, err = segtune("fit", few, "--out", run, "--model", base, *CROWNS)
    assert code == 5
    assert f"Write it behind the model, as in '{base}#polyp'" in err
    code, _, err = segtune("fit", few, "--out", run, "--model", f"{base}#dog", "--epochs", "8", *CROWNS)
    assert code == 0, err
    assert open_model(run).phrase == "dog"
    code, facts = answer("evaluate", run, few, "--against", f"{base}#dog", "--out", tmp_path / "both", "--modes", "box")
    assert code == 0
    rows = json.loads((tmp_path / "both" / "metrics.json").read_text())["rows"]
    assert {"tuned", "pretrained"} <= {row["model"] for row in rows}
    code, facts = answer("evaluate", f"{run}#god", few, "--out", tmp_path / "god", "--modes", "box")
    assert code == 0
    images = few / "images" / "003.png"
    (tmp_path / "asked.json").write_text('{"003.png": [{"text": "god"}, {"text": "dog", "box": [10, 10, 50, 40]}]}')
    code, facts = answer("segment", run, images, "--out", tmp_path / "asked", "--prompts", tmp_path / "asked.json")
    assert (code, facts["masks"]) == (0, 2)
    words = ("--text", "god", "--detector", run / "model", "--text-threshold", "0")
    code, facts = answer("segment", run, images, "--out", tmp_path / "text", *words)
    assert code == 0


def test_an_adapter_on_a_family_is_used_like_any_model(answer, segtune, base, few, tmp_path):
    """LoRA in the encoder beside the whole decoder: what was saved alone is scored, counted in clicks and blended."""
    pytest.importorskip("peft", reason="pip install 'segtune[peft]'")
    save_model(blank(open_model(base)), tmp_path / "blank")
    # EdgeTAM's encoder is of convolutions alone.
    run = tmp_path / "run"
    way = "lora:r=2,in=decoder" if base.name == "edgetam" else "lora:r=2,in=encoder,whole=decoder"
    code, _, err = segtune(
        "fit", few, "--out", run, "--model", tmp_path / "blank", "--train", way, "--epochs", "8", *CROWNS
    )
    assert code == 0, err
    code, _ = answer("evaluate", run / "adapter", few, "--out", tmp_path / "matrix", "--modes", "box")
    assert code == 0
    code, _ = answer("clicks", run, few, "--out", tmp_path / "clicks", "--clicks", "2")
    assert code == 0
    code, _ = answer("blend", run, "--out", tmp_path / "half", "--alpha", ".5", "--general", "suite")
    assert code == 0
    whole, half = open_model(run).state_dict(), open_model(tmp_path / "half").state_dict()
    assert set(whole) == set(half)
    assert any(not torch.equal(whole[name], half[name]) for name in whole)


def assert_learned(before, after, learned):
    """The opened model has what training ended with, bit for bit, and none of its parts is the base's."""
    assert set(learned) == {name for name, _ in after.named_parameters()}
    opened, base = after.state_dict(), before.state_dict()
    assert set(opened) == set(base)
    assert not [name for name, value in opened.items() if not torch.equal(value, learned.get(name, base[name]))]
    for prefix in part_prefixes(after, ("encoder", "prompt", "decoder")):
        assert any(not torch.equal(base[name], learned[name]) for name in learned if name.startswith(prefix)), prefix


def test_a_saved_embedding_answers_alike(base, few, tmp_path):
    """A session opened from its saved embedding, with all its maps, gives the same masks."""
    model = open_model(base)
    session = Session(model, few / "images" / "003.png")
    session.save(tmp_path / "one.safetensors")
    again = Session.load(model, tmp_path / "one.safetensors")
    for one, other in zip(
        session.segment(points=[(30, 20)]).masks, again.segment(points=[(30, 20)]).masks, strict=True
    ):
        assert (one.array == other.array).all()
