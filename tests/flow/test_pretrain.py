"""`segtune pretrain` as a user types it, and what comes of it in the other commands."""

from __future__ import annotations

import json
import shutil
import signal

import pytest
from disc_data import SMALL, spoil, write_discs

QUICK = (
    "--size", "micro", "--steps", "2", "--set", "optimizer.batch=2", "--set", "micro_batch=2", "--set", "corrections=1",
    "--set", "workers=0", "--set", "validation.images=2", "--set", "validation.modes=[click,box]",
)  # fmt: skip


def test_a_base_of_ones_own_is_tuned_like_any_other(discs, tmp_path, segtune, answer):
    """Scenes and a folder in, a model out; it is trained further, tuned on data, and the matrix compares the two."""
    base = tmp_path / "base"
    code, told = answer("pretrain", "--data", "scenes", "--data", discs, *QUICK, "--out", base)
    assert code == 0, told
    assert told["steps"] == 2
    assert set(told["validation"]) == {"click", "box"}
    assert "thresholds" in told
    code, out, err = segtune("pretrain", *QUICK, "--init", base, "--out", tmp_path / "more", "--set", "data.first=50")
    assert code == 0, err
    assert "2 steps done. On images kept out, mean IoU: click" in out
    assert "Everything mode" in out
    words = ("--model", tmp_path / "more", "--epochs", "1", *SMALL, "--set", "evaluation.modes=[box]")
    data = write_discs(tmp_path / "data", 12, seed=9)
    code, out, err = segtune("fit", data, "--out", tmp_path / "run", *words)
    assert code in (0, 3), err
    rows = json.loads((tmp_path / "run" / "metrics.json").read_text())["rows"]
    assert {"pretrained", "tuned"} <= {row["model"] for row in rows}


def test_what_a_base_has_seen_is_never_tested_on(tmp_path, segtune, answer):
    """Neither of itself, nor of a fit upon it or upon one that went on from it; whoever insists is told of it."""
    seen = write_discs(tmp_path / "seen", 12)
    base, more = tmp_path / "base", tmp_path / "more"
    code, _, err = segtune("pretrain", "--data", seen, *QUICK, "--out", base)
    assert code == 0, err
    code, _, err = segtune("pretrain", *QUICK, "--init", base, "--out", more)
    assert code == 0, err
    for model in (base, base / "model", more):
        code, _, err = segtune("evaluate", model, seen, "--out", tmp_path / "e", "--modes", "box")
        assert (code, "nothing is left for a fair test" in err) == (4, True), err
        code, found = answer("evaluate", model, seen, "--out", tmp_path / "e", "--modes", "box", "--part", "all")
        assert (code, found["data"]["leaks"]) == (0, 12)
    data = write_discs(tmp_path / "data", 12, seed=9)
    for kind in ("images", "masks"):
        for path in (seen / kind).iterdir():
            shutil.copy(path, data / kind / f"old{path.name}")
    words = ("--model", more, "--epochs", "1", *SMALL, "--set", "evaluation.modes=[box]")
    code, _, err = segtune("fit", data, "--out", tmp_path / "run", *words)
    assert code in (0, 3), err
    split = json.loads((tmp_path / "run" / "split.json").read_text())
    assert split["test"]
    assert not [name for name in (*split["val"], *split["test"]) if "old" in name]


def test_a_base_starts_on_images_without_masks(discs, tmp_path, segtune, answer):
    """--init mae as a user types it, on images of another folder than those that train, and --resume at its end."""
    words = ("--init", "mae", *QUICK, "--set", f"mae.sources=[{discs / 'images'}]", "--out", tmp_path / "base")
    code, out, err = segtune("pretrain", *words)
    assert code == 0, err
    assert "A start on images alone" in err
    assert "2 steps done. On images kept out, mean IoU: click" in out
    assert (tmp_path / "base" / "mae" / "log.jsonl").is_file()
    code, told = answer("pretrain", "--resume", "--out", tmp_path / "base")
    assert (code, told["steps"]) == (0, 2)


@pytest.fixture
def stopped(monkeypatch):
    """Somebody asks to stop while a step is done."""
    from segtune.training import loop

    step = loop._step
    monkeypatch.setattr(loop, "_step", lambda *given: signal.raise_signal(signal.SIGTERM) or step(*given))
    return monkeypatch


def test_an_image_that_cannot_be_decoded_stops_nothing(tmp_path, segtune, stopped):
    """It takes no part and is told; what goes bad on the way ends the training with its name, and not with 70."""
    data = write_discs(tmp_path / "discs", 12)
    spoil(data / "images" / "004.png")
    words = ("pretrain", "--data", data, *QUICK, "--set", "workers=1", "--set", "validation.images=1")
    code, _, err = segtune(*words, "--steps", "9", "--out", tmp_path / "base")
    assert code == 130, err
    assert f"Left out of {data}: 1 of 12 images, for they cannot be read (" in err
    assert str(data / "images" / "004.png") in err
    stopped.undo()
    for path in (data / "images").iterdir():
        spoil(path)
    code, _, err = segtune("pretrain", "--resume", "--out", tmp_path / "base")
    assert (code, "cannot be used" in err, "Traceback" in err) == (4, True, False), err


@pytest.mark.usefixtures("stopped")
def test_stopped_in_its_start_a_base_says_so(tmp_path, segtune):
    """The exit code is that of an interrupted command, and the words say what to do."""
    words = ("--init", "mae", *QUICK, "--set", "mae.steps=2", "--out", tmp_path / "base")
    code, out, _ = segtune("pretrain", *words)
    assert (code, "no model yet. Go on with --resume" in out) == (130, True)


def test_mistakes_are_told_in_a_paragraph(tmp_path, segtune):
    """A size there is not, a folder there is not, a run that is there already."""
    code, _, err = segtune("pretrain", *QUICK, "--size", "huge", "--out", tmp_path / "a")
    assert (code, "model.size" in err) == (2, True)
    code, _, err = segtune("pretrain", *QUICK, "--data", tmp_path / "nowhere", "--out", tmp_path / "b")
    assert (code, "does not exist" in err) == (4, True)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "pretraining.yaml").write_text("{}")
    code, _, err = segtune("pretrain", *QUICK, "--out", tmp_path / "c")
    assert (code, "already holds a run" in err) == (2, True)
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("words", "exit_code", "said"),
    [
        (("fit", "DISCS"), 2, "already holds a run"),
        (("fit", "DISCS", "--resume"), 5, "not a run folder"),
        (("pretrain",), 2, "already holds a run"),
        (("evaluate", "nano", "DISCS"), 2, "folder of a run"),
        (("clicks", "nano", "DISCS"), 2, "folder of a run"),
        (("check", "DISCS"), 2, "folder of a run"),
    ],
)
def test_no_other_command_writes_into_a_pretraining(discs, tmp_path, segtune, words, exit_code, said):
    """With its folder as --out a fit, an evaluation or another pretraining is refused, and no byte is touched."""
    for name in ("pretraining.yaml", "run.json", "log.jsonl", "model/model.safetensors", "checkpoints/last/last.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    code, _, err = segtune(*(discs if word == "DISCS" else word for word in words), "--out", tmp_path)
    assert (code, said in err) == (exit_code, True), err
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert (len(files), {path.read_text() for path in files}) == (5, {"{}"})
