"""The data of a run: split once, with nothing of the base's in the parts that judge it."""

import json

import pytest
from disc_data import write_discs

from segtune.core.errors import DataError
from segtune.core.progress import SILENT
from segtune.data.dataset import open_dataset
from segtune.data.fingerprints import Fingerprints
from segtune.data.fingerprints import fingerprints as look
from segtune.runs.data import open_run_data, prepare_data, seen_by, warn_of_certain_masks
from segtune.runs.folder import RunFolder
from segtune.runs.settings import DataSettings
from segtune.training.recipe import LossRecipe, RehearsalRecipe, TuningRecipe


@pytest.fixture(scope="module")
def discs(tmp_path_factory):
    """Twelve images with a disc each."""
    return write_discs(tmp_path_factory.mktemp("data") / "discs", 12)


@pytest.fixture
def folder(tmp_path):
    """The folder of a run."""
    return RunFolder(tmp_path / "run")


def _name(number):
    return f"images/{number:03}.png"


class Heard(type(SILENT)):
    """Hears what is said, and nothing else."""

    def __init__(self, said):
        self._said = said

    def say(self, text):
        """Remember it."""
        self._said.append(text)


def _write_split(path, **parts):
    path.write_text(json.dumps({part: [_name(number) for number in numbers] for part, numbers in parts.items()}))
    return str(path)


def test_a_resumed_run_keeps_its_split(tmp_path, folder):
    """Images added since, and another seed, move nothing: a test image must not come to be trained on."""
    data = write_discs(tmp_path / "data", 10)
    before = prepare_data(DataSettings(path=str(data)), folder).split
    write_discs(tmp_path / "data", 14)
    again = prepare_data(DataSettings(path=str(data), seed=1), folder)
    assert again.split == before
    assert len(again.dataset) == 14
    fresh = prepare_data(DataSettings(path=str(data), seed=1), folder, fresh=True).split
    assert len(fresh.part("all")) == 14
    assert json.loads(folder.split.read_text())["sha256"] == fresh.sha256


def test_a_split_without_fingerprints_was_cut_off(discs, folder):
    """They are written last: a folder that lacks them was not prepared to the end, and is prepared anew."""
    prepare_data(DataSettings(path=str(discs)), folder)
    folder.fingerprints.unlink()
    split = prepare_data(DataSettings(path=str(discs), seed=3), folder).split
    assert split.seed == 3
    assert len(Fingerprints.read(folder.fingerprints)) == len(split.train) + len(split.val)


def test_what_chose_the_best_epoch_is_remembered_and_the_test_is_not(discs, folder):
    """Later evaluations leave out what this run has trained or chosen on, and may use its test images."""
    data = prepare_data(DataSettings(path=str(discs)), folder)
    assert set(Fingerprints.read(folder.fingerprints).names) == {*data.train.names, *data.val.names}
    assert data.test.names
    assert set(data.train.names).isdisjoint({*data.val.names, *data.test.names})


def test_images_the_base_has_seen_train(discs, folder):
    """Known again by their pixels under other names, they are in neither part that judges, for any seed."""
    dataset = open_run_data(DataSettings(path=str(discs)))
    known = look(dataset.subset(_name(number) for number in (2, 5, 8)))
    seen = Fingerprints(("x.png", "y.png", "z.png"), known.digests, known.pictures)
    for seed in range(3):
        split = prepare_data(DataSettings(path=str(discs), seed=seed), folder, fresh=True, seen=seen).split
        assert {_name(2), _name(5), _name(8)} <= set(split.train)
        assert split.val
        assert split.test


def test_what_the_base_has_seen_elsewhere_is_handed_on(discs, tmp_path, folder):
    """A run upon a run remembers the first one's images too, those that its own data lacks among them."""
    elsewhere = open_run_data(DataSettings(path=str(write_discs(tmp_path / "other", 3, seed=5))))
    seen = look(elsewhere)
    data = prepare_data(DataSettings(path=str(discs)), folder, seen=seen)
    remembered = Fingerprints.read(folder.fingerprints)
    assert set(seen.digests) <= set(remembered.digests)
    assert len(remembered) == len(data.train) + len(data.val) + 3


def test_a_split_of_one_s_own_stays_though_the_base_has_seen_its_test(discs, tmp_path, folder):
    """It is taken as it is: the report counts what it flatters by."""
    own = _write_split(tmp_path / "own.json", train=range(6), val=(6, 7), test=(8, 9))
    seen = look(open_run_data(DataSettings(path=str(discs))).subset([_name(8)]))
    split = prepare_data(DataSettings(path=str(discs), split=own), folder, seen=seen).split
    assert split.test == (_name(8), _name(9))
    assert split.train == tuple(_name(number) for number in range(6))


