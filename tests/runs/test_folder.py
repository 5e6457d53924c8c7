"""The run folder: what counts as begun, and a record that several steps write."""

import json
import sys

import pytest

from segtune.core.errors import ModelError, UsageError
from segtune.core.files import is_half_written, replacing
from segtune.runs import folder as module
from segtune.runs.folder import RunFolder, describe_surroundings, run_of


@pytest.mark.parametrize(
    ("files", "unbegun"),
    [
        ((), True),
        (("check.json",), True),
        (("check.json", "split.json", "fingerprints.safetensors", "run.json"), True),
        (("check.json", "settings.yaml"), False),
        (("pretraining.yaml",), False),
        (("check.json", ".fingerprints.0123456789ab.tmp.safetensors"), True),
        (("check.json", ".settings.0123456789ab.tmp.yaml"), True),
        (("check.json", ".my.tmp.yaml"), False),
        (("check.json", "notes.txt"), False),
        (("check.json", "log.jsonl"), False),
    ],
)
def test_a_run_is_unbegun_until_its_settings_are_written(tmp_path, files, unbegun):
    """Only what comes before the settings may be there: with anything else the folder is a run's, or somebody's own."""
    for name in files:
        (tmp_path / name).touch()
    assert RunFolder(tmp_path).is_unbegun is unbegun


def test_what_a_kill_leaves_half_written_is_known(tmp_path):
    """By whatever name files are written before they are whole."""
    for name in ("split.json", "fingerprints.safetensors", "settings.yaml"):
        with replacing(tmp_path / name) as temporary:
            temporary.touch()
            assert is_half_written(temporary)
        assert not is_half_written(tmp_path / name)


def test_a_folder_that_is_not_there_is_no_unbegun_run(tmp_path):
    """There is nothing that could have been cut off: --resume says so, where it would start anew otherwise."""
    assert RunFolder(tmp_path / "nowhere").is_unbegun is False


@pytest.mark.parametrize("settings", ["settings.yaml", "pretraining.yaml"])
def test_a_second_run_never_starts_in_a_run_s_folder(tmp_path, settings):
    """It is refused with both ways out; a folder without settings is taken, and made with those above it."""
    RunFolder(tmp_path / "a" / "b").start()
    assert (tmp_path / "a" / "b").is_dir()
    assert not RunFolder(tmp_path).holds_a_run
    (tmp_path / settings).touch()
    assert RunFolder(tmp_path).holds_a_run
    with pytest.raises(UsageError, match=r"--resume.*--out"):
        RunFolder(tmp_path).start()


def test_a_folder_without_settings_is_no_run(tmp_path):
    """Whatever else lies in it."""
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ModelError, match="not a run folder"):
        RunFolder(tmp_path).require()


@pytest.mark.parametrize("file", ["settings.yaml", "pretraining.yaml", "fingerprints.safetensors"])
def test_a_model_s_run_is_found_by_whatever_of_it_is_named(tmp_path, monkeypatch, file):
    """The run, its model/ or adapter/, a file in one, from wherever they are named; a model beside it is not of it."""
    run = tmp_path / "run"
    (run / "model").mkdir(parents=True)
    (run / "adapter").mkdir()
    (run / "other").mkdir()
    (run / "model" / "weights.pth").touch()
    assert run_of(run) is None
    (run / file).touch()
    monkeypatch.chdir(run / "model")
    for spec in (run, f"{run}/", run / "adapter", run / "model", run / "model" / "weights.pth", ".", "weights.pth"):
        found = run_of(spec)
        assert found is not None, spec
        assert found.path == run
    for spec in (run / "other", run / "checkpoints", tmp_path, "facebook/sam-vit-base"):
        assert run_of(spec) is None, spec


def test_the_built_in_model_is_of_no_run(tmp_path, monkeypatch):
    """Also where a run's folder has its name: that one is opened as ./nano."""
    (tmp_path / "nano").mkdir()
    (tmp_path / "nano" / "settings.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert run_of("nano") is None
    assert run_of("./nano") is not None


def test_what_a_network_disk_shows_late_is_waited_for(tmp_path, monkeypatch):
    """For a minute; a folder in which it does not come up is another host's own, and the error says what to do."""
    waited = []

    def late(seconds):
        waited.append(seconds)
        if len(waited) == 3:
            (tmp_path / "split.json").touch()

    monkeypatch.setattr(module.time, "sleep", late)
    monkeypatch.setenv("RANK", "5")
    run = RunFolder(tmp_path)
    run.require_shared(run.split)
    run.require_shared(run.split)
    assert len(waited) == 3
    with pytest.raises(UsageError, match=r"run\.json is not to be seen by this process, number 5.*hosts share"):
        run.require_shared(run.split, run.record)
    assert sum(waited) == 3 + 60


def test_the_record_grows_step_by_step(tmp_path):
    """A later step adds to what earlier ones wrote, also from another process, and its word on a field is the last."""
    RunFolder(tmp_path).write_record(started="now", stopped=True)
    RunFolder(tmp_path).write_record(stopped=False, model={"base": "nano"})
    told = json.loads((tmp_path / "run.json").read_text())
    assert told == {"started": "now", "stopped": False, "model": {"base": "nano"}}


def test_a_record_that_cannot_be_written_leaves_the_one_before(tmp_path):
    """A figure that JSON has no word for costs nothing that was there."""
    folder = RunFolder(tmp_path)
    folder.write_record(started="now")
    with pytest.raises(ValueError, match="JSON"):
        folder.write_record(agreement=float("nan"))
    assert json.loads(folder.record.read_text()) == {"started": "now"}
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_the_recorded_command_can_be_typed_elsewhere(monkeypatch):
    """Where the program lies on this machine is no part of it; its words are kept apart."""
    monkeypatch.setattr(sys, "argv", ["/home/me/.venv/bin/segtune", "fit", "my data", "--out", "run"])
    assert describe_surroundings()["command"] == ["segtune", "fit", "my data", "--out", "run"]
