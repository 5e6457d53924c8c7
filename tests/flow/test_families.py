"""Every family of models through the real command line: tuned, measured, used, opened again."""

from __future__ import annotations

import json

import pytest
import torch
from disc_data import SMALL, write_discs

from segtune.core.errors import NOT_CROWNED, MissingExtraError
from segtune.models import FAMILIES
from segtune.models.open import open_model
from segtune.models.save import save_model
from segtune.segment.session import Session


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
    """A base is tuned for two steps; the result is measured, segments by boxes and everything, and opens again."""
    run = tmp_path / "run"
    code, _, err = segtune(
        "fit", few, "--out", run, "--model", base, "--train", "decoder", "--epochs", "1",
        "--set", "training.optimizer.batch=4", "--set", "training.steps=2", *SMALL,
    )  # fmt: skip
    assert code in (0, NOT_CROWNED), err
    before, after = open_model(base), open_model(run)
    assert type(after) is type(before)
    assert after.preparation == before.preparation
    code, _ = answer("evaluate", run, few, "--out", tmp_path / "matrix", "--modes", "click,box,everything")
    assert code == 0
    code, facts = answer("segment", run, few / "images", "--out", tmp_path / "masks", "--boxes", "10,10,50,40")
    assert (code, facts["done"]) == (0, 8)
    code, facts = answer("segment", run, few / "images" / "003.png", "--out", tmp_path / "all", "--everything")
    assert (code, facts["done"]) == (0, 1)
    assert json.loads((run / "model" / "config.json").read_text())["model_type"] in FAMILIES[before.family].model_types


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