@pytest.mark.parametrize(("part", "purpose"), [("train", "learn from"), ("val", "choose the best epoch by")])
def test_a_part_without_an_object_is_refused(tmp_path, folder, part, purpose):
    """The error says which part lacks them and how many images have one; nothing is left that looks prepared."""
    data = write_discs(tmp_path / "data", 8, empty=range(4))
    parts = {"train": range(4, 8), "val": range(4, 8)} | {part: range(4)}
    own = _write_split(tmp_path / "own.json", **parts)
    with pytest.raises(DataError, match=rf"4 images of the part '{part}' has an object.*to {purpose}; 4 of all 8"):
        prepare_data(DataSettings(path=str(data), split=own), folder)
    assert not folder.split.exists()
    assert not folder.fingerprints.exists()


def test_a_split_must_say_what_chooses_the_best_epoch(discs, tmp_path, folder):
    """A split of one's own without validation is refused with both counts."""
    own = _write_split(tmp_path / "own.json", train=range(5), test=(6, 7))
    with pytest.raises(DataError, match="the split has 5 and 0"):
        prepare_data(DataSettings(path=str(discs), split=own), folder)


def test_an_image_that_cannot_be_decoded_is_in_no_part(tmp_path, folder):
    """Header and end are whole, so that only the check finds out; the split names the others."""
    data = write_discs(tmp_path / "data", 10)
    spoiled = data / "images" / "004.png"
    content = spoiled.read_bytes()
    spoiled.write_bytes(content[:100] + bytes(200) + content[300:])
    assert _name(4) in open_run_data(DataSettings(path=str(data))).names
    split = prepare_data(DataSettings(path=str(data)), folder).split
    assert set(split.part("all")) == {_name(number) for number in range(10) if number != 4}
    assert _name(4) in folder.check.read_text()


def test_a_split_of_ones_own_may_name_what_cannot_be_decoded(tmp_path, folder):
    """It is left out, as what was set aside on opening, and told."""
    data = write_discs(tmp_path / "data", 10)
    spoiled = data / "images" / "004.png"
    content = spoiled.read_bytes()
    spoiled.write_bytes(content[:100] + bytes(200) + content[300:])
    (data / "masks" / "005.png").unlink()
    own = _write_split(tmp_path / "own.json", train=range(6), val=(6, 7), test=(8, 9))
    said = []
    split = prepare_data(DataSettings(path=str(data), split=own), folder, Heard(said)).split
    assert split.train == tuple(_name(number) for number in range(4))
    assert said == ["Of the 10 images of the split, 2 cannot be used and are left out."]
    assert split.origin == "read from own.json; less 2 that cannot be used"


def test_patients_in_several_parts_of_a_split_of_ones_own_are_told(tmp_path, folder):
    """The split is kept as the user's word, and the report can say how many patients it parts."""
    data = write_discs(tmp_path / "data", 10)
    rows = [f"{number:03},{patient}" for number, patient in enumerate("aabbccddee")]
    (data / "groups.csv").write_text("\n".join(["name,patient", *rows]))
    own = _write_split(tmp_path / "own.json", train=(0, 1, 2, 3, 4), val=(5, 6), test=(7, 8, 9))
    said = []
    found = prepare_data(DataSettings(path=str(data), split=own), folder, Heard(said))
    assert found.split.test == (_name(7), _name(8), _name(9))
    assert [text.partition(" have")[0] for text in said] == ["2 groups (patients, scenes or videos)"]
    assert "c is one" in said[0]
    assert found.describe()["parted_groups"] == 2
    assert prepare_data(DataSettings(path=str(data)), folder, fresh=True).describe()["parted_groups"] == 0


def test_the_record_says_how_many_images_each_part_has(discs, folder):
    """The sizes are those of the split that its hash names."""
    data = prepare_data(DataSettings(path=str(discs)), folder)
    told = data.describe()
    assert told["split_sha256"] == json.loads(folder.split.read_text())["sha256"]
    assert told["sizes"] == {"train": len(data.train), "val": len(data.val), "test": len(data.test)}
    assert sum(told["sizes"].values()) == told["images"] == 12


def test_a_base_that_is_a_run_brings_what_it_has_seen(discs, tmp_path):
    """Its fingerprints are read, by its model/ too; any other base has seen nothing that is known."""
    look(open_dataset(discs)[:3]).write(RunFolder(tmp_path / "run").fingerprints)
    for base in (tmp_path / "run", tmp_path / "run" / "model"):
        assert seen_by(str(base)).names == (_name(0), _name(1), _name(2))
    (tmp_path / "local").mkdir()
    assert seen_by(str(tmp_path / "local")) is None
    assert seen_by("nano") is None


def test_a_loss_with_nothing_to_weigh_is_told(discs):
    """Not where the pretrained model's own probabilities train too, nor of another loss."""
    data, loss = open_dataset(discs), LossRecipe(weights={"pseudo_label": 1.0, "dice": 1.0})
    for recipe, told in (
        (TuningRecipe(loss=loss), True),
        (TuningRecipe(loss=loss, rehearsal=RehearsalRecipe(share=0.3)), True),
        (TuningRecipe(loss=loss, rehearsal=RehearsalRecipe(share=0.3, soft=True)), False),
        (TuningRecipe(loss=LossRecipe(weights={"pseudo_label": 0.0, "dice": 1.0})), False),
    ):
        said = []
        warn_of_certain_masks(data, recipe, Heard(said))
        assert ["plain bce" in words for words in said] == [True] * told
