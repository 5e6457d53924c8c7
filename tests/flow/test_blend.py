"""Forgetting and its remedies through the real command line: fit, blend, evaluate the blend."""

import json

import pytest
from disc_data import SMALL
from safetensors.torch import load_file

from segtune.core.errors import INTERRUPTED, NOT_CROWNED
from segtune.evaluation.blending import measure_curve
from segtune.runs.settings import load_settings

FEW = ("--set", "evaluation.modes=[click,box]", "--set", "validation.modes=[click,box]", "--set",
       "evaluation.general_modes=[click,box]")  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory, discs, micro):
    """A run that gained something."""
    from segtune.cli import main

    folder = tmp_path_factory.mktemp("runs") / "discs"
    words = ["fit", str(discs), "--out", str(folder), "--model", str(micro), "--train", "full", "--epochs", "14"]
    assert main([*words, *SMALL, *FEW]) == 0
    return folder


def test_every_fit_tells_what_was_forgotten(run):
    """Pretrained and tuned on drawn scenes, with intervals, in metrics.json and the report."""
    general = json.loads((run / "metrics.json").read_text())["general"]
    assert general["source"] == "drawn suite"
    assert general["images"] == 2
    assert {(one["model"], one["mode"]) for one in general["rows"]} == {
        (model, mode) for model in ("pretrained", "tuned") for mode in ("click", "box")
    }
    assert all(one["low"] is not None for one in general["differences"])
    assert 'id="general"' in (run / "report.html").read_text()


def test_the_remedies_are_at_work_in_a_fit(discs, micro, tmp_path, segtune):
    """By settings, with a frozen encoder whose cache serves drawn scenes too; the log tells each term."""
    held = ("rehearsal.share=0.2", "rehearsal.images=4", "keep.distill=.1", "keep.l2_start=.1", "validation.images=2",
            "evaluation.modes=[box]", "validation.modes=[box]", f"cache.folder={tmp_path / 'cache'}")  # fmt: skip
    words = ("fit", discs, "--out", tmp_path / "run", "--model", micro, "--train", "decoder", "--epochs", "1", *SMALL)
    code, _, err = segtune(*words, *(word for one in held for word in ("--set", one)))
    assert code in (0, NOT_CROWNED), err
    events = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    steps = [event for event in events if event["event"] == "step"]
    assert steps[0]["distill"] < 1e-6
    assert steps[0]["l2_start"] == 0
    assert steps[-1]["distill"] > 0
    assert steps[-1]["l2_start"] > 0


def test_a_blend_is_chosen_scored_and_used(run, discs, micro, tmp_path, answer):
    """A model between the two, whose curve, choice and test figures are written, and nothing in the run."""
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    out = tmp_path / "blend"
    code, found = answer("blend", run, "--out", out, "--alphas", ".5")
    assert code == 0
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
    told = json.loads((out / "blend.json").read_text())
    assert [one["alpha"] for one in told["curve"]] == [0, 0.5, 1]
    assert found["alpha"] == told["alpha"]
    record = json.loads((out / "model" / "segtune.json").read_text())
    assert record["blend"]["base"] == str(micro)
    metrics = json.loads((out / "metrics.json").read_text())
    assert {one["model"] for one in metrics["general"]["differences"]} == {"tuned", "blended"}
    assert "Between the pretrained and the tuned model" in (out / "report.html").read_text()
    # Though the tuned model stands beside it, what is calibrated is the model that the folder holds.
    judged = {one["model"]: one["ece"] for one in metrics["calibration"] if one["mode"] == "all"}
    code, told = answer("calibrate", out, "--only", "quality", "--images", "4")
    assert code == 0
    assert told["test"]["before"]["ece"] == pytest.approx(judged["blended"], abs=1e-5)
    code, again = answer("evaluate", out, discs, "--out", tmp_path / "e", "--modes", "box")
    assert code == 0
    assert again["data"]["part"] == "test"
    rows = {(one["model"], one["mode"], one["metric"]): one["mean"] for one in metrics["rows"]}
    assert again["rows"][0]["mean"] == pytest.approx(rows["blended", "box", "iou"], abs=1e-6)


def test_a_share_may_be_given(run, micro, tmp_path, answer):
    """Then it is taken; at a quarter each weight lies a quarter of the way."""
    _, found = answer("blend", run, "--out", tmp_path / "blend", "--alpha", ".25")
    assert found["rule"] == "given: 0.25"
    # Of images without TIFFs, bands or a window there is nothing to remember.
    assert json.loads((tmp_path / "blend" / "model" / "segtune.json").read_text())["blend"]["reading"] == {}
    start, end, made = (
        load_file(one / "model.safetensors") for one in (micro, run / "model", tmp_path / "blend/model")
    )
    for name, value in made.items():
        assert (value - (0.75 * start[name] + 0.25 * end[name])).abs().max() < 1e-5


def test_cut_off_in_its_proof_it_goes_on(run, tmp_path, segtune, monkeypatch):
    """With the curve that was measured; asked for something else, it measures anew."""
    words = ("blend", run, "--out", tmp_path / "blend", "--alphas", ".5")
    measured = []

    def counted(*given, **named):
        measured.append(given[2])
        return measure_curve(*given, **named)

    def dies(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("segtune.runs.blend_curve.measure_curve", counted)
    with monkeypatch.context() as patch:
        patch.setattr("segtune.runs.blend.prove", dies)
        assert segtune(*words)[0] == INTERRUPTED
    assert not (tmp_path / "blend" / "metrics.json").exists()
    curve = json.loads((tmp_path / "blend" / "blend.json").read_text())["curve"]
    code, _, err = segtune(*words, "--keep", ".5")
    assert code == 0, err
    assert measured == [(0.5,)]
    assert json.loads((tmp_path / "blend" / "blend.json").read_text())["curve"] == curve
    (tmp_path / "blend" / "blend.json").unlink()  # as of a folder whose curve nobody has kept
    assert segtune(*words[:-1], ".25")[0] == 0
    assert measured == [(0.5,), (0.25,)]


def test_a_fit_from_a_blend_is_set_like_one_from_its_base(tmp_path):
    """What suits nano suits a blend of it."""
    (tmp_path / "blend" / "model").mkdir(parents=True)
    (tmp_path / "blend" / "fingerprints.safetensors").touch()
    (tmp_path / "blend" / "model" / "segtune.json").write_text('{"base": "nano", "blend": {"alpha": 0.5}}')
    for base in (tmp_path / "blend", tmp_path / "blend" / "model"):
        assert load_settings(data="d", out="o", model=str(base)).settings.model.train == "full"


def test_what_cannot_be_blended_is_told(run, micro, tmp_path, segtune):
    """Each in a sentence, before anything is written."""
    for words, code, said in (
        ((run, "--out", run), 2, "folder of a run"),
        ((micro, "--out", tmp_path / "b"), 5, "not a run folder"),
        ((run, "--out", tmp_path / "b", "--alpha", "2"), 2, "between 0 and 1"),
        ((run, "--out", tmp_path / "b", "--alphas", "half"), 2, "--alphas"),
        ((run, "--out", tmp_path / "b", "--general", "none"), 2, "--general suite"),
    ):
        found, _, err = segtune("blend", *words)
        assert found == code, err
        assert said in err
    assert not (tmp_path / "b").exists()
