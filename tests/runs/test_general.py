"""General images, and what a fit rehearses: where they come from, and that one never is the other."""

from __future__ import annotations

import shutil

import pytest
from disc_data import write_discs

from segtune.core.errors import DataError, UsageError
from segtune.core.progress import SILENT
from segtune.data.dataset import open_dataset
from segtune.data.fingerprints import Fingerprints, digest, fingerprint
from segtune.evaluation.leakage import find_leaks
from segtune.runs.finetune import _open_together
from segtune.runs.folder import RunFolder
from segtune.runs.general import open_general, without_learned
from segtune.runs.known import known_to
from segtune.runs.rehearsal import open_rehearsal
from segtune.runs.settings import load_settings
from segtune.training.processes import Processes


def test_the_suite_has_two_parts_of_other_scenes():
    """What something is chosen by is not what is reported; both are drawn at the model's side."""
    found = open_general("suite", 3, 64)
    assert len(found.reported) == len(found.choice) == 3
    assert not set(found.reported.names) & set(found.choice.names)
    assert all(name.startswith("suite-") for name in (*found.reported.names, *found.choice.names))
    assert max(found.reported[0].size) == 64
    assert open_general("none", 3, 64) is None


def test_images_of_ones_own_are_shared_out(tmp_path):
    """Only those with an object; where they are too few for two parts, both are the same and it is known."""
    data = write_discs(tmp_path / "own", 9, empty={1, 2})
    found = open_general(str(data), 3, 64)
    assert len(found.reported) == len(found.choice) == 3
    assert not set(found.reported.names) & set(found.choice.names)
    assert all(sample.objects for part in (found.reported, found.choice) for sample in part)
    few = open_general(str(data), 5, 64)
    assert few.is_shared
    assert len(few.reported) == 5
    assert open_general(str(data), 3, 64).reported.names == found.reported.names


def test_without_an_object_nothing_can_be_asked(tmp_path):
    """Told before anything is trained."""
    data = write_discs(tmp_path / "own", 3, empty={0, 1, 2})
    with pytest.raises(DataError, match="object"):
        open_general(str(data), 3, 64)


def test_what_a_run_has_learned_from_is_left_out(tmp_path):
    """And counted; where nothing else is left it is an error before the training, not after."""
    data = write_discs(tmp_path / "own", 8)
    general = open_general(str(data), 4, 64)

    def learned(samples):
        known = Fingerprints.gather((one.name, digest(one.image), fingerprint(one.image)) for one in samples)
        known.write(tmp_path / "fingerprints.safetensors")
        return tmp_path / "fingerprints.safetensors"

    left = without_learned(general, learned([general.reported[1]]))
    assert left.left_out >= 1
    assert general.reported.names[1] not in left.reported.names
    with pytest.raises(DataError, match="general=FOLDER"):
        without_learned(general, learned([*general.reported, *general.choice]))
    suite = open_general("suite", 2, 64)
    assert without_learned(suite, tmp_path / "fingerprints.safetensors") is suite


def test_rehearsed_images_are_remembered(tmp_path):
    """A run has learned from them: their copies train, are no general images, and are told by name to evaluations."""
    data, photos = write_discs(tmp_path / "data", 12), write_discs(tmp_path / "photos", 8, seed=5)
    for kind in ("images", "masks"):
        shutil.copy(photos / kind / "000.png", data / kind / "copy.png")
    asked = {"training__rehearsal__share": 0.5, "training__rehearsal__source": str(photos)}
    settings = load_settings(data=data, out=tmp_path / "run", **asked)
    folder, rehearsal = RunFolder(tmp_path / "run"), open_rehearsal(settings.settings, 64)
    split = _open_together(settings, folder, rehearsal, Processes(), resume=False, progress=SILENT).split
    assert "images/copy.png" in split.train
    known = known_to({"tuned": folder})["tuned"]
    rehearsed = {str(photos / "images" / f"{number:03}.png") for number in range(1, 8)}
    assert set(known.names) == {*split.train, *split.val} | rehearsed  # the copy is known by its name in the data
    others = write_discs(tmp_path / "more", 6, seed=6)
    for kind in ("images", "masks"):
        shutil.copy(photos / kind / "003.png", others / kind / "copy.png")
    found = find_leaks(open_dataset(others), {"tuned": known})
    assert [(leak.name, leak.like) for leak in found.leaks] == [("images/copy.png", str(photos / "images" / "003.png"))]
    assert without_learned(open_general(str(others), 7, 64), folder.fingerprints).left_out == 1
    with pytest.raises(DataError, match="has learned from each"):
        without_learned(open_general(str(photos), 4, 64), folder.fingerprints)
    # Gone on with, what was remembered is kept and nothing is looked at again.
    shutil.rmtree(photos)
    again = _open_together(settings, folder, rehearsal, Processes(), resume=True, progress=SILENT)
    assert again.split == split


def test_rehearsed_images_are_not_those_that_measure(tmp_path):
    """Drawn ones are of another theme; one folder for both is refused."""
    data = write_discs(tmp_path / "own", 4, empty={0})

    def asked(**options):
        return load_settings(data="data", out="out", **options).settings

    assert open_rehearsal(asked(), 64) is None
    drawn = open_rehearsal(asked(training__rehearsal__share=0.5, training__rehearsal__images=3), 64)
    assert drawn.names == ("general-0", "general-1", "general-2")
    given = {"training__rehearsal__share": 0.5, "training__rehearsal__source": str(data)}
    assert len(open_rehearsal(asked(**given), 64)) == 3
    with pytest.raises(UsageError, match=r"evaluation\.general"):
        open_rehearsal(asked(**given, evaluation__general=str(data / ".." / "own")), 64)
