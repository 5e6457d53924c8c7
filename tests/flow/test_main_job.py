"""The main job through the real command line: check, fit, evaluate, report."""

import json

import pytest
import torch
import yaml
from disc_data import SMALL, write_discs
from safetensors.torch import load_file

from segtune.core.errors import NOT_CROWNED
from segtune.models.open import open_model

MODES = ["click", "random_click", "clicks3", "clicks5", "box", "loose_box", "point_box", "mask"]


@pytest.fixture(scope="module")
def run(tmp_path_factory, discs, micro):
    """A finished run of several epochs on discs."""
    from segtune.cli import main

    folder = tmp_path_factory.mktemp("runs") / "discs"
    code = main(
        ["fit", str(discs), "--out", str(folder), "--model", str(micro), "--train", "full", "--epochs", "14", *SMALL]
    )
    return code, folder


def test_fit_leaves_a_whole_run_folder(run):
    """Every file a run folder promises is there, and the tuned model beat the base."""
    code, folder = run
    assert code == 0
    for name in (
        "settings.yaml", "split.json", "check.json", "log.jsonl", "checkpoints", "model/config.json",
        "model/model.safetensors", "model/preprocessor_config.json", "model/segtune.json", "metrics.json",
        "per_image.csv", "report.html", "report.md", "run.json", "fingerprints.safetensors", "labels_to_review.csv",
    ):  # fmt: skip
        assert (folder / name).exists(), name
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["schema"] == 1
    assert metrics["crowned"] is True
    assert {row["mode"] for row in metrics["rows"]} == set(MODES)
    assert {row["model"] for row in metrics["rows"]} == {"pretrained", "tuned", "baseline:box", "baseline:ellipse"}
    gains = {d["mode"]: d for d in metrics["differences"] if d["metric"] == "iou" and d["against"] == "pretrained"}
    assert gains["box"]["mean"] > 0


def test_settings_tell_their_origin(run):
    """Each value in settings.yaml says where it came from."""
    settings = yaml.safe_load((run[1] / "settings.yaml").read_text())
    assert settings["training.epochs"] == {"value": 14, "origin": "command line"}
    assert settings["training.optimizer.lr"] == {"value": 2e-3, "origin": "--set"}
    assert settings["training.optimizer.weight_decay"]["origin"] == "default"


