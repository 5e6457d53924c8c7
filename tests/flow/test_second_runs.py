"""Runs upon runs: a base that is itself a run, an evaluation beside a run, a start that was cut off."""

import json

import pytest
from disc_data import SMALL, write_discs

from segtune.data.fingerprints import Fingerprints

FEW_MODES = ("--set", "validation.modes=[box]", "--set", "evaluation.modes=[box]")


@pytest.fixture(scope="module")
def first(tmp_path_factory, discs, micro):
    """A short run on the discs, each connected part an object."""
    from segtune.cli import main

    folder = tmp_path_factory.mktemp("runs") / "first"
    words = ["fit", discs, "--out", folder, "--model", micro, "--train", "full", "--epochs", "1", *SMALL, *FEW_MODES]
    code = main([str(word) for word in (*words, "--set", "data.objects=parts", "--set", "data.threshold=90")])
    assert code in (0, 3)
    return folder


def test_what_the_base_has_seen_is_never_tested_on(first, discs, tmp_path, answer):
    """More images, another seed, the first run as the base: none of its training images leaves the training part."""
    import shutil

    data = write_discs(tmp_path / "more", 12, seed=9)
    for kind in ("images", "masks"):
        for path in (discs / kind).iterdir():
            shutil.copy(path, data / kind / f"old{path.name}")
    words = ("fit", data, "--out", tmp_path / "run", "--model", first, "--train", "full", "--epochs", "1", *SMALL)
    code, _ = answer(*words, *FEW_MODES, "--set", "data.seed=5")
    assert code in (0, 3)
    before = json.loads((first / "split.json").read_text())
    after = json.loads((tmp_path / "run" / "split.json").read_text())
    seen = {f"images/old{name.rsplit('/', 1)[-1]}" for name in (*before["train"], *before["val"])}
    assert seen <= set(after["train"])
    assert after["val"]
    assert after["test"]
    # The second run remembers what the first one has learned from, also where its own data has it no more.
    assert len(Fingerprints.read(tmp_path / "run" / "fingerprints.safetensors")) >= len(seen) + len(after["val"])


@pytest.mark.parametrize("named", [".", "model"])
def test_an_evaluation_reads_the_data_as_the_run_did(first, discs, tmp_path, answer, named):
    """Without --objects, what an object is and its grey are the run's; its test part is scored, by its model/ too."""
    code, found = answer("evaluate", first / named, discs, "--out", tmp_path / "e", "--modes", "box")
    assert code == 0
    assert found["data"]["dataset"]["objects"] == "parts"
    assert found["data"]["part"] == "test"


def test_an_evaluation_never_writes_into_a_run(first, discs, segtune):
    """--out RUN would replace the run's own proof: refused, nothing touched."""
    before = {path.name: path.read_bytes() for path in first.iterdir() if path.is_file()}
    code, _, err = segtune("evaluate", first, discs, "--out", first, "--modes", "box")
    assert code == 2
    assert "folder of a run" in err
    assert before == {path.name: path.read_bytes() for path in first.iterdir() if path.is_file()}


def test_resume_of_what_had_not_begun_starts(discs, micro, tmp_path, answer, segtune):
    """Cut off while the data was looked over, --resume starts anew; where nothing was started it says so."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "check.json").write_text("{}")
    words = ("fit", discs, "--out", tmp_path / "run", "--model", micro, "--train", "full", "--epochs", "1", *SMALL)
    code, _ = answer(*words, *FEW_MODES, "--resume")
    assert code in (0, 3)
    code, _, err = segtune("fit", discs, "--out", tmp_path / "nowhere", "--resume")
    assert code == 5
    assert "not a run folder" in err


def test_data_without_objects_in_validation_is_refused(micro, tmp_path, segtune):
    """Two images of twenty with an object train and choose; a single one cannot do both, and the error says why."""
    data = write_discs(tmp_path / "sparse", 20, empty=set(range(1, 20)))
    code, _, err = segtune("fit", data, "--out", tmp_path / "run", "--model", micro, *SMALL)
    assert code == 4
    assert "has an object" in err
    assert "1 of all 20 images" in err


def test_a_tiny_run_upon_a_run_is_known_again(first, tmp_path, answer):
    """Of three images two are learned from; what the base learned from stands beside them and is no hindrance."""
    data = write_discs(tmp_path / "tiny", 3, seed=21)
    words = ("fit", data, "--out", tmp_path / "run", "--model", first, "--train", "full", "--epochs", "1", *SMALL)
    code, _ = answer(*words, *FEW_MODES)
    assert code in (0, 3)
    code, found = answer("evaluate", tmp_path / "run", data, "--out", tmp_path / "e", "--modes", "box")
    assert code == 0
    assert found["data"]["part"] == "test"
    assert found["data"]["images"] == 1
