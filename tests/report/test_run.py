"""What is read from a folder."""

from __future__ import annotations

import json

import pytest

from segtune.core.errors import DataError
from segtune.report.run import read_run


def _edit(folder, change):
    path = folder / "metrics.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_a_fit_is_about_tuned_against_pretrained(run_folder):
    """The subject is the tuned model, whatever else was compared, and baselines come last."""
    run = read_run(run_folder)
    assert run.pair == ("tuned", "pretrained")
    assert run.models == ("pretrained", "tuned", "baseline:box", "baseline:ellipse")
    assert run.leading_modes == ("click", "box")
    assert run.images == 12


def test_an_evaluation_is_about_its_first_comparison(run_folder):
    """Other names take the pair from the differences, never a baseline."""

    def rename(content):
        content["differences"] = [
            one | {"model": "mine", "against": one["against"].replace("pretrained", "theirs")}
            for one in reversed(content["differences"])
        ]
        for row in content["rows"]:
            row["model"] = {"tuned": "mine", "pretrained": "theirs"}.get(row["model"], row["model"])

    _edit(run_folder, rename)
    assert read_run(run_folder).pair == ("mine", "theirs")


def test_an_evaluation_of_cleaned_masks_is_about_them(run_folder):
    """Where nobody compared tuned with pretrained, their names do not make the pair."""

    def rename(content):
        content["differences"] = [
            one | {"model": "tuned + largest", "against": "tuned"}
            for one in content["differences"]
            if one["against"] == "pretrained"
        ]
        for row in content["rows"]:
            row["model"] = {"baseline:box": "tuned + largest"}.get(row["model"], row["model"])

    _edit(run_folder, rename)
    assert read_run(run_folder).pair == ("tuned + largest", "tuned")


def test_a_single_model_has_no_reference(run_folder):
    """One model is told of without a comparison."""

    def keep_one(content):
        content["rows"] = [row for row in content["rows"] if row["model"] == "tuned"]
        content["differences"] = []

    _edit(run_folder, keep_one)
    assert read_run(run_folder).pair == ("tuned", None)


def test_settings_keep_value_and_origin(run_folder):
    """Each setting is told with where it came from, dictionaries whole."""
    settings = {one.name: one for one in read_run(run_folder).settings}
    assert settings["training.epochs"].value == 20
    assert settings["training.epochs"].origin == "--set"
    assert settings["training.loss.weights"].value == {"focal": 0.95238, "dice": 0.04762}
    assert settings["model.base"].is_default
    assert not settings["preset"].is_default


def test_only_the_matrix_is_needed(run_folder):
    """A folder with `metrics.json` alone can be reported."""
    for path in run_folder.iterdir():
        if path.name != "metrics.json":
            path.unlink()
    run = read_run(run_folder)
    assert (run.scores, run.log, run.settings, run.split, run.check, run.run) == (None, None, (), {}, {}, {})


def test_a_folder_without_results_is_refused(tmp_path):
    """The error says what is missing and what to name instead."""
    with pytest.raises(DataError, match=r"holds no metrics\.json"):
        read_run(tmp_path)


@pytest.mark.parametrize(("name", "text"), [("check.json", "{"), ("settings.yaml", "a: [")])
def test_a_broken_file_is_named(run_folder, name, text):
    """A file that is not what its name says is an error with its path, not a traceback."""
    (run_folder / name).write_text(text)
    with pytest.raises(DataError, match=name):
        read_run(run_folder)