def test_transformers_opens_the_result(run):
    """`SamModel.from_pretrained(RUN/model)` finds exactly its own keys."""
    transformers = pytest.importorskip("transformers")
    model, info = transformers.SamModel.from_pretrained(run[1] / "model", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    ours = open_model(run[1])
    pixels = torch.rand(1, 3, ours.side, ours.side)
    with torch.no_grad():
        theirs = model.get_image_embeddings(pixels)
        features = ours.encode(pixels, (ours.frame((ours.side, ours.side)),)).features
    assert (theirs - features).abs().max() < 1e-4


def test_the_split_has_all_images_once(run, discs):
    """Train, validation and test share no image and leave none out."""
    split = json.loads((run[1] / "split.json").read_text())
    names = [*split["train"], *split["val"], *split["test"]]
    assert len(names) == len(set(names)) == 30
    assert all(split[part] for part in ("train", "val", "test"))


def test_evaluate_scores_the_runs_own_test_part(run, discs, micro, tmp_path, answer):
    """Without a split, a run on this data is scored on its stored test part, and gives the figures of the fit."""
    code, found = answer("evaluate", run[1], discs, "--out", tmp_path / "e", "--against", micro, "--modes", "box,click")
    assert code == 0
    fitted = {
        (r["model"], r["mode"], r["metric"]): r for r in json.loads((run[1] / "metrics.json").read_text())["rows"]
    }
    for row in found["rows"]:
        name = {"micro": "pretrained"}.get(row["model"], row["model"])
        assert row["mean"] == pytest.approx(fitted[name, row["mode"], row["metric"]]["mean"], abs=1e-6)
    assert found["data"]["part"] == "test"
    assert (tmp_path / "e" / "report.html").exists()


def test_training_images_are_left_out_of_other_data(run, discs, tmp_path, answer):
    """A folder that holds the run's training images and new ones is scored on the new ones, and says so."""
    import shutil

    data = write_discs(tmp_path / "new", 6, seed=5)
    split = json.loads((run[1] / "split.json").read_text())
    for number, name in enumerate(split["train"][:4]):
        stem = name.rsplit("/", 1)[-1]
        shutil.copy(discs / "images" / stem, data / "images" / f"old{number}.png")
        shutil.copy(discs / "masks" / stem, data / "masks" / f"old{number}.png")
    _, found = answer("evaluate", run[1], data, "--out", tmp_path / "e", "--modes", "box")
    assert found["data"]["left_out"]["images"] == 4
    assert found["data"]["images"] == 6


def test_a_named_part_is_scored_with_a_warning(run, discs, tmp_path, answer):
    """--part train scores training images, counts them, and the report says so in red."""
    _, found = answer("evaluate", run[1], discs, "--out", tmp_path / "e", "--modes", "box", "--part", "train")
    assert found["data"]["leaks"] == len(json.loads((run[1] / "split.json").read_text())["train"]) > 10
    assert 'class="alarm"' in (tmp_path / "e" / "report.html").read_text()


def test_report_is_written_anew(run, segtune):
    """`segtune report` needs nothing but the folder."""
    (run[1] / "report.html").unlink()
    code, out, _ = segtune("report", run[1])
    assert code == 0
    assert "report.html" in out
    assert (run[1] / "report.html").exists()


def test_nothing_is_crowned_that_is_not_better(discs, micro, tmp_path, answer):
    """A learning rate near zero cannot win: the pretrained weights are kept and the exit code is 3."""
    words = ("fit", discs, "--out", tmp_path / "run", "--model", micro, "--train", "decoder", "--epochs", "1")
    code, found = answer(*words, *SMALL, "--set", "lr=1e-30", "--set", f"cache.folder={tmp_path / 'cache'}")
    assert code == NOT_CROWNED
    assert found["crowned"] is False
    base, kept = load_file(micro / "model.safetensors"), load_file(tmp_path / "run" / "model" / "model.safetensors")
    assert all(torch.equal(base[name], kept[name]) for name in base)


def test_resume_after_the_end_changes_nothing(run, discs, micro, answer):
    """A finished run taken up again trains no further and gives the same model."""
    before = (run[1] / "model" / "model.safetensors").read_bytes()
    words = ("fit", discs, "--out", run[1], "--model", micro, "--train", "full", "--epochs", "14", *SMALL)
    code, _ = answer(*words, "--resume")
    assert code == 0
    assert (run[1] / "model" / "model.safetensors").read_bytes() == before


def test_a_run_is_not_overwritten(run, discs, segtune):
    """A second fit into the same folder is refused, and nothing in it is touched."""
    before = (run[1] / "settings.yaml").read_bytes()
    code, _, err = segtune("fit", discs, "--out", run[1])
    assert code == 2
    assert "already holds a run" in err
    assert (run[1] / "settings.yaml").read_bytes() == before


def test_other_settings_on_resume_are_refused(run, discs, segtune):
    """--resume goes on with what the run was started with."""
    code, _, err = segtune("fit", discs, "--out", run[1], "--epochs", "99", "--resume")
    assert code == 2
    assert "training.epochs = 14" in err


def test_the_encoders_precision_is_settled_by_measuring(run, discs, micro, tmp_path, answer):
    """An encoder that trains stays in fp32; a frozen one is bf16 when asked for, and the record says why."""
    assert json.loads((run[1] / "run.json").read_text())["encoder_precision"]["precision"] == "fp32"
    words = ("fit", discs, "--out", tmp_path / "run", "--model", micro, "--preset", "slides", "--epochs", "1", *SMALL)
    answer(*words, "--set", "encoder_precision=bf16", "--set", f"cache.folder={tmp_path / 'cache'}")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["encoder_precision"] == {"precision": "bf16", "agreement": None, "reason": "It was asked for."}
